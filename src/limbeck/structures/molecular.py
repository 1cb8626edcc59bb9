"""Binary trajectories of molecular dynamics programs, through MDAnalysis: XTC, TRR, DCD, NetCDF.

They hold neither elements nor, mostly, whether positions are wrapped; DCD files hold a time in units that depend on who
wrote them, so the time between frames must be given.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.geometry import cellpar_to_cell
from jaxtyping import Float

from limbeck.core.errors import MissingDependencyError, MissingFileError, StructureError
from limbeck.structures.chunks import Chunk

MOLECULAR = {".xtc": "XTC", ".trr": "TRR", ".dcd": "DCD", ".nc": "NCDF", ".ncdf": "NCDF"}
"""Endings that are read here, and MDAnalysis's name of each."""


@dataclass(frozen=True)
class MolecularTrajectory:
    """A trajectory that MDAnalysis reads. Positions have single precision in most such formats.

    Attributes:
        path: The file.
        structure: Elements and periodicity.
        interval_fs: Time between frames; where it is ``None``, that of the file.
        is_unwrapped: Whether positions are unwrapped.
    """

    path: Path
    structure: Atoms
    interval_fs: float | None = None
    is_unwrapped: bool = False

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise MissingFileError(f"{self.path}: no such trajectory file.")
        if self.interval_fs is None and MOLECULAR[self.path.suffix.lower()] == "DCD":
            raise StructureError(
                f"{self.path}: the time unit of a DCD file depends on its writer; give the time between frames "
                "(--interval_fs 20)."
            )

    def _open(self) -> Any:
        try:
            from MDAnalysis.coordinates.core import reader
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.path}: {self.path.suffix} files need MDAnalysis: pip install 'limbeck[mdanalysis]'"
            ) from error
        kind = MOLECULAR[self.path.suffix.lower()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about its own future
                opened = reader(str(self.path), format=kind, n_atoms=len(self.structure))
        except Exception as error:  # every reader of MDAnalysis fails in its own way
            raise StructureError(f"{self.path}: not readable as {kind} ({error}).") from error
        if opened.n_atoms != len(self.structure):
            raise StructureError(
                f"{self.path}: holds {opened.n_atoms} atoms, the structure {len(self.structure)}; give the one that "
                "the run began with."
            )
        return opened

    @property
    def times_fs(self) -> Float[np.ndarray, " n_frames"]:
        """Times in femtoseconds (reads the file once)."""
        return np.concatenate([chunk.times_fs for chunk in self.chunks() if chunk.times_fs is not None])

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbol of each atom."""
        return tuple(self.structure.get_chemical_symbols())

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodic directions."""
        with self._open() as opened:
            if opened[0].dimensions is not None:
                return (True, True, True)
        x, y, z = (bool(p) for p in self.structure.pbc)
        return x, y, z

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order."""
        with self._open() as opened:
            total = opened.n_frames
            for first in range(first_frame, total, frames_per_chunk):
                numbers = range(first, min(first + frames_per_chunk, total))
                frames = [self._frame(opened[number], number) for number in numbers]
                positions, cells, velocities, times = zip(*frames, strict=True)
                moving = all(v is not None for v in velocities)
                yield Chunk(
                    np.array(positions), np.array(cells), np.array(velocities) if moving else None,
                    is_unwrapped=self.is_unwrapped, times_fs=np.array(times), share=(numbers[-1] + 1) / total,
                )  # fmt: skip

    def _rotation(self) -> Float[np.ndarray, "3 3"]:
        """From the orientation in which such files hold a cell (first vector along x) to that of the structure.

        They hold lengths and angles only; positions are as the program had them, as those of the structure.
        """
        if self.structure.cell.rank < 3 or self.structure.cell.handedness < 0:
            return np.eye(3)
        standard = cellpar_to_cell(self.structure.cell.cellpar(), ab_normal=(0, 0, 1), a_direction=(1, 0, 0))
        return np.asarray(np.linalg.inv(standard) @ self.structure.cell[:])

    def _frame(self, frame: Any, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, float]:
        cell = self.structure.cell[:] if frame.dimensions is None else frame.triclinic_dimensions @ self._rotation()
        velocities = frame.velocities * (1e-3 / units.fs) if frame.has_velocities else None
        time = float(frame.time) * 1e3 if self.interval_fs is None else number * self.interval_fs
        return np.array(frame.positions, dtype=np.float64), np.array(cell, dtype=np.float64), velocities, time
