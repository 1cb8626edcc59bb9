"""VTF: parameters of made data, which law is asked for, intervals at their rate."""

import numpy as np
import pytest

from limbeck.core.estimate import Estimate
from limbeck.core.rng import stream
from limbeck.core.units import KB
from limbeck.observables.diffusion.vtf import vtf

T = np.array([300.0, 330.0, 360.0, 400.0, 450.0, 500.0])


def values(t0: float, b: float, noise: float, rng: np.random.Generator) -> list[Estimate]:
    y = np.exp(2.0 - b / (KB * (T - t0)) + noise * rng.normal(size=len(T)))
    return [Estimate(float(v), max(noise, 1e-6) * float(v), 9, "mS/cm", "") for v in y]


def test_exact_data_give_the_parameters_back() -> None:
    found = vtf(T.tolist(), values(220.0, 0.1, 0.0, stream(1, "vtf")))
    assert found.temperature_0.value == pytest.approx(220.0, abs=0.01)
    assert found.activation.value == pytest.approx(0.1, rel=1e-3)
    assert found.log_prefactor.value == pytest.approx(2.0, abs=1e-2)
    assert found.verdict == "the data ask for VTF"
    assert found.at(320.0).value == pytest.approx(np.exp(2.0 - 0.1 / (KB * 100.0)), rel=1e-3)


def test_arrhenius_data_ask_for_no_more() -> None:
    rng = stream(2, "vtf")
    verdicts = [vtf(T.tolist(), values(0.0, 0.3, 0.05, rng)).evidence for _ in range(100)]
    assert np.mean(np.array(verdicts) > 6) < 0.05
    assert np.mean(np.array(verdicts) < 0) > 0.7


def test_intervals_between_the_points_hold_the_truth_at_their_rate() -> None:
    rng, inside = stream(3, "vtf"), 0
    for _ in range(300):
        low, high = vtf(T.tolist(), values(200.0, 0.12, 0.1, rng)).interval(380.0, 0.95)
        inside += low < np.exp(2.0 - 0.12 / (KB * 180.0)) < high
    assert inside / 300 > 0.93


def test_too_little_is_one_clear_error() -> None:
    few = values(200.0, 0.1, 0.1, stream(4, "vtf"))
    with pytest.raises(ValueError, match="four or more"):
        vtf([300, 300, 400, 500], few[:4])
    with pytest.raises(ValueError, match="above zero, with errors"):
        vtf(T.tolist(), [*few[:5], Estimate(-1.0, 1.0, 1, "mS/cm", "")])
    with pytest.raises(ValueError, match="T0"):
        vtf(T.tolist(), few).at(20.0)


def test_a_negative_temperature_zero_is_no_vtf_whatever_the_evidence() -> None:
    """Data that bend the other way: the law fits them with T0 below zero, where it means nothing."""
    found = vtf(T.tolist(), values(-300.0, 2.0, 0.01, stream(5, "vtf")))
    assert found.temperature_0.value < 0
    assert "another mechanism" in found.verdict
