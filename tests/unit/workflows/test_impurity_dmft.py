"""``limbeck impurity`` with a DMFT loop: files, words, a kill, mistakes."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError
from limbeck.core.progress import SilentReporter
from limbeck.impurity.block_file import read_block_functions
from limbeck.workflows.impurity import dmft as workflow
from limbeck.workflows.impurity.dmft import problem_of, run_loop
from limbeck.workflows.impurity.run import read_settings

FILE = """
name: loop
interaction: {kind: kanamori, U_eV: 2.0}
bath: {kind: semicircle, sites: 3}
dmft: {iterations: 3, tolerance: 1e-9, mixing: 0.8}
ground_state: {configurations: 100, rounds: 0}
spectrum: {window_eV: [-4.0, 4.0], points: 101, broadening_eV: 0.1, configurations: 200}
"""


def written(tmp_path, text):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return path


def test_the_command_writes_functions_that_obey_their_equations(tmp_path):
    out = tmp_path / "out"
    said = CliRunner().invoke(app, ["impurity", str(written(tmp_path, FILE)), "-o", str(out)])
    assert said.exit_code == 0, said.output
    for part in ("3 iterations", "quasi-particle weight", "NOT converged", "1.0000 lattice"):
        assert part in said.output
    functions, numbers = read_block_functions(out / "dmft.h5")
    g, sigma, delta, free = (functions[name].blocks["up"][:, 0, 0] for name in ("G", "Sigma", "Delta", "G0"))
    z = functions["G"].frequencies + 1j * numbers["broadening_eV"]
    np.testing.assert_allclose(delta, 0.25 * g, atol=1e-12)  # D = 1
    np.testing.assert_allclose(1 / free, z + numbers["chemical_potential_eV"] - delta, atol=1e-12)
    np.testing.assert_allclose(1 / g, 1 / free - sigma, atol=1e-12)
    assert sigma.imag.max() <= 0
    found = json.loads((out / "results.json").read_text())
    assert len(found["dmft"]["history"]) == 3
    np.testing.assert_allclose(np.loadtxt(out / "spectrum-0.dat")[:, 1], -g.imag / np.pi, atol=1e-7)
    np.testing.assert_allclose(np.loadtxt(out / "hybridization.dat")[:, 2], delta.imag, atol=1e-7)
    page = (out / "report.html").read_text()
    for part in ("Self-consistency", "Hybridization", "Lattice and impurity"):
        assert part in page
    names = {row["id"] for row in json.loads((out / "metrics.json").read_text())}
    assert names >= {"loop-quasiparticle-weight", "loop-filling"}


def test_a_killed_loop_goes_on_and_ends_where_an_unbroken_one_does(tmp_path, monkeypatch):
    settings = read_settings(written(tmp_path, FILE))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    _, truth = run_loop(settings, whole, "key", SilentReporter())
    written_so_far = []

    def killed(path, value):
        original(path, value)
        written_so_far.append(path)
        if len(written_so_far) == 2:
            raise KeyboardInterrupt

    original = workflow.write_json
    monkeypatch.setattr(workflow, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run_loop(settings, broken, "key", SilentReporter())
    monkeypatch.undo()
    last, found = run_loop(settings, broken, "key", SilentReporter())
    assert last.number == 3
    without_cost = [[{k: v for k, v in row.items() if k != "cpu_s"} for row in h["history"]] for h in (found, truth)]
    assert without_cost[0] == without_cost[1]
    np.testing.assert_array_equal(found["G_imaginary"], truth["G_imaginary"])
    again, same = run_loop(settings, broken, "key", SilentReporter())  # killed before the results were written
    assert (again.number, same["Z"]) == (3, truth["Z"])
    other, _ = run_loop(settings, broken, "another", SilentReporter())
    assert other.number == 3


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("bath: {kind: semicircle, sites: 3}",
         "bath: {kind: levels, energies_eV: [0.0], couplings_eV: [[0.1]]}", "semicircle"),
        ("name: loop", "name: loop\nlevel_eV: -0.3", "level_eV"),
        ("name: loop", "name: loop\nelectrons: 4", "dmft.filling"),
        ("{kind: kanamori, U_eV: 2.0}", "{kind: slater, F0_eV: 2.0}\norbitals: 3", "equivalent orbitals"),
        ("mixing: 0.8", "filling: 2.5", "0 to 2"),
        ("mixing: 0.8", "mixing: 1.5", "mixing"),
        ("mixing: 0.8", "start: metallic", "metal"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_error(tmp_path, old, new, told):
    assert old in FILE
    path = written(tmp_path, FILE.replace(old, new))
    with pytest.raises(ConfigError, match=told):
        problem_of(read_settings(path))
