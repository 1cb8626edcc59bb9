"""LAMMPS text dumps, streamed."""

import gzip
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, cast

import numpy as np
from ase import units
from jaxtyping import Float

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.chunks import Chunk, groups

VELOCITIES = {"metal": 1e-3 / units.fs, "real": 1.0 / units.fs}
"""One unit of velocity of LAMMPS (Å/ps, Å/fs) in ASE's."""
GZIP = b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A dump, compressed by gzip or not: its text, and the file as it lies on disk, which tells how far it is read."""
    with Path(path).open("rb") as raw:
        is_packed = raw.read(2) == GZIP
        raw.seek(0)
        if not is_packed:
            yield raw, raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield cast("IO[bytes]", unpacked), raw


@dataclass(frozen=True)
class LammpsTrajectory:
    """A LAMMPS text dump.

    Columns: ``id``; ``type`` or ``element``; ``x y z``, ``xs ys zs``, ``xu yu zu`` or ``xsu ysu zsu``; optionally
    ``ix iy iz vx vy vz``. Compressed by gzip or not. Units ``metal``, or ``real`` where the dump says so (``dump_modify
    units yes``; only velocities differ). A last frame that was cut off by a killed run is left out.
    Atoms are returned sorted by id. Cells and positions are in LAMMPS's own orientation (first vector along x), with
    the origin of the first frame's box moved to zero.

    Attributes:
        path: The dump.
        elements: Chemical symbol of types 1, 2, ...; may be empty where the dump has a column ``element``.
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
        with opened(self.path) as (handle, _):
            steps = [frame.step for frame in iterate_dump(handle)]
        return (np.array(steps, dtype=float) - self.first_step) * self.timestep_fs

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbol of each atom, by id."""
        first = self._first()
        if first.elements is not None and not self.elements:
            return tuple(first.elements)
        types = first.column("type").astype(int)
        if types.max() > len(self.elements):
            raise StructureError(f"{self.path}: holds atom type {types.max()}, but elements are {self.elements}.")
        return tuple(self.elements[t - 1] for t in types)

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodic directions."""
        return self._first().pbc

    def _first(self) -> "DumpFrame":
        with opened(self.path) as (handle, _):
            first = next(iterate_dump(handle), None)
        if first is None:
            raise StructureError(f"{self.path}: holds no complete frame.")
        return first

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0) -> Iterator[Chunk]:
        """Frames in order."""
        size, first = Path(self.path).stat().st_size, self._first()
        with opened(self.path) as (handle, raw):
            for kept in groups(iterate_dump(handle, first_frame), frames_per_chunk):
                for frame in kept:
                    if len(frame.table) != len(first.table):
                        raise StructureError(
                            f"{self.path}: {len(frame.table)} atoms at step {frame.step}, {len(first.table)} before: "
                            "the run lost atoms, or the dump is of a group that changes."
                        )
                steps = np.array([frame.step for frame in kept], dtype=float)
                times = (steps - self.first_step) * self.timestep_fs
                yield _chunk_of_dump(kept, times, raw.tell() / size, first.origin)


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
        elements: Column ``element``, or ``None``.
        units: LAMMPS's name of the units, ``metal`` where the dump does not say.
    """

    step: int
    cell: Float[np.ndarray, "3 3"]
    origin: Float[np.ndarray, " 3"]
    pbc: tuple[bool, bool, bool]
    names: tuple[str, ...]
    table: Float[np.ndarray, "n_atoms n_columns"]
    elements: tuple[str, ...] | None = None
    units: str = "metal"

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
        StructureError: If the text is not a LAMMPS dump, a frame holds NaN, or lengths are not in Å.
    """
    try:
        yield from _frames(handle, first_frame)
    except EOFError:  # a compressed dump that was cut off
        return
    except (gzip.BadGzipFile, zlib.error) as error:
        raise StructureError(f"the compressed dump is damaged ({error}).") from error


def _frames(handle: IO[bytes], first_frame: int) -> Iterator[DumpFrame]:
    style = "metal"
    while header := handle.readline():
        if not header.endswith(b"\n"):
            return
        if header.startswith((b"ITEM: UNITS", b"ITEM: TIME\n")):  # of dump_modify units and time
            value = handle.readline().decode().strip()
            if header.startswith(b"ITEM: UNITS"):
                style = value
                if style not in VELOCITIES:
                    raise StructureError(
                        f"the dump is in LAMMPS units {style!r}; {' and '.join(VELOCITIES)} are read, whose lengths "
                        "are in Å."
                    )
            continue
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
        symbols = None
        try:
            values = np.array(b" ".join(body).split())
            if "element" in names:
                column = names.index("element")
                values = values.reshape(n_atoms, len(names))
                symbols = values[:, column].astype(str)
                values, names = np.delete(values, column, axis=1), names[:column] + names[column + 1 :]
            table = values.astype(float).reshape(n_atoms, len(names))
        except ValueError as error:
            raise StructureError(
                f"frame {step} of the dump is not {n_atoms} rows of {len(names)} numbers: {error}."
            ) from error
        if "id" not in names:
            raise StructureError(
                f"a LAMMPS dump has columns {names}, but 'id' is needed: LAMMPS writes atoms in any order."
            )
        if not np.all(np.isfinite(table)):
            raise StructureError(f"frame {step} of the dump holds NaN or infinity: the run exploded.")
        cell, origin, pbc = _box(lines[3].decode(), b" ".join(lines[4:7]).decode())
        order = np.argsort(table[:, names.index("id")])
        sorted_symbols = None if symbols is None else tuple(symbols[order].tolist())
        yield DumpFrame(step, cell, origin, pbc, names, table[order], sorted_symbols, style)


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


def _chunk_of_dump(
    frames: Sequence[DumpFrame], times_fs: np.ndarray, share: float, origin: Float[np.ndarray, " 3"]
) -> Chunk:
    wrapped = [_positions(frame, ("x", "y", "z"), ("xs", "ys", "zs")) for frame in frames]
    unwrapped = [_positions(frame, ("xu", "yu", "zu"), ("xsu", "ysu", "zsu")) for frame in frames]
    positions = [a if a is not None else b for a, b in zip(wrapped, unwrapped, strict=True)]
    if any(p is None for p in positions):
        raise StructureError(f"a LAMMPS dump has columns {frames[0].names}, but x y z (or xu yu zu) are needed.")
    velocities = [frame.vectors("vx", "vy", "vz") for frame in frames]
    images = [frame.vectors("ix", "iy", "iz") for frame in frames]
    has_images = wrapped[0] is not None and images[0] is not None
    return Chunk(
        positions=np.array([p - origin for p in positions]),
        cells=np.array([frame.cell for frame in frames]),
        velocities=None if velocities[0] is None else np.array(velocities) * VELOCITIES[frames[0].units],
        images=np.array(images).astype(int) if has_images else None,
        is_unwrapped=wrapped[0] is None,
        times_fs=times_fs,
        share=share,
    )


def _positions(frame: DumpFrame, names: tuple[str, str, str], scaled: tuple[str, str, str]) -> np.ndarray | None:
    """Positions in Å from plain or scaled columns, or ``None`` if neither is there."""
    found = frame.vectors(*names)
    if found is None and (fractions := frame.vectors(*scaled)) is not None:
        found = frame.origin + fractions @ frame.cell
    return found
