"""The statistics of a random walk seen at equal intervals, with noise on every position.

A coordinate is X(t) = W(t) + eta(t): W a walk whose steps are independent with variance s^2 = 2 D dt, eta independent
noise of variance a^2 (a vibration about a site, faster than the sampling interval). Time-averaged over all origins,

    <M(k)> = s^2 k + 2 a^2

and values at different lags, seen from overlapping stretches of one path, are strongly correlated. For normal steps

    cov(M(i), M(j)) = 2 / ((n+1-i)(n+1-j)) sum_{t,u} [s^2 o(t,u) + a^2 c(t,u)]^2

o the overlap of the intervals [t, t+i] and [u, u+j] in steps, c = [t+i=u+j] - [t+i=u] - [t=u+j] + [t=u]. The
generalized least squares line under this covariance reaches the Cramér-Rao bound; an ordinary one does not come near,
and its textbook error is an order of magnitude too small.

Source: J. T. Bullerjahn, S. von Bülow, G. Hummer, J. Chem. Phys. 153, 024116 (2020), doi:10.1063/5.0008312;
X. Michalet, A. J. Berglund, Phys. Rev. E 85, 061916 (2012), doi:10.1103/PhysRevE.85.061916.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from limbeck.observables.diffusion.kernels import covariance_parts, least_squares_line

FitKind = Literal["generalized", "weighted", "ordinary"]
FIT_KINDS = get_args(FitKind)
N_ITERATIONS = 4
"""Times that the covariance is taken at the fitted parameters and the fit repeated."""


@dataclass(frozen=True)
class WalkCovariance:
    """Covariance of one coordinate's M at some lags, for any parameters: ``s^4 walk + s^2 a^2 mixed + a^4 noise``.

    Attributes:
        n_steps: Steps of the path.
        lags: (m,) lags in steps, increasing, from 1 to ``n_steps``.
        walk: (m, m) part of the walk.
        mixed: (m, m) part of both.
        noise: (m, m) part of the noise.
    """

    n_steps: int
    lags: Int[np.ndarray, " m"]
    walk: Float[np.ndarray, "m m"]
    mixed: Float[np.ndarray, "m m"]
    noise: Float[np.ndarray, "m m"]

    def from_lag(self, first: int) -> "WalkCovariance":
        """The same of the lags from number ``first`` on."""
        part = (slice(first, None), slice(first, None))
        return WalkCovariance(self.n_steps, self.lags[first:], self.walk[part], self.mixed[part], self.noise[part])

    def at(self, step_variance: float, noise_variance: float) -> Float[np.ndarray, "m m"]:
        """Covariance for a step variance s^2 and a noise variance a^2."""
        s2, a2 = step_variance, noise_variance
        return np.asarray(s2 * s2 * self.walk + s2 * a2 * self.mixed + a2 * a2 * self.noise)


def walk_covariance(n_steps: int, lags: Sequence[int] | Int[np.ndarray, " m"]) -> WalkCovariance:
    """Covariance of the time-averaged square displacements of one coordinate; see the module's docstring.

    Raises:
        ValueError: If the lags are not increasing, or not between 1 and ``n_steps``.
    """
    chosen = np.asarray(lags, dtype=np.int64)
    if len(chosen) == 0 or chosen[0] < 1 or chosen[-1] > n_steps or np.any(np.diff(chosen) <= 0):
        raise ValueError(f"lags must increase from at least 1 to at most {n_steps} steps, got {chosen.tolist()}")
    return WalkCovariance(n_steps, chosen, *covariance_parts(n_steps, chosen))


@dataclass(frozen=True)
class LineFit:
    """Line through M(k) of one coordinate, averaged over independent ones.

    Attributes:
        step_variance: Slope s^2 by step.
        noise_variance: Half the intercept, a^2; negative where chance made it so.
        covariance: (2, 2) of ``step_variance`` and ``noise_variance``, for normal steps.
        weights: (2, m); both are linear in M, so these weights give them for any part of the data.
        chi_square: Squared residuals in units of the covariance.
        n_degrees: Degrees of freedom of ``chi_square``.
    """

    step_variance: float
    noise_variance: float
    covariance: Float[np.ndarray, "2 2"]
    weights: Float[np.ndarray, "2 m"]
    chi_square: float
    n_degrees: int


def fit_line(
    msd: Float[np.ndarray, " m"], covariance: WalkCovariance, n_coordinates: float, kind: FitKind = "generalized"
) -> LineFit:
    """Fit the line by generalized (default), weighted or ordinary least squares.

    Whatever the weights, the errors are those of the exact covariance at the fitted parameters.

    Args:
        msd: (m,) mean over the coordinates of M at ``covariance.lags``, one axis (a third of that of three).
        covariance: For these lags.
        n_coordinates: Independent coordinates averaged: particles times axes.
        kind: ``generalized``, ``weighted`` or ``ordinary``.

    Raises:
        ValueError: If there are fewer than two lags, or a value is not finite.
    """
    lags = covariance.lags.astype(float)
    if len(lags) < 2 or msd.shape != lags.shape or not np.all(np.isfinite(msd)):
        raise ValueError(f"a line needs at least two finite values, one a lag; got {msd.shape} for {len(lags)} lags")
    unit = float(np.abs(msd).max())
    slope, half, weights, errors, chi_square = least_squares_line(
        msd / (unit or 1.0), lags, covariance.walk, covariance.mixed, covariance.noise, float(n_coordinates),
        FIT_KINDS.index(kind), N_ITERATIONS,
    )  # fmt: skip
    if unit == 0.0:
        return LineFit(0.0, 0.0, np.zeros((2, 2)), weights, 0.0, len(lags) - 2)
    return LineFit(slope * unit, half * unit, errors * unit**2, weights, chi_square, len(lags) - 2)


def slope_difference(
    one: LineFit, other: LineFit, covariance: WalkCovariance, first: int, n_coordinates: float
) -> float:
    """Difference of the slopes of two fits to the same data in units of its standard error.

    Args:
        one: Fit to all lags of ``covariance``.
        other: Fit to its lags from number ``first`` on; the error is that at its slope and the larger noise.
        covariance: Of the lags of ``one``.
        first: Number of the first lag of ``other``.
        n_coordinates: Independent coordinates.
    """
    weights = one.weights[0].copy()
    weights[first:] -= other.weights[0]
    step = max(other.step_variance, 1e-3 * one.step_variance)
    matrix = covariance.at(step, max(one.noise_variance, other.noise_variance, 0.0))
    error = np.sqrt(weights @ matrix @ weights / n_coordinates)
    return float((one.step_variance - other.step_variance) / error) if error > 0 else 0.0


def least_relative_error(n_steps: int, n_coordinates: int, noise_ratio: float = 0.0) -> float:
    """Cramér-Rao bound of the relative standard error of D when both parameters are unknown.

    Increments of X have a tridiagonal covariance that the discrete sine transform makes diagonal, which gives the
    Fisher matrix exactly.

    Args:
        n_steps: Steps of each path.
        n_coordinates: Independent coordinates.
        noise_ratio: a^2 / s^2.
    """
    wave = 2.0 - 2.0 * np.cos(np.pi * np.arange(1, n_steps + 1) / (n_steps + 1))
    level = 1.0 + noise_ratio * wave
    columns = np.stack([1.0 / level, wave / level])
    fisher = 0.5 * n_coordinates * columns @ columns.T
    return float(np.sqrt(np.linalg.inv(fisher)[0, 0]))
