"""Susceptibilities against the two-site closed form, dense matrices and sum rules."""

import numpy as np
import pytest

from limbeck.impurity.bath import semicircle
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import anderson
from limbeck.impurity.operators import one_body
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.properties import double_occupancy
from limbeck.impurity.selected_ci import selected_ci
from limbeck.impurity.susceptibility import charge, spin_z, susceptibility


def test_the_dimer_has_one_line_of_spin_and_one_of_charge():
    """From the singlet: S_z of a site leads to the triplet alone (at -U/4 to each sign of the closed form)."""
    u, v = 3.0, 0.4
    state = selected_ci(natural_orbitals(anderson([[-u / 2]], [0.0], [[v]], kanamori(1, u), 2)), 10)
    found = susceptibility(state, [spin_z(1)], (0.0, 5.0), 0.1)
    gap = np.sqrt((u / 4) ** 2 + 4 * v**2) - u / 4  # triplet at -U/2, singlet at -U/4 - sqrt
    spectrum = found.moment(1)[0, 0].real / found.moment(0)[0, 0].real
    assert spectrum == pytest.approx(gap, abs=1e-9)
    double = double_occupancy(state)
    assert found.moment(0)[0, 0].real == pytest.approx(0.25 * (1 - 2 * double), abs=1e-9)
    assert found(np.array([0.0j]))[0, 0, 0].real == pytest.approx(-2 * 0.25 * (1 - 2 * double) / gap, abs=1e-9)


def test_sum_rules_of_spin_and_charge_hold_on_the_whole_space():
    """Zeroth: fluctuations of the ground state; first: half the double commutator, minus half the hybridization."""
    u = 2.0
    state = selected_ci(natural_orbitals(anderson([[-0.7]], *semicircle(5), kanamori(1, u), 6)), 5000)
    found = susceptibility(state, [spin_z(1), charge(1)], (0.0, 4.0), 0.1, most=5000, n_lanczos=400)
    occupation = np.diag(state.density()).real[:2].sum()
    double = double_occupancy(state)
    squares = np.array([0.25 * (occupation - 2 * double), occupation + 2 * double - occupation**2])
    np.testing.assert_allclose(np.diag(found.moment(0)).real, squares, atol=1e-9)
    h, p = state.hamiltonian.model.one_body, state.density()
    hybridization = 2 * np.einsum("ij,ji->", h[:2, 2:], p[2:, :2]).real
    np.testing.assert_allclose(np.diag(found.moment(1)).real, [-hybridization / 8, -hybridization / 2], atol=1e-9)
    assert abs(found.moment(0)[0, 1]) < 1e-9  # no net spin: spin and charge do not mix
    x = np.linspace(-6, 6, 6001)
    spectrum, error = found.fluctuations(x, 0.05)
    np.testing.assert_allclose(spectrum, -spectrum[::-1], atol=1e-9)  # odd in frequency
    assert np.trapezoid(x * spectrum[:, 1], x) / 2 == pytest.approx(-hybridization / 2, rel=0.1)
    assert error.max() < 1e-6


def test_without_interaction_charge_is_pairs_of_particles_and_holes():
    bath, v = semicircle(4)
    state = selected_ci(natural_orbitals(anderson([[-0.2]], bath, v, kanamori(1, 0.0), 6)), 5000)
    h = np.diag([-0.2, *bath])
    h[0, 1:] = h[1:, 0] = v
    energies, orbitals = np.linalg.eigh(h)
    z = np.linspace(-3, 3, 50) + 0.1j
    truth = np.zeros(len(z), complex)
    for i in range(3):
        for a in range(3, 5):
            gap, weight = energies[a] - energies[i], 2 * (orbitals[0, i] * orbitals[0, a]) ** 2
            truth += weight * (1 / (z - gap) - 1 / (z + gap))
    found = susceptibility(state, [charge(1)], (0.0, 3.0), 0.1, most=5000, n_lanczos=400)
    np.testing.assert_allclose(found(z)[:, 0, 0], truth, atol=1e-8)
    turned = susceptibility(state, [one_body(np.diag([1.0, 0.0]))], (0.0, 3.0), 0.1, most=5000, n_lanczos=400)
    np.testing.assert_allclose(2 * turned(z)[:, 0, 0], truth, atol=1e-8)  # spin up alone: half
