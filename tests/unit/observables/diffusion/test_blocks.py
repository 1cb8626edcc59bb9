"""Block jackknife: closed forms, influence of an odd block, coverage."""

import numpy as np
import pytest
from scipy.stats import t as student_t

from limbeck.core.rng import stream
from limbeck.observables.diffusion.blocks import LAGS_IN_A_BLOCK, Table, jackknife, over_particles, over_time, table
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


def uneven_walks(rng: np.random.Generator, kind: str) -> np.ndarray:
    """32 walkers, 900 steps of mean variance one: alike, or some faster, or the run faster at times, or both."""
    steps = rng.normal(size=(900, 32, 3))
    if kind in ("particles", "both"):
        steps *= np.sqrt(rng.gamma(2.0, 0.5, size=(1, 32, 1)))
    if kind in ("time", "both"):
        steps *= np.sqrt(np.repeat(rng.gamma(0.5, 2.0, size=(180, 1, 1)), 5, axis=0))
    return np.concatenate([np.zeros((1, 32, 3)), np.cumsum(steps, axis=0)])


@pytest.mark.parametrize("kind", ["alike", "particles", "time", "both"])
def test_blocks_of_both_hold_whatever_particles_and_time_do(kind: str) -> None:
    """400 replicas; where both are uneven, blocks of one kind alone fall short."""
    rng, replicas, lags, weights = stream(8, "both", kind), 400, np.array([1]), np.array([1 / 3])
    inside = {"both": 0, "particles": 0, "time": 0}
    for _ in range(replicas):
        found = table(uneven_walks(rng, kind), lags, weights)
        assert found is not None
        value = found.n_particles @ found.values @ found.n_origins / found.n_particles.sum() / found.n_origins.sum()
        rows = jackknife(found.values @ found.n_origins / found.n_origins.sum(), found.n_particles)
        error, degrees = found.both()
        for name, spread, freedom in (
            ("both", error, degrees),
            ("particles", rows.standard_error, rows.n_blocks - 1),
            ("time", found.time.standard_error, found.time.n_blocks - 1),
        ):
            inside[name] += abs(value - 1.0) < student_t.ppf(0.975, freedom) * spread
    rates = {name: count / replicas for name, count in inside.items()}
    assert 0.90 < rates["both"] <= 0.985, rates
    if kind in ("particles", "both"):
        assert rates["time"] < 0.85, rates
    if kind in ("time", "both"):
        assert rates["particles"] < 0.85, rates


def test_a_table_of_blocks_adds_up_and_one_row_has_no_both() -> None:
    paths = np.cumsum(stream(3, "table").normal(size=(500, 5, 3)), axis=0)
    lags, weights = np.array([1, 3]), np.array([0.3, 0.1])
    found = table(paths, lags, weights)
    assert found is not None
    assert found.values.shape == (5, 40)
    n = 500 - 3
    squares = [np.sum((paths[k : k + n] - paths[:n]) ** 2, axis=2).mean(axis=0) for k in lags]
    each = weights @ np.array(squares)
    np.testing.assert_allclose(found.values @ found.n_origins / n, each, rtol=1e-12)
    with pytest.raises(ValueError, match="two blocks"):
        table(paths[:, :1], lags, weights).both()
    assert Table(np.ones((3, 4)), np.ones(3), np.ones(4)).both() == (0.0, 2.0)
