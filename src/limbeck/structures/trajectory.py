"""Trajectories read as a stream: what observables take, so that they never load a whole file.

Anything that ASE streams, arrays of NumPy, the LAMMPS dumps that :mod:`limbeck.dynamics` writes, and the binary formats
of molecular dynamics through MDAnalysis.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from jaxtyping import Float

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.chunks import Chunk, Trajectory, groups
from limbeck.structures.lammps_dump import LammpsTrajectory, iterate_dump, opened
from limbeck.structures.molecular import MOLECULAR, MolecularTrajectory


def frame_atoms(trajectory: Trajectory) -> Iterator[Atoms]:
    """Each frame as ``ase.Atoms`` (wrapped or not as in the source), with velocities where there are any."""
    for chunk in trajectory.chunks():
        for index in range(len(chunk)):
            atoms = Atoms(trajectory.species, chunk.positions[index], cell=chunk.cells[index], pbc=trajectory.pbc)
            if chunk.velocities is not None:
                atoms.set_velocities(chunk.velocities[index])
            yield atoms


@dataclass(frozen=True)
class MemoryTrajectory:
    """Frames that are in memory already.

    Attributes:
        frames: Structures with the same atoms in the same order.
        interval_fs: Time between frames; where it is ``None``, ``info["time_fs"]`` of each frame is used.
    """

    frames: Sequence[Atoms]
    interval_fs: float | None = None

    def __post_init__(self) -> None:
        _check_same_atoms(self.frames)

    @property
    def times_fs(self) -> Float[np.ndarray, " n_frames"]:
        """Times in femtoseconds."""
        return _times_of(self.frames, self.interval_fs, "the frames")

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbol of each atom."""
        return tuple(self.frames[0].get_chemical_symbols())

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodic directions."""
        return tuple(bool(p) for p in self.frames[0].pbc)  # type: ignore[return-value]

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order."""
        for start in range(first_frame, len(self.frames), frames_per_chunk):
            part = self.frames[start : start + frames_per_chunk]
            share = (start + len(part)) / len(self.frames)
            yield _chunk_of(part, start, self.interval_fs, "the frames", share)


@dataclass(frozen=True)
class FileTrajectory:
    """A file that ASE can iterate over, extended XYZ above all.

    Attributes:
        path: The file.
        interval_fs: Time between frames; where it is ``None``, ``info["time_fs"]`` of each frame is used.
        structure: Cell and periodicity for frames that have none (XYZ of CP2K), or ``None``.
    """

    path: Path
    interval_fs: float | None = None
    structure: Atoms | None = None

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise MissingFileError(f"{self.path}: no such trajectory file.")

    def _frames(self, first: int = 0) -> Iterator[Atoms]:
        import ase.io

        try:
            for atoms in ase.io.iread(self.path, index=f"{first}:"):
                if self.structure is not None and atoms.cell.rank == 0:
                    atoms.set_cell(self.structure.cell)
                    atoms.set_pbc(self.structure.pbc)
                yield atoms
        except Exception as error:  # every reader of ASE fails in its own way
            raise StructureError(f"{self.path}: not readable as a trajectory ({error}).") from error

    @property
    def times_fs(self) -> Float[np.ndarray, " n_frames"]:
        """Times in femtoseconds (reads the file once)."""
        if self.interval_fs is not None:
            return np.arange(sum(1 for _ in self._frames())) * self.interval_fs
        return _times_of(self._frames(), None, str(self.path))

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbol of each atom (of the first frame)."""
        return tuple(self._first().get_chemical_symbols())

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodic directions (of the first frame)."""
        return tuple(bool(p) for p in self._first().pbc)  # type: ignore[return-value]

    def _first(self) -> Atoms:
        first = next(self._frames(), None)
        if first is None:
            raise StructureError(f"{self.path}: holds no frame.")
        return first

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order."""
        start, per_frame, numbers = first_frame, self._share_of_a_frame(), self._first().get_atomic_numbers()
        for kept in groups(self._frames(first_frame), frames_per_chunk):
            _check_same_atoms(kept, numbers, start)
            share = min(1.0, (start + len(kept)) * per_frame)
            yield _chunk_of(kept, start, self.interval_fs, str(self.path), share)
            start += len(kept)

    def _share_of_a_frame(self) -> float:
        """Part of an XYZ file that its first frame takes; NaN for other files."""
        if self.path.suffix not in (".xyz", ".extxyz"):
            return float("nan")
        with self.path.open("rb") as handle:
            first = handle.readline()
            lines = int(first) + 1 if first.strip().isdigit() else 0
            used = len(first) + sum(len(line) for line in islice(handle, lines))
        return used / max(self.path.stat().st_size, 1)


@dataclass(frozen=True)
class ArrayTrajectory:
    """Positions in an array, for example one that NumPy maps from a file.

    Attributes:
        positions: Å.
        cells: One cell, or one a frame, rows, Å.
        species: Chemical symbol of each atom.
        interval_fs: Time between frames.
        pbc: Periodic directions.
        is_unwrapped: Whether positions are unwrapped.
        file: The npy file that ``positions`` are mapped from; mapped anew for every chunk, so that pages that were read
            do not stay in this process's memory.
    """

    positions: Float[np.ndarray, "n_frames n_atoms 3"]
    cells: Float[np.ndarray, "*n_frames 3 3"]
    species: tuple[str, ...]
    interval_fs: float
    pbc: tuple[bool, bool, bool] = (True, True, True)
    is_unwrapped: bool = False
    file: Path | None = None

    def __post_init__(self) -> None:
        shape = self.positions.shape
        if len(shape) != 3 or shape[2] != 3 or shape[1] != len(self.species):
            raise StructureError(
                f"positions need the shape (frames, {len(self.species)} atoms, 3) of the structure, got {shape}."
            )

    @property
    def times_fs(self) -> Float[np.ndarray, " n_frames"]:
        """Times in femtoseconds."""
        return np.arange(len(self.positions)) * self.interval_fs

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order."""
        total = len(self.positions)
        for first in range(first_frame, total, frames_per_chunk):
            source = self.positions if self.file is None else np.load(self.file, mmap_mode="r")
            positions = np.array(source[first : first + frames_per_chunk], dtype=np.float64)
            cells = self.cells if self.cells.ndim == 2 else self.cells[first : first + frames_per_chunk]
            yield Chunk(
                positions, np.array(np.broadcast_to(cells, (len(positions), 3, 3))), is_unwrapped=self.is_unwrapped,
                times_fs=np.arange(first, first + len(positions)) * self.interval_fs,
                share=(first + len(positions)) / total,
            )  # fmt: skip


def open_trajectory(
    path: Path | str,
    *,
    interval_fs: float | None = None,
    elements: Sequence[str] = (),
    timestep_fs: float | None = None,
    structure: Path | str | None = None,
    is_unwrapped: bool = False,
) -> Trajectory:
    """Trajectory file of a kind that is told by its name or by what it holds.

    A LAMMPS text dump; XTC, TRR, DCD or NetCDF (through MDAnalysis); ``npy`` with positions; else whatever ASE streams:
    extended XYZ, XDATCAR, vasprun.xml, ASE's own, XYZ of CP2K.

    Args:
        path: The file.
        interval_fs: Time between frames, for files that do not hold times (``time_fs`` in frames); overrides them.
        elements: Chemical symbols of LAMMPS types 1, 2, ...; needed for a dump.
        timestep_fs: Time step of the LAMMPS run; needed for a dump.
        structure: File with the same atoms in the same order, in any format that ASE reads: elements for formats that
            hold none (XTC, TRR, DCD, NetCDF, npy), the cell for those without one (XYZ, npy).
        is_unwrapped: Positions of XTC, TRR, DCD, NetCDF or npy are unwrapped already.

    Raises:
        MissingFileError: If there is no such file.
        StructureError: If something is missing that the file does not hold, or a time is not above zero.
        MissingDependencyError: If MDAnalysis is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such trajectory file.")
    for name, value in (("time between frames", interval_fs), ("time step", timestep_fs)):
        if value is not None and not value > 0:
            raise StructureError(f"{path}: the {name} must be above zero, got {value:g} fs.")
    is_dump = _is_dump(path)
    wrong = [s for s in elements if s not in atomic_numbers]
    if wrong:
        near = difflib.get_close_matches(wrong[0].capitalize(), list(atomic_numbers), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise StructureError(f"{path}: no element is called {wrong[0]}.{hint}")
    if is_dump:
        given = {"--interval_fs": interval_fs, "--structure": structure, "--unwrapped": is_unwrapped}
        ignored = [name for name, value in given.items() if value]
        if ignored:
            raise StructureError(
                f"{path}: a LAMMPS dump needs no {ignored[0]}: times come from the steps and --timestep_fs, cells and "
                "columns from the dump."
            )
        if not timestep_fs or not (elements or _names_elements(path)):
            raise StructureError(
                f"{path}: a LAMMPS dump holds neither element symbols nor times; give the elements of its types in "
                "order and the time step (--elements Li,P,S --timestep_fs 1)."
            )
        return LammpsTrajectory(path, tuple(elements), timestep_fs)
    if elements or timestep_fs:
        raise StructureError(f"{path}: is no LAMMPS dump; elements and time step are for those (use --interval_fs).")
    atoms = None if structure is None else _structure(Path(structure))
    suffix = path.suffix.lower()
    if suffix not in MOLECULAR and suffix != ".npy":
        return FileTrajectory(path, interval_fs, atoms)
    if atoms is None:
        raise StructureError(
            f"{path}: holds no chemical elements; give a structure file with the same atoms in the same order "
            "(--structure start.vasp)."
        )
    if suffix in MOLECULAR:
        return MolecularTrajectory(path, atoms, interval_fs, is_unwrapped)
    if interval_fs is None:
        raise StructureError(f"{path}: holds no times; give the time between frames (--interval_fs 20).")
    try:
        positions = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise StructureError(f"{path}: not readable as an array ({error}); the file may be cut off.") from error
    if positions.dtype.kind != "f":
        raise StructureError(f"{path}: holds {positions.dtype} instead of floating-point positions in Å.")
    x, y, z = (bool(p) for p in atoms.pbc)
    species = tuple(atoms.get_chemical_symbols())
    return ArrayTrajectory(positions, atoms.cell[:], species, interval_fs, (x, y, z), is_unwrapped, path)


def _is_dump(path: Path) -> bool:
    """Whether a file, compressed or not, begins as a LAMMPS dump does."""
    try:
        with opened(path) as (handle, _):
            return handle.read(6) == b"ITEM: "
    except (OSError, EOFError):  # not what its first bytes say
        return False


def _names_elements(path: Path) -> bool:
    """Whether a dump has a column ``element``."""
    with opened(path) as (handle, _):
        first = next(iterate_dump(handle), None)
    return first is not None and first.elements is not None


def _structure(path: Path) -> Atoms:
    import ase.io

    if not path.is_file():
        raise MissingFileError(f"{path}: no such structure file.")
    try:
        return ase.io.read(path)
    except Exception as error:  # every reader of ASE fails in its own way
        raise StructureError(f"{path}: not readable as a structure ({error}).") from error


def _chunk_of(
    frames: Sequence[Atoms], first: int, interval_fs: float | None, source: str, share: float = float("nan")
) -> Chunk:
    known = interval_fs is not None or all(_time_key(atoms) in atoms.info for atoms in frames)
    return Chunk(
        times_fs=_times_of(frames, interval_fs, source, first) if known else None,
        share=share,
        positions=np.array([atoms.get_positions() for atoms in frames]),
        cells=np.array([atoms.cell[:] for atoms in frames]),
        velocities=np.array([a.get_velocities() for a in frames]) if all(a.has("momenta") for a in frames) else None,
    )


def _check_same_atoms(frames: Sequence[Atoms], numbers: np.ndarray | None = None, first: int = 0) -> None:
    if len(frames) == 0:
        raise StructureError("a trajectory needs at least one frame.")
    numbers = frames[0].get_atomic_numbers() if numbers is None else numbers
    for index, atoms in enumerate(frames, start=first):
        if not np.array_equal(atoms.get_atomic_numbers(), numbers):
            raise StructureError(f"frame {index} has other atoms, or another order, than the first frame.")


def _time_key(atoms: Atoms) -> str:
    """Where a frame's time in fs stands: ``time_fs``, or ``time`` in the comment of CP2K (``i = , time = , E =``)."""
    is_of_cp2k = "time_fs" not in atoms.info and {"i", "time", "E"} <= set(atoms.info)
    return "time" if is_of_cp2k else "time_fs"


def _times_of(
    frames: Sequence[Atoms] | Iterator[Atoms], interval_fs: float | None, source: str, first: int = 0
) -> np.ndarray:
    if interval_fs is not None:
        return np.arange(first, first + sum(1 for _ in frames)) * interval_fs
    try:
        return np.array([float(atoms.info[_time_key(atoms)]) for atoms in frames])
    except KeyError as error:
        raise StructureError(f"{source}: no 'time_fs' in the frames; give the time between frames.") from error
