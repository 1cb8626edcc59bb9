"""The random walk's statistics against sums by hand, simulation, bound and coverage. Seeds are fixed."""

import numpy as np
import pytest

from limbeck.core.rng import stream
from limbeck.observables.diffusion.msd import displacements
from limbeck.observables.diffusion.walk import fit_line, least_relative_error, walk_covariance


def covariance_by_hand(n: int, i: int, j: int, s2: float, a2: float) -> float:
    """Straight from cov(X(t), X(u)) = s^2 min(t, u) + a^2 [t = u]."""
    position = s2 * np.minimum.outer(np.arange(n + 1.0), np.arange(n + 1.0)) + a2 * np.eye(n + 1)
    total = 0.0
    for t in range(n + 1 - i):
        for u in range(n + 1 - j):
            steps = position[t + i, u + j] - position[t + i, u] - position[t, u + j] + position[t, u]
            total += 2 * steps**2
    return total / ((n + 1 - i) * (n + 1 - j))


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_covariance_is_that_of_the_positions(noise: float) -> None:
    n, lags = 12, [1, 2, 3, 5, 6, 7, 11, 12]
    found = walk_covariance(n, lags).at(1.3, noise)
    for p, i in enumerate(lags):
        for q, j in enumerate(lags):
            assert found[p, q] == pytest.approx(covariance_by_hand(n, i, j, 1.3, noise), rel=1e-12), (i, j)


def walks(rng: np.random.Generator, n: int, particles: int, noise: float) -> np.ndarray:
    steps = np.cumsum(rng.normal(size=(n, particles, 3)), axis=0)
    start = np.zeros((1, particles, 3))
    return np.concatenate([start, steps]) + np.sqrt(noise) * rng.normal(size=(n + 1, particles, 3))


@pytest.mark.parametrize("noise", [0.0, 1.0, 10.0])
def test_generalized_least_squares_reaches_the_bound_and_ordinary_ones_do_not(noise: float) -> None:
    n = 400
    lags = np.unique(np.round(np.geomspace(1, n // 4, 20)).astype(int))
    covariance = walk_covariance(n, lags)
    line = 1.0 * lags + 2 * noise  # the mean itself, so that the covariance is taken at the truth
    best = fit_line(line, covariance, 3)
    assert (best.step_variance, best.noise_variance) == (pytest.approx(1.0), pytest.approx(noise, abs=1e-9))
    error, bound = float(np.sqrt(best.covariance[0, 0])), least_relative_error(n, 3, noise)
    assert bound <= error * (1 + 1e-9)
    assert error < np.sqrt(1.05) * bound
    for kind in ("ordinary", "weighted"):
        other = fit_line(line, covariance, 3, kind)
        assert other.step_variance == pytest.approx(1.0)
        assert other.covariance[0, 0] > 1.2 * best.covariance[0, 0]


def test_the_bound_without_noise_is_known_in_closed_form() -> None:
    """6 / (d n P) for many steps (Michalet and Berglund); the walk alone would give 2 / (d n P)."""
    assert least_relative_error(20000, 3 * 8) == pytest.approx(np.sqrt(6 / (3 * 20000 * 8)), rel=1e-2)


@pytest.mark.parametrize(("particles", "n", "noise"), [(1, 100, 0.0), (1, 200, 1.0), (16, 100, 1.0), (4, 400, 0.0)])
def test_intervals_cover_the_truth_at_their_rate(particles: int, n: int, noise: float) -> None:
    """600 replicas: the bounds are three binomial standard errors wide, a false alarm in 400."""
    rng, replicas = stream(11, "coverage", particles, n), 600
    lags = np.unique(np.round(np.geomspace(1, n // 4, 16)).astype(int))
    covariance = walk_covariance(n, lags)
    found, errors = np.empty(replicas), np.empty(replicas)
    for k in range(replicas):
        msd = displacements(walks(rng, n, particles, noise), lags).squares.mean(axis=1) / 3
        fit = fit_line(msd, covariance, 3 * particles)
        found[k], errors[k] = fit.step_variance, np.sqrt(fit.covariance[0, 0])
    score = np.abs(found - 1) / errors
    assert np.mean(score < 1) == pytest.approx(0.683, abs=0.057)
    assert np.mean(score < 1.96) == pytest.approx(0.945, abs=0.03)
    assert found.mean() == pytest.approx(1.0, abs=3.5 * found.std() / np.sqrt(replicas))
    assert found.std() < 1.1 * least_relative_error(n, 3 * particles, noise)


def test_the_fit_is_linear_in_the_data_so_that_parts_can_be_left_out() -> None:
    paths = walks(stream(3, "linear"), 200, 5, 0.5)
    lags = [1, 2, 4, 8, 16]
    msd = displacements(paths, lags).squares / 3
    fit = fit_line(msd.mean(axis=1), walk_covariance(200, lags), 15)
    each = fit.weights @ msd
    assert each[0].mean() == pytest.approx(fit.step_variance, rel=1e-12)
    assert each[1].mean() == pytest.approx(fit.noise_variance, rel=1e-10)


def test_residuals_that_are_not_a_walks_are_seen() -> None:
    lags = np.arange(1, 21)
    covariance = walk_covariance(400, lags)
    straight = fit_line(1.0 * lags, covariance, 96)
    bent = fit_line(lags**0.7, covariance, 96)
    assert straight.chi_square < 1e-12 * straight.n_degrees
    assert bent.chi_square > 10 * bent.n_degrees


def test_bad_lags_and_values_are_one_clear_error() -> None:
    for lags in ([], [0, 1], [2, 1], [1, 11]):
        with pytest.raises(ValueError, match="increase from at least 1 to at most 10"):
            walk_covariance(10, lags)
    covariance = walk_covariance(10, [1, 2])
    for values in (np.array([1.0]), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="two finite values"):
            fit_line(values, covariance, 3)
