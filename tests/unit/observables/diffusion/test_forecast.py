"""The forecast of a run's length, against runs of that length."""

import numpy as np
import pytest

from limbeck.core.estimate import Estimate
from limbeck.core.rng import stream
from limbeck.observables.diffusion.forecast import forecast
from limbeck.observables.diffusion.tracer import diffusion


def test_runs_of_the_length_foretold_have_the_error_wanted() -> None:
    """The scatter of D over runs of that length is the wanted error within a fifth."""
    rng = stream(1, "forecast")
    short = [diffusion(np.cumsum(rng.normal(size=(300, 12, 3)), axis=0), 1.0) for _ in range(40)]
    lengths = [forecast(f.coefficient, f.degrees, 299.0, 0.01).total_fs for f in short]
    n = round(float(np.median(lengths)))
    assert 1000 < n < 8000
    values = [diffusion(np.cumsum(rng.normal(size=(n, 12, 3)), axis=0), 1.0).coefficient.value for _ in range(60)]
    assert np.std(values) / np.mean(values) == pytest.approx(0.01, rel=0.25)
    inside = [f.low_fs < n < f.high_fs for f in (forecast(s.coefficient, s.degrees, 299.0, 0.01) for s in short)]
    assert 0.4 < np.mean(inside) < 0.95


def test_a_run_that_is_long_enough_says_so_and_one_without_a_value_cannot_tell() -> None:
    assert forecast(Estimate(1.0, 0.05, 1, "1", ""), np.inf, 100.0).is_reached
    found = forecast(Estimate(1.0, 0.2, 1, "1", ""), np.inf, 100.0)
    assert (found.total_fs, found.low_fs, found.high_fs) == pytest.approx((400.0, 400.0, 400.0))
    assert not found.is_reached
    assert np.isinf(forecast(Estimate(-1.0, 0.2, 1, "1", ""), 9, 100.0).total_fs)
    with pytest.raises(ValueError, match="above zero"):
        forecast(Estimate(1.0, 0.2, 1, "1", ""), 9, 100.0, 0.0)
