import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.core.errors import TrainingError
from limbeck.labels.split import split_by_trajectory

sizes = st.lists(st.integers(1, 9), min_size=2, max_size=8)
fractions = st.floats(0.01, 0.99)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(sizes=sizes, fraction=fractions, seed=st.integers(0, 2**31), reverse=st.booleans())
def test_split_is_exact_and_by_trajectory(label_factory, sizes, fraction, seed, reverse):
    frames = [label_factory(f"run {t}") for t, size in enumerate(sizes) for _ in range(size)]
    frames = frames[::-1] if reverse else frames
    split = split_by_trajectory(frames, fraction, seed)
    assert sorted(map(id, (*split.train, *split.validation))) == sorted(map(id, frames))
    train, validation = ({f.trajectory for f in part} for part in (split.train, split.validation))
    assert train
    assert validation
    assert not train & validation
    again = split_by_trajectory(frames[::-1], fraction, seed)
    assert {f.trajectory for f in again.validation} == validation
    # No trajectory moved to the other side alone would come closer by more than the smallest allowed step.
    assert abs(len(split.validation) - fraction * len(frames)) <= max(sizes)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(n=st.integers(2, 30), seed=st.integers(0, 1000))
def test_equal_trajectories_give_the_wanted_number(label_factory, n, seed):
    frames = [label_factory(f"run {t}") for t in range(n)]
    split = split_by_trajectory(frames, 0.25, seed)
    assert abs(len(split.validation) - max(1, 0.25 * n)) <= 0.5


def test_seed_decides(label_factory):
    frames = [label_factory(f"run {t}") for t in range(12)]
    parts = {frozenset(f.trajectory for f in split_by_trajectory(frames, 0.25, seed).validation) for seed in range(20)}
    assert len(parts) > 5


def test_one_trajectory_cannot_be_split(label_factory):
    frames = [label_factory("run 0")] * 5
    with pytest.raises(TrainingError, match="5 frames of 1 trajectory"):
        split_by_trajectory(frames, 0.2, 0)
    assert split_by_trajectory(frames, 0, 0).validation == ()


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_impossible_fraction(label_factory, fraction):
    with pytest.raises(ValueError, match="validation_fraction"):
        split_by_trajectory([label_factory("a"), label_factory("b")], fraction, 0)
