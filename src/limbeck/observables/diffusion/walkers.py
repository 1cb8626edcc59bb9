"""Paths of many particles that are looked at a few particles at a time, in memory or on disk.

Observables take :class:`Walkers` and ask for batches of whole paths, so that what they need does not grow with the
number of particles. Both kinds give equal batches for equal data, so results are equal to the bit.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int

VALUES_AT_ONCE = 600_000
"""Values of one batch: 5 MB, a few times that while it is worked on."""
T = TypeVar("T")


class Walkers(Protocol):
    """Paths of particles that are alike: unwrapped positions in Å at equal intervals."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of frames, particles and axes."""
        ...

    def read(self, part: slice) -> Float[np.ndarray, "n_part n_axes n_frames"]:
        """Some paths, whole, time along the last axis and contiguous."""
        ...


@dataclass(frozen=True)
class MemoryWalkers:
    """Paths in memory.

    Attributes:
        paths: Å.
        stretch: Linear map of the positions, rows times matrix, applied when they are read; ``None``: none.
    """

    paths: Float[np.ndarray, "n_frames n_particles n_axes"]
    stretch: Float[np.ndarray, "3 3"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of frames, particles and axes."""
        n_frames, n_particles, n_axes = self.paths.shape
        return n_frames, n_particles, n_axes

    def read(self, part: slice) -> Float[np.ndarray, "n_part n_axes n_frames"]:
        """Some paths."""
        return _stretched(np.ascontiguousarray(self.paths[:, part].transpose(1, 2, 0), dtype=np.float64), self.stretch)


@dataclass(frozen=True)
class StoredWalkers:
    """Paths in a file of doubles, written by :class:`limbeck.observables.diffusion.scratch.Scratch`.

    The file holds stretches of time, one after the other; each of them particle by particle, axis by axis.

    Attributes:
        file: The file.
        stretches: Frames of each stretch.
        n_stored: Particles in the file.
        rows: Numbers of the particles that are meant.
        stretch: As in :class:`MemoryWalkers`.
        keeper: Whose file it is: a temporary one goes when nobody holds its keeper any more.
    """

    file: Path
    stretches: tuple[int, ...]
    n_stored: int
    rows: Int[np.ndarray, " n_particles"]
    stretch: Float[np.ndarray, "3 3"] | None = None
    keeper: object = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of frames, particles and axes."""
        return sum(self.stretches), len(self.rows), 3

    def read(self, part: slice) -> Float[np.ndarray, "n_part n_axes n_frames"]:
        """Some paths, read from the file."""
        rows = self.rows[part]
        found = np.empty((len(rows), 3, sum(self.stretches)))
        runs = np.split(np.arange(len(rows)), 1 + np.flatnonzero(np.diff(rows) != 1))
        begin, frame = 0, 0
        with self.file.open("rb") as handle:
            for count in self.stretches:
                for run in runs:
                    handle.seek(8 * (begin + int(rows[run[0]]) * 3 * count))
                    values = np.fromfile(handle, dtype=np.float64, count=len(run) * 3 * count)
                    found[run, :, frame : frame + count] = values.reshape(len(run), 3, count)
                begin += self.n_stored * 3 * count
                frame += count
        return _stretched(found, self.stretch)


def _stretched(paths: np.ndarray, stretch: np.ndarray | None) -> Float[np.ndarray, "n_part n_axes n_frames"]:
    return paths if stretch is None else np.ascontiguousarray(np.einsum("pxf,xy->pyf", paths, stretch))


def as_walkers(paths: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']") -> Walkers:
    """Walkers, also of an array.

    Raises:
        ValueError: If an array has another number of dimensions, or no value.
    """
    if not isinstance(paths, np.ndarray):
        return paths
    if paths.ndim != 3 or paths.size == 0:
        raise ValueError(f"paths need the shape (frames, particles, axes), got {paths.shape}")
    return MemoryWalkers(paths)


def batches(walkers: Walkers) -> list[slice]:
    """Particles of each batch; the same for equal shapes."""
    n_frames, n_particles, n_axes = walkers.shape
    width = max(1, min(n_particles, VALUES_AT_ONCE // (n_frames * n_axes)))
    return [slice(first, min(first + width, n_particles)) for first in range(0, n_particles, width)]


def over_batches(walkers: Walkers, work: "Callable[[np.ndarray, slice], T]", threads: int = 0) -> Iterator[T]:
    """Results of ``work(paths, part)`` of all batches in order, on several threads, few of them in memory at once.

    Args:
        walkers: The paths.
        work: Must not touch what another call touches.
        threads: 0 uses the cores that this process may use.
    """

    def one(part: slice) -> T:
        return work(walkers.read(part), part)

    parts: Sequence[slice] = batches(walkers)
    count = min(threads or len(os.sched_getaffinity(0)), len(parts))
    if count <= 1:
        yield from map(one, parts)
        return
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[T]] = deque()
        for part in parts:
            waiting.append(pool.submit(one, part))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
