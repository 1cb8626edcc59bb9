"""Unwrapped paths of the mobile species in a chosen frame of reference, from any trajectory.

Wrapped positions w(t) in a cell h(t), rows, give the path r step by step,

    r(t+1) = r(t) + w(t+1) - w(t) - round([w(t+1) - w(t)] h(t+1)^-1) h(t+1)

the toroidal-view scheme, which at constant pressure keeps the displacement of every step as it was; adding whole cells
n(t) h(t) would let the fluctuating cell move particles that have crossed a boundary (S. von Bülow, J. T. Bullerjahn,
G. Hummer, J. Chem. Phys. 153, 021101 (2020), doi:10.1063/5.0008316). Image flags, where there are any, replace the
rounding, so that steps of any length are right; without flags a step must stay below half the smallest width of the
cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from ase import units
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import complete_cell
from jaxtyping import Float, Int

from limbeck.core.errors import StructureError
from limbeck.core.progress import Bar, Reporter, SilentReporter
from limbeck.core.record import hash_of
from limbeck.observables.diffusion.scratch import Scratch
from limbeck.observables.diffusion.walkers import MemoryWalkers, StoredWalkers, Walkers
from limbeck.structures.chunks import Chunk, Trajectory

LONG_STEP = 0.4
"""Steps above this share of the cell's smallest width are told of: half of it can no longer be unwrapped."""
SINGLE = 3e-7
"""Relative error of a time that was written in single precision, a few times over."""
FRAMES_PER_CHUNK = 64
STRETCH_BYTES = 100_000_000
"""Paths are written to disk in stretches of about this size."""
Reference = Literal["host", "total", "none"]
_Place = tuple[np.ndarray, np.ndarray | None, np.ndarray]
"""Wrapped positions, image flags and unwrapped positions of the last frame."""


@dataclass(frozen=True)
class Paths:
    """Unwrapped paths of some atoms.

    Attributes:
        walkers: Positions in Å, relative to the frame of reference.
        interval_fs: Time between frames.
        species: Chemical symbol of each path.
        reference: Frame of reference that was used.
        volume_A3: Mean volume of the cell, NaN where the structure is not periodic in all directions.
        longest_step: Longest displacement between two frames over the smallest width of the cell; 0 with image flags.
        warnings: What a reader of the numbers must know.
        scratch: Where the positions are, if on disk.
    """

    walkers: Walkers
    interval_fs: float
    species: tuple[str, ...]
    reference: Reference
    volume_A3: float
    longest_step: float
    warnings: tuple[str, ...]
    scratch: Scratch | None = None

    @property
    def n_frames(self) -> int:
        """Frames."""
        return self.walkers.shape[0]

    @property
    def positions(self) -> Float[np.ndarray, "n_frames n_paths 3"]:
        """All positions in Å, in memory."""
        return self.walkers.read(slice(None)).transpose(2, 0, 1)

    def of(self, symbol: str) -> Walkers:
        """Paths of one species."""
        rows = np.array([k for k, s in enumerate(self.species) if s == symbol], dtype=int)
        if isinstance(self.walkers, StoredWalkers):
            return replace(self.walkers, rows=self.walkers.rows[rows])
        assert isinstance(self.walkers, MemoryWalkers)
        return MemoryWalkers(self.walkers.paths[:, rows])


def read_paths(
    trajectory: Trajectory,
    species: Sequence[str] | None = None,
    reference: Reference | None = None,
    *,
    skip_fs: float = 0.0,
    every: int = 1,
    scratch: Path | None = None,
    memory_GB: float = 1.0,
    reporter: Reporter | None = None,
) -> Paths:
    """Read a trajectory once and unwrap it.

    Args:
        trajectory: The run.
        species: Mobile species; all atoms where left out.
        reference: Displacements are those relative to the center of mass of all other species (``host``), of all atoms
            (``total``), or as they stand (``none``). Left out: the host where there is one, else all atoms.
        skip_fs: Time at the beginning that is left out.
        every: Every so many frames are kept; all are unwrapped.
        scratch: Folder for the paths; a reader that was killed goes on there. Left out: memory, or, for paths of more
            than ``memory_GB``, a temporary folder.
        memory_GB: See ``scratch``.
        reporter: Shows the progress.

    Raises:
        StructureError: If there are fewer than two frames, times are not at equal intervals, a species is not there, a
            position is not finite, or a step cannot be unwrapped.
        DiskFullError: If the scratch folder's disk is full.
    """
    symbols = np.array(trajectory.species)
    mobile = _mobile(symbols, species)
    frame = reference or ("host" if not mobile.all() else "total")
    if frame == "host" and mobile.all():
        raise StructureError("there is no host: every atom is of a mobile species. Use reference 'total' or 'none'.")
    reader = _Reader(
        trajectory, mobile, _weights(symbols, mobile, frame), frame, skip_fs, every, scratch, int(memory_GB * 1e9)
    )
    with (reporter or SilentReporter()).bar("reading", 100.0, "%") as bar:
        reader.read(bar)
    warnings = []
    if reader.longest > LONG_STEP:
        warnings.append(
            f"an atom moves {reader.longest:.2f} of the cell's smallest width between two frames, without image flags: "
            "write frames more often to be sure of the unwrapping"
        )
    volume = reader.volumes / reader.n_read if all(trajectory.pbc) else float("nan")
    return Paths(
        reader.walkers(), every * reader.clock.interval_fs, tuple(symbols[mobile].tolist()), frame, volume,
        reader.longest, tuple(warnings), reader.scratch,
    )  # fmt: skip


class _Reader:
    """Unwraps chunk by chunk and puts the paths where they fit."""

    def __init__(
        self, trajectory: Trajectory, mobile: np.ndarray, weights: np.ndarray, frame: Reference,
        skip_fs: float, every: int, scratch: Path | None, memory_bytes: int,
    ) -> None:  # fmt: skip
        self.skip_fs, self.every = skip_fs, every
        self.trajectory, self.mobile, self.weights, self.frame = trajectory, mobile, weights, frame
        self.pbc = np.array(trajectory.pbc)
        self.memory_bytes = memory_bytes
        self.parts: list[np.ndarray] = []
        self.clock = _Clock()
        self.before: _Place | None = None
        self.seen, self.n_read, self.n_frames, self.longest, self.volumes = 0, 0, 0, 0.0, 0.0
        self.identity = self._identity()
        self.scratch = Scratch(scratch, self.identity) if scratch else None
        if self.scratch and self.scratch.state:
            self._go_on(self.scratch.state)

    def _identity(self) -> str:
        first = next(iter(self.trajectory.chunks(1)), None)
        if first is None or len(first) == 0:
            raise StructureError("diffusion needs at least two frames, got 0.")
        return hash_of([
            first.positions, first.cells, self.mobile, self.frame, self.trajectory.species, self.skip_fs, self.every,
        ])  # fmt: skip

    def read(self, bar: Bar) -> None:
        """All frames that are left."""
        times = None
        for chunk in self.trajectory.chunks(FRAMES_PER_CHUNK, self.seen):
            if chunk.times_fs is None and times is None:
                times = self.trajectory.times_fs
            known = chunk.times_fs if times is None else times[self.seen : self.seen + len(chunk)]
            assert known is not None
            chosen = self.clock.new(known, self.seen)
            chosen = chosen[known[chosen] - self.clock.first >= self.skip_fs]
            self.seen += len(chunk)
            if len(chosen):
                self._take(chunk, chosen)
            if np.isfinite(chunk.share):
                bar.set(100.0 * chunk.share, f"{self.n_frames} frames")
            waiting = sum(p.nbytes for p in self.parts)
            if self.scratch is None and waiting > self.memory_bytes:
                self.scratch = Scratch(None, self.identity)
            if self.scratch is not None and waiting > STRETCH_BYTES and len(chunk) == FRAMES_PER_CHUNK:
                self._flush()
        if self.n_frames < 2:
            raise StructureError(self.clock.too_few(self.n_frames))
        if self.scratch is not None and self.parts:
            self._flush()

    def _take(self, chunk: Chunk, chosen: np.ndarray) -> None:
        if not np.all(np.isfinite(chunk.positions[chosen])):
            raise StructureError("a frame holds NaN or infinity: the run exploded, or its file is damaged.")
        positions, longest, self.before = _continue(chunk, chosen, self.before, self.pbc)
        self.longest = max(self.longest, longest)
        if self.longest >= 0.5:
            raise StructureError(
                f"an atom moves {self.longest:.2f} of the cell's smallest width between two frames, and there are no "
                "image flags: where it went cannot be told. Write frames more often, or image flags (ix iy iz)."
            )
        self.volumes += float(np.abs(np.linalg.det(chunk.cells[chosen])).sum())
        kept = np.arange(-self.n_read % self.every, len(chosen), self.every)
        self.n_read += len(chosen)
        self.n_frames += len(kept)
        center = 0.0 if self.frame == "none" else np.einsum("a,fax->fx", self.weights, positions)[:, None, :]
        self.parts.append((positions[:, self.mobile] - center)[kept])

    def _flush(self) -> None:
        assert self.scratch is not None
        assert self.before is not None
        wrapped, images, place = self.before
        state = {
            "seen": self.seen, "n_read": self.n_read, "n_frames": self.n_frames, "longest": self.longest,
            "volumes": self.volumes, "clock": self.clock.state(), "wrapped": wrapped, "place": place,
        }  # fmt: skip
        self.scratch.append(np.concatenate(self.parts), state if images is None else state | {"images": images})
        self.parts = []

    def _go_on(self, state: dict[str, np.ndarray]) -> None:
        self.seen, self.n_read, self.n_frames = (int(state[name]) for name in ("seen", "n_read", "n_frames"))
        self.longest, self.volumes = float(state["longest"]), float(state["volumes"])
        self.clock = _Clock.from_state(state["clock"])
        self.before = (state["wrapped"], state.get("images"), state["place"])

    def walkers(self) -> Walkers:
        """The paths."""
        count = int(self.mobile.sum())
        if self.scratch is not None:
            return self.scratch.walkers(count, np.arange(count))
        return MemoryWalkers(np.concatenate(self.parts))


class _Clock:
    """Checks that times are at equal intervals, and leaves out frames that a restart wrote twice."""

    def __init__(self) -> None:
        self.first, self.last, self.interval_fs = float("nan"), float("nan"), float("nan")

    def new(self, times_fs: Float[np.ndarray, " n"], first: int) -> Int[np.ndarray, " kept"]:
        """Numbers within the chunk of the frames to use; ``first`` is the number of its first frame."""
        kept = []
        for number, time in enumerate(times_fs.tolist()):
            step = time - self.last
            if np.isnan(self.last):
                self.first = time
                kept.append(number)
            elif step != 0:
                if np.isnan(self.interval_fs):
                    self.interval_fs = step
                if self.interval_fs <= 0 or abs(step - self.interval_fs) > 1e-3 * self.interval_fs + SINGLE * abs(time):
                    raise StructureError(
                        f"frames are not at equal, increasing times: frame {first + number} at {time:g} fs follows one "
                        f"at {self.last:g} fs, the interval is {self.interval_fs:g} fs. Cut the trajectory into parts "
                        "without gaps, or leave out what a restart wrote twice."
                    )
                kept.append(number)
            self.last = time
        return np.array(kept, dtype=int)

    def too_few(self, n_frames: int) -> str:
        """What to say of a trajectory without a second frame."""
        if n_frames == 1 and not np.isnan(self.last):
            return "diffusion needs at least two frames at different times, got one time only."
        return f"diffusion needs at least two frames, got {n_frames}."

    def state(self) -> Float[np.ndarray, " 3"]:
        """To go on from."""
        return np.array([self.first, self.last, self.interval_fs])

    @classmethod
    def from_state(cls, values: np.ndarray) -> "_Clock":
        """A clock that goes on."""
        clock = cls()
        clock.first, clock.last, clock.interval_fs = values.tolist()
        return clock


def read_velocities(
    trajectory: Trajectory, species: Sequence[str], reference: Reference | None = None, *, skip_fs: float = 0.0
) -> tuple[Walkers, float]:
    """Velocities in Å/fs of some species in a frame of reference, and the time between frames in fs; in memory.

    Raises:
        StructureError: As :func:`read_paths`, or if a frame holds no velocities.
    """
    symbols = np.array(trajectory.species)
    mobile = _mobile(symbols, species)
    frame = reference or ("host" if not mobile.all() else "total")
    weights = _weights(symbols, mobile, frame)
    clock, parts, seen, times = _Clock(), [], 0, None
    for chunk in trajectory.chunks(FRAMES_PER_CHUNK):
        if chunk.velocities is None:
            raise StructureError("the trajectory holds no velocities: Green-Kubo cannot be done.")
        if chunk.times_fs is None and times is None:
            times = trajectory.times_fs
        known = chunk.times_fs if times is None else times[seen : seen + len(chunk)]
        assert known is not None
        chosen = clock.new(known, seen)
        chosen = chosen[known[chosen] - clock.first >= skip_fs]
        seen += len(chunk)
        moving = chunk.velocities[chosen] * units.fs
        center = 0.0 if frame == "none" else np.einsum("a,fax->fx", weights, moving)[:, None, :]
        parts.append(moving[:, mobile] - center)
    return MemoryWalkers(np.concatenate(parts)), clock.interval_fs


def _weights(symbols: np.ndarray, mobile: np.ndarray, frame: Reference) -> Float[np.ndarray, " n_atoms"]:
    """Share of each atom in the center that displacements are relative to."""
    masses = atomic_masses[[atomic_numbers[s] for s in symbols]]
    weights = np.where(mobile, 0.0, masses) if frame == "host" else masses
    return np.asarray(weights / weights.sum())


def _mobile(symbols: np.ndarray, species: Sequence[str] | None) -> np.ndarray:
    if species is None:
        return np.ones(len(symbols), dtype=bool)
    missing = [s for s in species if s not in symbols]
    if missing or not species:
        raise StructureError(
            f"no atom is {', '.join(missing) or 'chosen'}; the trajectory has {', '.join(sorted(set(symbols)))}."
        )
    return np.isin(symbols, list(species))


def _continue(
    chunk: Chunk, chosen: np.ndarray, before: _Place | None, pbc: np.ndarray
) -> tuple[np.ndarray, float, _Place]:
    """Go on from the last frame: its wrapped positions, image flags and unwrapped positions."""
    wrapped, cells = chunk.positions[chosen], chunk.cells[chosen]
    images = None if chunk.images is None else chunk.images[chosen]
    if before is None:
        start = wrapped[0] if images is None else wrapped[0] + images[0] @ cells[0]
        before = (wrapped[0], None if images is None else images[0], start)
    last, last_images, place = before
    steps = np.diff(wrapped, axis=0, prepend=last[None])
    longest = 0.0
    if images is not None and last_images is not None:
        steps += np.einsum("fai,fij->faj", np.diff(images, axis=0, prepend=last_images[None]), cells)
    elif pbc.any() and not chunk.is_unwrapped:
        full = np.array([complete_cell(cell) for cell in cells])
        inverse = np.linalg.inv(full)
        shift = np.round(np.einsum("fai,fij->faj", steps, inverse)) * pbc
        steps -= np.einsum("fai,fij->faj", shift, full)
        widths = 1.0 / np.linalg.norm(inverse, axis=1)
        smallest = np.where(pbc, widths, np.inf).min(axis=1)
        longest = float((np.linalg.norm(steps, axis=2).max(axis=1) / smallest).max())
    unwrapped = place + np.cumsum(steps, axis=0)
    return unwrapped, longest, (wrapped[-1], None if images is None else images[-1], unwrapped[-1])
