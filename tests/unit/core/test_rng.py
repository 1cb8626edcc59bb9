import numpy as np

from limbeck.core.rng import integer_seed, stream


def test_streams_depend_on_seed_and_name_only():
    assert np.array_equal(stream(1, "a", 2).normal(size=5), stream(1, "a", 2).normal(size=5))
    assert not np.array_equal(stream(1, "a", 2).normal(size=5), stream(1, "a", 3).normal(size=5))
    assert not np.array_equal(stream(1, "a").normal(size=5), stream(2, "a").normal(size=5))
    assert not np.array_equal(stream(1, "ab").normal(size=5), stream(1, "a", "b").normal(size=5))


def test_streams_of_different_names_are_uncorrelated():
    first, second = stream(7, "explore").normal(size=20000), stream(7, "select").normal(size=20000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(20000)


def test_integer_seeds_fit_every_engine():
    seeds = [integer_seed(1, "fit", i) for i in range(200)]
    assert len(set(seeds)) == 200
    assert all(1 <= s < 2**31 - 1 for s in seeds)
