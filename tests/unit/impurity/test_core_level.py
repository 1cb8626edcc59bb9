"""Core levels: closed forms, averages of configurations, sum rules, rotations, dichroism, mistakes."""

import numpy as np
import pytest

from limbeck.core.errors import ConfigError
from limbeck.impurity import transitions as module
from limbeck.impurity.absorption import absorption
from limbeck.impurity.core_level import (
    core_model,
    cubic,
    dipole,
    in_shell,
    spin_orbit,
)
from limbeck.impurity.multiplets import multiplets
from limbeck.impurity.operators import one_body
from limbeck.impurity.subspace import Hamiltonian, packed
from oxides import DIRECT, EXCHANGE, SHELL, ligand_model


def ion(electrons, *, ell=2, core=1, exchange=None, direct=None, zeta=10.0, shell=None):
    """A free ion: no ligand."""
    size = 2 * ell + 1
    return core_model(
        np.zeros((size, size)), -100.0, [], [], shell or {0: 0.0}, direct or {0: 0.0}, exchange or {}, electrons,
        core_spin_orbit=zeta, ell=ell, core=core,
    )  # fmt: skip


@pytest.mark.parametrize("ell", [1, 2, 3])
def test_spin_orbit_coupling_splits_a_shell_into_two_levels(ell):
    values = np.linalg.eigvalsh(spin_orbit(ell))
    np.testing.assert_allclose(values, [-(ell + 1) / 2] * (2 * ell) + [ell / 2] * (2 * ell + 2), atol=1e-12)


def test_cubic_fields_are_diagonal_in_cubic_orbitals():
    np.testing.assert_allclose(np.linalg.eigvalsh(cubic(0.6, -0.4)), [-0.4] * 3 + [0.6] * 2, atol=1e-12)
    assert np.linalg.eigvalsh(in_shell({"x2-y2": 2.0}))[-1] == pytest.approx(2.0)
    with pytest.raises(ConfigError, match="no d orbital is called x2y2"):
        in_shell({"x2y2": 1.0})


def test_charge_transfer_levels_give_the_average_energies_of_configurations():
    """Averages over every state of a configuration, by the trace of the many-body Hamiltonian."""
    model, levels = ligand_model(8, edge=850.0)
    hamiltonian = Hamiltonian.of(model)
    rng = np.random.default_rng(0)

    def average(valence, ligand, core, n=4000):
        rows = np.zeros((n, model.n_spin_orbitals), bool)
        for first, size, count in ((0, 10, valence), (10, 6, core), (16, 10, ligand)):
            order = np.argsort(rng.random((n, size)), axis=1)[:, :count]
            rows[np.arange(n)[:, None], first + order] = True
        energies = hamiltonian.diagonal(packed(rows, 1))
        return energies.mean(), 4 * energies.std() / np.sqrt(n)

    ground, noise = average(8, 10, 6)
    for (valence, ligand, core), expected in (
        ((9, 9, 6), 4.7),
        ((10, 8, 6), 2 * 4.7 + 7.3),
        ((9, 10, 5), 850.0),
        ((10, 9, 5), 850.0 + 4.7 + 7.3 - 8.5),
    ):
        value, error = average(valence, ligand, core)
        assert abs(value - ground - expected) < noise + error + 1e-9
        assert levels.energy(valence, 10 - ligand, 6 - core) == pytest.approx(expected, abs=1e-9)
    assert dict(levels.table())["d^9 L^1"] == pytest.approx(4.7)
    assert "d^11 L^3" not in dict(levels.table())


def test_an_empty_shell_has_three_lines():
    """2p6 3d0 to 2p5 3d1: of twelve levels three have J = 1."""
    model = ion(0, zeta=3.8, direct={0: 0.0, 2: 5.0}, exchange={1: 3.7, 3: 2.1})
    found = absorption(multiplets(model, 0.0), dipole(), 0.0)
    assert found.n_final <= 60
    strength = np.sum(np.abs(found.poles[0].amplitudes) ** 2, axis=1)
    levels = np.unique(np.round(found.poles[0].energies[strength > 1e-10], 6))
    assert len(levels) == 3


def test_without_interaction_the_edges_have_the_statistical_ratio():
    """L3 to L2 is two to one, 3/2 zeta apart; the sum is that of the operators."""
    found = absorption(multiplets(ion(0, zeta=8.0), 0.0), dipole(), 0.0)
    poles = found.poles[0]
    strength = np.sum(np.abs(poles.amplitudes) ** 2, axis=1)
    lower = poles.energies < poles.energies.mean()
    assert strength[lower].sum() / strength[~lower].sum() == pytest.approx(2.0)
    assert np.ptp(poles.energies) == pytest.approx(12.0)
    total = sum(np.sum(np.abs(op.coefficients) ** 2) for op in dipole())
    assert strength.sum() == pytest.approx(total)


def test_the_isotropic_spectrum_does_not_know_the_direction_of_the_field():
    """Field along z, x and y (complex), without cubic surroundings: one spectrum, and dichroism along z alone."""
    energies = np.linspace(-20, 20, 201)
    spectra = []
    for field in ((0, 0, 0.2), (0.2, 0, 0), (0, 0.2, 0)):
        model = core_model(
            np.zeros((5, 5)), -100.0, [], [], {0: 4.0, **SHELL}, {0: 6.0, **DIRECT}, EXCHANGE, 8,
            valence_spin_orbit=0.1, core_spin_orbit=10.0, field=field,
        )  # fmt: skip
        found = absorption(multiplets(model, 300.0), dipole(), 300.0)
        first = found.poles[0].energies.min()
        spectra.append(
            (found.isotropic(energies + first + 10, 0.3), found.circular_dichroism(energies + first + 10, 0.3))
        )
    for other, _ in spectra[1:]:
        np.testing.assert_allclose(other, spectra[0][0], atol=1e-8 * spectra[0][0].max())
    assert np.abs(spectra[0][1]).max() > 0.1 * spectra[0][0].max()
    assert np.abs(spectra[1][1]).max() < 1e-8 * spectra[0][0].max()


def test_dichroism_turns_with_the_field_and_is_gone_without():
    energies = np.linspace(-12, 16, 301)
    up, down, none = (
        absorption(multiplets(ligand_model(8, field=(0, 0, b))[0], 10.0), dipole(), 10.0).circular_dichroism(
            energies, 0.3
        )
        for b in (0.1, -0.1, 0.0)
    )
    np.testing.assert_allclose(up, -down, atol=1e-9)
    assert np.abs(up).max() > 1e3 * max(np.abs(none).max(), 1e-12)


def test_lanczos_and_all_final_states_give_one_spectrum(monkeypatch):
    """CoO-like: 1140 final configurations in four parts."""
    model, _ = ligand_model(7, 5.5, 6.5, 8.0)
    states = multiplets(model, 300.0)
    energies = np.linspace(-15, 20, 801)
    truth = absorption(states, dipole(), 300.0).tensor(energies, 0.24)
    monkeypatch.setattr(module, "DENSE", 10)
    found = absorption(states, dipole(), 300.0).tensor(energies, 0.24)
    assert np.abs(found - truth).max() < 1e-5 * np.abs(truth).max()


def test_nickel_oxide_is_that_of_an_independent_program():
    """Level and main peak of edrixs 0.2.0 for the same parameters (half width 0.24 eV, exchange field 0.12 eV, 300 K).

    benchmarks/impurity_absorption.py runs it beside ours: the whole spectrum differs by less than 1e-7 of the peak.
    """
    model, _ = ligand_model(8, field=(0, 0, 0.12))
    states = multiplets(model, 300.0)
    assert states.energies[1] - states.energies[0] == pytest.approx(0.2160011189, abs=1e-8)
    energies = np.linspace(-20, 25, 1501)
    spectrum = absorption(states, dipole(), 300.0).isotropic(energies, 0.24)
    assert energies[spectrum.argmax()] == pytest.approx(-4.31, abs=1e-6)


def test_levels_are_whole_and_a_full_shell_is_told():
    model, _ = ligand_model(7, 5.5, 6.5, 8.0)
    for temperature in (0.0, 30.0, 300.0, 1000.0):
        states = multiplets(model, temperature)
        assert states.weights(temperature).sum() == pytest.approx(1.0)
        more = multiplets(model, 5000.0).energies
        k = len(states.energies)
        assert more[k] - more[k - 1] > 1e-5  # no level is cut
    with pytest.raises(ConfigError, match="nothing can be excited"):
        absorption(multiplets(ion(10), 0.0), dipole(), 0.0)
    with pytest.raises(ConfigError, match="more than 100"):
        multiplets(model, 0.0, most=100)


def test_states_of_a_level_have_the_energy_and_the_operator_its_elements():
    """A one-body operator of the core and valence shells on a state changes one electron."""
    states = multiplets(ion(2, shell={0: 2.0, 2: 8.0, 4: 5.0}), 0.0)
    assert len(states.energies) == 21  # 3F
    assert np.ptp(states.energies) < 1e-8
    assert len(one_body(np.eye(3)).coefficients) == 3
