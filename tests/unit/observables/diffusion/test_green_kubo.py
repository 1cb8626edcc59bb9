"""Green-Kubo: Langevin particles, whose integral is known at every time."""

import numpy as np
import pytest

from limbeck.core.rng import stream
from limbeck.observables.diffusion.green_kubo import green_kubo
from limbeck.observables.diffusion.tracer import CM2_PER_S


def langevin(rng: np.random.Generator, n: int, ions: int, memory: float) -> np.ndarray:
    keep, v = np.exp(-1 / memory), np.empty((n, ions, 3))
    v[0] = rng.normal(size=(ions, 3))
    for k in range(1, n):
        v[k] = keep * v[k - 1] + np.sqrt(1 - keep**2) * rng.normal(size=(ions, 3))
    return v


def test_the_integral_and_its_error_are_right() -> None:
    """D = <v^2> tau for one axis: within three standard errors, and over 40 runs at the rate of the interval."""
    rng, memory, inside = stream(1, "gk"), 20.0, 0
    found = green_kubo(langevin(rng, 8000, 16, memory), 2.0)
    expected = 2.0 * memory * (1 - np.exp(-found.times_fs / 2.0 / memory)) * CM2_PER_S
    early = found.times_fs < 200
    assert np.all(np.abs(found.integral - expected)[early] < 4 * found.errors[early] + 1e-3 * expected[-1])
    assert found.is_converged
    assert found.correlation[0] == pytest.approx(1.0, rel=0.05)
    for _ in range(40):
        one = green_kubo(langevin(rng, 3000, 16, memory), 2.0).coefficient
        inside += abs(one.value - 2.0 * memory * CM2_PER_S) < 2.13 * one.standard_error
    assert inside >= 32  # cutting where the integral seems to rest biases by a part of the error


def test_too_little_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="8 particles, got 100 and 2"):
        green_kubo(np.zeros((100, 2, 3)), 1.0)
