"""Selected configurations: exact energies, the variational bound, sectors, symmetries, mistakes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array

from limbeck.core.errors import ConfigError
from limbeck.impurity.bath import hybridization_function, semicircle
from limbeck.impurity.excitations import greens_function, poles_of
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.operators import entries, one_body, product, two_body
from limbeck.impurity.orbitals import mean_field, natural_orbitals
from limbeck.impurity.selected_ci import flipped, iterated, selected_ci
from limbeck.impurity.subspace import Hamiltonian, all_configurations, lowest, numbers, packed, unpacked


def dense(n, operator):
    """Matrix of an operator; its parts are tested against Kronecker products in test_interaction.py."""
    source, target, value = entries(n, operator)
    matrix = np.zeros((2**n, 2**n), complex)
    matrix[target, source] = value
    return matrix


def one_orbital(n_bath, u, level=None, n_electrons=None):
    energies, couplings = semicircle(n_bath)
    level = -u / 2 if level is None else level
    return anderson([[level]], energies, couplings, kanamori(1, u), n_electrons or n_bath + 1)


def random_model(rng, n_impurity, n_bath, n_electrons, *, is_complex=False):
    """No symmetry but the number of electrons."""
    n = 2 * (n_impurity + n_bath)
    h = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if is_complex else 0.0)
    u = kanamori(n_impurity, 2.0, 0.3) + 0.0 * h[0, 0]
    if is_complex:
        m = 2 * n_impurity
        q, _ = np.linalg.qr(rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m)))
        u = np.einsum("abcd,ai,bj,ck,dl->ijkl", u, q.conj(), q.conj(), q, q)
    return ImpurityModel(0.5 * (h + h.conj().T), u, n_electrons, None)


def exact(model):
    """Lowest energy of the sector by a dense matrix from an independent construction."""
    n, m = model.n_spin_orbitals, model.n_impurity
    wide = np.zeros((n,) * 4, model.interaction.dtype)
    wide[:m, :m, :m, :m] = model.interaction
    whole = dense(n, one_body(model.one_body) + two_body(wide))
    chosen = [
        p for p in range(2**n)
        if bin(p).count("1") == model.n_electrons
        and (model.spin_2z is None or sum((1 - 2 * (k % 2)) * (p >> k & 1) for k in range(n)) == model.spin_2z)
    ]  # fmt: skip
    return np.linalg.eigvalsh(whole[np.ix_(chosen, chosen)])


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_sparse_matrix_has_the_spectrum_of_the_dense_one(is_complex):
    model = random_model(np.random.default_rng(3), 2, 2, 3, is_complex=is_complex)
    matrix = Hamiltonian.of(model).matrix(all_configurations(model)).toarray()
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), exact(model), atol=1e-10)


def test_bits_beyond_one_word():
    """The same model with 80 empty spin orbitals between: signs count across words."""
    small = random_model(np.random.default_rng(4), 1, 3, 3)
    n, gap = small.n_spin_orbitals, 80
    place = np.concatenate([np.arange(2), np.arange(2 + gap, n + gap)])
    h = np.diag(np.full(n + gap, 50.0))
    h[np.ix_(place, place)] = small.one_body
    wide = ImpurityModel(h, small.interaction, small.n_electrons, None)
    rows = unpacked(all_configurations(small), n)
    spread = np.zeros((len(rows), n + gap), bool)
    spread[:, place] = rows
    matrix = Hamiltonian.of(wide).matrix(packed(spread, 2)).toarray()
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), exact(small), atol=1e-10)


@pytest.mark.parametrize("n_bath", [3, 15, 63])
@pytest.mark.parametrize("n_orbitals", [1, 2])
def test_without_interaction_the_mean_field_is_exact(n_bath, n_orbitals):
    energies, couplings = semicircle(n_bath)
    v = np.kron(np.eye(n_orbitals), couplings)
    n = n_orbitals * (n_bath + 1)
    model = anderson(np.zeros((n_orbitals,) * 2), np.tile(energies, n_orbitals), v, kanamori(n_orbitals, 0.0), n)
    truth = 2 * np.linalg.eigvalsh(model.one_body[::2, ::2])[: n // 2].sum()
    assert mean_field(model)[1] == pytest.approx(truth, abs=1e-11)
    found = selected_ci(natural_orbitals(model), 3000)
    assert found.energy == pytest.approx(truth, abs=1e-10)


def test_energies_fall_to_the_exact_one_and_stay_above_it():
    model = one_orbital(5, 4.0, level=-1.0)
    truth = exact(model)[0]
    found = selected_ci(natural_orbitals(model), 400)
    energies = [step.energy for step in found.steps]
    assert all(b <= a + 1e-12 for a, b in pairwise(energies))
    assert all(e >= truth - 1e-10 for e in energies)
    assert all(step.pt2 <= 0 for step in found.steps)
    assert found.energy == pytest.approx(truth, abs=1e-9)
    assert np.linalg.norm(found.vector) == pytest.approx(1.0)


def test_known_energies():
    """Fixed discretization; 7 baths by full diagonalization elsewhere, 15 and 31 by two routes that agree to 1e-10."""
    assert selected_ci(natural_orbitals(one_orbital(7, 2.0)), 5000).energy == pytest.approx(-4.71485072273, abs=1e-9)
    for n_bath, u, truth in ((15, 2.0, -8.747676045859), (15, 8.0, -11.512191754650), (31, 8.0, -19.538109938447)):
        found = iterated(natural_orbitals(one_orbital(n_bath, u)), 2, 2000, 8000)
        assert truth - 1e-10 < found.energy < truth + 2e-7
        assert found.extrapolated[0] == pytest.approx(truth, abs=3e-8)
        assert found.variance < 1e-5


def test_iterated_orbitals_are_better_where_the_mean_field_is_poor():
    basis = natural_orbitals(one_orbital(15, 8.0))
    assert iterated(basis, 1, 1000, 3000).pt2 > 0.02 * selected_ci(basis, 3000).pt2


def test_the_density_is_that_of_the_state_in_any_orbitals():
    model = one_orbital(5, 3.0, level=-1.0)
    state = selected_ci(natural_orbitals(model), 2000)
    density = state.given_density()
    np.testing.assert_allclose(density, density.conj().T, atol=1e-10)
    assert np.trace(density).real == pytest.approx(6.0)
    rows = all_configurations(model)
    energies, vectors = lowest(Hamiltonian.of(model).matrix(rows), 1)
    occupied = unpacked(rows, 12)
    np.testing.assert_allclose(np.diag(density).real, np.abs(vectors[:, 0]) ** 2 @ occupied, atol=1e-6)
    assert energies[0] == pytest.approx(state.energy, abs=1e-9)


def test_every_sector_that_the_interaction_leaves_alone_is_tried():
    """Kanamori's interaction keeps the parity of each orbital with its bath: the lowest of them is found."""
    energies, couplings = semicircle(3)
    model = anderson(-0.5 * np.eye(2), np.tile(energies, 2), np.kron(np.eye(2), couplings), kanamori(2, 2.0, 0.4), 8)
    rows = all_configurations(model)
    truth = lowest(Hamiltonian.of(model).matrix(rows), 1)[0][0]
    assert selected_ci(natural_orbitals(model), 5000).energy == pytest.approx(truth, abs=1e-7)


def test_three_orbitals_reach_the_right_sector():
    """Three orbitals with five baths each; a wrong parity lies 0.38 higher."""
    energies, couplings = semicircle(5)
    levels = -np.eye(3) * (5 * 2.0 - 10 * 0.4) / 2
    model = anderson(levels, np.tile(energies, 3), np.kron(np.eye(3), couplings), kanamori(3, 2.0, 0.4), 18)
    found = selected_ci(natural_orbitals(model), 5000)
    assert found.energy == pytest.approx(-14.3363, abs=2e-3)


def test_the_set_is_closed_under_spin_flip():
    found = selected_ci(natural_orbitals(one_orbital(9, 4.0)), 700)
    assert np.all(numbers(found.rows, flipped(found.rows)) >= 0)


def test_the_same_call_gives_the_same_list():
    basis = natural_orbitals(one_orbital(9, 4.0))
    a, b = selected_ci(basis, 500), selected_ci(basis, 500)
    np.testing.assert_array_equal(a.rows, b.rows)
    assert a.energy == b.energy


def test_two_sites_are_known_in_closed_form():
    """Hubbard's dimer as an impurity with one bath level at its Fermi level."""
    u, v = 3.0, 0.4
    model = anderson([[-u / 2]], [0.0], [[v]], kanamori(1, u), 2)
    truth = -u / 4 - np.sqrt((u / 4) ** 2 + 4 * v**2)  # singlet with half of the weight on the ionic states
    assert selected_ci(natural_orbitals(model), 10).energy == pytest.approx(truth, abs=1e-10)


def test_greens_function_without_interaction_is_the_resolvent():
    model = one_orbital(15, 0.0)
    state = selected_ci(natural_orbitals(model), 2000)
    z = np.linspace(-2, 2, 101) + 0.05j
    found = greens_function(state, [0], (-3, 3), 0.05, 3000)
    h = model.one_body[::2, ::2]
    truth = np.linalg.inv(z[:, None, None] * np.eye(len(h)) - h)[:, 0, 0]
    assert np.abs(found(z)[:, 0, 0] - truth).max() < 1e-8


def test_self_energy_and_sum_rules_on_the_whole_space():
    """G = 1 / (z - e - Delta - Sigma) with Sigma from F / G, which is another route; Sigma is causal."""
    energies, couplings = semicircle(4)
    u, level = 3.0, -1.2
    model = anderson([[level]], energies, couplings, kanamori(1, u), 4)
    state = selected_ci(natural_orbitals(model), 10_000)
    found = greens_function(state, [0], (-6, 6), 0.1, 10_000)
    z = np.linspace(-4, 4, 81) + 0.1j
    sigma = found.self_energy(z)[:, 0, 0]
    dyson = 1 / (z - level - hybridization_function(z, energies, couplings)[:, 0, 0] - sigma)
    assert np.abs(dyson - found(z)[:, 0, 0]).max() < 1e-8
    assert sigma.imag.max() < 0
    assert found.moment(0)[0, 0] == pytest.approx(1.0, abs=1e-10)
    hartree = u * state.density()[1, 1].real
    assert found.moment(1)[0, 0] == pytest.approx(level + hartree, abs=1e-8)


def test_off_diagonal_greens_function_of_a_dense_complex_model():
    """Against sums over all eigenstates of dense matrices."""
    model = random_model(np.random.default_rng(7), 1, 2, 3, is_complex=True)
    state = selected_ci(natural_orbitals(model), 10_000)
    assert state.energy == pytest.approx(exact(model)[0], abs=1e-9)
    found = greens_function(state, [0, 1], (-9, 9), 0.2, 10_000)
    n, m = model.n_spin_orbitals, model.n_impurity
    wide = np.zeros((n,) * 4, complex)
    wide[:m, :m, :m, :m] = model.interaction
    energies, vectors = np.linalg.eigh(dense(n, one_body(model.one_body) + two_body(wide)))
    count = np.array([bin(p).count("1") for p in range(2**n)])
    electrons = np.round(np.abs(vectors.T) ** 2 @ count).astype(int)
    ground = np.flatnonzero(electrons == 3)[0]
    c = [dense(n, product(1.0, (a, False))) for a in range(2)]
    z = np.linspace(-5, 5, 21) + 0.2j
    truth = np.zeros((len(z), 2, 2), complex)
    for a in range(2):
        for b in range(2):
            into = (vectors[:, ground].conj() @ c[a] @ vectors) * (
                vectors.conj().T @ c[b].conj().T @ vectors[:, ground]
            )
            out = (vectors[:, ground].conj() @ c[b].conj().T @ vectors) * (vectors.conj().T @ c[a] @ vectors[:, ground])
            gap = energies - energies[ground]
            truth[:, a, b] = (into / (z[:, None] - gap)).sum(axis=1) + (out / (z[:, None] + gap)).sum(axis=1)
    assert np.abs(found(z) - truth).max() < 1e-8


def test_a_restricted_space_gives_the_spectrum_and_says_its_error():
    """Seven baths: 780 of 3920 excited configurations, against all of them; the stated error is no smaller."""
    basis = natural_orbitals(one_orbital(7, 2.0))
    frequencies = np.linspace(-3.5, 3.5, 301)
    whole = greens_function(selected_ci(basis, 5000), [0], (-3.5, 3.5), 0.1, 5000)
    truth, _ = whole.spectral_function(frequencies, 0.1)
    small = greens_function(iterated(basis, 1, 500, 500), [0], (-3.5, 3.5), 0.1, 780)
    assert small.added.n == small.removed.n == 780
    found, stated = small.spectral_function(frequencies, 0.1)
    error = np.abs(found - truth).max()
    assert error < 0.025 * truth.max()
    assert error < stated.max() < 0.1 * truth.max()


def test_a_space_grows_even_if_it_was_allowed_fewer_than_it_begins_with():
    state = selected_ci(natural_orbitals(one_orbital(9, 2.0)), 2000)
    found = greens_function(state, [0], (-3.5, 3.5), 0.1, 500)
    assert found.added.n > 2500
    assert found.spectral_function(np.linspace(-3, 3, 31), 0.1)[1].max() > 1e-4


def test_mistakes_are_one_clear_error():
    energies, couplings = semicircle(3)
    with pytest.raises(ConfigError, match="do not fit into 8 spin orbitals"):
        anderson([[0.0]], energies, couplings, kanamori(1, 1.0), 9)
    with pytest.raises(ConfigError, match="2 S_z = 1"):
        anderson([[0.0]], energies, couplings, kanamori(1, 1.0), 4, 1)
    with pytest.raises(ConfigError, match="not Hermitian"):
        ImpurityModel(np.array([[0.0, 1.0], [0.0, 0.0]]), kanamori(1, 1.0), 1, None)
    wrong = kanamori(1, 1.0)
    wrong[0, 1, 0, 0] = 0.3
    with pytest.raises(ConfigError, match="interaction is not Hermitian"):
        ImpurityModel(np.eye(4), wrong, 2, None)
    with pytest.raises(ConfigError, match="NaN"):
        ImpurityModel(np.full((4, 4), np.nan), kanamori(1, 1.0), 2)
    with pytest.raises(ConfigError, match="mixes spin"):
        ImpurityModel(np.ones((4, 4)), kanamori(1, 1.0), 2, 0)
    with pytest.raises(ConfigError, match="do not fit"):
        anderson([[0.0]], energies, np.ones((2, 3)), kanamori(1, 1.0), 4)


def test_a_set_that_ends_by_itself_has_a_converged_state():
    """Growth ends at the whole sector before the number of configurations is reached."""
    energies, couplings = semicircle(7)
    state = selected_ci(natural_orbitals(anderson([[-1.0]], energies, couplings, kanamori(1, 2.0), 8)), 10_000)
    matrix = state.hamiltonian.matrix(state.rows)
    assert len(state.rows) < 10_000
    assert np.linalg.norm(matrix @ state.vector - state.energy * state.vector) < 1e-9


def test_an_operator_that_gives_nothing_has_no_poles():
    matrix = csr_array(np.diag(np.arange(1000.0)))
    found = poles_of(matrix, np.zeros((1000, 2)), 0.0, 100)
    assert found.energies.shape == (0,)
    assert found.amplitudes.shape == (0, 2)
    whole = poles_of(matrix, np.random.default_rng(0).normal(size=(1000, 2)), 0.0, 5000)
    assert len(whole.energies) <= 1000
