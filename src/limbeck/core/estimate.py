"""A number with its uncertainty: the one type for averages and fits, in MD and in Monte Carlo alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FloatArray = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Value with its standard error.

    Attributes:
        value: Best estimate.
        standard_error: One standard error of ``value``, same unit; NaN where none can be given.
        n_effective: Number of effectively independent samples behind it.
        unit: Unit of value and standard error, ``"1"`` for pure numbers.
        method: How value and error were obtained, in a few words.
    """

    value: float
    standard_error: float
    n_effective: float
    unit: str
    method: str

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{self.value:.6g} ± {self.standard_error:.2g}{unit}"


def integrated_autocorrelation_time(samples: Float[np.ndarray, " n"], window_factor: float = 5.0) -> float:
    """Integrated autocorrelation time in units of the sampling interval, at least 0.5 ... 1 for white noise.

    tau = 1 + 2 sum_{t=1}^{W} rho(t), with the smallest window W >= ``window_factor`` * tau
    (A. Sokal, lectures, Cargèse 1996, doi:10.1007/978-1-4899-0319-8_6). The effective number of samples is n / tau.

    Args:
        samples: Series of n >= 2 values at equal intervals.
        window_factor: Window in units of tau; larger lowers the bias and raises the noise.

    Returns:
        tau >= 1 / n; 1 for independent samples, and 1 for a constant series.

    Raises:
        ValueError: If fewer than two samples are given or one is not finite.
    """
    x = np.asarray(samples, dtype=float)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"an autocorrelation time needs a series of at least 2 values, got shape {x.shape}")
    if not np.all(np.isfinite(x)):
        raise ValueError("an autocorrelation time needs finite values; the series holds NaN or infinity")
    x = x - x.mean()
    size = 1 << (2 * x.size - 1).bit_length()
    power = np.abs(np.fft.rfft(x, size)) ** 2
    covariance = np.fft.irfft(power, size)[: x.size] / x.size
    if covariance[0] <= np.finfo(float).tiny:
        return 1.0
    rho = covariance / covariance[0]
    tau = 2.0 * np.cumsum(rho) - 1.0
    inside = np.arange(x.size) < window_factor * tau
    window = x.size - 1 if inside.all() else int(np.argmin(inside))
    return float(max(tau[window], 1.0 / x.size))


def mean_of_series(samples: Float[np.ndarray, " n"], unit: str = "1") -> Estimate:
    """Mean of a correlated, stationary series with its standard error (see :func:`integrated_autocorrelation_time`)."""
    x = np.asarray(samples, dtype=float)
    tau = max(integrated_autocorrelation_time(x), 1.0)
    n_effective = x.size / tau
    error = float(x.std(ddof=1) / np.sqrt(n_effective))
    return Estimate(float(x.mean()), error, float(n_effective), unit, "time average, Sokal window")


def root_mean_square(errors_by_group: Sequence[Float[np.ndarray, " m"]], unit: str = "1") -> Estimate:
    """Root mean square over all values, its standard error by a delete-one jackknife over the groups.

    Args:
        errors_by_group: One array of deviations per independent group (a trajectory, or a frame). Values inside a
            group may be correlated in any way; groups are taken as independent.
        unit: Unit of the deviations.

    Returns:
        The RMS; the standard error is NaN where there is only one group.

    Raises:
        ValueError: If there is no value at all.
    """
    sums = np.array([float(np.sum(np.square(g))) for g in errors_by_group])
    counts = np.array([np.size(g) for g in errors_by_group], dtype=float)
    if counts.sum() == 0:
        raise ValueError("a root mean square needs at least one value")
    value = float(np.sqrt(sums.sum() / counts.sum()))
    n = len(sums)
    if n < 2:
        return Estimate(value, float("nan"), float(n), unit, "RMS, one group")
    left = np.sqrt((sums.sum() - sums) / np.maximum(counts.sum() - counts, 1.0))
    error = float(np.sqrt((n - 1) / n * np.sum((left - left.mean()) ** 2)))
    return Estimate(value, error, float(n), unit, "RMS, jackknife over groups")
