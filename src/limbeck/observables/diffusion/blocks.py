"""Block jackknife: the error of a slope from the scatter of parts of the data.

A slope is linear in the mean square displacements (:class:`limbeck.observables.diffusion.walk.LineFit`), so leaving a
part out costs nothing. Blocks of particles assume that particles are independent of each other, whatever each one does;
blocks of time assume that stretches of the run are, whatever the particles do together. The latter are honest only if a
block is several times as long as the largest lag; shorter ones claim a third of the true error.

Source: H. R. Künsch, Ann. Stat. 17, 1217 (1989), doi:10.1214/aos/1176347265; for mean square displacements the idea of
arXiv:2503.04281. Calibration: benchmarks/diffusion_calibration.py.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student_t

from limbeck.observables.diffusion.kernels import weighted_squares
from limbeck.observables.diffusion.walkers import Walkers, as_walkers, over_batches

LEAST_BLOCKS = 8
MOST_BLOCKS = 40
LAGS_IN_A_BLOCK = 4
"""Blocks of time are at least so many times as long as the largest lag."""


@dataclass(frozen=True)
class Jackknife:
    """A mean over blocks and its error.

    Attributes:
        standard_error: One standard error of the whole.
        n_blocks: Blocks; the error has one degree of freedom less.
        values: (n_blocks,) value of each block by itself.
        influence: (n_blocks,) change of the whole if the block is left out, in units of the standard error.
    """

    standard_error: float
    n_blocks: int
    values: Float[np.ndarray, " n_blocks"]
    influence: Float[np.ndarray, " n_blocks"]

    def quantile(self, level: float) -> float:
        """Half width of a two-sided interval in standard errors (Student t)."""
        return float(student_t.ppf(0.5 + 0.5 * level, self.n_blocks - 1))


def jackknife(values: Float[np.ndarray, " n_blocks"], sizes: Float[np.ndarray, " n_blocks"] | None = None) -> Jackknife:
    """Delete-one jackknife of the mean of blocks, weighted by their sizes.

    Raises:
        ValueError: If there are fewer than two blocks.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"a jackknife needs at least two blocks, got {n}")
    weights = np.ones(n) if sizes is None else np.asarray(sizes, dtype=float)
    total = float(weights @ values)
    whole = total / weights.sum()
    without = (total - weights * values) / (weights.sum() - weights)
    error = float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
    influence = (without - whole) / error if error > 0 else np.zeros(n)
    return Jackknife(error, n, np.asarray(values, dtype=float), influence)


def over_particles(slopes: Float[np.ndarray, " n_particles"], most: int = MOST_BLOCKS) -> Jackknife | None:
    """Jackknife over blocks of particles, or ``None`` where there are fewer than :data:`LEAST_BLOCKS`.

    Args:
        slopes: Slope of each particle.
        most: Largest number of blocks; particles are dealt out so that sizes differ by at most one.
    """
    n_blocks = min(len(slopes), most)
    if n_blocks < LEAST_BLOCKS:
        return None
    owner = np.arange(len(slopes)) * n_blocks // len(slopes)
    sizes = np.bincount(owner).astype(float)
    return jackknife(np.bincount(owner, weights=slopes) / sizes, sizes)


def over_time(
    paths: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']",
    lags: Int[np.ndarray, " m"],
    weights: Float[np.ndarray, " m"],
    most: int = MOST_BLOCKS,
) -> Jackknife | None:
    """Jackknife over blocks of time origins, or ``None`` where the run is too short for :data:`LEAST_BLOCKS`.

    Args:
        paths: Unwrapped positions.
        lags: (m,) lags of the fit, increasing.
        weights: (m,) weights of the slope, for displacements summed over the axes and averaged over the particles.
        most: Largest number of blocks.
    """
    walkers = as_walkers(paths)
    n_frames, n_particles, _ = walkers.shape
    n_origins = n_frames - int(lags[-1])
    n_blocks = min(most, n_origins // (LAGS_IN_A_BLOCK * int(lags[-1])))
    if n_blocks < LEAST_BLOCKS:
        return None
    starts = -(-np.arange(n_blocks + 1) * n_origins // n_blocks)
    sizes = np.diff(starts).astype(float)

    def work(part: np.ndarray, _: slice) -> np.ndarray:
        found = np.zeros(n_blocks)
        for path in part:
            weighted_squares(path, lags, weights, starts, found)
        return found

    sums = np.zeros(n_blocks)
    for part in over_batches(walkers, work):
        sums += part
    return jackknife(sums / sizes / n_particles, sizes)
