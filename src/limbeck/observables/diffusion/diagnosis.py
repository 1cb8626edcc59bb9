"""What is behind a diffusion coefficient: how many hops, of how many ions, when, and whether few of them decide.

A mean square displacement can look like diffusion when three ions of a hundred have jumped once. Relative errors of a
hop process cannot be below one over the root of the number of independent hops, whatever the fit says.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import norm
from scipy.stats import t as student_t

from limbeck.observables.diffusion.blocks import Jackknife
from limbeck.observables.diffusion.hops import HOP_LENGTH_A
from limbeck.observables.diffusion.tracer import Diffusion

FEW_HOPS = 50
FEW_MOVED = 0.5
MANY_A_PIECE = 0.2
"""Hops of a particle in one piece of the run above which some are missed."""
UNLIKELY = 1e-3
"""Rate at which a block of ordinary data would be called odd, or halves different."""


@dataclass(frozen=True)
class Diagnosis:
    """What a reader of D should look at.

    Attributes:
        hops: Times that some particle went farther than ``hop_length_A`` from where it was after its last hop.
        at_least: Whether hops are so fast that some were not seen.
        hop_length_A: See there.
        moved_share: Part of the particles that hopped at least once.
        times_fs: (m,) lags of ``non_gaussian``.
        non_gaussian: (m,) ``d <r^4> / ((d + 2) <r^2>^2) - 1``: 0 where displacements are normal, large where few move.
        exponent: Slope of log M over log t across the window: 1 for diffusion, less where vibrations still count.
        halves: Difference of the slopes of the two halves of the run in standard errors; NaN for a short run.
        odd_block_of_time: Number of the block of time that is out of line with the others, or ``None``.
        odd_block_of_particles: The same of particles.
        warnings: In words.
    """

    hops: int
    at_least: bool
    hop_length_A: float
    moved_share: float
    times_fs: Float[np.ndarray, " m"]
    non_gaussian: Float[np.ndarray, " m"]
    exponent: float
    halves: float
    odd_block_of_time: int | None
    odd_block_of_particles: int | None
    warnings: tuple[str, ...]


def diagnose(found: Diffusion, hop_length_A: float = HOP_LENGTH_A) -> Diagnosis:
    """Look behind a diffusion coefficient.

    Args:
        found: The coefficient of particles (of a collective coordinate hops mean nothing).
        hop_length_A: Displacement that counted as a hop when D was found. Positions are means over a two-thousandth of
            the run, so that vibrations are not counted.
    """
    seen = found.displacements
    n_axes = seen.tensor.shape[1]
    counts = found.hops
    hops, moved = int(counts.sum()), float(np.mean(counts > 0))
    at_least = hops > MANY_A_PIECE * seen.places.shape[0] * len(counts)
    squares = seen.squares.mean(axis=1)
    shape = n_axes / (n_axes + 2) * seen.fourth / np.where(squares > 0, squares**2, np.inf) - 1
    halves = _halves(found.time_blocks)
    odd_time, odd_particles = odd_block(found.time_blocks), odd_block(found.particle_blocks)
    warnings = []
    if hops < FEW_HOPS:
        share = f": if ions move by hops, relative errors cannot be below {100 / np.sqrt(hops):.0f} %" if hops else ""
        warnings.append(f"{hops} hops of {hop_length_A:g} Å in the whole run{share}")
    if moved < FEW_MOVED:
        warnings.append(f"only {100 * moved:.0f} % of the ions ever hopped {hop_length_A:g} Å")
    if odd_time is not None and found.time_blocks is not None:
        warnings.append(
            f"block {odd_time + 1} of {found.time_blocks.n_blocks} of the run is out of line with the others: a rare "
            "event, or the run is not stationary"
        )
    if odd_particles is not None and found.particle_blocks is not None:
        warnings.append(
            f"block {odd_particles + 1} of {found.particle_blocks.n_blocks} of the ions is out of line with the others"
        )
    if abs(halves) > norm.isf(UNLIKELY / 2):
        warnings.append(f"the two halves of the run differ by {abs(halves):.1f} standard errors: it is not stationary")
    return Diagnosis(
        hops, at_least, hop_length_A, moved, seen.lags * found.interval_fs, shape, found.exponent, halves,
        odd_time, odd_particles, tuple(warnings),
    )  # fmt: skip


def odd_block(blocks: Jackknife | None) -> int | None:
    """Block that Grubbs's test calls an outlier at the rate :data:`UNLIKELY`, or ``None``."""
    if blocks is None or blocks.n_blocks < 4 or np.ptp(blocks.values) == 0:
        return None
    n = blocks.n_blocks
    scores = np.abs(blocks.values - blocks.values.mean()) / blocks.values.std(ddof=1)
    quantile = float(student_t.isf(UNLIKELY / (2 * n), n - 2))
    limit = (n - 1) / np.sqrt(n) * np.sqrt(quantile**2 / (n - 2 + quantile**2))
    worst = int(np.argmax(scores))
    return worst if scores[worst] > limit else None


def _halves(blocks: Jackknife | None) -> float:
    """Difference of the means of the halves as a normal score of the same probability as Student's."""
    if blocks is None:
        return float("nan")
    n = blocks.n_blocks
    first, second = blocks.values[: n // 2], blocks.values[n - n // 2 :]
    spread = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / len(first))
    if spread == 0:
        return 0.0
    score = float((second.mean() - first.mean()) / spread)
    return float(np.sign(score) * norm.isf(student_t.sf(abs(score), 2 * len(first) - 2)))
