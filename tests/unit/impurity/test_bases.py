"""Star, chain and natural orbitals are one model; the whole sector gives its exact energy in each."""

import numpy as np
import pytest

from limbeck.core.errors import ConfigError
from limbeck.impurity.bases import orbitals_of
from limbeck.impurity.bath import semicircle
from limbeck.impurity.exact import exact_ground
from limbeck.impurity.excitations import greens_function
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.selected_ci import selected_ci

BASES = ("natural", "star", "chain")


def one_orbital(n_bath, u, level=None):
    energies, couplings = semicircle(n_bath)
    return anderson([[-u / 2 if level is None else level]], energies, couplings, kanamori(1, u), n_bath + 1)


def two_orbitals():
    rng = np.random.default_rng(2)
    v = rng.normal(size=(2, 5)) + 1j * rng.normal(size=(2, 5))
    return anderson(np.diag([-1.5, -1.2]), np.linspace(-1, 1, 5), 0.3 * v, kanamori(2, 2.0, 0.3), 6)


@pytest.mark.parametrize("model", [one_orbital(5, 3.0, -1.0), two_orbitals()])
def test_the_exact_energy_does_not_depend_on_the_orbitals(model):
    found = [exact_ground(orbitals_of(model, basis)) for basis in BASES]
    assert [state.energy for state in found] == pytest.approx([found[0].energy] * 3, abs=1e-9)
    for state in found:
        assert state.pt2 == 0
        assert state.variance < 1e-12
        assert state.extrapolated == (state.energy, 0.0)
    np.testing.assert_allclose(found[1].given_density(), found[0].given_density(), atol=1e-5)
    np.testing.assert_allclose(found[2].given_density(), found[0].given_density(), atol=1e-5)
    assert selected_ci(orbitals_of(model, "natural"), 8000).energy == pytest.approx(found[0].energy, abs=1e-6)


def test_two_sites_are_known_in_closed_form():
    u, v = 3.0, 0.4
    model = anderson(np.array([[-u / 2]]), np.zeros(1), np.array([[v]]), kanamori(1, u), 2)
    truth = -u / 4 - np.sqrt((u / 4) ** 2 + 4 * v**2)
    assert exact_ground(orbitals_of(model)).energy == pytest.approx(truth, abs=1e-12)


def test_no_conserved_quantity_hides_the_lowest_state():
    """Two dimers that nothing connects: the lowest of all distributions of the electrons is found."""
    energies, v = np.array([0.0, 0.3]), np.diag([0.4, 0.2])
    model = anderson(np.diag([-1.0, -0.2]), energies, v, kanamori(2, 2.0, 0.5), 4)
    found = exact_ground(orbitals_of(model))
    h = found.hamiltonian.matrix(found.rows).toarray()
    assert found.energy == pytest.approx(np.linalg.eigvalsh(h)[0], abs=1e-10)


def test_orbitals_have_the_form_that_their_name_says():
    model = two_orbitals()
    m = model.n_impurity
    star = orbitals_of(model, "star").model.one_body
    assert np.abs(star[m:, m:] - np.diag(np.diag(star[m:, m:]))).max() < 1e-12
    chain = orbitals_of(model, "chain")
    h = chain.model.one_body[0::2, 0::2]
    reach = [np.count_nonzero(np.abs(np.linalg.matrix_power(h, k)[:2]).max(axis=0) > 1e-10) for k in range(4)]
    assert reach == [2, 4, 6, 7]  # each step along the chain reaches two more orbitals
    for basis in (star, chain.model.one_body):
        np.testing.assert_allclose(np.linalg.eigvalsh(basis), np.linalg.eigvalsh(model.one_body), atol=1e-10)


def test_natural_orbitals_need_the_fewest_configurations():
    energies = {basis: selected_ci(orbitals_of(one_orbital(7, 2.0), basis), 300).energy for basis in BASES}
    assert energies["natural"] < energies["star"] - 1e-6 < energies["chain"] - 1e-2


def test_green_functions_do_not_depend_on_the_orbitals_either():
    z = np.linspace(-3, 3, 31) + 0.2j
    found = [
        greens_function(exact_ground(orbitals_of(one_orbital(3, 2.0, -0.8), basis)), [0], (-5, 5), 0.2, 5000)(z)
        for basis in BASES
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-7)
    np.testing.assert_allclose(found[2], found[0], atol=1e-7)


def test_a_sector_that_is_too_large_is_refused_with_its_size():
    with pytest.raises(ConfigError, match="48400 configurations, more than 10000"):
        exact_ground(orbitals_of(ImpurityModel(np.diag(np.arange(24.0) // 2), kanamori(1, 2.0), 6)), 10_000)
