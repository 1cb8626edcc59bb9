"""Block jackknife: the error of a slope from the scatter of parts of the data.

A slope is linear in the mean square displacements (:class:`limbeck.observables.diffusion.walk.LineFit`), so leaving a
part out costs nothing. Blocks of particles assume that particles are independent of each other, whatever each one does;
blocks of time assume that stretches of the run are, whatever the particles do together. The latter are honest only if a
block is several times as long as the largest lag; shorter ones claim a third of the true error. Where particles differ
and the run is uneven in time as well, neither is enough: blocks of both cut the data into a table, and

    variance = variance over rows + variance over columns - variance over cells

counts what is common to a row, to a column, and to neither, each once.

Source: H. R. Künsch, Ann. Stat. 17, 1217 (1989), doi:10.1214/aos/1176347265; for tables A. C. Cameron, J. B. Gelbach,
D. L. Miller, J. Bus. Econ. Stat. 29, 238 (2011), doi:10.1198/jbes.2010.07136; for mean square displacements the idea of
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


@dataclass(frozen=True)
class Table:
    """Values of blocks of particles in blocks of time.

    Attributes:
        values: Value of each cell.
        n_particles: Particles of each row.
        n_origins: Origins of each column.
    """

    values: Float[np.ndarray, "n_rows n_columns"]
    n_particles: Float[np.ndarray, " n_rows"]
    n_origins: Float[np.ndarray, " n_columns"]

    @property
    def time(self) -> Jackknife:
        """Jackknife over blocks of time, all particles together."""
        return jackknife(self.n_particles @ self.values / self.n_particles.sum(), self.n_origins)

    def both(self) -> tuple[float, float]:
        """Standard error by blocks of particles and of time together, and its degrees of freedom.

        Not less than that over cells. Degrees by Satterthwaite's rule: those of a sum of independent variances.

        Raises:
            ValueError: If there are fewer than two rows or columns.
        """
        over_rows = jackknife(self.values @ self.n_origins / self.n_origins.sum(), self.n_particles)
        over_cells = jackknife(self.values.ravel(), np.outer(self.n_particles, self.n_origins).ravel())
        parts = [over_rows, self.time, over_cells]
        rows, columns, cells = (part.standard_error**2 for part in parts)
        variance = max(rows + columns - cells, cells)
        if variance == 0:
            return 0.0, float(min(self.values.shape) - 1)
        spread = sum(part.standard_error**4 / (part.n_blocks - 1) for part in parts)
        return float(np.sqrt(variance)), float(variance**2 / spread)


def table(
    paths: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']",
    lags: Int[np.ndarray, " m"],
    weights: Float[np.ndarray, " m"],
    most: int = MOST_BLOCKS,
) -> Table | None:
    """Slope of blocks of particles in blocks of time origins.

    ``None`` where the run is too short for :data:`LEAST_BLOCKS` blocks of time.

    Args:
        paths: Unwrapped positions.
        lags: (m,) lags of the fit, increasing.
        weights: (m,) weights of the slope, for displacements summed over the axes and averaged over the particles.
        most: Largest number of blocks of either kind.
    """
    walkers = as_walkers(paths)
    n_frames, n_particles, _ = walkers.shape
    n_origins = n_frames - int(lags[-1])
    n_columns = min(most, n_origins // (LAGS_IN_A_BLOCK * int(lags[-1])))
    if n_columns < LEAST_BLOCKS:
        return None
    starts = -(-np.arange(n_columns + 1) * n_origins // n_columns)
    row_of = np.arange(n_particles) * min(n_particles, most) // n_particles

    def work(part: np.ndarray, where: slice) -> np.ndarray:
        found = np.zeros((row_of[-1] + 1, n_columns))
        for path, row in zip(part, row_of[where], strict=True):
            weighted_squares(path, lags, weights, starts, found[row])
        return found

    sums = np.zeros((row_of[-1] + 1, n_columns))
    for part in over_batches(walkers, work):
        sums += part
    in_row, in_column = np.bincount(row_of).astype(float), np.diff(starts).astype(float)
    return Table(sums / np.outer(in_row, in_column), in_row, in_column)


def over_time(
    paths: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']",
    lags: Int[np.ndarray, " m"],
    weights: Float[np.ndarray, " m"],
    most: int = MOST_BLOCKS,
) -> Jackknife | None:
    """Jackknife over blocks of time origins, or ``None`` where there are too few; see :func:`table`."""
    found = table(paths, lags, weights, most)
    return None if found is None else found.time
