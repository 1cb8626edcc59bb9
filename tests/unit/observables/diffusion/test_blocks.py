"""Block jackknife: closed forms, influence of an odd block, coverage."""

import numpy as np
import pytest

from limbeck.core.rng import stream
from limbeck.observables.diffusion.blocks import LAGS_IN_A_BLOCK, jackknife, over_particles, over_time
from limbeck.observables.diffusion.msd import displacements
from limbeck.observables.diffusion.walk import fit_line, walk_covariance


def test_equal_blocks_give_the_standard_error_of_the_mean() -> None:
    values = stream(1, "blocks").normal(size=13)
    found = jackknife(values)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(13), rel=1e-12)
    assert found.quantile(0.95) == pytest.approx(2.1788, abs=1e-4)
    assert jackknife(np.repeat(values, 1), np.ones(13)).standard_error == pytest.approx(found.standard_error)


def test_unequal_blocks_are_weighted_by_their_size() -> None:
    values, sizes = np.array([1.0, 4.0, 2.0]), np.array([1.0, 2.0, 3.0])
    without = [(8 + 6) / 5, (1 + 6) / 4, (1 + 8) / 3]
    expected = np.sqrt(2 / 3 * np.sum((without - np.mean(without)) ** 2))
    found = jackknife(values, sizes)
    assert found.standard_error == pytest.approx(expected)
    np.testing.assert_allclose(found.influence, (np.array(without) - 15 / 6) / expected)


def test_an_odd_block_has_the_influence() -> None:
    values = np.ones(12)
    values[7] = 30.0
    influence = jackknife(values).influence
    assert np.argmax(np.abs(influence)) == 7
    assert abs(influence[7]) > 3 * np.abs(np.delete(influence, 7)).max()
    assert jackknife(np.ones(4)).influence.tolist() == [0.0] * 4


def test_too_few_particles_or_too_short_a_run_give_none() -> None:
    assert over_particles(np.ones(7)) is None
    assert over_particles(np.arange(100.0)).n_blocks == 40
    lags = np.array([1, 2, 4])
    short = np.zeros((4 + 8 * LAGS_IN_A_BLOCK * 4 - 1, 1, 3))
    assert over_time(short, lags, np.ones(3)) is None
    with pytest.raises(ValueError, match="two blocks"):
        jackknife(np.ones(1))


def test_blocks_of_time_add_up_to_the_slope() -> None:
    paths = np.cumsum(stream(2, "time").normal(size=(801, 3, 3)), axis=0)
    lags, weights = np.array([1, 2, 5]), np.array([0.2, -0.1, 0.15])
    found = over_time(paths, lags, weights)
    n = 801 - 5
    by_hand = sum(
        w * np.mean(np.sum((paths[k : k + n] - paths[:n]) ** 2, axis=2)) for k, w in zip(lags, weights, strict=True)
    )
    sizes = np.bincount(np.arange(n) * found.n_blocks // n)
    assert found.values @ sizes / n == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("blocks", ["particles", "time"])
def test_intervals_cover_the_truth_at_their_rate(blocks: str) -> None:
    """500 replicas of 24 walkers: bounds three binomial standard errors wide; those of time are a little short."""
    rng, inside, replicas = stream(5, "coverage", blocks), np.zeros(2), 500
    lags = np.array([1, 2, 3, 4])
    covariance = walk_covariance(400, lags)
    for _ in range(replicas):
        paths = np.concatenate([np.zeros((1, 24, 3)), np.cumsum(rng.normal(size=(400, 24, 3)), axis=0)])
        each = displacements(paths, lags).squares / 3
        fit = fit_line(each.mean(axis=1), covariance, 72)
        slopes = fit.weights[0] @ each
        found = over_particles(slopes) if blocks == "particles" else over_time(paths, lags, fit.weights[0] / 3)
        score = abs(fit.step_variance - 1) / found.standard_error
        inside += [score < found.quantile(0.6827), score < found.quantile(0.95)]
    low = 0.03 if blocks == "time" else 0.0
    assert 0.683 - 0.063 - low < inside[0] / replicas < 0.683 + 0.063
    assert 0.95 - 0.03 - low < inside[1] / replicas < 0.95 + 0.03
