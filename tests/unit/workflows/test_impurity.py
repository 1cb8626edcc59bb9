"""``limbeck impurity`` on files: numbers, words, files, mistakes, a second call."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from block2 import PYTHON, needs_block2
from limbeck.cli import app
from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.workflows.impurity.build import bath_of, interaction_of, model_of
from limbeck.workflows.impurity.dmrg import dmrg_warnings
from limbeck.workflows.impurity.run import read_settings

FILE = """
name: small
interaction: {kind: kanamori, U_eV: 2.0}
bath: {kind: semicircle, sites: 7}
ground_state: {configurations: 3000}
spectrum: {window_eV: [-3.0, 3.0], points: 61, broadening_eV: 0.2, configurations: 4000}
"""


def written(tmp_path, text):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return path


def test_the_command_gives_energy_spectrum_and_files_and_does_nothing_again(tmp_path):
    path, out = written(tmp_path, FILE), tmp_path / "out"
    said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(out)])
    assert said.exit_code == 0, said.output
    for part in ("-4.714850", "double occupancies", "weight 1.00000000", "report.html"):
        assert part in said.output
    found = json.loads((out / "results.json").read_text())
    assert found["ground_state"]["energy_eV"] == pytest.approx(-4.71485072, abs=1e-7)
    assert found["ground_state"]["spin_squared"] == pytest.approx(0.0, abs=1e-6)
    assert sum(found["ground_state"]["electron_weights"]) == pytest.approx(1.0)
    columns = np.loadtxt(out / "spectrum-0.dat")
    assert columns.shape == (61, 3)
    np.testing.assert_allclose(columns[:, 1], columns[::-1, 1], atol=2e-4)  # particle-hole symmetry
    assert np.loadtxt(out / "self-energy-0.dat")[:, 2].max() < 0
    assert {row["id"] for row in json.loads((out / "metrics.json").read_text())} >= {"small-energy", "small-peak"}
    page = (out / "report.html").read_text()
    assert "Spectral function" in page
    assert "1 correlated orbital," in page
    before = (out / "results.json").stat().st_mtime_ns
    again = CliRunner().invoke(app, ["impurity", str(path), "-o", str(out), "--json"])
    assert json.loads(again.stdout) == found
    assert (out / "results.json").stat().st_mtime_ns == before


def test_all_kinds_of_bath_and_interaction_become_models(tmp_path):
    energies = np.linspace(-1, 1, 2001)
    gamma = 0.5 * np.sqrt(np.clip(1 - energies**2, 0, None))  # of total weight 1/4
    np.savetxt(tmp_path / "gamma.dat", np.column_stack([energies, gamma]))
    file = read_settings(written(tmp_path, FILE.replace("{kind: semicircle", "{kind: file, path: gamma.dat")))
    levels, couplings = bath_of(file)
    reference = bath_of(read_settings(written(tmp_path, FILE)))
    np.testing.assert_allclose(levels, reference[0], atol=1e-4)
    np.testing.assert_allclose(couplings, reference[1], atol=1e-4)
    given = FILE.replace(
        "{kind: semicircle, sites: 7}",
        "{kind: levels, energies_eV: [-1.0, 1.0], couplings_eV: [[0.3, 0.4]]}\nelectrons: 2",
    )
    assert model_of(read_settings(written(tmp_path, given))).one_body[0, 4] == 0.4
    shell = FILE.replace(
        "{kind: kanamori, U_eV: 2.0}", "{kind: slater, F0_eV: 5.0, F2_eV: 9.0, F4_eV: 5.5}\norbitals: 5"
    )
    tensor = interaction_of(read_settings(written(tmp_path, shell)))
    assert tensor.shape == (10, 10, 10, 10)
    u = 5.0 + 4 / 49 * 9.0 + 4 / 49 * 5.5 * 36 / 36  # of two electrons in z2: F0 + 4/49 F2 + 36/441 F4
    assert tensor[4, 5, 4, 5] == pytest.approx(u)
    split = FILE + "orbitals: 2\nlevel_eV: [-1.0, -0.5]\n"
    assert np.diag(model_of(read_settings(written(tmp_path, split))).one_body)[:4].tolist() == [-1.0, -1.0, -0.5, -0.5]


@pytest.mark.parametrize(
    ("old", "new", "kind", "told"),
    [
        ("U_eV: 2.0", "U: 2.0", ConfigError, "U_eV"),
        ("kind: semicircle", "kind: semicirle", ConfigError, "semicircle"),
        ("sites: 7", "sites: 0", ConfigError, "sites"),
        ("[-3.0, 3.0]", "[3.0, -3.0]", ConfigError, "lower and the upper end"),
        ("{kind: semicircle, sites: 7}", "{kind: file, path: none.dat, sites: 7}", MissingFileError, "none.dat"),
        ("{kind: semicircle, sites: 7}", "{kind: levels, energies_eV: [0.0], couplings_eV: [[0.1, 0.2]]}", ConfigError,
         "1 lists"),
        ("name: small", "name: small\nelectrons: 99", ConfigError, "99 electrons do not fit"),
        ("name: small", "name: small\nspin_2z: 1", ConfigError, "2 S_z = 1"),
        ("name: small", "name: small\norbitals: 2\nlevel_eV: [0.0]", ConfigError, "1 values for 2 orbitals"),
        ("{kind: kanamori, U_eV: 2.0}", "{kind: slater, F0_eV: 2.0}", ConfigError, "3, 5 or 7 orbitals"),
        ("points: 61", "points: 61, orbitals: [3]", ConfigError, "orbitals 0 to 0"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_error(tmp_path, old, new, kind, told):
    assert old in FILE
    outcome = CliRunner().invoke(
        app, ["impurity", str(written(tmp_path, FILE.replace(old, new))), "-o", str(tmp_path / "o")]
    )
    assert isinstance(outcome.exception, kind), outcome.output
    assert told in str(outcome.exception)


def test_a_bad_file_of_a_bath_is_told(tmp_path):
    for text, told in (
        ("0 1\n1 x\n", "line 2: 'x' is not a number"),
        ("0 1\n1 -1\n2 1\n", "must not be negative"),
        ("0 1\n0 1\n1 1\n", "increase"),
    ):
        (tmp_path / "gamma.dat").write_text(text)
        path = written(tmp_path, FILE.replace("{kind: semicircle", "{kind: file, path: gamma.dat"))
        outcome = CliRunner().invoke(app, ["impurity", str(path), "-o", str(tmp_path / "o")])
        assert isinstance(outcome.exception, ConfigError)
        assert told in str(outcome.exception)


def test_a_level_far_away_is_warned_of(tmp_path):
    path = written(tmp_path, FILE + "level_eV: -40.0\nelectrons: 4\n")
    said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(tmp_path / "o")])
    assert said.exit_code == 0, said.output
    assert "it does not hybridize, or its level lies far" in said.output


@pytest.mark.parametrize("method", [pytest.param("dmrg", marks=needs_block2)])
def test_a_matrix_product_state_from_the_command_line(tmp_path, monkeypatch, method):
    monkeypatch.setenv("LIMBECK_BLOCK2_PYTHON", str(PYTHON))
    text = """
name: mps
interaction: {kind: kanamori, U_eV: 2.0}
bath: {kind: semicircle, sites: 5}
ground_state: {method: METHOD, configurations: 400, dmrg: {bond_dimensions: [8, 32]}}
spectrum: {window_eV: [-3.0, 3.0], points: 61, broadening_eV: 0.2, configurations: 400}
"""
    found = {}
    for name in (method, "exact"):
        path, out = tmp_path / f"{name}.yaml", tmp_path / name
        path.write_text(text.replace("METHOD", name))
        said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(out)])
        assert said.exit_code == 0, said.output
        found[name] = json.loads((out / "results.json").read_text())
        if name == method:
            assert "at bond dimension 32 of SU(2)" in said.output
    mine, truth = found[method], found["exact"]
    assert mine["dmrg"]["energy_eV"] == pytest.approx(truth["ground_state"]["energy_eV"], abs=1e-9)
    assert mine["ground_state"]["double_occupancies"] == pytest.approx(
        truth["ground_state"]["double_occupancies"], abs=1e-6
    )
    np.testing.assert_allclose(mine["spectrum"]["spectral_function"], truth["spectrum"]["spectral_function"], atol=1e-4)
    assert not mine["warnings"]
    page = (tmp_path / method / "report.html").read_text()
    assert "Matrix product state" in page
    assert "mps-dmrg-energy" in {row["id"] for row in json.loads((tmp_path / method / "metrics.json").read_text())}


def test_settings_of_a_matrix_product_state(tmp_path):
    text = """
name: mps
interaction: {kind: kanamori, U_eV: 2.0}
bath: {kind: semicircle, sites: 5}
ground_state: {method: dmrg, dmrg: {bond_dimensions: BONDS, python: env/bin/python}, network: {start: gone.npz}}
"""
    path = written(tmp_path, text.replace("BONDS", "[8, 16]"))
    settings = read_settings(path)
    assert settings.ground_state.dmrg.python == str(tmp_path / "env/bin/python")
    assert settings.files() == []  # a start is of networks alone
    for bonds in ("[8]", "[16, 8]", "[1, 8]"):
        with pytest.raises(ConfigError, match="bond_dimensions"):
            read_settings(written(tmp_path, text.replace("BONDS", bonds)))


def test_what_is_odd_about_a_matrix_product_state_is_told():
    part = {
        "energy_eV": -1.0, "compared_eV": -1.1, "is_stuck": True, "weight": 0.9,
        "bonds": [{"bond": 8, "stands": False}, {"bond": 16, "stands": True}],
    }  # fmt: skip
    stuck, moving, kept = dmrg_warnings(part)
    assert "0.1 eV above 2000 selected" in stuck
    assert "bond dimension 8" in moving
    assert "hold 90.00 %" in kept
    assert dmrg_warnings(part | {"is_stuck": False, "weight": 1.0, "bonds": []}) == []
