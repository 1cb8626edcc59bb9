"""Drift of a series: right slope, right error bar."""

import numpy as np
import pytest

from limbeck.dynamics.nve import drift_of


def test_slope_times_duration_in_meV():
    times = np.arange(0.0, 50_000.0, 10.0)
    drift = drift_of(times, -5.0 + 2e-8 * times + 1e-4 * np.sin(times / 7.0))
    assert drift.value == pytest.approx(2e-8 * times[-1] * 1e3, rel=0.05)
    assert drift.unit == "meV/atom"
    assert drift.standard_error < 0.05


def test_error_bars_cover_the_truth():
    """300 series of correlated noise without drift: the z values have the spread of Student's t with 18 degrees.

    Its variance is 18/16; the sample variance of 300 z values is within 25 % of it (3 sigma) at a false-alarm rate of
    about 0.3 %. Seeds are fixed.
    """
    rng = np.random.default_rng(8)
    times = np.arange(2000.0)
    z = []
    for _ in range(300):
        noise = np.convolve(rng.normal(size=2010), np.ones(11) / 11, mode="valid")
        drift = drift_of(times, noise)
        z.append(drift.value / drift.standard_error)
    assert np.var(z) == pytest.approx(18.0 / 16.0, rel=0.25)


def test_too_short_a_series_is_refused():
    with pytest.raises(ValueError, match="drift needs"):
        drift_of(np.arange(10.0), np.zeros(10))
