"""Temperature dependence of glasses and polymers: the law of Vogel, Tammann and Fulcher, beside Arrhenius.

    ln y = ln y0 - B / (kB (T - T0))

T0 = 0 is the Arrhenius law. The three parameters are strongly correlated; T0 is found on a line, the other two are
linear. Which of the two laws the data ask for is told by the Bayesian information criterion of both on the same points.

Source: G. Tammann, W. Hesse, Z. Anorg. Allg. Chem. 156, 245 (1926), doi:10.1002/zaac.19261560121.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.stats import t as student_t

from limbeck.core.estimate import Estimate
from limbeck.core.units import KB

STRONG_EVIDENCE = 6.0
"""Difference of the information criteria from which one law is preferred."""


@dataclass(frozen=True)
class Vtf:
    """The fitted law.

    Attributes:
        activation: B in eV.
        temperature_0: T0 in K.
        log_prefactor: ln y0, y in its own unit.
        covariance: (3, 3) of ln y0, B and T0.
        scale: Factor by which errors were raised since points scatter more than theirs, 1 if they were not.
        degrees: Points less three.
        evidence: Information criterion of Arrhenius less that of this law: above 6 the data ask for T0.
        unit: Of y.
    """

    activation: Estimate
    temperature_0: Estimate
    log_prefactor: Estimate
    covariance: Float[np.ndarray, "3 3"]
    scale: float
    degrees: int
    evidence: float
    unit: str

    @property
    def verdict(self) -> str:
        """Which law the data ask for, in words."""
        if self.temperature_0.value <= 0:
            if self.evidence > STRONG_EVIDENCE:
                return "Arrhenius fails, but not towards VTF: another mechanism at higher temperature"
            return "the data ask for no more than Arrhenius"
        if self.evidence > STRONG_EVIDENCE:
            return "the data ask for VTF"
        if self.evidence < 0:
            return "the data ask for no more than Arrhenius"
        return "the data do not tell VTF from Arrhenius"

    def at(self, temperature_K: float) -> Estimate:
        """Y at a temperature above T0, with its standard error.

        Raises:
            ValueError: If the temperature is not above T0.
        """
        distance = temperature_K - self.temperature_0.value
        if distance <= 0:
            raise ValueError(f"the law ends at T0 = {self.temperature_0.value:.0f} K; {temperature_K:g} K is not above")
        b = self.activation.value
        row = np.array([1.0, -1.0 / (KB * distance), -b / (KB * distance**2)])
        value = float(np.exp(self.log_prefactor.value - b / (KB * distance)))
        error = float(np.sqrt(row @ self.covariance @ row))
        return Estimate(value, value * error, self.activation.n_effective, self.unit, "VTF")

    def interval(self, temperature_K: float, level: float = 0.95) -> tuple[float, float]:
        """Interval of y at a temperature that holds the law at the given rate (Student t, points less three)."""
        found = self.at(temperature_K)
        half = float(student_t.ppf(0.5 + 0.5 * level, self.degrees)) * found.standard_error / found.value
        return found.value * float(np.exp(-half)), found.value * float(np.exp(half))


def vtf(temperatures_K: Sequence[float], values: Sequence[Estimate]) -> Vtf:
    """Fit the law to at least four temperatures.

    Raises:
        ValueError: If there are fewer than four different temperatures, or a value is not above zero.
    """
    t = np.asarray(temperatures_K, dtype=float)
    y = np.array([v.value for v in values])
    if len(np.unique(t)) < 4 or np.any(t <= 0) or len(t) != len(y):
        raise ValueError(f"VTF needs four or more different temperatures above zero, got {t.tolist()}")
    relative = np.array([v.standard_error for v in values]) / y
    if np.any(y <= 0) or np.any(relative <= 0):
        raise ValueError("VTF needs values above zero, with errors")
    target = np.log(y)

    def linear(t0: float) -> tuple[float, np.ndarray]:
        design = np.column_stack([np.ones(len(t)), -1.0 / (KB * (t - t0))]) / relative[:, None]
        solution = np.linalg.lstsq(design, target / relative, rcond=None)[0]
        return float(np.sum((target / relative - design @ solution) ** 2)), solution

    highest = 0.98 * t.min()
    found = minimize_scalar(lambda t0: linear(t0)[0], bounds=(-t.max(), highest), method="bounded")
    t0 = float(found.x)
    square, (log_prefactor, b) = linear(t0)
    degrees = len(t) - 3
    design = np.column_stack([np.ones(len(t)), -1.0 / (KB * (t - t0)), -b / (KB * (t - t0) ** 2)]) / relative[:, None]
    scale = max(1.0, float(np.sqrt(square / degrees)))
    covariance = np.linalg.inv(design.T @ design) * scale**2
    errors = np.sqrt(np.diag(covariance))
    arrhenius = linear(0.0)[0]
    evidence = (arrhenius - square) / scale**2 - float(np.log(len(t)))
    method = f"VTF through {len(t)} temperatures"
    return Vtf(
        activation=Estimate(float(b), float(errors[1]), float(len(t)), "eV", method),
        temperature_0=Estimate(t0, float(errors[2]), float(len(t)), "K", method),
        log_prefactor=Estimate(float(log_prefactor), float(errors[0]), float(len(t)), "1", method),
        covariance=covariance,
        scale=scale,
        degrees=degrees,
        evidence=evidence,
        unit=values[0].unit,
    )
