"""Networks as amplitudes, against exact sums on whole sectors."""

import numpy as np
import pytest
from scipy.sparse import csr_array, diags_array

from limbeck.core.errors import ConfigError
from limbeck.impurity import kernels
from limbeck.impurity.bath import semicircle
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.network import Architecture, Transformer, tokens_of
from limbeck.impurity.network_problem import problem
from limbeck.impurity.network_state import network_state, task_on
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.subspace import Hamiltonian, all_configurations, lowest, packed, unpacked
from limbeck.impurity.symmetry import Orbits, chain_signs, symmetries
from limbeck.impurity.training import Task, _Joined, _steps, fit_amplitudes, fit_heads, lower_energy
from limbeck.impurity.vmc import _hop, local_energies, variational_monte_carlo

SMALL = Architecture(width=4, layers=1, heads=2, feed_forward=4)


def one_orbital(n_bath=3, u=2.0, level=None):
    energies, couplings = semicircle(n_bath)
    return anderson([[-u / 2 if level is None else level]], energies, couplings, kanamori(1, u), n_bath + 1)


def several_orbitals(n_orbitals=3, u=2.0, j=0.4):
    level = -(5 * u - 10 * j) / 2 if n_orbitals == 3 else -(3 * u - 5 * j) / 2
    v = np.kron(np.eye(n_orbitals), [[0.5]])
    return anderson(level * np.eye(n_orbitals), np.zeros(n_orbitals), v, kanamori(n_orbitals, u, j), 2 * n_orbitals)


def complex_model():
    """One orbital whose bath turns the spin."""
    rng = np.random.default_rng(3)
    h = rng.normal(size=(8, 8)) + 1j * rng.normal(size=(8, 8))
    return ImpurityModel(0.5 * (h + h.conj().T), kanamori(1, 2.0), 4, spin_2z=None)


def whole(model):
    basis = natural_orbitals(model)
    hamiltonian = Hamiltonian.of(basis.model)
    rows = all_configurations(basis.model)
    energies, vectors = lowest(hamiltonian.matrix(rows))
    return basis, hamiltonian, rows, float(energies[0]), vectors[:, 0]


@pytest.mark.parametrize(
    ("model", "n_symmetries", "order"),
    [
        (one_orbital(), 2, 4),  # spin flip, particles and holes
        (one_orbital(level=-0.7), 1, 2),
        (several_orbitals(2), 3, 8),
        (several_orbitals(3), 4, 24),
    ],
)
def test_orbits_hold_the_whole_ground_state(model, n_symmetries, order):
    basis, hamiltonian, rows, energy, vector = whole(model)
    group = symmetries(hamiltonian, basis, rows, vector)
    assert len(group) == n_symmetries
    orbits = Orbits.of(rows, group)
    assert len(orbits.rows) == len(rows)
    assert orbits.sizes.max() <= order
    isometry = orbits.isometry()
    between = isometry.T @ hamiltonian.matrix(orbits.rows) @ isometry
    assert lowest(between)[0][0] == pytest.approx(energy, abs=1e-10)
    assert len(orbits.first) < len(rows) / (0.4 * order)


def test_a_symmetry_turns_the_density_of_a_state_as_it_turns_the_state():
    basis, hamiltonian, rows, _, ground = whole(one_orbital())
    vector = np.random.default_rng(0).normal(size=len(rows))
    vector /= np.linalg.norm(vector)

    def density(rows, vector):
        return kernels.one_body_density(rows, kernels.table_of(rows), vector, 8).T

    group = symmetries(hamiltonian, basis, rows, ground)
    assert [g.turns_holes for g in group] == [False, True]
    for g in group:
        images, signs = g.images(rows)
        assert np.allclose(density(images, signs * vector), g.of_density(density(rows, vector)), atol=1e-12)


def test_exchanges_of_three_orbitals_survive_new_natural_orbitals():
    energies, couplings = semicircle(3)
    model = anderson(
        -3.0 * np.eye(3), np.tile(energies, 3), np.kron(np.eye(3), couplings), kanamori(3, 2.0, 0.4), n_electrons=12
    )
    given = problem(natural_orbitals(model), first=300)
    assert len(given.group) == 4
    orbits = Orbits.of(given.seeds, given.group)
    assert len(orbits.first) < len(orbits.rows) / 10


def test_signs_of_chains_are_signs_also_for_imaginary_hops():
    h = np.kron(
        [[-1.0, 0.3j, 0.4, 0.0], [-0.3j, -1.0, 0.0, 0.4], [0.4, 0.0, 0.1, 0.0], [0.0, 0.4, 0.0, -0.1]], np.eye(2)
    )
    model = ImpurityModel(h, kanamori(2, 2.0, 0.3), 4, spin_2z=0)
    basis, _, rows, energy, _ = whole(model)
    assert np.all(np.abs(chain_signs(basis, rows)) == 1.0)
    given = problem(natural_orbitals(model), rounds=0)
    task, lowest_energy = task_on(given, np.zeros((4, 0)))
    assert len(task.tokens) == len(rows)
    assert lowest_energy == pytest.approx(energy, abs=1e-9)
    assert lowest(task.matrix)[0][0] == pytest.approx(energy, abs=1e-9)  # with the signs taken out


def test_a_flip_that_leaves_the_sector_is_no_symmetry():
    model = anderson([[-1.0]], *(lambda e, v: (e, v))(*semicircle(3)), kanamori(1, 2.0), 3, spin_2z=1)
    given = problem(natural_orbitals(model), rounds=0)
    assert given.group == ()


def test_no_symmetry_is_taken_on_trust():
    # the form of h allows particles and holes, its numbers do not
    energies, couplings = semicircle(3)
    energies[0] += 0.1
    model = anderson([[-1.0]], energies, couplings, kanamori(1, 2.0), 4)
    basis, hamiltonian, rows, _, vector = whole(model)
    assert [g.turns_holes for g in symmetries(hamiltonian, basis, rows, vector)] == [False]


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("n_features", [0, 2])
def test_gradients_are_derivatives(is_complex, n_features):
    rng = np.random.default_rng(1)
    network = Transformer(SMALL, 4, n_features, is_complex)
    parameters = network.start(rng)
    assert len(parameters) == network.n_parameters
    tokens, features = rng.integers(0, 4, (5, 4)).astype(np.int32), rng.normal(size=(4, n_features))
    direction, step = rng.normal(size=len(parameters)), 1e-6
    for function, derivative in (
        (network.amplitudes, network.amplitudes_and_gradients),
        (network.heads, network.heads_and_gradients),
    ):
        value, gradient = derivative(parameters, tokens, features)
        assert np.allclose(value, function(parameters, tokens, features), rtol=1e-13)
        ahead, behind = (function(parameters + s * step * direction, tokens, features) for s in (1, -1))
        assert np.allclose(gradient @ direction, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)


def test_batches_do_not_show():
    network = Transformer(SMALL, 4)
    rng = np.random.default_rng(2)
    parameters, tokens = network.start(rng), rng.integers(0, 4, (600, 4)).astype(np.int32)
    known = np.zeros((4, 0))
    alone = np.concatenate([network.amplitudes(parameters, t[None], known) for t in tokens[[0, 255, 256, 599]]])
    assert np.allclose(network.amplitudes(parameters, tokens, known)[[0, 255, 256, 599]], alone, rtol=1e-12)


def task_of(model):
    basis, hamiltonian, rows, _, vector = whole(model)
    group = symmetries(hamiltonian, basis, rows, vector)
    orbits = Orbits.of(rows, group)
    isometry = orbits.isometry()
    signs = chain_signs(basis, orbits.representatives)
    between = csr_array(
        diags_array(signs) @ isometry.T @ hamiltonian.matrix(orbits.rows) @ isometry @ diags_array(signs)
    )
    values, vectors = lowest(between)
    target = vectors[:, 0] * np.sign(vectors[np.argmax(np.abs(vectors[:, 0])), 0])
    occupied = unpacked(orbits.representatives, basis.model.n_spin_orbitals)
    return Task(tokens_of(occupied), np.zeros((4, 0)), orbits.sizes, between, target), float(values[0])


def test_energy_falls_to_the_exact_one_and_never_below():
    task, exact = task_of(one_orbital())
    network = Transformer(SMALL, 4)
    parameters = fit_heads(network, network.start(np.random.default_rng(0)), [task]).parameters
    parameters = fit_amplitudes(network, parameters, [task]).parameters
    descent = lower_energy(network, parameters, [task], 60)
    energies = descent.energies[:, 0]
    assert np.all(np.diff(energies) < 0)
    assert np.all(energies > exact - 1e-12)
    assert energies[-1] - exact < 1e-8


@pytest.mark.parametrize("model", [one_orbital(), complex_model()])
def test_kernel_form_is_the_step_of_the_parameters(model):
    _, hamiltonian, rows, _, vector = whole(model)
    network = Transformer(SMALL, 4, 0, model.is_complex)
    tokens = tokens_of(unpacked(rows, 8))
    task = Task(tokens, np.zeros((4, 0)), np.ones(len(rows), int), hamiltonian.matrix(rows), vector)
    joined = _Joined(network, [task])
    parameters = fit_heads(network, network.start(np.random.default_rng(5)), [task]).parameters
    parameters = fit_amplitudes(network, parameters, [task]).parameters
    vectors, j = joined.vectors_and_gradients(parameters)
    energies = joined.energies(vectors)
    kernel = _steps(joined, vectors, j.copy(), energies)(1e-2)
    f = vectors[0] / np.linalg.norm(vectors[0])
    tangent = (j - np.outer(f, f @ j)) / np.linalg.norm(vectors[0])
    h = joined.matrices[0].toarray()
    shift = 0.1 * np.median(np.diag(h) - energies[0]) - energies[0]
    assert np.linalg.eigvalsh(h + shift * np.eye(len(h)))[0] > 0  # else the kernel form shifts more
    curvature = tangent.T @ (h + shift * np.eye(len(h))) @ tangent
    step = -np.linalg.solve(curvature + 1e-2 * np.eye(len(curvature)), tangent.T @ (h @ f - energies[0] * f))
    assert len(j) < j.shape[1]
    assert np.allclose(kernel, step, rtol=1e-6, atol=1e-9)


def test_growing_network_bounds_the_energy_and_repeats():
    model = one_orbital(7)
    found = [
        network_state(
            problem(natural_orbitals(model), first=60), SMALL, 120, steps=20, starts=2, rng=np.random.default_rng(4)
        )
        for _ in range(2)
    ]
    one = found[0]
    exact = -4.71485072273
    energies = [r.subspace_energy for r in one.rounds]
    assert len(energies) > 1
    assert np.all(np.diff(energies) < 0)
    assert all(r.energy >= r.subspace_energy - 1e-12 > exact - 1e-9 for r in one.rounds)
    assert one.state.energy - exact < 2e-2
    assert one.state.pt2 <= 0
    assert one.beyond.energy >= one.beyond.exact_energy - 1e-10 >= exact - 1e-9
    assert np.isclose(np.linalg.norm(one.state.vector), 1.0)
    # what is reported is what the vector says
    matrix = one.state.hamiltonian.matrix(one.state.rows)
    assert one.state.vector @ matrix @ one.state.vector == pytest.approx(one.state.energy, abs=1e-10)
    assert np.linalg.norm(matrix @ one.state.vector - one.state.energy * one.state.vector) ** 2 == pytest.approx(
        one.variance_inside, rel=1e-6, abs=1e-12
    )
    assert one.state.variance > one.variance_inside
    assert np.array_equal(one.state.rows, found[1].state.rows)
    assert one.state.energy == found[1].state.energy


class Stopped(Exception):
    pass


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened():
    """Wherever it stops: before a fit, before the first step, between steps, between sets."""
    given, kept = problem(natural_orbitals(one_orbital(7)), first=60), []

    def run(**more):
        return network_state(given, SMALL, 120, steps=8, boundary=0.5, starts=2, rng=np.random.default_rng(4), **more)

    whole = run(keep=kept.append)
    assert {len(x.rounds) for x in kept} == {0, 1}
    assert {x.descent is None for x in kept} == {True, False}
    for n in (1, 2, 4, len(kept) // 2, len(kept)):
        seen = []

        def stop(now, n=n, seen=seen):
            seen.append(now)
            if len(seen) == n:
                raise Stopped

        with pytest.raises(Stopped):
            run(keep=stop)
        found = run(begun=seen[-1])
        np.testing.assert_array_equal(found.amplitudes.parameters, whole.amplitudes.parameters)
        np.testing.assert_array_equal(found.state.rows, whole.state.rows)
        assert found.rounds == whole.rounds


def test_a_target_is_met_by_the_energy_itself():
    given = problem(natural_orbitals(one_orbital(7)), first=60)
    exact = -4.71485072273
    for share in (0.0, 1.0):
        found = network_state(given, SMALL, 100, steps=40, target=exact + 2e-2, boundary=share, starts=1)
        assert exact < found.state.energy
        if len(found.state.rows) < 100:
            assert found.state.energy <= exact + 2e-2
    with pytest.raises(ConfigError, match="parameters do not fit"):
        network_state(given, SMALL, 100, start=np.zeros(3))


def test_boundary_amplitudes_are_learnt():
    model = one_orbital(7)
    given = problem(natural_orbitals(model), first=60)
    states = [
        network_state(given, SMALL, 60, steps=30, boundary=share, rng=np.random.default_rng(0)) for share in (0.0, 2.0)
    ]
    assert states[1].beyond.n < states[0].beyond.n
    assert states[1].beyond.energy < states[0].beyond.energy


def test_complex_network():
    model = complex_model()
    given = problem(natural_orbitals(model), rounds=0)
    assert given.group == ()
    exact = whole(model)[3]
    state = network_state(given, SMALL, 70, steps=40, rng=np.random.default_rng(0))
    assert len(state.state.rows) == 70
    assert state.subspace_energy == pytest.approx(exact, abs=1e-9)
    assert 0 <= state.state.energy - exact < 0.05 * abs(exact)


def test_local_energies_of_the_exact_state_are_all_the_same():
    basis, _, rows, energy, vector = whole(one_orbital())
    given = problem(natural_orbitals(one_orbital()), rounds=0)
    lookup = {tuple(row): v for row, v in zip(rows.tolist(), vector * chain_signs(basis, rows), strict=True)}

    def amplitude(bits):
        return np.array([lookup[tuple(row)] for row in packed(bits, 1).tolist()])

    some = rows[np.abs(vector) > 1e-6]
    assert np.allclose(local_energies(given, some, amplitude), energy, atol=1e-7)


def test_walk_visits_configurations_as_often_as_their_weight_says():
    basis, _, rows, _, vector = whole(one_orbital())
    index = {tuple(row): k for k, row in enumerate(rows.tolist())}

    def numbers(bits):
        return np.array([index[tuple(row)] for row in packed(bits, 1).tolist()])

    rng = np.random.default_rng(7)
    groups = basis.model.groups()
    bits = unpacked(rows[rng.integers(len(rows), size=4000)], 8)
    for _ in range(120):
        _hop(bits, lambda b: vector[numbers(b)], groups, rng)
    counts = np.bincount(numbers(bits), minlength=len(rows))
    expected = 4000 * vector**2
    kept = expected > 5
    chi = np.sum((counts - expected)[kept] ** 2 / expected[kept])
    n = kept.sum()
    assert abs(chi - n) < 5 * np.sqrt(2 * n)  # one in a million


def test_monte_carlo_lowers_the_energy():
    given = problem(natural_orbitals(one_orbital()), rounds=0)
    exact = whole(one_orbital())[3]
    walk = variational_monte_carlo(given, SMALL, 40, np.random.default_rng(0), walkers=256, rate=0.1)
    assert walk.energies[-5:].mean() < walk.energies[:5].mean() - 0.2
    assert walk.energies[-5:].mean() > exact - 5 * walk.errors[-5:].mean()
    assert 0 < walk.acceptance < 1


def test_sizes_that_do_not_fit():
    with pytest.raises(ConfigError, match="heads that divide the width"):
        Architecture(width=8, heads=3)
