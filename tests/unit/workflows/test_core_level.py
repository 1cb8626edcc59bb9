"""``limbeck impurity`` on files of core-level spectra: numbers, sum rules, files, mistakes, a second call."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError
from limbeck.workflows.impurity.core_build import ion_of
from limbeck.workflows.impurity.core_run import describes_an_ion, read_core_settings

STUDIES = Path(__file__).resolve().parents[3] / "studies" / "impurity"
FILE = """
name: ion
shell: {electrons: 8, U_eV: 7.3, F2_eV: 12.23, F4_eV: 7.6, spin_orbit_eV: 0.083, ten_Dq_eV: 0.56,
  field_eV: [0, 0, 0.12]}
core: {U_eV: 8.5, F2_eV: 7.72, G1_eV: 5.79, G3_eV: 3.29, spin_orbit_eV: 11.507, edge_eV: 857.6, binding_eV: 860.0}
slater_factor: 0.8
delta_eV: 4.7
ligands:
  - {ten_Dq_eV: 1.44, V_eg_eV: 2.06, V_t2g_eV: 1.21}
spectra: [xas, xps, rixs]
xas: {window_eV: [840.0, 890.0], points: 501, half_width_eV: 0.24}
xps: {points: 301}
rixs: {incident_eV: [852.0, 853.3], points: 101}
"""


def call(tmp_path, text, *more):
    path = tmp_path / "ion.yaml"
    path.write_text(text)
    return CliRunner().invoke(app, ["impurity", str(path), "-o", str(tmp_path / "out"), *more])


def test_the_command_gives_multiplets_spectra_and_files_and_does_nothing_again(tmp_path):
    said = call(tmp_path, FILE)
    assert said.exit_code == 0, said.output
    for part in ("d^8", "main line at", "integral 6.000000", "2 incident energies", "report.html"):
        assert part in said.output
    out = tmp_path / "out"
    found = json.loads((out / "results.json").read_text())
    levels = found["multiplets"]["levels"]
    assert levels[1]["energy_meV"] == pytest.approx(216.0, abs=0.5)
    assert sum(found["multiplets"]["weights"].values()) == pytest.approx(1.0)
    assert found["multiplets"]["weights"]["d^8"] == pytest.approx(0.825, abs=5e-3)
    assert levels[0]["S2_of_all"] == pytest.approx(2.0, abs=5e-3)
    assert dict(found["configurations_eV"])["d^9 L^1"] == pytest.approx(4.7)
    xas, xps = np.loadtxt(out / "xas.dat"), np.loadtxt(out / "xps.dat")
    assert xas.shape == (501, 7)
    np.testing.assert_allclose(xas[:, 1], xas[:, 3:6].mean(axis=1), atol=1e-6)  # isotropic: a third of the trace
    np.testing.assert_allclose(xps[:, 1], xps[:, 3:5].sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(xps[:, 1], xps[:, 5:7].sum(axis=1), atol=1e-6)
    assert np.trapezoid(xps[:, 1], xps[:, 0]) == pytest.approx(6.0, rel=0.05)  # but for the tails of the Lorentzians
    rixs = np.loadtxt(out / "rixs.dat")
    assert rixs.shape == (202, 5)
    np.testing.assert_allclose(rixs[:, 2], 2 * rixs[:, 4], rtol=1e-6)  # pi light at 90 degrees: crossed alone
    page = (out / "report.html").read_text()
    for part in ("Inelastic scattering", "Photoemission", "⟨J²⟩"):
        assert part in page
    before = (out / "results.json").stat().st_mtime_ns
    again = call(tmp_path, FILE, "--json")
    assert json.loads(again.stdout) == found
    assert (out / "results.json").stat().st_mtime_ns == before


def test_the_average_binding_energy_is_the_one_that_is_given(tmp_path):
    """Without hopping, fields and multiplets photoemission is a line at the binding energy of the configuration."""
    text = FILE.replace("V_eg_eV: 2.06, V_t2g_eV: 1.21", "V_eg_eV: 0.0, V_t2g_eV: 0.0").replace(
        "[xas, xps, rixs]", "[xps]"
    )
    for name in ("F2_eV: 12.23", "F4_eV: 7.6", "F2_eV: 7.72", "G1_eV: 5.79", "G3_eV: 3.29", "spin_orbit_eV: 0.083",
                 "spin_orbit_eV: 11.507", "ten_Dq_eV: 0.56", "ten_Dq_eV: 1.44"):  # fmt: skip
        text = text.replace(name, f"{name.split(':')[0]}: 0.0")
    said = call(tmp_path, text)
    assert said.exit_code == 0, said.output
    assert "main line at 860.0" in said.output


def test_selected_classes_from_a_file_say_their_error(tmp_path):
    text = (
        FILE.replace("[xas, xps, rixs]", "[xas]")
        .replace("V_t2g_eV: 1.21}", "V_t2g_eV: 1.21}\n  - {level_eV: 2.0, V_eg_eV: 1.0, V_t2g_eV: 0.6}")
        .replace("slater_factor", "configurations: {whole: 100, ground: 300, excited: 200}\nslater_factor")
    )
    said = call(tmp_path, text)
    assert said.exit_code == 0, said.output
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert not found["multiplets"]["is_whole"]
    assert found["multiplets"]["steps"][-1]["pt2_eV"] < 0
    assert "selected, PT2" in said.output
    assert "Growth of the set" in (tmp_path / "out" / "report.html").read_text()


def test_an_empty_shell_lies_where_the_file_says(tmp_path):
    path = tmp_path / "ion.yaml"
    path.write_text(FILE + "conduction:\n  - {energy_eV: 6.5, V_eg_eV: 0.5, V_t2g_eV: 0.5}\n")
    assert describes_an_ion(path)
    ion = ion_of(read_core_settings(path))
    assert ion.reference == (8, 6, 10, 0)
    level = ion.model.one_body[26, 26]
    assert ion.levels.energy(7) + level == pytest.approx(6.5)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("delta_eV: 4.7", "delta_eV: -30.0", "full d shell"),
        ("electrons: 8", "electrons: 10", "d10"),
        ("electrons: 8", "electrons: 11", "electrons"),
        ("U_eV: 7.3", "U: 7.3", "U_eV"),
        ("[840.0, 890.0]", "[890.0, 840.0]", "lower and the upper end"),
        ("[xas, xps, rixs]", "[xes]", "xas"),
        ("half_width_eV: 0.24", "half_width_eV: 0.0", "half_width_eV"),
        ("field_eV: [0, 0, 0.12]", "field_eV: [0, 0.12]", "field_eV"),
        ("slater_factor", "configurations: {whole: 10, ground: 20}\nslater_factor", "nothing but the reference"),
    ],
)
def test_mistakes_are_one_clear_error(tmp_path, old, new, told):
    assert old in FILE
    outcome = call(tmp_path, FILE.replace(old, new))
    assert isinstance(outcome.exception, ConfigError), outcome.output
    assert told in str(outcome.exception)


@pytest.mark.parametrize("name", ["nio", "nio-bands", "coo", "mno"])
def test_the_studies_are_files_that_are_understood(name):
    ion = ion_of(read_core_settings(STUDIES / f"{name}.yaml"))
    assert ion.levels.energy(ion.levels.electrons + 1, 1) == pytest.approx(ion.levels.delta)


def test_the_keys_are_explained():
    said = CliRunner().invoke(app, ["keys", "--of", "core-level"])
    assert said.exit_code == 0
    assert "core.edge_eV" in said.output


ION = """
name: ion
ion: Ni2+
shell: {U_eV: 7.3, ten_Dq_eV: 0.56, field_eV: [0, 0, 0.12]}
core: {U_eV: 8.5, edge_eV: 857.6}
delta_eV: 4.7
ligands:
  - {ten_Dq_eV: 1.44, V_eg_eV: 2.06, V_t2g_eV: 1.21}
"""


def test_an_ion_of_the_table_fills_in_what_the_file_leaves_out(tmp_path):
    said = call(tmp_path, ION)
    assert said.exit_code == 0, said.output
    assert "d^8 Ni2+" in said.output
    assert "0.8 of Hartree-Fock" in said.output
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    values = dict(found["parameters"]["values_eV"])
    assert values["F2(d,d)"] == pytest.approx(9.787, abs=1e-3)
    assert values["F2(d,d) with hole"] == pytest.approx(10.405, abs=1e-3)
    assert found["multiplets"]["levels"][1]["energy_meV"] == pytest.approx(216.0, abs=0.5)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Cowan" in page


def test_values_of_the_file_come_before_those_of_the_table(tmp_path):
    path = tmp_path / "ion.yaml"
    path.write_text(ION.replace("U_eV: 7.3,", "U_eV: 7.3, F2_eV: 10.0, spin_orbit_eV: 0.0,") + "slater_factor: 1.0\n")
    given = ion_of(read_core_settings(path)).parameters
    assert given.before.integrals == pytest.approx({2: 10.0, 4: 7.5975})
    assert given.after.integrals == pytest.approx({2: 10.0, 4: 8.0839})  # what the file says holds with a hole, too
    path.write_text(path.read_text().replace("slater_factor: 1.0", ""))
    given_alone = ion_of(read_core_settings(path)).parameters  # the factor left out: 0.8 is for the table alone
    assert given_alone.before.integrals == pytest.approx({2: 10.0, 4: 0.8 * 7.5975})
    assert given.before.spin_orbit == given.after.spin_orbit == 0.0
    path.write_text(ION.replace("U_eV: 8.5", "U_eV: 8.5, shell: 3p"))
    assert ion_of(read_core_settings(path)).parameters.core_spin_orbit < 2.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ion: Ni2+\n", "", "shell.electrons must be given, or ion"),
        ("ion: Ni2+", "ion: Ni7+", "of Ni there are"),
        ("ion: Ni2+", "ion: Zn2+", "leave out ion, and give shell.electrons"),
        ("ion: Ni2+", "ion: Cu+", "full d shell"),
        ("shell: {", "shell: {electrons: 7, ", "Ni2. has 8 d electrons"),
        ("U_eV: 8.5", "U_eV: 8.5, shell: 2s", "core.shell"),
    ],
)
def test_an_ion_that_cannot_be_is_one_clear_error(tmp_path, old, new, said):
    path = tmp_path / "ion.yaml"
    path.write_text(ION.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        ion_of(read_core_settings(path))
