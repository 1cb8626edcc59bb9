"""Temperature dependence of D or of sigma T: the Arrhenius law with intervals.

    ln y = ln y0 - Ea / (kB T)

y is D, or sigma T; the error of its logarithm is its relative error. Weighted least squares; the parameters' errors are
those of the given errors, raised by sqrt(chi^2 / degrees) where the points scatter more than their errors say. The
interval at another temperature is that of the line there: an extrapolation to 300 K assumes that the law holds on the
way, which no interval knows of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2
from scipy.stats import f as f_distribution
from scipy.stats import t as student_t

from limbeck.core.estimate import Estimate
from limbeck.core.units import KB

LEAST_PROBABILITY = 0.01
"""A fit is told of whose chi-square the law would exceed with less than this probability."""


@dataclass(frozen=True)
class Arrhenius:
    """A straight line of ln y over 1 / (kB T).

    Attributes:
        energy: Activation energy, eV.
        log_prefactor: ln y0, y in its own unit.
        covariance: (2, 2) of ``log_prefactor`` and ``energy``.
        probability: Of a chi-square as large, if the law and the errors hold; NaN for two points.
        n_degrees: Temperatures less two.
        degrees: Degrees of freedom of the errors (Welch and Satterthwaite); infinite where they are exact.
        parts: (2, n) parameters' change with each point, in units of its error.
        known: (n,) degrees of freedom of the points' errors.
        scale: Factor by which errors were raised, 1 if they were not.
        unit: Of y.
        warnings: What a reader must know.
    """

    energy: Estimate
    log_prefactor: Estimate
    covariance: Float[np.ndarray, "2 2"]
    probability: float
    n_degrees: int
    degrees: float
    parts: Float[np.ndarray, "2 n"]
    known: Float[np.ndarray, " n"]
    scale: float
    unit: str
    warnings: tuple[str, ...]

    def at(self, temperature_K: float) -> Estimate:
        """Y at a temperature, with the standard error of the line there."""
        row = np.array([1.0, -1.0 / (KB * temperature_K)])
        value = float(np.exp(row @ [self.log_prefactor.value, self.energy.value]))
        error = float(np.sqrt(row @ self.covariance @ row))
        return Estimate(value, value * error, self.energy.n_effective, self.unit, "Arrhenius line")

    def interval(self, temperature_K: float, level: float = 0.95) -> tuple[float, float]:
        """Interval of y at a temperature that holds the line at the given rate."""
        found = self.at(temperature_K)
        degrees = self.degrees
        if np.any(np.isfinite(self.known)):
            degrees = _welch(np.array([1.0, -1.0 / (KB * temperature_K)]) @ self.parts, self.known)
        half = _half_width(level, degrees) * found.standard_error / found.value
        return found.value * float(np.exp(-half)), found.value * float(np.exp(half))

    def energy_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of the activation energy in eV."""
        half = _half_width(level, self.degrees) * self.energy.standard_error
        return self.energy.value - half, self.energy.value + half


def arrhenius(
    temperatures_K: Sequence[float], values: Sequence[Estimate], degrees: Sequence[float] | None = None
) -> Arrhenius:
    """Fit the Arrhenius law.

    Args:
        temperatures_K: At least two different ones.
        values: D, or conductivity times temperature, at each.
        degrees: Degrees of freedom of each one's error (few, where it is a jackknife); infinite where left out.

    Raises:
        ValueError: If there are fewer than two different temperatures, or a value is not above its error.
    """
    t = np.asarray(temperatures_K, dtype=float)
    y = np.array([v.value for v in values])
    known = np.full(len(y), np.inf) if degrees is None else np.asarray(degrees, dtype=float)
    if not len(t) == len(y) == len(known):
        raise ValueError(f"got {len(t)} temperatures, {len(y)} values and {len(known)} degrees of freedom")
    relative = np.array([v.standard_error for v in values]) / y
    if len(np.unique(t)) < 2 or np.any(t <= 0):
        raise ValueError(f"an activation energy needs two or more different temperatures above zero, got {t.tolist()}")
    low = np.flatnonzero(~((y > 0) & (relative < 1) & (relative > 0)))
    if len(low):
        raise ValueError(
            f"at {t[low[0]]:g} K the value {y[low[0]]:.3g} is not above its error, or has none: leave that "
            "temperature out, or run longer"
        )
    design = np.column_stack([np.ones(len(t)), -1.0 / (KB * t)]) / relative[:, None]
    covariance = np.linalg.inv(design.T @ design)
    solution = covariance @ design.T @ (np.log(y) / relative)
    residual = np.log(y) / relative - design @ solution
    n_degrees = len(t) - 2
    square = float(residual @ residual)
    probability = float(chi2.sf(square, n_degrees)) if n_degrees else float("nan")
    parts = covariance @ design.T
    leverage = np.sum(design.T * parts, axis=0)
    # errors from few blocks: weights that chance made large (P. Meier, Biometrics 9, 59 (1953)), and a chi-square of
    # errors that are estimates themselves (B. L. Welch, Biometrika 38, 330 (1951))
    covariance = covariance * (1.0 + 2.0 * float(np.sum(leverage * (1 - leverage) / known)))
    doubt = float(np.sum((1 - leverage) ** 2 / known))
    if n_degrees and doubt > 0:
        k = n_degrees + 1
        corrected = square / n_degrees / (1 + 2 * (k - 2) / (k**2 - 1) * doubt)
        probability = float(f_distribution.sf(corrected, n_degrees, (k**2 - 1) / (3 * doubt)))
    scale, warnings = 1.0, []
    effective = _welch(parts[1], known)
    if n_degrees and probability < LEAST_PROBABILITY:
        scale, effective = float(np.sqrt(square / n_degrees)), float(n_degrees)
        known = np.full(len(t), np.inf)
        warnings.append(
            f"points scatter {scale:.1f} times as much as their errors say: the law does not hold over these "
            "temperatures (another phase, another mechanism), or errors are too small"
        )
    covariance = covariance * scale**2
    errors = np.sqrt(np.diag(covariance))
    method = f"weighted line through {len(t)} temperatures"
    return Arrhenius(
        energy=Estimate(float(solution[1]), float(errors[1]), float(len(t)), "eV", method),
        log_prefactor=Estimate(float(solution[0]), float(errors[0]), float(len(t)), "1", method),
        covariance=covariance,
        probability=probability,
        n_degrees=n_degrees,
        degrees=effective,
        parts=parts,
        known=known,
        scale=scale,
        unit=values[0].unit,
        warnings=tuple(warnings),
    )


def _welch(parts: Float[np.ndarray, " n"], known: Float[np.ndarray, " n"]) -> float:
    """Degrees of freedom of a sum of independent parts (Welch and Satterthwaite); infinite where all are."""
    shares = parts**2
    if not np.any(np.isfinite(known)):
        return float("inf")
    return float(shares.sum() ** 2 / np.sum(shares**2 / known))


def _half_width(level: float, degrees: float) -> float:
    """In standard errors, by Student's distribution."""
    return float(student_t.ppf(0.5 + 0.5 * level, degrees))
