"""Baths by fit: poles come back, residues are semidefinite, moments are kept, noise is borne, mistakes are told."""

import numpy as np
import pytest

from limbeck.core.errors import ConfigError
from limbeck.impurity.bath import hybridization_function, matrix_windows, semicircle, spectral_weight, window_edges
from limbeck.impurity.bath import windows as scalar_windows
from limbeck.impurity.bath_fit import blocks_of, converged_bath, fit_matsubara, judged

FREQUENCIES = (2 * np.arange(200) + 1) * np.pi / 40


def known(rng, m, energies, *, is_complex):
    """A bath with levels at these energies."""
    v = rng.normal(size=(m, len(energies))) + (1j * rng.normal(size=(m, len(energies))) if is_complex else 0.0)
    return hybridization_function(1j * FREQUENCIES, energies, v), v


def residues(couplings):
    return np.einsum("ak,bk->kab", couplings, couplings.conj())


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_levels_of_one_orbital_come_back(n):
    rng = np.random.default_rng(n)
    energies = np.linspace(-1.8, 1.5, n) + 0.1 * rng.uniform(-1, 1, n)
    delta, v = known(rng, 1, energies, is_complex=False)
    found = fit_matsubara(FREQUENCIES, delta, n)
    np.testing.assert_allclose(found.energies, energies, atol=1e-7)
    np.testing.assert_allclose(np.abs(found.couplings), np.abs(v), atol=1e-7)
    assert max(found.error, found.largest_error, found.error_green) < 1e-9


@pytest.mark.parametrize(("m", "poles"), [(2, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize("is_complex", [False, True])
def test_matrices_with_off_diagonal_elements_come_back(m, poles, is_complex):
    rng = np.random.default_rng(10 * m + poles)
    energies = np.linspace(-1.9, 1.4, m * poles) + 0.05 * rng.uniform(-1, 1, m * poles)
    delta, v = known(rng, m, energies, is_complex=is_complex)
    assert len(blocks_of(delta)) == 1
    found = fit_matsubara(FREQUENCIES, delta, poles)
    np.testing.assert_allclose(found.energies, energies, atol=1e-6)
    np.testing.assert_allclose(residues(found.couplings), residues(v), atol=1e-5)
    assert np.iscomplexobj(found.couplings) == is_complex
    assert found.error < 1e-9


def test_residues_of_full_rank_are_two_levels_at_one_energy():
    delta, v = known(np.random.default_rng(9), 2, np.repeat([-1.0, 0.4], 2), is_complex=True)
    found = fit_matsubara(FREQUENCIES, delta, 2)
    np.testing.assert_allclose(found.energies, [-1.0, -1.0, 0.4, 0.4], atol=1e-6)
    for pair in ([0, 1], [2, 3]):
        np.testing.assert_allclose(residues(found.couplings)[pair].sum(0), residues(v)[pair].sum(0), atol=1e-6)


def test_orbitals_that_nothing_connects_are_fitted_apart():
    energies, couplings = np.array([-1.0, 0.0, 0.8]), np.array([[0.5, 0.0, 0.3], [0.0, 0.0, 0.0], [0.0, 0.7, 0.0]])
    delta = hybridization_function(1j * FREQUENCIES, energies, couplings)
    assert [block.tolist() for block in blocks_of(delta)] == [[0], [2]]
    found = fit_matsubara(FREQUENCIES, delta, 2)
    assert np.all(found.couplings[1] == 0)
    assert np.all(np.count_nonzero(found.couplings, axis=0) <= 1)
    assert found.error < 1e-9


def test_a_band_is_approached_and_the_smallest_bath_below_the_tolerance_is_taken():
    delta = hybridization_function(1j * FREQUENCIES, *semicircle(1001))
    found, seen = converged_bath(FREQUENCIES, delta, 1e-3, levels=np.array([[0.3]]))
    errors = [error for _, error in seen]
    assert len(found.energies) == seen[-1][0] == len(seen)
    assert errors[-1] <= 1e-3 < errors[-2]
    assert errors == sorted(errors, reverse=True)
    np.testing.assert_allclose(found.energies, -found.energies[::-1], atol=1e-5)  # as symmetric as the band
    assert np.sum(found.couplings**2) == pytest.approx(0.25, rel=1e-2)  # and of the same weight
    inner = 1 / (1j * FREQUENCIES - 0.3 - delta[:, 0, 0])
    made = hybridization_function(1j * FREQUENCIES, found.energies, found.couplings)[:, 0, 0]
    fitted = 1 / (1j * FREQUENCIES - 0.3 - made)
    assert found.error_green == pytest.approx(np.abs(inner - fitted).max() / np.abs(inner).max())
    with pytest.raises(ConfigError, match="up to 2 levels"):
        converged_bath(FREQUENCIES, delta, 1e-6, most=2)


def test_a_function_that_levels_cannot_make_stays_semidefinite():
    """A trace that is causal with one matrix that is not quite: the fit is the nearest causal one."""
    delta, _ = known(np.random.default_rng(2), 2, np.array([-1.0, 0.5]), is_complex=True)
    delta[:, 0, 1] *= 1.04  # residues are no longer of rank one, and one of their eigenvalues is negative
    delta[:, 1, 0] *= 1.04
    found = fit_matsubara(FREQUENCIES[:40], delta[:40], 2)
    made = hybridization_function(1j * FREQUENCIES, found.energies, found.couplings)
    assert np.linalg.eigvalsh(spectral_weight(made)).min() > -1e-12
    assert 1e-4 < found.error < 0.05


def test_noise_is_borne():
    rng = np.random.default_rng(5)
    delta, v = known(rng, 1, np.array([-1.2, 0.1, 0.9]), is_complex=False)
    noise = 1e-3 * np.abs(delta).max() * (rng.normal(size=delta.shape) + 1j * rng.normal(size=delta.shape))
    found = fit_matsubara(FREQUENCIES, delta + noise, 3)
    assert np.sum(np.abs(found.couplings) ** 2) == pytest.approx(np.sum(v**2), rel=0.02)
    fitted = hybridization_function(1j * FREQUENCIES, found.energies, found.couplings)
    assert np.abs(fitted - delta).max() < 3e-3 * np.abs(delta).max()


def band(rng, n, m):
    """A positive semidefinite Hermitian weight on a grid, as Delta(w + i0) without its real part."""
    x = np.linspace(-2.0, 3.0, n)
    a, b = (rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m)) for _ in range(2))
    root = np.exp(-(x[:, None, None] ** 2)) * a + 0.5 * np.exp(-((x[:, None, None] - 1) ** 2)) * b
    return x, -1j * np.pi * root @ np.conj(np.swapaxes(root, 1, 2))


@pytest.mark.parametrize("kind", ["equal", "weight", "logarithmic"])
@pytest.mark.parametrize("n", [4, 7])
def test_windows_keep_both_moments_as_matrices_and_levels_in_place(kind, n):
    x, delta = band(np.random.default_rng(n), 301, 3)
    edges = window_edges(x, delta, n, kind)
    assert len(edges) == n + 1
    assert np.all(np.diff(edges) > 0)
    energies, v = matrix_windows(x, delta, edges)
    weight = spectral_weight(delta)
    step, mean = np.diff(x)[:, None, None], 0.5 * (weight[1:] + weight[:-1])
    moment = step * 0.5 * (x[:-1, None, None] * weight[:-1] + x[1:, None, None] * weight[1:])
    np.testing.assert_allclose(v @ v.conj().T, (step * mean).sum(0), atol=1e-3 * np.abs(weight).max())
    np.testing.assert_allclose((v * energies) @ v.conj().T, moment.sum(0), atol=1e-3 * np.abs(weight).max())
    assert len(energies) == 3 * n
    for k in range(n):
        inside = energies[3 * k : 3 * k + 3]
        assert np.all((inside >= edges[k] - 1e-9) & (inside <= edges[k + 1] + 1e-9))


def test_windows_of_one_orbital_are_those_of_the_scalar_function():
    x = np.linspace(-1.0, 1.0, 401)
    gamma = 0.5 * np.sqrt(np.clip(1 - x**2, 0, None)) * (1 + 0.3 * x)
    delta = -1j * gamma[:, None, None]
    energies, couplings = matrix_windows(x, delta, window_edges(x, delta, 9))
    truth = scalar_windows(x, gamma / np.pi, 9)
    np.testing.assert_allclose(energies, truth[0], atol=1e-12)
    np.testing.assert_allclose(couplings[0], truth[1], atol=1e-12)


def test_weight_of_rank_one_gives_one_level_a_window():
    x = np.linspace(-1.0, 1.0, 101)
    u = np.array([1.0, 1j, 0.5])
    delta = -1j * (1 - x**2)[:, None, None] * np.outer(u, u.conj())
    energies, couplings = matrix_windows(x, delta, window_edges(x, delta, 6))
    assert len(energies) == 6
    np.testing.assert_allclose(couplings[1] / couplings[0], 1j, atol=1e-7)


def test_levels_are_ordered_and_their_deviations_told():
    energies, couplings = np.array([0.5, -1.0]), np.array([[0.3, 0.4j]])
    z = 1j * FREQUENCIES
    delta = hybridization_function(z, energies, couplings)
    found = judged(energies, couplings, z, 1.1 * delta)
    assert found.energies.tolist() == [-1.0, 0.5]
    assert found.couplings.dtype == float  # a phase of a level is nothing
    assert found.error == pytest.approx(0.1 / 1.1)
    assert found.largest_error == pytest.approx(0.1 / 1.1)


def test_mistakes_are_one_clear_error():
    delta, _ = known(np.random.default_rng(1), 2, np.array([-1.0, 0.5]), is_complex=True)
    with pytest.raises(ConfigError, match="not causal"):
        fit_matsubara(FREQUENCIES, -delta, 2)
    with pytest.raises(ConfigError, match="must be positive and increase"):
        fit_matsubara(FREQUENCIES[::-1], delta, 2)
    with pytest.raises(ConfigError, match=r"shape \(200, m, m\)"):
        fit_matsubara(FREQUENCIES, delta[:10], 2)
    with pytest.raises(ConfigError, match="one level for each orbital"):
        fit_matsubara(FREQUENCIES, delta, 0)
    with pytest.raises(ConfigError, match="NaN"):
        fit_matsubara(FREQUENCIES, delta * np.nan, 1)
    x, band_delta = band(np.random.default_rng(1), 51, 2)
    with pytest.raises(ConfigError, match="not causal"):
        matrix_windows(x, -band_delta, np.array([-1.0, 1.0]))
    with pytest.raises(ConfigError, match="equal, weight, logarithmic"):
        window_edges(x, band_delta, 3, "square")
    with pytest.raises(ConfigError, match="both sides of zero"):
        window_edges(x + 5, band_delta, 3, "logarithmic")
