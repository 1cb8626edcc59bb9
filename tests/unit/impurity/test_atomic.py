"""The table of atoms: published values, order along a series, what is not there; shells that a core hole tightens."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError
from limbeck.impurity.absorption import absorption
from limbeck.impurity.atomic import DShell, atomic_parameters, ions, source
from limbeck.impurity.core_level import core_model, dipole
from limbeck.impurity.multiplets import multiplets, selected_multiplets
from limbeck.impurity.photoemission import photoemission
from limbeck.impurity.scattering import scattering
from limbeck.impurity.shells import ionic
from oxides import ligand_model

SERIES = ["Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu"]


def test_nickel_is_that_of_the_literature():
    """0.8 of F and G as in M. W. Haverkort, M. Zwierzycki, O. K. Andersen, arXiv:1111.4940, and its zeta."""
    ni = atomic_parameters("Ni2+")
    found = [0.8 * ni.before.integrals[k] for k in (2, 4)]
    found += [0.8 * x for x in (ni.direct[2], ni.exchange[1], ni.exchange[3])]
    np.testing.assert_allclose(found, [9.787, 6.078, 6.177, 4.630, 2.633], atol=2e-3)
    assert (ni.before.spin_orbit, ni.core_spin_orbit) == pytest.approx((0.083, 11.507), abs=1e-3)
    assert ni.electrons == 8
    assert "Cowan" in source()


@pytest.mark.parametrize("core", ["2p", "3p"])
def test_every_ion_has_all_values_and_a_series_is_in_order(core):
    for ion in ions():
        found = atomic_parameters(ion, core)
        values = [*found.before.integrals.values(), found.before.spin_orbit, *found.after.integrals.values(),
                  *found.direct.values(), *found.exchange.values(), found.core_spin_orbit]  # fmt: skip
        assert min(values) > 0, (ion, values)
        # hydrogen-like shells have F4/F2 of 0.65 (3d); nothing is far from it
        assert 0.55 < found.before.integrals[4] / found.before.integrals[2] < 0.72
        assert found.exchange[3] < found.exchange[1] or found.shell != "3d"
    series = [atomic_parameters(f"{element}2+", core) for element in SERIES]
    assert [x.electrons for x in series] == list(range(1, 10))
    assert np.all(np.diff([x.core_spin_orbit for x in series]) > 0)
    assert np.all(np.diff([x.after.spin_orbit for x in series]) > 0)


def test_a_hole_tightens_the_shell_and_an_empty_shell_has_values_for_what_flows_in():
    fe = atomic_parameters("Fe3+")
    assert fe.after.integrals[2] > fe.before.integrals[2]
    titanium = atomic_parameters("Ti4+")
    assert titanium.electrons == 0
    assert titanium.before == DShell(
        atomic_parameters("Ti2+").before.integrals, atomic_parameters("Ti3+").before.spin_orbit
    )


@pytest.mark.parametrize(
    ("ion", "core", "said"),
    [
        ("Ni9+", "2p", "of Ni there are Ni1.*Ni4"),
        ("Ni", "2p", "element and charge, as Ni2"),
        ("Zz2+", "2p", "no atomic parameters of Zz"),
        ("Ni2+", "5p", "there are 2p, 3p"),
        ("O2-", "2p", "not an ion"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(ion, core, said):
    with pytest.raises(ConfigError, match=said):
        atomic_parameters(ion, core)


def test_the_command_shows_an_ion_and_the_list():
    said = CliRunner().invoke(app, ["atom", "Mn2+"])
    assert said.exit_code == 0
    assert "F2(3d,3d)" in said.output
    assert "2p5 3d6" in said.output
    rows = json.loads(CliRunner().invoke(app, ["atom", "Mn2+", "--core", "3p", "--json"]).output)
    assert (rows["electrons"], rows["core"]) == (5, "3p")
    assert "Fe3+" in CliRunner().invoke(app, ["atom"]).output


def bare(zeta, zeta_core=10.0):
    return core_model(
        np.zeros((5, 5)), -100.0, [], [], {0: 0.0}, {0: 0.0}, {}, 0, valence_spin_orbit=zeta, core_spin_orbit=zeta_core
    )


def test_spin_orbit_coupling_of_the_final_state_splits_the_lines():
    """d0 to p5 d1 without Slater integrals: p1/2 or p3/2 to d3/2 or d5/2; the coupling before counts for nothing."""
    before, after = bare(0.0), bare(0.4)
    found = absorption(multiplets(before, 0.0, with_hole=after), dipole(), 0.0)
    truth = absorption(multiplets(after, 0.0), dipole(), 0.0)
    grid = np.linspace(80, 120, 4001)
    np.testing.assert_allclose(found.isotropic(grid, 0.1), truth.isotropic(grid, 0.1), atol=1e-10)
    strength = np.sum(np.abs(found.poles[0].amplitudes) ** 2, axis=1)
    lines = np.unique(np.round(found.poles[0].energies[strength > 1e-9], 6)) - 100.0
    expected = [-0.6 - 5.0, 0.4 - 5.0, -0.6 + 10.0]  # p3/2 does not go to 2 l s of d5/2 from p1/2
    np.testing.assert_allclose(lines, expected, atol=1e-6)


def test_the_model_with_a_hole_is_for_states_with_one_alone():
    """With the same model nothing changes; with another one valence photoemission does not, absorption and RIXS do."""
    model, _ = ligand_model(8, field=(0, 0, 0.12))
    tighter = type(model)(
        model.one_body, ligand_model(8, u=7.8)[0].interaction, model.n_electrons, model.spin_2z, model.n_core
    )
    energies, losses = np.linspace(-20, 25, 401), np.linspace(-0.5, 6, 201)
    plain, same, other = (multiplets(model, 300.0, with_hole=x) for x in (None, model, tighter))
    lines = [absorption(x, dipole(), 300.0).isotropic(energies, 0.24) for x in (plain, same, other)]
    np.testing.assert_allclose(lines[1], lines[0], atol=1e-12)
    assert np.abs(lines[2] - lines[0]).max() > 0.01 * lines[0].max()
    np.testing.assert_array_equal(other.energies, plain.energies)
    removed = [photoemission(x, np.arange(10), 300.0, half_width=0.3).trace(energies, 0.3) for x in (plain, other)]
    np.testing.assert_allclose(removed[1], removed[0], atol=1e-12)
    core = [photoemission(x, model.core, 300.0, half_width=0.3).trace(energies, 0.3) for x in (plain, other)]
    assert np.abs(core[1] - core[0]).max() > 1e-3 * core[0].max()
    rixs = [
        scattering(x, dipole(), np.array([-4.3]), 300.0, core_half_width=0.24, final_half_width=0.05).powder(
            losses, 0.05, 0.0
        )[0]
        for x in (plain, same, other)
    ]
    np.testing.assert_allclose(rixs[1], rixs[0], atol=1e-10 * rixs[0].max())
    # losses are those of states without a hole: lines stay where they are, strengths change
    assert np.abs(rixs[2] - rixs[0]).max() > 1e-3 * rixs[0].max()
    assert losses[rixs[2].argmax()] == losses[rixs[0].argmax()]


def test_chosen_classes_take_the_model_with_a_hole_and_models_must_fit():
    model, _ = ligand_model(8, field=(0, 0, 0.12))
    tighter, _ = ligand_model(8, field=(0, 0, 0.12), edge=1.0)
    energies = np.linspace(-20, 25, 401)
    chosen = selected_multiplets(model, 300.0, ionic(model, 8), with_hole=tighter)
    whole = multiplets(model, 300.0, with_hole=tighter)
    a, b = (absorption(x, dipole(), 300.0).isotropic(energies, 0.24) for x in (chosen, whole))
    np.testing.assert_allclose(a, b, atol=1e-6 * b.max())
    with pytest.raises(ConfigError, match="the same shells"):
        multiplets(model, 300.0, with_hole=bare(0.1))
