"""Unwrapped paths of the mobile species in a chosen frame of reference, from any trajectory.

See :mod:`limbeck.observables.diffusion.unwrap` for how positions are joined.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from ase import units
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import complete_cell
from jaxtyping import Float

from limbeck.core.errors import StructureError
from limbeck.core.progress import Bar, Reporter, SilentReporter
from limbeck.core.record import hash_of
from limbeck.observables.diffusion.clock import Clock
from limbeck.observables.diffusion.scratch import Scratch
from limbeck.observables.diffusion.unwrap import Place, unwrapped
from limbeck.observables.diffusion.walkers import MemoryWalkers, StoredWalkers, Walkers
from limbeck.structures.chunks import Chunk, Trajectory

STEADY_A = 1e-9
"""Cells that differ by less are the same."""
FARTHEST_HOST_A = 3.0
"""Root mean square displacement of the host's atoms within its frame above which it is no solid (groups that turn stay
below it)."""
LONG_STEP = 0.4
"""Steps above this share of the cell's smallest width are told of: half of it can no longer be unwrapped."""
FRAMES_PER_CHUNK = 64
STRETCH_BYTES = 100_000_000
"""Paths are written to disk in stretches of about this size."""
Reference = Literal["host", "total", "none"]


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
        host: Path of the center of mass of all other species in the same frame of reference, as one particle;
            ``None`` where it is the reference, or where there is no other species.
    """

    walkers: Walkers
    interval_fs: float
    species: tuple[str, ...]
    reference: Reference
    volume_A3: float
    longest_step: float
    warnings: tuple[str, ...]
    host: Walkers | None = None

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
        return (
            self.walkers if len(rows) == len(self.species) else replace(self.walkers, paths=self.walkers.paths[:, rows])
        )


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
    reader = _Reader(trajectory, mobile, symbols, frame, skip_fs, every, scratch, int(memory_GB * 1e9))
    with (reporter or SilentReporter()).bar("reading", 100.0, "%") as bar:
        reader.read(bar)
    warnings = []
    if reader.longest > LONG_STEP:
        warnings.append(
            f"an atom moves {reader.longest:.2f} of the cell's smallest width between two frames, without image flags: "
            "write frames more often to be sure of the unwrapping"
        )
    if not any(trajectory.pbc):
        warnings.append("the trajectory has no periodic cell: positions are taken as unwrapped")
    if reader.host_moved_A > FARTHEST_HOST_A:
        warnings.append(
            f"the host has moved {reader.host_moved_A:.1f} Å (root mean square) within its own frame: displacements "
            "are relative to something that is no solid"
        )
    volume = reader.volumes / reader.n_read if all(trajectory.pbc) else float("nan")
    return Paths(
        reader.walkers(), every * reader.clock.interval_fs, tuple(symbols[mobile].tolist()), frame, volume,
        reader.longest, tuple(warnings), reader.host(),
    )  # fmt: skip


class _Reader:
    """Unwraps chunk by chunk and puts the paths where they fit."""

    def __init__(
        self, trajectory: Trajectory, mobile: np.ndarray, symbols: np.ndarray, frame: Reference,
        skip_fs: float, every: int, scratch: Path | None, memory_bytes: int,
    ) -> None:  # fmt: skip
        self.skip_fs, self.every = skip_fs, every
        self.trajectory, self.mobile, self.frame = trajectory, mobile, frame
        self.weights = _weights(symbols, mobile, frame)
        self.host_weights = None if mobile.all() else _weights(symbols, mobile, "host")
        self.cell_0: np.ndarray | None = None
        self.cells = np.zeros((3, 3))
        self.first_host: np.ndarray | None = None
        self.last: np.ndarray | None = None
        self.pbc = np.array(trajectory.pbc)
        self.memory_bytes = memory_bytes
        self.parts: list[np.ndarray] = []
        self.clock = Clock()
        self.before: Place | None = None
        self.seen, self.n_read, self.n_frames, self.longest, self.volumes = 0, 0, 0, 0.0, 0.0
        self.identity = self._identity()
        self.scratch = Scratch(scratch, self.identity) if scratch else None
        if self.scratch and self.scratch.state:
            if self._is_same_run(self.scratch.state):
                self._go_on(self.scratch.state)
            else:
                self.scratch.discard()

    def _identity(self) -> str:
        first = next(iter(self.trajectory.chunks(2)), None)
        if first is None or len(first) == 0:
            raise StructureError("diffusion needs at least two frames, got 0.")
        times = self.trajectory.times_fs[:2] if first.times_fs is None else first.times_fs
        return hash_of([
            first.positions, first.cells, times, first.is_unwrapped, self.pbc, self.mobile, self.frame,
            self.trajectory.species, self.skip_fs, self.every,
        ])  # fmt: skip

    def _is_same_run(self, state: dict[str, np.ndarray]) -> bool:
        """Whether the last frame that the state was made from is still where it was."""
        found = next(iter(self.trajectory.chunks(1, int(state["seen"]) - 1)), None)
        return found is not None and np.array_equal(found.positions[0], state["last"])

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
            self.last = chunk.positions[-1]
            if len(chosen):
                self._take(chunk, chosen)
            if np.isfinite(chunk.share):
                bar.set(100.0 * chunk.share, f"{self.n_frames} frames")
            waiting = sum(p.nbytes for p in self.parts)
            if self.scratch is None and 2 * waiting > self.memory_bytes:
                self.scratch = Scratch(None, self.identity)
            if self.scratch is not None and waiting > STRETCH_BYTES and len(chunk) == FRAMES_PER_CHUNK:
                self._flush()
        if self.n_frames < 2:
            raise StructureError(self.clock.too_few(self.n_frames, self.seen, self.skip_fs))
        self.clock.finish()
        if self.scratch is not None and self.parts:
            self._flush()

    def _take(self, chunk: Chunk, chosen: np.ndarray) -> None:
        if not np.all(np.isfinite(chunk.positions[chosen])):
            bad = np.flatnonzero(~np.isfinite(chunk.positions[chosen]).all(axis=(1, 2)))[0]
            number = self.seen - len(chunk) + int(chosen[bad])
            raise StructureError(f"frame {number} holds NaN or infinity: the run exploded, or its file is damaged.")
        if self.cell_0 is None and self.frame == "host" and self.pbc.any():
            self.cell_0 = chunk.cells[chosen[0]].copy()
        self.cells += chunk.cells[chosen].sum(axis=0)
        positions, longest, self.before = unwrapped(chunk, chosen, self.before, self.pbc, self.cell_0)
        if self.first_host is None and self.host_weights is not None:
            self.first_host = positions[0, ~self.mobile] - self.host_weights @ positions[0]
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
        positions = positions[kept]
        center = 0.0 if self.frame == "none" else np.einsum("a,fax->fx", self.weights, positions)[:, None, :]
        paths = [positions[:, self.mobile] - center]
        if self._follows_host:
            assert self.host_weights is not None
            paths.append(np.einsum("a,fax->fx", self.host_weights, positions)[:, None, :] - center)
        self.parts.append(np.concatenate(paths, axis=1))

    @property
    def _follows_host(self) -> bool:
        return self.host_weights is not None and self.frame != "host"

    @property
    def host_moved_A(self) -> float:
        """How far the atoms of the host have moved within its own frame, root mean square."""
        if self.host_weights is None or self.first_host is None or self.before is None:
            return 0.0
        place = self.before[2]
        moved = place[~self.mobile] - self.host_weights @ place - self.first_host
        return float(np.sqrt(np.mean(np.sum(moved**2, axis=1))))

    def _flush(self) -> None:
        assert self.scratch is not None
        assert self.before is not None
        wrapped, images, place, cell = self.before
        state = {
            "seen": self.seen, "n_read": self.n_read, "n_frames": self.n_frames, "longest": self.longest,
            "volumes": self.volumes, "clock": self.clock.state(),
            "last": self.last, "cell_0": self.cell_0, "cells": self.cells, "first_host": self.first_host,
            "wrapped": wrapped, "place": place, "cell": cell,
        }  # fmt: skip
        known = {name: value for name, value in (state | {"images": images}).items() if value is not None}
        self.scratch.append(np.concatenate(self.parts), known)
        self.parts = []

    def _go_on(self, state: dict[str, np.ndarray]) -> None:
        self.seen, self.n_read, self.n_frames = (int(state[name]) for name in ("seen", "n_read", "n_frames"))
        self.longest, self.volumes = float(state["longest"]), float(state["volumes"])
        self.clock = Clock.from_state(state["clock"])
        self.first_host, self.last = state.get("first_host"), state["last"]
        self.cell_0, self.cells = state.get("cell_0"), state["cells"]
        self.before = (state["wrapped"], state.get("images"), state["place"], state["cell"])

    def walkers(self) -> Walkers:
        """The paths."""
        return self._walkers(np.arange(int(self.mobile.sum())))

    def host(self) -> Walkers | None:
        """The path of the host's center, where it is not the reference."""
        return self._walkers(np.array([int(self.mobile.sum())])) if self._follows_host else None

    def _walkers(self, rows: np.ndarray) -> Walkers:
        stretch = None
        if self.cell_0 is not None and np.any(np.abs(self.cells / self.n_read - self.cell_0) > STEADY_A):
            stretch = np.linalg.inv(complete_cell(self.cell_0)) @ complete_cell(self.cells / self.n_read)
        if self.scratch is not None:
            return replace(self.scratch.walkers(int(self.mobile.sum()) + self._follows_host, rows), stretch=stretch)
        if len(self.parts) > 1:
            self.parts = [np.concatenate(self.parts)]
        all_paths = self.parts[0]
        return MemoryWalkers(all_paths if len(rows) == all_paths.shape[1] else all_paths[:, rows], stretch)


def read_velocities(
    trajectory: Trajectory, species: Sequence[str], reference: Reference, *, skip_fs: float = 0.0
) -> tuple[Float[np.ndarray, "n_frames n_mobile 3"], tuple[str, ...], float]:
    """Velocities in Å/fs of the mobile species in a frame of reference; in memory.

    Args:
        trajectory: The run.
        species: Mobile species.
        reference: Frame of reference, that of the paths they are compared with.
        skip_fs: Time at the beginning that is left out.

    Returns:
        Velocities, the symbol of each ion, and the time between frames in fs.

    Raises:
        StructureError: As :func:`read_paths`, or if a frame holds no velocities.
    """
    symbols = np.array(trajectory.species)
    mobile = _mobile(symbols, species)
    weights = _weights(symbols, mobile, reference)
    clock, parts, seen = Clock(), [], 0
    times: np.ndarray | None = None
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
        center = 0.0 if reference == "none" else np.einsum("a,fax->fx", weights, moving)[:, None, :]
        parts.append(moving[:, mobile] - center)
    clock.finish()
    return np.concatenate(parts), tuple(symbols[mobile].tolist()), clock.interval_fs


def _weights(symbols: np.ndarray, mobile: np.ndarray, frame: Reference) -> Float[np.ndarray, " n_atoms"]:
    """Share of each atom in the center that displacements are relative to.

    Raises:
        StructureError: If the reference is the host and there is none.
    """
    if frame == "host" and mobile.all():
        raise StructureError("there is no host: every atom is of a mobile species. Use reference 'total' or 'none'.")
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
