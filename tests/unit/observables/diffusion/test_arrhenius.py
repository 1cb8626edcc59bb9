"""Activation energies: exact lines, coverage, extrapolation, points that do not follow the law."""

import numpy as np
import pytest

from limbeck.core.estimate import Estimate
from limbeck.core.rng import stream
from limbeck.core.units import KB
from limbeck.observables.diffusion.arrhenius import arrhenius

TEMPERATURES = [500.0, 600.0, 700.0, 800.0, 1000.0]


def law(temperature_K: float, energy: float = 0.3, prefactor: float = 1e-3) -> float:
    return prefactor * float(np.exp(-energy / (KB * temperature_K)))


def points(rng: np.random.Generator | None = None, relative: float = 0.1) -> list[Estimate]:
    noise = [0.0] * 5 if rng is None else rng.normal(0, relative, 5)
    return [
        Estimate(law(t) * float(np.exp(e)), relative * law(t) * float(np.exp(e)), 1, "cm^2/s", "x")
        for t, e in zip(TEMPERATURES, noise, strict=True)
    ]


def test_an_exact_line_is_found_and_extrapolated() -> None:
    found = arrhenius(TEMPERATURES, points())
    assert found.energy.value == pytest.approx(0.3, rel=1e-10)
    assert np.exp(found.log_prefactor.value) == pytest.approx(1e-3, rel=1e-9)
    assert found.at(300.0).value == pytest.approx(law(300.0), rel=1e-9)
    assert found.at(300.0).standard_error / found.at(300.0).value > 2 * found.at(650.0).standard_error / law(650.0)
    assert found.warnings == ()


def test_two_points_give_the_line_between_them() -> None:
    values = points()
    found = arrhenius(TEMPERATURES[:2], values[:2])
    span = 1 / (KB * 500.0) - 1 / (KB * 600.0)
    assert found.energy.standard_error == pytest.approx(np.sqrt(2) * 0.1 / span, rel=1e-9)
    assert np.isnan(found.probability)


def test_intervals_cover_energy_and_extrapolation_at_their_rate() -> None:
    """1000 replicas: bounds three binomial standard errors wide, and the 1 % whose errors are raised."""
    rng, inside = stream(6, "arrhenius"), np.zeros(3)
    for _ in range(1000):
        found = arrhenius(TEMPERATURES, points(rng))
        low, high = found.energy_interval(0.6827)
        inside[0] += low <= 0.3 <= high
        low, high = found.energy_interval(0.95)
        inside[1] += low <= 0.3 <= high
        low, high = found.interval(300.0, 0.95)
        inside[2] += low <= law(300.0) <= high
    assert inside[0] / 1000 == pytest.approx(0.6827, abs=0.045)
    assert inside[1:] / 1000 == pytest.approx([0.95, 0.95], abs=0.021)


def test_a_change_of_mechanism_raises_the_errors_and_is_told_of() -> None:
    bent = [
        Estimate(law(t) if t > 650 else law(t, 0.6, 0.2), 0.02 * law(t), 1, "cm^2/s", "x") for t in TEMPERATURES
    ]  # fmt: skip
    found = arrhenius(TEMPERATURES, bent)
    assert found.scale > 3
    assert "another mechanism" in found.warnings[0]
    low, high = found.energy_interval()
    assert low < 0.45 < high


def test_what_cannot_be_fitted_is_one_clear_error() -> None:
    values = points()
    with pytest.raises(ValueError, match="two or more different temperatures"):
        arrhenius([600.0, 600.0], values[:2])
    weak = [*values[:4], Estimate(1e-9, 2e-9, 1, "cm^2/s", "x")]
    with pytest.raises(ValueError, match="at 1000 K the value 1e-09 is not above its error"):
        arrhenius(TEMPERATURES, weak)


def test_errors_from_few_blocks_keep_the_rate() -> None:
    """2000 replicas, every error a guess from eight blocks (chi-square of seven degrees)."""
    rng, inside, told = stream(9, "few blocks"), {"known": 0, "ignored": 0}, 0
    for _ in range(2000):
        exact = points(rng)
        guessed = [
            Estimate(v.value, v.standard_error * float(np.sqrt(rng.chisquare(7) / 7)), 1, v.unit, "") for v in exact
        ]
        for name, degrees in (("known", [7.0] * 5), ("ignored", None)):
            found = arrhenius(TEMPERATURES, guessed, degrees)
            low, high = found.energy_interval(0.95)
            inside[name] += low <= 0.3 <= high
            told += name == "known" and bool(found.warnings)
    assert 0.93 < inside["known"] / 2000 < 0.97
    assert inside["ignored"] < inside["known"]
    assert told / 2000 < 0.03
