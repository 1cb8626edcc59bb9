"""DMFT on the Bethe lattice: fixed points, limits, sum rules, symmetries, causality, the file."""

import h5py
import numpy as np
import pytest

from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.impurity.bath import hybridization_function, semicircle
from limbeck.impurity.bethe import Bath, Bethe, bath_of, semicircular, window_weights
from limbeck.impurity.block_file import BlockFunction, read_block_functions, write_block_functions
from limbeck.impurity.dmft import (
    Accuracy,
    Problem,
    insulating,
    iterate,
    metallic,
    on_lattice,
    solve,
    solve_hybridization,
    step,
)
from limbeck.impurity.excitations import greens_function
from limbeck.impurity.interaction import density_density, kanamori
from limbeck.impurity.model import anderson
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.pole_sum import PoleSum, local_functions, mixed, quasiparticle_weight
from limbeck.impurity.selected_ci import selected_ci

NONE = PoleSum(0.0, np.zeros(0), np.zeros(0))
SMALL = Accuracy(configurations=200, rounds=0, excited=300, broadening=0.1)
LINE = np.linspace(-3, 3, 121) + 0.05j


def test_windows_by_arcs_are_those_of_the_semicircle():
    weight, first = window_weights(Bethe(1.0, NONE, 0.0), np.linspace(-1, 1, 12))
    energies, couplings = semicircle(11)
    np.testing.assert_allclose(0.25 * weight, couplings**2, atol=1e-8)
    np.testing.assert_allclose(first / weight, energies, atol=1e-8)


@pytest.mark.parametrize("mu", [-0.7, 0.0, 0.4])
def test_filling_of_free_electrons(mu):
    truth = 0.5 + (mu * np.sqrt(1 - mu**2) + np.arcsin(mu)) / np.pi
    assert Bethe(1.0, NONE, mu).filling() == pytest.approx(truth, abs=1e-9)


def test_the_branch_of_the_lattice_function():
    z = np.array([-3, -0.5, 0.5, 3]) + 1e-6j
    g = semicircular(z, 1.0)
    np.testing.assert_allclose(0.25 * g**2 - z * g + 1, 0, atol=1e-10)  # Dyson's equation with Delta = G / 4
    assert np.all(g.imag < 0)
    np.testing.assert_allclose(semicircular(np.array([1e4j]), 1.0) * 1e4j, 1.0, atol=1e-8)


def test_a_bath_holds_all_weight_and_its_center():
    lattice = Bethe(1.0, PoleSum(0.3, np.array([-0.4, 1.1]), np.array([0.2, 0.5])), 0.1)
    bath = bath_of(lattice, 200)
    assert np.sum(bath.couplings**2) == pytest.approx(0.25, abs=1e-6)
    # first moment of G: Sigma's static part less mu
    assert 4 * np.sum(bath.couplings**2 * bath.energies) == pytest.approx(0.3 - 0.1, abs=1e-6)
    z = np.linspace(-2, 2, 41) + 0.3j
    fitted = hybridization_function(z, bath.energies, bath.couplings)[:, 0, 0]
    np.testing.assert_allclose(fitted, lattice.hybridization(z), atol=4e-3)


def test_no_bath_level_stands_in_a_gap():
    lattice = Bethe(1.0, PoleSum(1.5, np.zeros(1), np.array([2.25])), 1.5)
    bath = bath_of(lattice, 9, symmetric=True)
    assert bath.has_gap
    assert len(bath.energies) == 8
    # edges where z - (9/4) / z = 1 or -1
    assert np.abs(bath.energies).min() > (np.sqrt(10) - 1) / 2
    np.testing.assert_allclose(bath.energies, -bath.energies[::-1])


@pytest.mark.parametrize(("u", "level", "spin_2z"), [(3.0, -1.5, 0), (3.0, -0.6, 0), (2.0, -1.0, 1)])
def test_the_poles_of_the_self_energy_are_those_of_the_whole_space(u, level, spin_2z):
    """On whole spaces F / G is exact; the static part is Hartree's, the weight U^2 n (1 - n)."""
    energies, couplings = semicircle(4 if spin_2z else 3)
    n = len(energies) + 1
    state = selected_ci(natural_orbitals(anderson([[level]], energies, couplings, kanamori(1, u), n, spin_2z)), 10_000)
    part = greens_function(state, [0], (-4, 4), 0.1, 10_000)
    green, sigma = local_functions([part])
    np.testing.assert_allclose(green(LINE), part(LINE)[:, 0, 0], atol=1e-9)
    np.testing.assert_allclose(sigma(LINE), part.self_energy(LINE)[:, 0, 0], atol=1e-6)
    down = np.diag(state.density()).real[1]
    assert sigma.static == pytest.approx(u * down, abs=1e-8)
    assert sigma.moment(0) == pytest.approx(u**2 * down * (1 - down), abs=1e-8)
    free = LINE - level - hybridization_function(LINE, energies, couplings)[:, 0, 0]
    np.testing.assert_allclose(1 / green(LINE), free - sigma(LINE), atol=1e-6)


def test_a_truncated_space_keeps_the_self_energy_causal():
    problem = Problem(kanamori(1, 4.0), sites=15, accuracy=Accuracy(60, 0, 60, 100))
    found = solve(problem, bath_of(metallic(problem), 15, symmetric=True), 2.0)
    near = np.linspace(-5, 5, 4001) + 1e-3j
    assert np.all(found.self_energy(near).imag <= 0)
    assert np.all(found.self_energy.weights >= 0)
    assert found.green.moment(0) == pytest.approx(1.0)


def test_spin_down_of_a_multiplet_is_the_mirror_image_of_spin_up():
    """So that at half filling one spin is enough, and the average is paramagnetic."""
    energies, couplings = np.array([-1.0, -0.5, 0.5, 1.0]), np.full(4, 0.3)
    state = selected_ci(natural_orbitals(anderson([[-2.0]], energies, couplings, kanamori(1, 4.0), 5, 1)), 5000)
    up, down = (greens_function(state, [s], (-4, 4), 0.1, 5000) for s in (0, 1))
    assert np.abs(up(LINE) - down(LINE)).max() > 1.0
    both, one = local_functions([up, down]), local_functions([up], 2.0)
    np.testing.assert_allclose(one[0](LINE), both[0](LINE), atol=1e-7)
    np.testing.assert_allclose(one[1](LINE), both[1](LINE), atol=1e-6)
    averaged = 0.5 * (up.correlator(LINE) + down.correlator(LINE)) / (0.5 * (up(LINE) + down(LINE)))
    np.testing.assert_allclose(both[1](LINE), averaged[:, 0, 0], atol=1e-6)


def test_mixing_and_merging_keep_weight_and_first_moment():
    rng = np.random.default_rng(1)
    old, new = (PoleSum(k, np.sort(rng.normal(size=300)), rng.random(300)) for k in (1.0, 2.0))
    found = mixed(old, new, 0.25, 1e-4)
    assert len(found.energies) < 600
    assert found.static == pytest.approx(1.25)
    assert found.moment(0) == pytest.approx(0.75 * old.moment(0) + 0.25 * new.moment(0))
    assert found.moment(1) == pytest.approx(0.75 * old.moment(1) + 0.25 * new.moment(1))
    z = np.array([0.3 + 0.2j])
    np.testing.assert_allclose(found(z), 0.75 * old(z) + 0.25 * new(z), rtol=1e-3)


def test_quasiparticle_weight_of_a_known_self_energy():
    """Two poles at +-x: Re Sigma' = -2 w / x^2; a pole of rounding's weight at zero does not matter."""
    sigma = PoleSum(0.0, np.array([-0.5, 1e-6, 0.5]), np.array([0.1, 1e-12, 0.1]))
    value, _ = quasiparticle_weight(sigma, 0.02)
    assert value == pytest.approx(1 / (1 + 0.2 / 0.25), abs=1e-4)
    assert quasiparticle_weight(PoleSum(0.0, np.zeros(1), np.ones(1)), 1e-3)[0] < 1e-5


def test_without_interaction_the_semicircle_stays():
    problem = Problem(kanamori(1, 0.0), sites=9, accuracy=SMALL)
    done = step(problem, metallic(problem))
    assert done.change < 1e-10
    assert done.quasiparticle_weight()[0] == pytest.approx(1.0)
    np.testing.assert_allclose(done.following(LINE), semicircular(LINE, 1.0), atol=1e-9)


def test_weak_interaction_is_second_order_perturbation_theory():
    """Z = 1 / (1 + c U^2), c from three integrals over the semicircle; the next order is U^4."""
    problem = Problem(kanamori(1, 0.3), sites=21, accuracy=Accuracy(300, 0, 200, 800))
    done = step(problem, metallic(problem))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    angle, w = 0.25 * np.pi * (nodes + 1), 0.25 * np.pi * weights
    e, rho = np.sin(angle), 2 / np.pi * np.cos(angle) ** 2 * w  # positive half of the band
    total = e[:, None, None] + e[:, None] + e
    c = 2 * np.sum(rho[:, None, None] * rho[:, None] * rho / total**2)  # poles at +-(e1 + e2 + e3)
    slope = 1 / done.quasiparticle_weight()[0] - 1
    assert slope == pytest.approx(c * 0.09, rel=0.06)


def test_strong_interaction_is_an_insulator_with_hubbard_bands():
    u = 6.0
    problem = Problem(kanamori(1, u), sites=6, accuracy=SMALL)
    done = iterate(problem, insulating(problem), 4, 0.05, 1.0)
    assert done.bath.has_gap
    assert done.quasiparticle_weight()[0] < 1e-4
    # second order in V: half of V^2 = 1/4 lies at -U/2, and a hop from there costs U
    assert done.solution.double_occupancy == pytest.approx(0.125 / u**2, rel=0.05)
    levels = done.bath.energies[done.bath.energies > 0]
    # bands of half width about D around U / 2
    assert u / 2 - 1.2 < levels.min() < levels.max() < u / 2 + 1.2
    assert np.sum(done.bath.couplings**2) == pytest.approx(0.25, abs=1e-5)


def test_the_atom_is_hubbards_self_energy():
    """Without hopping to a bath: U^2 / 4 over z, exactly; three orbitals with J: a gap of U + 2 J."""
    nothing = Bath(np.array([-1.0, 1.0]), np.full(2, 1e-5), 2.0, True)
    sigma = solve(Problem(kanamori(1, 3.0), accuracy=SMALL), nothing, 1.5).self_energy
    np.testing.assert_allclose(sigma(LINE), 1.5 + 2.25 / LINE, atol=1e-5)
    assert insulating(Problem(kanamori(3, 2.0, 0.4))).self_energy.weights == pytest.approx((2.0 + 0.8) ** 2 / 4)


def test_particle_hole_symmetry_and_dyson_at_half_filling():
    problem = Problem(kanamori(1, 2.0), sites=7, accuracy=SMALL)
    done = step(problem, metallic(problem))
    sigma = done.solution.self_energy
    np.testing.assert_allclose(sigma(-LINE.conj()) - 1.0, -(sigma(LINE).conj() - 1.0), atol=1e-9)
    assert done.solution.occupation == pytest.approx(0.5, abs=1e-6)
    assert done.following.filling() == pytest.approx(0.5, abs=1e-9)


def test_a_filling_fixes_the_chemical_potential():
    problem = Problem(kanamori(1, 2.0), sites=5, filling=0.7, accuracy=SMALL)
    done = iterate(problem, metallic(problem), 2, 1e-9)
    assert 2 * done.following.filling() == pytest.approx(0.7, abs=1e-6)
    assert 2 * done.solution.occupation == pytest.approx(0.7, abs=0.2)
    assert done.lattice.chemical_potential < 1.0  # below U / 2: holes


def test_orbitals_without_coupling_are_copies_of_one():
    one = density_density(1, 2.0)
    two = np.zeros((4,) * 4)
    two[:2, :2, :2, :2], two[2:, 2:, 2:, 2:] = one, one
    bath = bath_of(metallic(Problem(one, sites=3)), 3, symmetric=True)
    single = solve(Problem(one, sites=3, accuracy=SMALL), bath, 1.0)
    double = solve(Problem(two, sites=3, accuracy=Accuracy(6000, 0, 300, 20_000)), bath, 1.0)
    np.testing.assert_allclose(double.self_energy(LINE), single.self_energy(LINE), atol=2e-4)
    assert double.state.energy == pytest.approx(2 * single.state.energy, abs=1e-6)


def test_a_hybridization_from_outside():
    w = np.linspace(-1.0, 1.0, 601)
    delta = 0.25 * semicircular(w + 1e-9j, 1.0)
    problem = Problem(kanamori(1, 0.0), sites=40, accuracy=Accuracy(100, 0, 100, 1500))
    green, sigma, _ = solve_hybridization(problem, w, delta, 0.0, 0.1)
    np.testing.assert_allclose(sigma, 0.0, atol=1e-9)
    np.testing.assert_allclose(green, semicircular(w + 0.1j, 1.0), atol=0.05)
    with pytest.raises(ConfigError, match="must not be negative"):
        solve_hybridization(problem, w, -delta, 0.0, 0.1)
    with pytest.raises(ConfigError, match="must increase"):
        solve_hybridization(problem, w[::-1], delta, 0.0, 0.1)


def test_a_loop_that_goes_on_is_the_same_as_one_without_a_break():
    problem = Problem(kanamori(1, 2.0), sites=3, accuracy=SMALL)
    seen = []
    iterate(problem, metallic(problem), 2, 1e-12, keep=seen.append)
    again = iterate(problem, seen[0].following, 2, 1e-12, first=2)
    assert again.number == 2
    assert again.change == seen[1].change
    np.testing.assert_array_equal(again.solution.self_energy.energies, seen[1].solution.self_energy.energies)


def test_impossible_problems_are_told():
    with pytest.raises(ConfigError, match="0 to 2"):
        Problem(kanamori(1, 1.0), filling=2.5)
    with pytest.raises(ConfigError, match="half_bandwidth"):
        Problem(kanamori(1, 1.0), half_bandwidth=0.0)
    problem = Problem(kanamori(1, 1.0))
    assert on_lattice(problem, PoleSum(9.0, np.zeros(0), np.zeros(0))).self_energy.static == 0.5


def test_block_functions_have_the_layout_of_triqs_and_come_back(tmp_path):
    w = np.linspace(-2, 2, 11)
    values = np.arange(11)[:, None, None] * np.eye(2) * (1 + 2j)
    functions = {"G": BlockFunction(w, {"up": values, "down": 2 * values}), "Sigma": BlockFunction(w, {"up": values})}
    path = tmp_path / "functions.h5"
    write_block_functions(path, functions, {"broadening_eV": 0.05})
    with h5py.File(path) as file:
        assert file["G"].attrs["Format"] in ("BlockGf", b"BlockGf")
        assert [name.decode() for name in file["G/block_names"][()]] == ["up", "down"]
        assert file["G/up"].attrs["Format"] in ("Gf", b"Gf")
        assert file["G/up/data"].shape == (11, 2, 2, 2)
        assert file["G/up/data"].dtype == np.float64
        assert file["G/up/data"].attrs["__complex__"] in ("1", b"1")
        np.testing.assert_array_equal(file["G/down/data"][:, 1, 1, 1], 4.0 * np.arange(11))
        assert file["G/up/mesh"].attrs["Format"] in ("MeshReFreq", b"MeshReFreq")
        assert {k: v[()] for k, v in file["G/up/mesh"].items()} == {"min": -2.0, "max": 2.0, "size": 11}
        text = file["G"].attrs.get_id("Format").get_type()
        assert (text.get_size(), text.get_strpad()) == (8, h5py.h5t.STR_NULLTERM)
    found, numbers = read_block_functions(path)
    assert numbers == {"broadening_eV": 0.05}
    assert list(found) == ["G", "Sigma"]
    np.testing.assert_array_equal(found["G"].blocks["down"], 2 * values)
    np.testing.assert_allclose(found["G"].frequencies, w)


def test_bad_block_files_are_told(tmp_path):
    with pytest.raises(MissingFileError):
        read_block_functions(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ConfigError, match="not an HDF5 file"):
        read_block_functions(tmp_path / "text.h5")
    with pytest.raises(ConfigError, match="equal distances"):
        write_block_functions(tmp_path / "x.h5", {"G": BlockFunction(np.array([0.0, 1.0, 3.0]), {})})
    with pytest.raises(ConfigError, match="needs the shape"):
        write_block_functions(tmp_path / "x.h5", {"G": BlockFunction(np.arange(3.0), {"up": np.zeros((3, 2))})})
    assert not (tmp_path / "x.h5").exists()
