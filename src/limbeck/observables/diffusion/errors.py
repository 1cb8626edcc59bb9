"""Which error of a slope counts: that of the covariance of random walks, or that of blocks of the data.

Left to itself (``automatic``): that of blocks of particles where there are enough, since it holds whatever each
particle does; otherwise the one of the covariance, which also stands where particles move together and it is the larger
one. Where the scatter over time is larger than chance explains (:func:`mismatch`), the error is raised by the ratio.
Any one can be asked for by name.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2

from limbeck.observables.diffusion.blocks import LAGS_IN_A_BLOCK, LEAST_BLOCKS, Jackknife, table
from limbeck.observables.diffusion.walk import fit_line, walk_covariance
from limbeck.observables.diffusion.walkers import Walkers

ErrorKind = Literal["automatic", "covariance", "particles", "time", "both"]
MISMATCH = 1.5
"""Errors that differ by more than this factor, and more than chance, are told of."""
CHANCE = 1e-3
"""Rate at which chance alone would make errors from few blocks differ so much."""
N_SHORT_LAGS = 12
"""Lags of the fit whose scatter over time is looked at."""


@dataclass(frozen=True)
class OverTime:
    """Scatter over time of a fit to lags that are short enough for it, and over particles and time together.

    Attributes:
        blocks: Jackknife over time; ``None`` where the run is too short.
        ratio: Its error over that of the covariance of the same fit; NaN where there is none.
        both_ratio: The same of the jackknife over particles and time together; NaN also for one particle.
        both_degrees: Degrees of freedom of the latter.
    """

    blocks: Jackknife | None = None
    ratio: float = float("nan")
    both_ratio: float = float("nan")
    both_degrees: float = float("nan")


def scatter_over_time(
    walkers: Walkers, tensor: Float[np.ndarray, "n_frames n_axes n_axes"], lags: Int[np.ndarray, " m"],
    n_coordinates: float,
) -> OverTime:  # fmt: skip
    """Scatter of a fit to short lags.

    Args:
        walkers: The paths.
        tensor: Mean square displacement at every lag.
        lags: Lags of the fit that the error is for; the short ones begin where they do, if they can.
        n_coordinates: Independent coordinates.
    """
    n_frames, n_particles, n_axes = walkers.shape
    reach = (n_frames - 1) // (LEAST_BLOCKS * LAGS_IN_A_BLOCK + 1)
    first = min(int(lags[0]), reach // 2)
    if first < 1:
        return OverTime()
    short = first * np.unique(np.round(np.geomspace(1, reach // first, N_SHORT_LAGS)).astype(int))
    msd = np.trace(tensor[short], axis1=1, axis2=2) / n_axes
    fit = fit_line(msd, walk_covariance(n_frames - 1, short), n_coordinates)
    found = table(walkers, short, fit.weights[0] / n_axes)
    if found is None:
        return OverTime()
    expected = float(np.sqrt(fit.covariance[0, 0]))
    both, degrees = found.both() if n_particles > 1 else (float("nan"), float("nan"))
    return OverTime(found.time, found.time.standard_error / expected, both / expected, degrees)


@dataclass(frozen=True)
class Errors:
    """All errors of one slope, in its unit.

    Attributes:
        covariance: Of independent random walks.
        particles: Jackknife over particles, or ``None``.
        over_time: Scatter over time.
        all_count: Whether all coordinates are independent and alike.
        n_particles: Number of particles.
    """

    covariance: float
    particles: Jackknife | None
    over_time: OverTime
    all_count: bool
    n_particles: int

    def of(self, kind: ErrorKind) -> tuple[float, float, str]:
        """Standard error, degrees of freedom, and what it is, in words.

        Of one particle, or of a collective coordinate, there are no blocks of particles: ``particles`` means
        ``automatic`` then, and ``both`` means ``time``.

        Raises:
            ValueError: If the data do not give the one asked for.
        """
        if self.n_particles == 1:
            of_one: dict[ErrorKind, ErrorKind] = {"particles": "automatic", "both": "time"}
            kind = of_one.get(kind, kind)
        over = self.over_time
        if kind == "covariance":
            return self.covariance, np.inf, "covariance of random walks"
        if kind == "particles":
            if self.particles is None:
                raise ValueError(
                    f"an error by blocks of particles needs {LEAST_BLOCKS} particles or more, got {self.n_particles}"
                )
            return self._by_particles(self.particles)
        if kind in ("time", "both") and over.blocks is None:
            raise ValueError(
                f"an error by blocks of time needs {LEAST_BLOCKS} blocks, each {LAGS_IN_A_BLOCK} times as long as the "
                "largest lag: the run is too short"
            )
        if kind == "both":
            text = "jackknife over blocks of particles and of time together"
            return over.both_ratio * self.covariance, over.both_degrees, text
        if kind == "time":
            return self._by_time(over)
        return self._automatic(over)

    def _by_particles(self, blocks: Jackknife) -> tuple[float, float, str]:
        return blocks.standard_error, blocks.n_blocks - 1, f"jackknife over {blocks.n_blocks} blocks of particles"

    def _by_time(self, over: OverTime) -> tuple[float, float, str]:
        assert over.blocks is not None
        n = over.blocks.n_blocks
        return over.ratio * self.covariance, n - 1, f"jackknife over {n} blocks of time"

    def _automatic(self, over: OverTime) -> tuple[float, float, str]:
        found: tuple[float, float, str] = (self.covariance, np.inf, "covariance of random walks")
        if self.particles is not None and (self.all_count or self.particles.standard_error > self.covariance):
            found = self._by_particles(self.particles)
        uneven = over.blocks is not None and over.ratio > mismatch(over.blocks.n_blocks)
        return self._by_time(over) if uneven and over.ratio * self.covariance > found[0] else found

    def table(self) -> dict[str, float]:
        """Each error by its name; NaN where there is none."""
        over, nan = self.over_time, float("nan")
        return {
            "covariance": self.covariance,
            "particles": nan if self.particles is None else self.particles.standard_error,
            "time": over.ratio * self.covariance,
            "both": over.both_ratio * self.covariance,
        }


def mismatch(n_blocks: int) -> float:
    """Ratio above which an error from so many blocks differs from the one of the covariance."""
    return max(MISMATCH, float(np.sqrt(chi2.isf(CHANCE, n_blocks - 1) / (n_blocks - 1))))
