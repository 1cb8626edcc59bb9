"""Unwrapped paths of the mobile species in a chosen frame of reference, from any trajectory.

Wrapped positions w(t) in a cell h(t), rows, give the path r step by step,

    r(t+1) = r(t) + w(t+1) - w(t) - round([w(t+1) - w(t)] h(t+1)^-1) h(t+1)

the toroidal-view scheme, which at constant pressure keeps the displacement of every step as it was; adding whole cells
n(t) h(t) would let the fluctuating cell move particles that have crossed a boundary (S. von Bülow, J. T. Bullerjahn,
G. Hummer, J. Chem. Phys. 153, 021101 (2020), doi:10.1063/5.0008316). Image flags, where there are any, replace the
rounding, so that steps of any length are right; without flags a step must stay below half the smallest width of the
cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import complete_cell
from jaxtyping import Float, Int

from limbeck.core.errors import StructureError
from limbeck.structures.trajectory import Chunk, Trajectory

LONG_STEP = 0.4
"""Steps above this share of the cell's smallest width are told of: half of it can no longer be unwrapped."""
Reference = Literal["host", "total", "none"]


@dataclass(frozen=True)
class Paths:
    """Unwrapped paths of some atoms.

    Attributes:
        positions: Å, relative to the frame of reference.
        interval_fs: Time between frames.
        species: Chemical symbol of each path.
        reference: Frame of reference that was used.
        volume_A3: Mean volume of the cell, NaN where the structure is not periodic in all directions.
        longest_step: Longest displacement between two frames over the smallest width of the cell; 0 with image flags.
        warnings: What a reader of the numbers must know.
    """

    positions: Float[np.ndarray, "n_frames n_paths 3"]
    interval_fs: float
    species: tuple[str, ...]
    reference: Reference
    volume_A3: float
    longest_step: float
    warnings: tuple[str, ...]


def read_paths(
    trajectory: Trajectory, species: Sequence[str] | None = None, reference: Reference | None = None
) -> Paths:
    """Read a trajectory once and unwrap it.

    Args:
        trajectory: The run.
        species: Mobile species; all atoms where left out.
        reference: Displacements are those relative to the center of mass of all other species (``host``), of all atoms
            (``total``), or as they stand (``none``). Left out: the host where there is one, else all atoms.

    Raises:
        StructureError: If there are fewer than two frames, times are not at equal intervals, a species is not there, a
            position is not finite, or a step cannot be unwrapped.
    """
    symbols = np.array(trajectory.species)
    mobile = _mobile(symbols, species)
    frame = reference or ("host" if not mobile.all() else "total")
    if frame == "host" and mobile.all():
        raise StructureError("there is no host: every atom is of a mobile species. Use reference 'total' or 'none'.")
    masses = atomic_masses[[atomic_numbers[s] for s in symbols]]
    weights = np.where(mobile, 0.0, masses) if frame == "host" else masses
    weights = weights / weights.sum()
    keep, interval_fs = _equal_times(trajectory.times_fs)
    parts, volumes, longest = [], [], 0.0
    for positions, cells, step in _unwrapped(trajectory, keep):
        longest = max(longest, step)
        if longest >= 0.5:
            raise StructureError(
                f"an atom moves {longest:.2f} of the cell's smallest width between two frames, and there are no image "
                "flags: where it went cannot be told. Write frames more often, or image flags (ix iy iz)."
            )
        volumes.append(np.abs(np.linalg.det(cells)))
        center = 0.0 if frame == "none" else np.einsum("a,fax->fx", weights, positions)[:, None, :]
        parts.append(positions[:, mobile] - center)
    warnings = []
    if longest > LONG_STEP:
        warnings.append(
            f"an atom moves {longest:.2f} of the cell's smallest width between two frames, without image flags: "
            "write frames more often to be sure of the unwrapping"
        )
    volume = float(np.mean(np.concatenate(volumes))) if all(trajectory.pbc) else float("nan")
    found = np.concatenate(parts)
    return Paths(found, interval_fs, tuple(symbols[mobile]), frame, volume, longest, tuple(warnings))


def _mobile(symbols: np.ndarray, species: Sequence[str] | None) -> np.ndarray:
    if species is None:
        return np.ones(len(symbols), dtype=bool)
    missing = [s for s in species if s not in symbols]
    if missing or not species:
        raise StructureError(
            f"no atom is {', '.join(missing) or 'chosen'}; the trajectory has {', '.join(sorted(set(symbols)))}."
        )
    return np.isin(symbols, list(species))


def _equal_times(times_fs: Float[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " kept"], float]:
    """Numbers of the frames to use, without those that a restart wrote twice, and their interval."""
    if len(times_fs) < 2:
        raise StructureError(f"diffusion needs at least two frames, got {len(times_fs)}.")
    steps = np.diff(times_fs)
    keep = np.concatenate([[0], 1 + np.flatnonzero(steps != 0)])
    steps = steps[steps != 0]
    if len(steps) == 0:
        raise StructureError("all frames have the same time.")
    interval = float(np.median(steps))
    wrong = np.flatnonzero(np.abs(steps - interval) > 1e-3 * abs(interval))
    if interval <= 0 or len(wrong):
        place = int(keep[wrong[0]]) if len(wrong) else 0
        raise StructureError(
            f"frames are not at equal, increasing times: after frame {place} at {times_fs[place]:g} fs comes "
            f"{times_fs[keep[np.searchsorted(keep, place) + 1]]:g} fs, the interval is {interval:g} fs. Cut the "
            "trajectory into parts without gaps, or leave out what a restart wrote twice."
        )
    return keep, interval


def _unwrapped(
    trajectory: Trajectory, keep: Int[np.ndarray, " kept"]
) -> Iterator[tuple[Float[np.ndarray, "f a 3"], Float[np.ndarray, "f 3 3"], float]]:
    """Unwrapped positions and cells of the kept frames, chunk by chunk, and the longest step in units of the width."""
    pbc = np.array(trajectory.pbc)
    wanted = np.zeros(int(keep[-1]) + 1, dtype=bool)
    wanted[keep] = True
    first = 0
    before: tuple[np.ndarray, np.ndarray | None, np.ndarray] | None = None
    for chunk in trajectory.chunks():
        chosen = np.flatnonzero(wanted[first : first + len(chunk)])
        first += len(chunk)
        if len(chosen) == 0:
            continue
        if not np.all(np.isfinite(chunk.positions[chosen])):
            raise StructureError("a frame holds NaN or infinity: the run exploded, or its file is damaged.")
        result, longest, before = _continue(chunk, chosen, before, pbc)
        yield result, chunk.cells[chosen], longest


def _continue(
    chunk: Chunk, chosen: np.ndarray, before: tuple[np.ndarray, np.ndarray | None, np.ndarray] | None, pbc: np.ndarray
) -> tuple[np.ndarray, float, tuple[np.ndarray, np.ndarray | None, np.ndarray]]:
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
