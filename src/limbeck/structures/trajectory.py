"""Trajectories read as a stream: what observables take, so that they never load a whole file.

Readers: extended XYZ (anything that ASE streams) and the LAMMPS dumps that :mod:`limbeck.dynamics` writes.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
from ase import Atoms, units
from jaxtyping import Float, Int

from limbeck.core.errors import MissingFileError, StructureError

T = TypeVar("T")
ANGSTROM_PER_PS = 1e-3 / units.fs
"""One Å/ps (LAMMPS ``metal``) in ASE's unit of velocity."""


@dataclass(frozen=True)
class Chunk:
    """Some consecutive frames of a trajectory.

    Attributes:
        positions: Å. Unwrapped where ``images`` is ``None`` and the source was so; else wrapped, and
            ``positions + images @ cells`` are the unwrapped ones (:meth:`unwrapped`).
        cells: Lattice vectors as rows, Å.
        velocities: ASE units (Å sqrt(eV/amu)), or ``None``.
        images: How many cells an atom has travelled along each vector, or ``None``.
        is_unwrapped: Whether ``positions`` are known to be unwrapped by the source.
        times_fs: Time of each frame in femtoseconds, or ``None`` where only the trajectory knows.
        share: Part of the source that has been read at the end of the chunk, 0 to 1; NaN where unknown.
    """

    positions: Float[np.ndarray, "n_frames n_atoms 3"]
    cells: Float[np.ndarray, "n_frames 3 3"]
    velocities: Float[np.ndarray, "n_frames n_atoms 3"] | None = None
    images: Int[np.ndarray, "n_frames n_atoms 3"] | None = None
    is_unwrapped: bool = False
    times_fs: Float[np.ndarray, " n_frames"] | None = None
    share: float = float("nan")

    def __len__(self) -> int:
        return len(self.positions)

    def unwrapped(self) -> Float[np.ndarray, "n_frames n_atoms 3"]:
        """Positions in Å with the travelled cells added."""
        if self.images is None:
            return self.positions
        return np.asarray(self.positions + np.einsum("fai,fij->faj", self.images, self.cells))


class Trajectory(Protocol):
    """A run as observables see it. Atoms keep their order; their number does not change."""

    @property
    def times_fs(self) -> Float[np.ndarray, " n_frames"]:
        """Time of each frame in femtoseconds, increasing."""
        ...

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbol of each atom."""
        ...

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Along which cell vectors the structure repeats."""
        ...

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order from ``first_frame`` on, at most ``frames_per_chunk`` at a time; each call starts anew."""
        ...


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
    """

    path: Path
    interval_fs: float | None = None

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise MissingFileError(f"{self.path}: no such trajectory file.")

    def _frames(self, first: int = 0) -> Iterator[Atoms]:
        import ase.io
        from ase.io.formats import UnknownFileTypeError

        try:
            yield from ase.io.iread(self.path, index=f"{first}:")
        except (ValueError, OSError, KeyError, ase.io.ParseError, UnknownFileTypeError) as error:
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
        start = first_frame
        for kept in _groups(self._frames(first_frame), frames_per_chunk):
            yield _chunk_of(kept, start, self.interval_fs, str(self.path))
            start += len(kept)


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
            for kept in _groups(iterate_dump(handle, first_frame), frames_per_chunk):
                steps = np.array([frame.step for frame in kept], dtype=float)
                times = (steps - self.first_step) * self.timestep_fs
                yield _chunk_of_dump(kept, times, handle.tell() / size)


def open_trajectory(
    path: Path | str,
    *,
    interval_fs: float | None = None,
    elements: Sequence[str] = (),
    timestep_fs: float | None = None,
) -> Trajectory:
    """Trajectory file of a kind that is told by what it holds: a LAMMPS text dump, or whatever ASE streams.

    Args:
        path: The file.
        interval_fs: Time between frames, for files without ``time_fs`` in their frames.
        elements: Chemical symbols of LAMMPS types 1, 2, ...; needed for a dump.
        timestep_fs: Time step of the LAMMPS run; needed for a dump.

    Raises:
        MissingFileError: If there is no such file.
        StructureError: If a dump comes without elements or time step, or a time is not above zero.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such trajectory file.")
    for name, value in (("time between frames", interval_fs), ("time step", timestep_fs)):
        if value is not None and not value > 0:
            raise StructureError(f"{path}: the {name} must be above zero, got {value:g} fs.")
    with path.open("rb") as handle:
        is_dump = handle.read(14) == b"ITEM: TIMESTEP"
    if not is_dump:
        return FileTrajectory(path, interval_fs)
    if not elements or not timestep_fs:
        raise StructureError(
            f"{path}: a LAMMPS dump holds neither element symbols nor times; give the elements of its types in order "
            "and the time step (--elements Li,P,S --timestep_fs 1)."
        )
    return LammpsTrajectory(path, tuple(elements), timestep_fs)


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


def _groups(frames: Iterator[T], count: int) -> Iterator[list[T]]:
    """Frames in lists of ``count``; the last may be shorter."""
    while kept := list(islice(frames, count)):
        yield kept


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


def _chunk_of(
    frames: Sequence[Atoms], first: int, interval_fs: float | None, source: str, share: float = float("nan")
) -> Chunk:
    _check_same_atoms(frames)
    known = interval_fs is not None or all("time_fs" in atoms.info for atoms in frames)
    return Chunk(
        times_fs=_times_of(frames, interval_fs, source, first) if known else None,
        share=share,
        positions=np.array([atoms.get_positions() for atoms in frames]),
        cells=np.array([atoms.cell[:] for atoms in frames]),
        velocities=np.array([a.get_velocities() for a in frames]) if all(a.has("momenta") for a in frames) else None,
    )


def _check_same_atoms(frames: Sequence[Atoms]) -> None:
    if len(frames) == 0:
        raise StructureError("a trajectory needs at least one frame.")
    numbers = frames[0].get_atomic_numbers()
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.get_atomic_numbers(), numbers):
            raise StructureError(f"frame {index} has other atoms, or another order, than the first frame.")


def _times_of(
    frames: Sequence[Atoms] | Iterator[Atoms], interval_fs: float | None, source: str, first: int = 0
) -> np.ndarray:
    if interval_fs is not None:
        return np.arange(first, first + len(frames)) * interval_fs  # type: ignore[arg-type]
    try:
        return np.array([float(atoms.info["time_fs"]) for atoms in frames])
    except KeyError as error:
        raise StructureError(f"{source}: no 'time_fs' in the frames; give the time between frames.") from error
