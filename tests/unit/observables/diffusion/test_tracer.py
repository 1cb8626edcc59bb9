"""Diffusion coefficients: truth and coverage of the default, the window, rare events, motion in common."""

import numpy as np
import pytest

from limbeck.core.rng import stream
from limbeck.observables.diffusion.tracer import (
    CM2_PER_S,
    Variance,
    diffusion,
    diffusion_tensor,
    independent_coordinates,
)
from limbeck.observables.diffusion.walk import least_relative_error


def walks(rng: np.random.Generator, n: int, particles: int, noise: float = 0.0) -> np.ndarray:
    steps = np.cumsum(rng.normal(size=(n, particles, 3)), axis=0)
    start = np.zeros((1, particles, 3))
    return np.concatenate([start, steps]) + np.sqrt(noise) * rng.normal(size=(n + 1, particles, 3))


TRUE = 0.5 * CM2_PER_S / 20.0
"""Of walks with unit steps every 20 fs."""


@pytest.mark.parametrize(("particles", "n", "noise"), [(1, 100, 0.0), (4, 120, 1.0), (24, 100, 0.5)])
def test_the_default_is_right_and_its_intervals_cover_the_truth_at_their_rate(
    particles: int, n: int, noise: float
) -> None:
    """400 replicas: bounds three binomial standard errors wide."""
    rng, replicas, inside, values = stream(21, "default", particles), 400, np.zeros(2), []
    for _ in range(replicas):
        found = diffusion(walks(rng, n, particles, noise), 20.0)
        values.append(found.coefficient.value / TRUE)
        for k, level in enumerate((0.6827, 0.95)):
            low, high = found.interval(level)
            inside[k] += low <= TRUE <= high
    assert inside[0] / replicas == pytest.approx(0.6827, abs=0.07)
    assert inside[1] / replicas == pytest.approx(0.95, abs=0.033)
    assert np.mean(values) == pytest.approx(1.0, abs=3.5 * np.std(values) / np.sqrt(replicas))
    assert np.std(values) < 1.12 * least_relative_error(n, 3 * particles, noise)


def test_amplitude_of_the_vibration_and_errors_side_by_side() -> None:
    found = diffusion(walks(stream(4, "noise"), 2000, 16, 4.0), 20.0)
    assert found.amplitude_A == pytest.approx(2.0, rel=0.05)
    assert found.particle_blocks is not None
    assert found.time_blocks is not None
    assert found.coefficient.standard_error == pytest.approx(found.covariance_error, rel=0.5)
    assert found.warnings == ()
    assert "16 blocks of particles" in found.coefficient.method


def test_the_window_begins_where_rattling_has_ended() -> None:
    """A walk and an overdamped oscillator with a memory of 15 frames: short lags see the oscillator."""
    rng, n, particles = stream(5, "rattle"), 4000, 32
    rattle = np.zeros((n + 1, particles, 3))
    for k in range(1, n + 1):
        rattle[k] = np.exp(-1 / 15) * rattle[k - 1] + rng.normal(size=(particles, 3))
    found = diffusion(0.2 * walks(rng, n, particles) + rattle, 20.0)
    assert found.window.is_diffusive
    assert found.window.lags[0] > 5
    low, high = found.interval(0.997)
    assert low < 0.04 * TRUE < high
    assert "random walk" in found.window.reason


def test_a_cage_has_no_diffusion_and_says_so() -> None:
    found = diffusion(stream(6, "cage").normal(size=(600, 16, 3)), 20.0)
    assert abs(found.coefficient.value) < 3 * found.coefficient.standard_error
    assert any("upper limit" in w for w in found.warnings)
    low, high = found.interval()
    assert low < 0 < high


def test_ballistic_motion_is_not_called_diffusion() -> None:
    """Straight lines never change and count as one coordinate, whose growth gives them away; not so a gas."""
    rng = stream(7, "gas")
    lines = diffusion(np.arange(300)[:, None, None] * rng.normal(size=(1, 40, 3)), 1.0)
    assert lines.n_coordinates == pytest.approx(1.0, abs=0.1)
    assert not lines.window.is_diffusive
    assert any("faster than diffusion" in w for w in lines.warnings)
    velocities = np.repeat(rng.normal(size=(40, 40, 3)), 50, axis=0)
    gas = diffusion(np.cumsum(velocities, axis=0), 1.0)
    assert not gas.window.is_diffusive or gas.window.lags[0] > 25


def test_few_that_move_are_seen_in_the_scatter_of_particles() -> None:
    paths = walks(stream(8, "few"), 500, 40)
    paths[:, 4:] *= 0.05
    found = diffusion(paths, 20.0)
    assert any("differ from each other" in w for w in found.warnings)
    assert found.coefficient.standard_error > 2 * found.covariance_error


def test_motion_in_common_counts_as_one_particle() -> None:
    rng = stream(9, "common")
    common = np.cumsum(rng.normal(size=(4001, 1, 3)), axis=0)
    found = diffusion(common + 0.1 * walks(rng, 4000, 24), 20.0)
    assert any("72 coordinates count as" in w for w in found.warnings)
    assert found.n_coordinates == pytest.approx(3.0, rel=0.1)
    assert found.window.is_diffusive
    assert found.coefficient.standard_error / found.coefficient.value == pytest.approx(
        least_relative_error(4000, 3), rel=0.3
    )
    low, high = found.interval(0.997)
    assert low < 1.01 * TRUE < high


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_coordinates_are_counted_whatever_the_noise_and_the_length(noise: float) -> None:
    rng = stream(14, "count")
    for n in (21, 300):
        assert independent_coordinates(walks(rng, n, 50, noise)) == 150
    pairs = np.repeat(walks(rng, 600, 64), 2, axis=1)
    assert independent_coordinates(pairs) == pytest.approx(192, rel=0.1)
    layer = walks(rng, 600, 30) * np.array([1.0, 1.0, 0.0])
    assert independent_coordinates(layer) == pytest.approx(60, rel=0.1)
    few = walks(rng, 600, 30)
    few[:, 5:] *= 0.01
    assert independent_coordinates(few) == pytest.approx(15, rel=0.1)


def test_a_burst_is_seen_in_the_scatter_over_time() -> None:
    """Everybody rests but for a tenth of the run."""
    rng = stream(12, "burst")
    steps = 0.05 * rng.normal(size=(4000, 1, 3))
    steps[1800:2200] *= 20
    found = diffusion(np.concatenate([np.zeros((1, 1, 3)), np.cumsum(steps, axis=0)]), 20.0)
    assert any("rare events" in w for w in found.warnings)
    assert found.coefficient.standard_error > 1.5 * found.covariance_error
    assert "blocks of time" in found.coefficient.method
    assert found.time_blocks.n_blocks == 8
    assert np.argmax(np.abs(found.time_blocks.influence)) in (3, 4)


def test_a_collective_coordinate_is_one_particle() -> None:
    found = diffusion(walks(stream(10, "one"), 3000, 1), 20.0)
    assert found.particle_blocks is None
    assert found.time_blocks is not None
    assert found.time_ratio == pytest.approx(1.0, abs=0.5)
    assert np.isinf(found.degrees)
    assert found.coefficient.standard_error / found.coefficient.value == pytest.approx(
        least_relative_error(3000, 3), rel=0.15
    )


def test_short_runs_are_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(ValueError, match="at least 9 frames, got 8"):
        diffusion(np.zeros((8, 3, 3)), 1.0)
    assert diffusion(walks(stream(1, "short"), 8, 50), 20.0).coefficient.value > 0


def test_what_does_not_move_is_one_clear_error_and_tiny_steps_are_none() -> None:
    with pytest.raises(ValueError, match="nothing moves"):
        diffusion(np.ones((50, 3, 3)), 1.0)
    paths = walks(stream(13, "tiny"), 300, 9)
    small, large = (diffusion(scale * paths, 20.0).coefficient for scale in (1e-30, 1.0))
    assert small.value == pytest.approx(1e-60 * large.value, rel=1e-9)
    assert small.standard_error == pytest.approx(1e-60 * large.standard_error, rel=1e-9)


def test_a_window_of_ones_own_is_kept_and_judged() -> None:
    paths = walks(stream(2, "own"), 300, 8)
    found = diffusion(paths, 1.0, window=[2, 4, 8, 16])
    assert found.window.lags.tolist() == [2, 4, 8, 16]
    assert found.window.reason.startswith("as given")
    bad = diffusion(
        np.arange(301.0)[:, None, None] * stream(3, "own").normal(size=(1, 40, 3)), 1.0, window=range(1, 60)
    )
    assert not bad.window.is_diffusive
    assert any("although" in w for w in bad.warnings)
    for window in ([1, 2], [0, 1, 2], [1, 2, 400]):
        with pytest.raises(ValueError, match="three or more lags from 1 to 300"):
            diffusion(paths, 1.0, window=window)


@pytest.mark.parametrize("noise", [30.0, 100.0])
def test_intervals_hold_where_the_value_is_near_its_error(noise: float) -> None:
    """One particle whose walk hides in its noise: no branch at twice the error, no bias of the ends."""
    rng, inside, replicas = stream(31, "near", str(noise)), 0, 300
    for _ in range(replicas):
        low, high = diffusion(walks(rng, 100, 1, noise), 20.0, hop_length_A=None).interval(0.95)
        inside += low <= TRUE <= high
    assert 0.91 < inside / replicas < 0.985


def test_the_interval_has_no_jump_and_no_upper_end_where_there_is_none() -> None:
    ends = [Variance(0.0, 0.0, r**2).interval(1.0, np.inf, 0.95) for r in (0.1, 0.499, 0.501, 0.52, 0.6)]
    lows, highs = np.array(ends).T
    assert np.all(np.diff(lows) < 0)
    assert highs[0] == pytest.approx(1 / (1 - 0.1 * 1.959964), rel=1e-6)
    assert lows[0] == pytest.approx(1 / (1 + 0.1 * 1.959964), rel=1e-6)
    assert abs(lows[1] - lows[2]) < 0.01
    assert np.isfinite(highs[2])
    assert np.isinf(highs[3:]).all()
    low, high = Variance(0.04, 0.0, 0.0).interval(1.0, np.inf, 0.95)
    assert (low, high) == pytest.approx((1 - 0.2 * 1.959964, 1 + 0.2 * 1.959964))
    assert Variance(1.0, 2.0, 3.0).scaled(2.0, 0.5) == Variance(4.0, 4.0, 3.5)


def test_no_hop_still_allows_three() -> None:
    """Ions that rattle and would hop once in many runs: the upper end is that of a Poisson count of zero."""
    rng = stream(32, "none")
    found = diffusion(0.1 * rng.normal(size=(2000, 24, 3)), 20.0)
    assert found.hops.sum() == 0
    three = 3.69 * 2.0**2 / (6 * 24 * 1999 * 20.0) * CM2_PER_S
    assert found.interval(0.95)[1] == pytest.approx(three, rel=0.05)
    assert found.interval(0.95)[0] <= 0


def test_errors_of_the_tensor_know_what_raised_that_of_the_coefficient() -> None:
    """Ions that move as one, and few ions in a channel."""
    common = np.repeat(walks(stream(33, "tensor"), 2000, 1), 12, axis=1)
    found = diffusion(common, 20.0)
    values, errors = diffusion_tensor(found)
    assert np.trace(values) / 3 == pytest.approx(found.coefficient.value, rel=1e-9)
    assert np.all(errors.diagonal() > 0.5 * np.sqrt(3) * found.coefficient.standard_error)
    rng, scores = stream(34, "channel"), []
    for _ in range(150):
        one = diffusion(walks(rng, 300, 4) * np.array([1.0, 0.0, 0.0]) + 1e-3 * rng.normal(size=(301, 4, 3)), 20.0)
        values, errors = diffusion_tensor(one)
        scores.append((values[0, 0] - TRUE) / errors[0, 0])
    assert 0.75 < np.std(scores) < 1.3
