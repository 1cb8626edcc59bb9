"""What every reader of trajectories yields, and the protocol that observables take."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int

T = TypeVar("T")


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


def groups(frames: Iterator[T], count: int) -> Iterator[list[T]]:
    """Frames in lists of ``count``; the last may be shorter."""
    while kept := list(islice(frames, count)):
        yield kept
