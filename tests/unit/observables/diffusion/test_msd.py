"""Mean square displacements of closed-form paths, and against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.observables.diffusion.msd import displacements, mean_square_displacement


def by_hand(paths: np.ndarray) -> np.ndarray:
    found = np.zeros(len(paths))
    for lag in range(1, len(paths)):
        found[lag] = np.mean(np.sum((paths[lag:] - paths[:-lag]) ** 2, axis=2))
    return found


@given(
    n_frames=st.integers(1, 70), n_particles=st.integers(1, 4), n_axes=st.integers(1, 3),
    seed=st.integers(0, 999), far=st.floats(0, 1e5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_fft_is_the_sum_by_hand(n_frames: int, n_particles: int, n_axes: int, seed: int, far: float) -> None:
    rng = np.random.default_rng(seed)
    paths = np.cumsum(rng.normal(size=(n_frames, n_particles, n_axes)), axis=0) + far
    scale = 1 + np.abs(paths - paths[0]).max() ** 2
    np.testing.assert_allclose(mean_square_displacement(paths), by_hand(paths), rtol=1e-9, atol=1e-12 * scale)


def test_a_ballistic_path_is_exact_to_the_last_lag() -> None:
    velocity = np.array([0.3, -1.7, 2.2])
    times = np.arange(5000)
    paths = (7.0 + times[:, None] * velocity)[:, None, :]
    expected = times**2 * (velocity @ velocity)
    np.testing.assert_allclose(mean_square_displacement(paths), expected, rtol=1e-12)


@pytest.mark.parametrize("turns", [0.01, 0.37])
def test_a_circle_and_an_oscillator_keep_twelve_digits(turns: float) -> None:
    n, radius = 3000, 2.5
    angle = 2 * np.pi * turns * np.arange(n)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None, :]
    chord = 4 * radius**2 * np.sin(angle / 2) ** 2
    np.testing.assert_allclose(mean_square_displacement(circle), chord, atol=1e-12 * radius**2)
    oscillator = circle[:, :, :1]
    tensor = displacements(circle, []).tensor
    np.testing.assert_allclose(tensor[:, 0, 0], mean_square_displacement(oscillator), atol=1e-12 * radius**2)
    np.testing.assert_allclose(np.trace(tensor, axis1=1, axis2=2), chord, atol=1e-12 * radius**2)


def test_the_tensor_is_the_mean_of_products_of_displacements() -> None:
    rng = np.random.default_rng(4)
    path = np.cumsum(rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)), axis=0)
    tensor = displacements(path[:, None], []).tensor
    for lag in (1, 3, 7, 40, 59):
        steps = path[lag:] - path[:-lag]
        np.testing.assert_allclose(tensor[lag], steps.T @ steps / len(steps), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(tensor, tensor.transpose(0, 2, 1))


def test_a_walk_far_from_where_it_began_loses_no_digits_at_short_lags() -> None:
    rng = np.random.default_rng(5)
    paths = np.cumsum(rng.normal(size=(20000, 1, 1)), axis=0) + 3.0 * np.arange(20000)[:, None, None]
    expected = [np.mean((paths[k:] - paths[:-k]) ** 2) for k in (1, 2, 5, 10, 100)]
    np.testing.assert_allclose(mean_square_displacement(paths)[[1, 2, 5, 10, 100]], expected, rtol=1e-11)


def test_bad_paths_are_one_clear_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        mean_square_displacement(np.array([[[0.0]], [[np.nan]]]))
    for empty in (np.zeros((0, 1, 3)), np.zeros((3, 0, 3))):
        with pytest.raises(ValueError, match="frames, particles, axes"):
            mean_square_displacement(empty)
    assert mean_square_displacement(np.zeros((1, 2, 3))).tolist() == [0.0]
