"""Lanczos, Chebyshev and correction vectors agree with the exact resolvent, and keep moments and signs."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from limbeck.core.errors import ConfigError
from limbeck.impurity.bases import orbitals_of
from limbeck.impurity.bath import hybridization_function, semicircle
from limbeck.impurity.exact import exact_ground
from limbeck.impurity.excitations import Space, excitation_space, greens_function
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import anderson
from limbeck.impurity.operators import product
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.resolvents import (
    bounds,
    chebyshev,
    correction_vectors,
    greens_values,
    moments_for,
    resolvent,
)
from limbeck.impurity.selected_ci import selected_ci

SOLVERS = ("lanczos", "chebyshev", "correction")


def one_orbital(n_bath, u, level=None):
    energies, couplings = semicircle(n_bath)
    return anderson(np.array([[-u / 2 if level is None else level]]), energies, couplings, kanamori(1, u), n_bath + 1)


def random_space(rng, n, p, *, is_complex):
    h = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if is_complex else 0.0)
    b = rng.normal(size=(n, p)) + (1j * rng.normal(size=(n, p)) if is_complex else 0.0)
    return Space(csr_array(0.5 * (h + h.conj().T)), b, -0.7)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("is_complex", [False, True])
def test_every_solver_is_the_inverse_on_both_sides_of_the_axis(solver, is_complex):
    space = random_space(np.random.default_rng(1), 60, 3, is_complex=is_complex)
    z = np.array([-3 + 0.5j, 0.4 + 0.3j, 2.0 - 0.4j, 1j])
    h = space.matrix.toarray()
    truth = np.array([space.block.conj().T @ np.linalg.solve((w - 0.7) * np.eye(60) - h, space.block) for w in z])
    found = resolvent(space, z, solver)
    assert np.abs(found - truth).max() < 1e-7 * np.abs(truth).max()


def test_the_interval_holds_the_spectrum_and_little_more():
    for seed in range(5):
        space = random_space(np.random.default_rng(seed), 300, 1, is_complex=bool(seed % 2))
        values = np.linalg.eigvalsh(space.matrix.toarray())
        center, half_width = bounds(space.matrix)
        assert center - half_width <= values[0]
        assert center + half_width >= values[-1]
        assert half_width < 0.6 * (values[-1] - values[0])


def test_moments_are_those_of_chebyshev_polynomials():
    space = random_space(np.random.default_rng(3), 40, 2, is_complex=True)
    found = chebyshev(space, 12)
    values, vectors = np.linalg.eigh(space.matrix.toarray())
    x = (values + 0.7 - found.center) / found.half_width
    a = vectors.conj().T @ space.block
    truth = [np.einsum("kp,k,kq->pq", a.conj(), np.cos(n * np.arccos(x)), a) for n in range(12)]
    np.testing.assert_allclose(found.moments, truth, atol=1e-10)


def test_a_spectrum_on_the_real_axis_is_positive_and_keeps_weight_and_mean():
    space = random_space(np.random.default_rng(4), 200, 2, is_complex=True)
    found = chebyshev(space, 200)
    reach = found.half_width
    energies = found.center + reach * np.cos(np.pi * (np.arange(4000) + 0.5) / 4000)  # of Chebyshev's quadrature
    spectrum = found.spectrum(energies)
    assert np.linalg.eigvalsh(spectrum).min() > -1e-10
    width = np.pi / 4000 * reach * np.sqrt(1 - ((energies - found.center) / reach) ** 2)
    np.testing.assert_allclose(np.einsum("w,wpq->pq", width, spectrum), space.block.conj().T @ space.block, atol=1e-9)
    first = np.einsum("w,w,wpq->pq", width, energies, spectrum)
    h = space.matrix.toarray() + 0.7 * np.eye(200)
    truth = space.block.conj().T @ h @ space.block
    assert np.abs(first - truth).max() < 1e-3 * reach * np.abs(space.block.conj().T @ space.block).max()
    assert np.all(found.spectrum(np.array([found.center + 1.01 * reach, found.center - 2 * reach])) == 0)


def test_the_width_of_a_line_is_that_of_jacksons_kernel():
    space = Space(csr_array(np.diag([-1.0, 0.0, 1.0])), np.array([[0.0], [1.0], [0.0]]), 0.0)
    found = chebyshev(space, 300)
    energies = np.linspace(-0.1, 0.1, 2001)
    line = found.spectrum(energies)[:, 0, 0].real
    step = energies[1] - energies[0]
    sigma = np.sqrt(np.sum(line * energies**2) * step)
    assert np.sum(line) * step == pytest.approx(1.0, abs=1e-3)
    assert sigma == pytest.approx(np.pi * found.half_width / 300, rel=0.04)


@pytest.mark.parametrize("solver", SOLVERS)
def test_greens_functions_on_the_whole_space_obey_dysons_equation_without_interaction(solver):
    model = one_orbital(5, 0.0, 0.2)
    z = np.linspace(-2, 2, 9) + 0.3j
    found = greens_values(exact_ground(orbitals_of(model)), [0], z, solver)[:, 0, 0]
    energies, couplings = semicircle(5)
    truth = 1 / (z - 0.2 - hybridization_function(z, energies, couplings)[:, 0, 0])
    np.testing.assert_allclose(found, truth, atol=1e-7)


def test_all_three_agree_on_a_restricted_space():
    """Interacting, 780 of 3920 configurations: on one and the same space, with no solver's own error in sight."""
    state = selected_ci(natural_orbitals(one_orbital(7, 2.0)), 500)
    operators = [product(1.0, (0, True)), product(1.0, (0, True), (1, True), (1, False))]
    space = excitation_space(state, operators, (0.0, 3.0), 0.15, 780)
    assert len(space.block) == 780
    z = np.linspace(0.0, 3.0, 4) + 0.15j
    poles, moments, vectors = (resolvent(space, z, solver, 400) for solver in SOLVERS)
    largest = np.abs(poles).max()
    assert np.abs(moments - poles).max() < 1e-7 * largest
    assert np.abs(vectors - poles).max() < 1e-7 * largest
    assert np.all(-np.trace(vectors, axis1=1, axis2=2).imag > 0)
    corrections = correction_vectors(space, z)
    assert corrections.residual <= 1e-9
    assert len(corrections.steps) == 4


def test_greens_values_are_those_of_the_greens_function():
    state = exact_ground(orbitals_of(one_orbital(3, 2.0, -0.6)))
    z = np.linspace(-3, 3, 13) + 0.2j
    truth = greens_function(state, [0], (-5, 5), 0.2, 5000)(z)
    for solver in SOLVERS:
        np.testing.assert_allclose(greens_values(state, [0], z, solver, 5000), truth, atol=1e-7)


def test_too_few_moments_are_told():
    space = random_space(np.random.default_rng(1), 60, 1, is_complex=False)
    need = moments_for(space, 0.1)
    found = chebyshev(space, need)
    assert np.isfinite(found.matrix(np.array([0.3 + 0.1j]))).all()
    with pytest.raises(ConfigError, match="are needed"):
        chebyshev(space, need // 3).matrix(np.array([0.3 + 0.1j]))


def test_nothing_to_excite_gives_nothing():
    energies, couplings = np.zeros(1), np.array([[0.3]])
    state = exact_ground(orbitals_of(anderson(np.array([[0.0]]), energies, couplings, kanamori(1, 1.0), 4)))
    z = np.array([0.5 + 0.2j])
    found = greens_values(state, [0], z)
    assert found[0, 0, 0] == pytest.approx(1 / (z[0] - 1.0 - 0.09 / z[0]), abs=1e-9)  # a hole beside a full level
