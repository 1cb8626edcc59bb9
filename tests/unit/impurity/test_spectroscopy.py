"""Absorption, photoemission and scattering against dense operators, determinants, averages and sum rules."""

from dataclasses import replace
from itertools import combinations, pairwise, product

import numpy as np
import pytest

from limbeck.core.errors import ConfigError
from limbeck.core.units import KB
from limbeck.impurity import scattering as scattering_module
from limbeck.impurity import transitions as transitions_module
from limbeck.impurity.absorption import CARTESIAN, absorption
from limbeck.impurity.bath import semicircle
from limbeck.impurity.core_level import core_model, dipole, lifting, scalar_core_model
from limbeck.impurity.multiplet_properties import angular_momenta, configuration_weights
from limbeck.impurity.multiplets import multiplets, selected_multiplets
from limbeck.impurity.photoemission import of_spin, of_total_angular_momentum, photoemission
from limbeck.impurity.scattering import scattering
from limbeck.impurity.shells import chained, ionic, shells_of
from limbeck.impurity.transitions import transitions

T_K = 5000.0
GAMMA, WIDTH = 0.4, 0.2


def p_shell(n_electrons=2, *, seed=None, field=(0.0, 0.0, 0.0), shells=(), hoppings=()):
    """A p shell over an s core; a seed makes its levels a random complex matrix without any symmetry."""
    model = core_model(
        -6.0 * np.eye(3), -40.0, [e * np.eye(3) for e in shells], [v * np.eye(3) for v in hoppings],
        {0: 4.0, 2: 3.0}, {0: 5.0}, {1: 2.0}, n_electrons, valence_spin_orbit=0.3, field=field, ell=1, core=0,
    )  # fmt: skip
    if seed is None:
        return model
    rng = np.random.default_rng(seed)
    h = model.one_body.astype(complex)
    random = rng.normal(size=(6, 6)) + 1j * rng.normal(size=(6, 6))
    h[:6, :6] += 0.3 * (random + random.conj().T)
    return replace(model, one_body=h)


def ladder(n):
    """Annihilators of n spin orbitals by Kronecker products, the first the lowest bit."""
    z, lower, found = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [0.0, 0.0]]), []
    for k in range(n):
        whole = np.eye(1)
        for j in range(n):
            whole = np.kron(lower if j == k else z if j < k else np.eye(2), whole)
        found.append(whole)
    return found


class Dense:
    """Sectors of a model of eight spin orbitals, p shell first, then the core."""

    def __init__(self, model):
        n, h, u = model.n_spin_orbitals, model.one_body, model.interaction
        self.c = ladder(n)
        c = self.c
        hamiltonian = sum(h[a, b] * c[a].T @ c[b] for a, b in zip(*np.nonzero(h), strict=True))
        for a, b, k, d in zip(*np.nonzero(u), strict=True):
            hamiltonian = hamiltonian + 0.5 * u[a, b, k, d] * c[a].T @ c[b].T @ c[d] @ c[k]
        electrons = sum(x.T @ x for x in c).diagonal()
        core = sum(c[k].T @ c[k] for k in model.core).diagonal()
        self.hamiltonian, self.electrons, self.core = hamiltonian, electrons, core
        self.dipole = []
        for column in CARTESIAN.T:
            total = np.zeros((2**n, 2**n), complex)
            for factor, operator in zip(column, dipole(1, 0), strict=True):
                for value, (creator, annihilator, *_) in zip(operator.coefficients, operator.ladders, strict=True):
                    total += factor * value * c[creator // 2].T @ c[annihilator // 2]
            self.dipole.append(total)

    def sector(self, electrons, core):
        """Energies and states as columns of the whole space."""
        chosen = np.flatnonzero((self.electrons == electrons) & (self.core == core))
        energies, vectors = np.linalg.eigh(self.hamiltonian[np.ix_(chosen, chosen)])
        wide = np.zeros((len(self.hamiltonian), len(chosen)), complex)
        wide[chosen] = vectors
        return energies, wide


def lorentzian(x, width):
    return width / np.pi / (x**2 + width**2)


@pytest.fixture(scope="module")
def random_case():
    model = p_shell(2, seed=3)
    dense = Dense(model)
    energies, vectors = dense.sector(4, 2)
    weights = np.exp(-(energies - energies[0]) / (KB * T_K))
    kept = weights / weights[0] > 1e-5  # those that multiplets keeps at this temperature
    weights = weights[kept] / weights[kept].sum()
    return model, multiplets(model, T_K), dense, energies[kept], vectors[:, kept], weights


def test_photoemission_is_that_of_dense_operators(random_case):
    model, states, dense, energies, vectors, weights = random_case
    np.testing.assert_allclose(states.energies, energies, atol=1e-9)
    for orbitals, core in ((model.core, 1), (np.arange(6), 2)):
        found = photoemission(states, orbitals, T_K)
        ends, finals = dense.sector(3, core)
        x = np.linspace(ends[0] - energies[-1] - 1, ends[-1] - energies[0] + 1, 300)
        truth = np.zeros((len(x), len(orbitals), len(orbitals)), complex)
        for e, psi, w in zip(energies, vectors.T, weights, strict=True):
            a = np.array([finals.conj().T @ dense.c[k] @ psi for k in orbitals])
            truth += w * np.einsum("nf,af,bf->nab", lorentzian(x[:, None] - ends + e, WIDTH), a.conj(), a)
        np.testing.assert_allclose(found.matrix(x, WIDTH), truth, atol=1e-9)
        occupation = sum(
            w * np.vdot(dense.c[k] @ psi, dense.c[k] @ psi).real
            for psi, w in zip(vectors.T, weights, strict=True)
            for k in orbitals
        )
        assert np.trace(found.moment(0)).real == pytest.approx(occupation, abs=1e-10)


def kramers_heisenberg(dense, energies, vectors, weights, incident, losses):
    """Tensor A*_ab A_cd at one incident energy, by every intermediate and final state."""
    middle, between = dense.sector(4, 1)
    ends, finals = dense.sector(4, 2)
    tensor = np.zeros((len(losses), 3, 3, 3, 3), complex)
    for e, psi, w in zip(energies, vectors.T, weights, strict=True):
        up = np.array([between.conj().T @ t @ psi for t in dense.dipole])
        down = np.array([finals.conj().T @ t.conj().T @ between for t in dense.dipole])
        a = np.einsum("afn,bn->fab", down, up / (incident + 1j * GAMMA - middle + e))
        shape = lorentzian(losses[:, None] - ends + e, WIDTH)
        tensor += w * np.einsum("nf,fab,fcd->nabcd", shape, a.conj(), a)
    return tensor


@pytest.mark.parametrize("by_lanczos", [False, True])
def test_scattering_is_the_formula_with_every_state(random_case, monkeypatch, by_lanczos):
    """Complex, without symmetry, elastic line included; all states found, or none but by Lanczos."""
    if by_lanczos:
        monkeypatch.setattr(scattering_module, "DENSE", 2)
        monkeypatch.setattr(transitions_module, "DENSE", 2)
    _, states, dense, energies, vectors, weights = random_case
    first = dense.sector(4, 1)[0].mean() - energies[0]
    incident, losses = np.array([first - 1.0, first + 0.5]), np.linspace(-2, 12, 141)
    found = scattering(states, dipole(1, 0), incident, T_K, core_half_width=GAMMA, most_loss=50.0)
    for number, w in enumerate(incident):
        truth = kramers_heisenberg(dense, energies, vectors, weights, w, losses)
        np.testing.assert_allclose(found.tensor(number, losses, WIDTH), truth, atol=1e-8 * np.abs(truth).max())
        for e, outgoing in (((1, 0, 0), (0, 1, 0)), ((1, 1j, 0), (0.3, 1j, 2.0))):
            e, outgoing = (np.array(x) / np.linalg.norm(x) for x in (e, outgoing))
            expected = np.einsum("a,b,nabcd,c,d->n", outgoing, e.conj(), truth, outgoing.conj(), e, optimize=True).real
            spectrum = found.spectrum(losses, WIDTH, e, outgoing)[number]
            np.testing.assert_allclose(spectrum, expected, atol=1e-8 * expected.max())


def rotations():
    """Quadrature over all rotations, exact for products of four direction cosines."""
    turns = 2 * np.pi * np.arange(6) / 6
    cosines, shares = np.polynomial.legendre.leggauss(4)
    for a, g in product(turns, turns):
        for cosine, share in zip(cosines, shares, strict=True):
            sine = np.sqrt(1 - cosine**2)
            one, two = (np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]]) for t in (a, g))
            yield share / 2 / 36, one @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]) @ two


def test_the_powder_average_is_that_over_all_rotations(random_case):
    _, states, dense, energies, *_ = random_case
    incident = np.array([dense.sector(4, 1)[0].mean() - energies[0]])
    losses = np.linspace(-1, 8, 40)
    found = scattering(states, dipole(1, 0), incident, T_K, core_half_width=GAMMA)
    circular = np.array([1, 1j, 0]) / np.sqrt(2)
    x, y = np.eye(3)[0], np.eye(3)[1]
    for e, outgoing in ((x, x), (x, y), (circular, circular), (circular, circular.conj()), (circular, x)):
        mean = sum(w * found.spectrum(losses, WIDTH, r @ e, r @ outgoing) for w, r in rotations())
        along, conjugate = abs(np.vdot(outgoing, e)) ** 2, abs(outgoing @ e) ** 2
        np.testing.assert_allclose(found.powder(losses, WIDTH, along, conjugate), mean, rtol=1e-9, atol=1e-14)
    parallel, crossed = found.powder(losses, WIDTH), found.powder(losses, WIDTH, 0.0)
    np.testing.assert_allclose(found.powder_in_geometry(losses, WIDTH, 90.0, 1.0), 2 * crossed)  # pi: depolarized
    np.testing.assert_allclose(found.powder_in_geometry(losses, WIDTH, 90.0, 0.0), parallel + crossed)  # sigma
    np.testing.assert_allclose(found.powder_in_geometry(losses, WIDTH, 0.0, 1.0), parallel + crossed)


def test_a_powder_does_not_know_the_direction_of_the_field():
    """Field along z (real) and along y (complex): one powder spectrum at each energy."""
    losses, spectra = np.linspace(-1, 10, 60), []
    for field in ((0, 0, 0.3), (0, 0.3, 0)):
        states = multiplets(p_shell(3, field=field), 300.0)
        edge = absorption(states, dipole(1, 0), 300.0).poles[0].energies.min()
        found = scattering(states, dipole(1, 0), edge + np.array([0.0, 1.5]), 300.0, core_half_width=GAMMA)
        spectra.append(found.powder(losses, WIDTH, 0.3))
    np.testing.assert_allclose(spectra[1], spectra[0], rtol=1e-7, atol=1e-12)


def test_scattering_keeps_angular_momentum():
    """Without spin-orbit coupling an s core and a p shell of one electron leave its spin and L alone: p to p only."""
    model = core_model(
        -6.0 * np.eye(3), -40.0, [], [], {0: 4.0}, {0: 5.0}, {1: 2.0}, 1, ell=1, core=0, field=(0, 0, 0.5)
    )
    states = multiplets(model, 0.0)
    found = scattering(states, dipole(1, 0), np.array([34.0]), 0.0, core_half_width=GAMMA)
    for each in found.poles:
        strong = np.sum(np.abs(each[0].amplitudes) ** 2, axis=1) > 1e-20
        assert np.abs(each[0].energies[strong]).max() < 1e-9  # a spin flip would cost 1 eV


def test_what_cannot_be_scattered_is_told():
    states = multiplets(p_shell(2), 0.0)
    with pytest.raises(ConfigError, match="must be positive"):
        scattering(states, dipole(1, 0), np.array([0.0]), 0.0, core_half_width=0.0)
    with pytest.raises(ConfigError, match="nothing can be excited"):
        scattering(multiplets(p_shell(6), 0.0), dipole(1, 0), np.array([0.0]), 0.0, core_half_width=0.1)


def determinants(energies, vectors, n):
    """All Slater determinants of n electrons: energy, and orbitals as columns."""
    return [(energies[list(c)].sum(), vectors[:, list(c)]) for c in combinations(range(len(energies)), n)]


@pytest.mark.parametrize("attraction", [0.7, 3.0])
def test_without_interaction_core_spectra_are_overlaps_of_determinants(attraction):
    """The core hole shifts the level (P. Nozieres and C. T. De Dominicis): overlaps of all determinants, each spin."""
    bath, v = semicircle(4)
    core = -20.0
    model = scalar_core_model([[-0.3]], bath, v[None], np.zeros((2,) * 4), attraction, core, 6)
    states = multiplets(model, 0.0)
    h = np.diag([-0.3, *bath])
    h[0, 1:] = h[1:, 0] = v
    before, orbitals = np.linalg.eigh(h)
    after, shifted = np.linalg.eigh(h - np.diag([attraction, 0, 0, 0, 0]))
    ground = orbitals[:, :3]
    x = np.linspace(core + 15, -core + 5, 700)
    same, more = determinants(after, shifted, 3), determinants(after, shifted, 4)
    removed, lifted = np.zeros(len(x)), np.zeros(len(x))
    start = 2 * before[:3].sum()
    d = np.eye(5)[:, :1]
    for e_down, down in same:
        overlap = np.linalg.det(down.T @ ground) ** 2
        for e_up, up in same:
            weight = overlap * np.linalg.det(up.T @ ground) ** 2
            removed += weight * lorentzian(x - (e_up + e_down - start - core), WIDTH)
        for e_up, up in more:
            weight = overlap * np.linalg.det(up.T @ np.concatenate([d, ground], axis=1)) ** 2
            lifted += weight * lorentzian(x - (e_up + e_down - start - core), WIDTH)
    found = photoemission(states, model.core, 0.0)
    np.testing.assert_allclose(of_spin(found.matrix(x, WIDTH), 0), removed, atol=1e-9)
    edge = transitions(states, lifting(1), 0.0)
    np.testing.assert_allclose(edge.matrix(x, WIDTH)[:, 0, 0].real, lifted, atol=1e-9)


def test_photoemission_of_an_empty_shell_is_two_lines_of_j():
    model = core_model(np.zeros((5, 5)), -100.0, [], [], {0: 0.0}, {0: 0.0}, {}, 0, core_spin_orbit=8.0)
    found = photoemission(multiplets(model, 0.0), model.core, 0.0)
    x = np.linspace(90, 112, 400)
    matrix = found.matrix(x, WIDTH)
    for twice_j, energy in ((3, 100.0 - 4.0), (1, 100.0 + 8.0)):
        part = of_total_angular_momentum(matrix, 1, twice_j)
        np.testing.assert_allclose(part, (twice_j + 1) * lorentzian(x - energy, WIDTH), atol=1e-10)
    both = of_total_angular_momentum(matrix, 1, 3) + of_total_angular_momentum(matrix, 1, 1)
    np.testing.assert_allclose(both, of_spin(matrix, 0) + of_spin(matrix, 1))
    with pytest.raises(ConfigError, match="2j = 1 and 3, not 5"):
        of_total_angular_momentum(matrix, 1, 5)
    with pytest.raises(ConfigError, match="two kinds"):
        photoemission(multiplets(model, 0.0), np.array([9, 10]), 0.0)


def test_a_chain_is_the_same_model_and_couples_through_its_first_shell():
    model = p_shell(16, shells=(-7.0, -5.0, 2.0), hoppings=(1.0, 0.7, 0.5))
    turned = chained(model, 4)
    np.testing.assert_allclose(np.linalg.eigvalsh(turned.one_body), np.linalg.eigvalsh(model.one_body), atol=1e-10)
    h = np.abs(turned.one_body)
    members = shells_of(model).members
    assert h[np.ix_(members[0], members[3])].max() < 1e-12
    assert h[np.ix_(members[2], members[4])].max() == 0.0
    assert h[0, members[2][0]] == pytest.approx(np.hypot(1.0, 0.7))
    assert ionic(model, 4) == (4, 2, 6, 6, 0)
    with pytest.raises(ConfigError, match="are not 5 in the valence shell"):
        ionic(model, 5)
    with pytest.raises(ConfigError, match="do not fit into shells"):
        shells_of(model).configurations((9, 2, 6, 6, 0))


@pytest.mark.parametrize(
    ("electrons", "shells", "n"), [(2, (-8.0, -6.5), 14), (3, (16.0, 18.0), 3)], ids=["ligands", "empty shells"]
)
def test_selected_classes_bound_the_energy_and_keep_levels_whole(electrons, shells, n):
    model = p_shell(n, shells=shells, hoppings=(0.9, 0.7))
    truth = multiplets(model, 300.0)
    turned, before = chained(model, electrons), np.inf
    reference = ionic(turned, electrons)
    for most in (140, 500, 1500):
        states = selected_multiplets(turned, 300.0, reference, most)
        energies = [s.energy for s in states.steps]
        assert all(b <= a for a, b in pairwise(energies))
        assert truth.energies[0] - 1e-8 <= states.energies[0] <= before
        assert len(states.energies) == len(truth.energies)
        levels = np.diff(states.energies)
        assert np.all((levels < 1e-7) == (np.diff(truth.energies) < 1e-7))  # degenerate where the truth is
        before = states.energies[0]
    assert states.energies[0] - truth.energies[0] < 2e-3
    with pytest.raises(ConfigError, match="nothing but the reference"):
        selected_multiplets(turned, 300.0, reference, 20)


def test_selected_final_states_give_the_spectrum_within_the_stated_error():
    model = p_shell(14, shells=(-8.0, -6.5), hoppings=(0.9, 0.7))
    turned, whole = chained(model, 2), multiplets(model, 300.0)
    reference = ionic(turned, 2)
    truth = absorption(whole, dipole(1, 0), 300.0)
    x = np.linspace(25, 60, 500)
    expected = truth.isotropic(x, 0.3)
    states = selected_multiplets(turned, 300.0, reference, 1500)
    rough, fine = (absorption(states, dipole(1, 0), 300.0, most=m) for m in (500, 3000))
    peak = expected.max()
    worst = [np.abs(a.isotropic(x, 0.3) - expected).max() / peak for a in (rough, fine)]
    stated = [a.isotropic_error(x, 0.3).max() / peak for a in (rough, fine)]
    assert worst[1] < 5e-3
    assert worst[1] <= worst[0]
    assert worst[0] < 3 * max(stated[0], 1e-3)
    assert rough.missed < 1e-2
    incident = np.array([x[expected.argmax()]])
    losses = np.linspace(-1, 10, 80)
    exact = scattering(whole, dipole(1, 0), incident, 300.0, core_half_width=GAMMA).powder(losses, WIDTH)
    near = scattering(states, dipole(1, 0), incident, 300.0, core_half_width=GAMMA, most=3000).powder(losses, WIDTH)
    assert np.abs(near - exact).max() < 2e-2 * exact.max()
    with pytest.raises(ConfigError, match="hold no class"):
        absorption(states, dipole(1, 0), 300.0, most=3)


def test_chosen_classes_do_not_know_the_direction_of_the_field():
    """Truncated sets are closed under rotations: fields along z (real) and y (complex) give one energy and spectrum."""
    found = []
    for field in ((0, 0, 0.2), (0, 0.2, 0)):
        turned = chained(p_shell(14, shells=(-8.0, -6.5), hoppings=(0.9, 0.7), field=field), 2)
        states = selected_multiplets(turned, 300.0, ionic(turned, 2), 600)
        edge = absorption(states, dipole(1, 0), 300.0, most=300)
        assert edge.n_final < 400
        found.append((states.energies, edge.isotropic(np.linspace(25, 60, 200), 0.3), edge.missed))
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-7)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-7)
    assert found[1][2] == pytest.approx(found[0][2], abs=1e-9)


def test_whole_classes_that_are_all_there_are_the_whole_sector():
    model = p_shell(8, shells=(-8.0,), hoppings=(0.9,))
    turned = chained(model, 2)
    states = selected_multiplets(turned, 300.0, ionic(turned, 2), 10_000)
    whole = multiplets(model, 300.0)
    np.testing.assert_allclose(states.energies, whole.energies, atol=1e-9)
    x = np.linspace(25, 60, 300)
    a, b = (absorption(s, dipole(1, 0), 300.0) for s in (states, whole))
    np.testing.assert_allclose(a.isotropic(x, 0.3), b.isotropic(x, 0.3), atol=1e-9)
    assert a.missed == 0.0
    assert a.isotropic_error(x, 0.3).max() == 0.0


@pytest.mark.parametrize(
    ("electrons", "spin", "orbital", "total"), [(2, 1.0, 3, 2.0), (3, 1.5, 3, 1.5), (7, 1.5, 3, 4.5), (8, 1.0, 3, 4.0)]
)
def test_ions_have_hunds_angular_momenta(electrons, spin, orbital, total):
    model = core_model(
        np.zeros((5, 5)), -100.0, [], [], {0: 5.0, 2: 9.0, 4: 6.0}, {0: 0.0}, {}, electrons, valence_spin_orbit=0.002
    )
    states = multiplets(model, 0.0)
    found = angular_momenta(states)
    assert len(states.energies) == 2 * total + 1
    np.testing.assert_allclose(found.spin_squared, spin * (spin + 1), atol=1e-3)
    np.testing.assert_allclose(found.whole_spin_squared, found.spin_squared, atol=1e-10)
    np.testing.assert_allclose(found.orbital_squared, orbital * (orbital + 1), atol=2e-2)
    np.testing.assert_allclose(found.total_squared, total * (total + 1), atol=1e-8)
    assert np.sum(found.spin_z) == pytest.approx(0.0, abs=1e-8)
    pure = (total * (total + 1) - spin * (spin + 1) - orbital * (orbital + 1)) / 2 / (2 * spin)
    sign = 1 if electrons < 5 else -1
    np.testing.assert_allclose(found.spin_orbit, sign * pure, atol=2e-2)


def test_weights_of_configurations_have_names_and_the_two_level_values():
    """One electron between a full p5 shell's hole and a ligand: a hole in two levels, mixed by the hopping."""
    model = core_model(
        -6.0 * np.eye(3), -40.0, [-5.0 * np.eye(3)], [0.5 * np.eye(3)], {0: 0.0}, {0: 0.0}, {}, 11, ell=1, core=0
    )
    states = multiplets(model, 0.0)
    found = configuration_weights(states, ionic(model, 5), 0.0, "p")
    angle = 0.5 * np.arctan2(2 * 0.5, -1.0)  # hole levels 6 and 5
    expected = {np.cos(angle) ** 2, np.sin(angle) ** 2}
    assert set(found) == {"p^5", "p^6 L^1"}
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["p^6 L^1"] == pytest.approx(max(expected))
