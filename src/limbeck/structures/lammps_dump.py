"""LAMMPS text dumps, streamed."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from ase import units
from jaxtyping import Float

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.chunks import Chunk, groups

ANGSTROM_PER_PS = 1e-3 / units.fs
"""One Å/ps (LAMMPS ``metal``) in ASE's unit of velocity."""


@dataclass(frozen=True)
class LammpsTrajectory:
    """A LAMMPS text dump with columns ``id type x y z`` (or ``xu yu zu``) and optionally ``ix iy iz vx vy vz``.

    A last frame that was cut off by a killed run is left out. Atoms are returned sorted by id. Cells and positions are
    in LAMMPS's own orientation (first vector along x), with the box origin moved to zero.

    Attributes:
        path: The dump, ``units metal``.
        elements: Chemical symbol of types 1, 2, ...
        timestep_fs: Time step of the run: dumps hold step numbers only.
        first_step: Step that counts as time zero.
    """

    path: Path
    elements: tuple[str, ...]
    timestep_fs: float
    first_step: int = 0

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise MissingFileError(f"{self.path}: no such LAMMPS dump.")

    @property
    def times_fs(self) -> Float[np.ndarray, " n_frames"]:
        """Times in femtoseconds (reads the file once)."""
        with Path(self.path).open("rb") as handle:
            steps = [frame.step for frame in iterate_dump(handle)]
        return (np.array(steps, dtype=float) - self.first_step) * self.timestep_fs

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbol of each atom, by id."""
        types = self._first().column("type").astype(int)
        if types.max() > len(self.elements):
            raise StructureError(f"{self.path}: holds atom type {types.max()}, but elements are {self.elements}.")
        return tuple(self.elements[t - 1] for t in types)

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodic directions."""
        return self._first().pbc

    def _first(self) -> "DumpFrame":
        with Path(self.path).open("rb") as handle:
            first = next(iterate_dump(handle), None)
        if first is None:
            raise StructureError(f"{self.path}: holds no complete frame.")
        return first

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order."""
        size = Path(self.path).stat().st_size
        with Path(self.path).open("rb") as handle:
            for kept in groups(iterate_dump(handle, first_frame), frames_per_chunk):
                steps = np.array([frame.step for frame in kept], dtype=float)
                times = (steps - self.first_step) * self.timestep_fs
                yield _chunk_of_dump(kept, times, handle.tell() / size)


@dataclass(frozen=True)
class DumpFrame:
    """One frame of a LAMMPS dump, sorted by atom id.

    Attributes:
        step: LAMMPS step.
        cell: Lattice vectors as rows, Å.
        origin: Lower corner of the box, Å.
        pbc: Periodic directions.
        names: Names of the columns.
        table: Values.
    """

    step: int
    cell: Float[np.ndarray, "3 3"]
    origin: Float[np.ndarray, " 3"]
    pbc: tuple[bool, bool, bool]
    names: tuple[str, ...]
    table: Float[np.ndarray, "n_atoms n_columns"]

    def column(self, name: str) -> Float[np.ndarray, " n_atoms"]:
        """One column by name."""
        if name not in self.names:
            raise StructureError(f"a LAMMPS dump has columns {self.names}, but '{name}' is needed.")
        return self.table[:, self.names.index(name)]

    def vectors(self, *names: str) -> Float[np.ndarray, "n_atoms 3"] | None:
        """Three columns, or ``None`` if they are not there."""
        if not all(name in self.names for name in names):
            return None
        return np.stack([self.column(name) for name in names], axis=1)


def iterate_dump(handle: IO[bytes], first_frame: int = 0) -> Iterator[DumpFrame]:
    """Complete frames of an open LAMMPS text dump; stops before a frame that is cut off.

    Args:
        handle: The file, at its beginning.
        first_frame: So many frames are passed over, which is several times faster than reading them.

    Raises:
        StructureError: If the text is not a LAMMPS dump, or a frame holds NaN.
    """
    while header := handle.readline():
        if not header.endswith(b"\n"):
            return
        if not header.startswith(b"ITEM: TIMESTEP"):
            raise StructureError(f"not a LAMMPS dump: found {header[:60]!r} where 'ITEM: TIMESTEP' was expected.")
        lines = [handle.readline() for _ in range(8)]
        if not lines[-1].endswith(b"\n"):
            return
        step, n_atoms = int(lines[0]), int(lines[2])
        if first_frame > 0:
            deque(islice(handle, n_atoms), maxlen=0)
            first_frame -= 1
            continue
        names = tuple(lines[7].decode().split()[2:])
        body = [handle.readline() for _ in range(n_atoms)]
        if body and not body[-1].endswith(b"\n"):
            return
        table = np.array(b" ".join(body).split(), dtype=float).reshape(n_atoms, len(names))
        if not np.all(np.isfinite(table)):
            raise StructureError(f"frame {step} of the dump holds NaN or infinity: the run exploded.")
        cell, origin, pbc = _box(lines[3].decode(), b" ".join(lines[4:7]).decode())
        yield DumpFrame(step, cell, origin, pbc, names, table[np.argsort(table[:, names.index("id")])])


def _box(header: str, bounds: str) -> tuple[np.ndarray, np.ndarray, tuple[bool, bool, bool]]:
    values = np.array(bounds.split(), dtype=float).reshape(3, -1)
    flags = re.findall(r"\b([pfsm])[pfsm]\b", header)
    pbc = tuple(flag == "p" for flag in flags[-3:])
    if len(pbc) != 3 or "abc origin" in header:
        raise StructureError(f"cannot read the box line {header.strip()!r}: expected an orthogonal or 'xy xz yz' box.")
    xy, xz, yz = values[:, 2] if values.shape[1] == 3 else (0.0, 0.0, 0.0)
    low = values[:, 0] - np.array([min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0])
    high = values[:, 1] - np.array([max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0])
    length = high - low
    cell = np.array([[length[0], 0.0, 0.0], [xy, length[1], 0.0], [xz, yz, length[2]]])
    return cell, low, pbc


def _chunk_of_dump(frames: Sequence[DumpFrame], times_fs: np.ndarray, share: float) -> Chunk:
    wrapped = [frame.vectors("x", "y", "z") for frame in frames]
    unwrapped = [frame.vectors("xu", "yu", "zu") for frame in frames]
    positions = [a if a is not None else b for a, b in zip(wrapped, unwrapped, strict=True)]
    if any(p is None for p in positions):
        raise StructureError(f"a LAMMPS dump has columns {frames[0].names}, but x y z (or xu yu zu) are needed.")
    velocities = [frame.vectors("vx", "vy", "vz") for frame in frames]
    images = [frame.vectors("ix", "iy", "iz") for frame in frames]
    has_images = wrapped[0] is not None and images[0] is not None
    return Chunk(
        positions=np.array([p - frame.origin for p, frame in zip(positions, frames, strict=True)]),
        cells=np.array([frame.cell for frame in frames]),
        velocities=None if velocities[0] is None else np.array(velocities) * ANGSTROM_PER_PS,
        images=np.array(images).astype(int) if has_images else None,
        is_unwrapped=wrapped[0] is None,
        times_fs=times_fs,
        share=share,
    )
