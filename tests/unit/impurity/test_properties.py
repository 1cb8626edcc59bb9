"""What a ground state says: closed forms and sums."""

import numpy as np
import pytest

from limbeck.impurity.bath import semicircle
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.properties import double_occupancy, electron_weights, local_moment, total_spin_squared
from limbeck.impurity.selected_ci import selected_ci


def dimer(u, v):
    return selected_ci(natural_orbitals(anderson([[-u / 2]], [0.0], [[v]], kanamori(1, u), 2)), 10)


@pytest.mark.parametrize("u", [0.0, 1.0, 8.0])
def test_the_dimer_is_known_in_closed_form(u):
    """dE/dU at fixed filling is the double occupancy less a half electron: E = -U/4 - sqrt((U/4)^2 + 4 V^2)."""
    v, state = 0.4, dimer(u, 0.4)
    double = 0.5 - 0.25 - (u / 16) / np.sqrt((u / 4) ** 2 + 4 * v**2)
    assert double_occupancy(state) == pytest.approx(double, abs=1e-10)
    assert electron_weights(state) == pytest.approx([double, 1 - 2 * double, double], abs=1e-10)
    assert local_moment(state) == pytest.approx(0.75 * (1 - 2 * double), abs=1e-10)
    assert total_spin_squared(state) == pytest.approx(0.0, abs=1e-10)


def test_hunds_coupling_makes_a_triplet_and_a_polarized_sector_has_its_spin():
    energies, couplings = semicircle(2)
    model = anderson(
        -4.0 * np.eye(2), np.tile(energies, 2), 0.1 * np.kron(np.eye(2), couplings), kanamori(2, 6.0, 1.0), 6
    )
    assert local_moment(selected_ci(natural_orbitals(model), 5000)) > 1.9
    one = anderson([[-1.5]], *semicircle(6), kanamori(1, 3.0), 6, 2)
    assert total_spin_squared(selected_ci(natural_orbitals(one), 5000)) == pytest.approx(2.0, abs=1e-8)


def test_without_a_conserved_spin_the_whole_spin_is_not_told():
    model = anderson([[-1.0]], *semicircle(3), kanamori(1, 2.0), 4)
    mixed = ImpurityModel(model.one_body + 0.1 * np.eye(8)[::-1], model.interaction, 4, None)
    with pytest.raises(ValueError, match="conserves S_z"):
        total_spin_squared(selected_ci(natural_orbitals(mixed), 100))
