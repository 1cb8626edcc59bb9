"""``limbeck impurity`` with a network as the ground state, and one network for several models."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError, MissingDependencyError
from limbeck.impurity import network as network_module
from limbeck.impurity.bath import semicircle
from limbeck.impurity.conditioned import train_conditioned
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import anderson
from limbeck.impurity.network import Architecture
from limbeck.impurity.network_problem import problem
from limbeck.impurity.network_state import network_state, task_on
from limbeck.impurity.orbitals import natural_orbitals

FILE = """
name: net
interaction: {kind: kanamori, U_eV: 2.0}
bath: {kind: semicircle, sites: 5}
ground_state:
  method: network
  configurations: 60
  network: {width: 4, layers: 1, heads: 2, feed_forward: 4, first_configurations: 30, steps: 20, boundary: 1.0}
spectrum: {window_eV: [-3.0, 3.0], points: 31, broadening_eV: 0.2, configurations: 100}
"""
SMALL = Architecture(width=4, layers=1, heads=2, feed_forward=4)


def problem_at(u, first=36, n_bath=3):
    energies, couplings = semicircle(n_bath)
    return problem(natural_orbitals(anderson([[-u / 2]], energies, couplings, kanamori(1, u), n_bath + 1)), first=first)


def test_the_command_trains_and_tells(tmp_path):
    path, out = tmp_path / "model.yaml", tmp_path / "out"
    path.write_text(FILE)
    said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(out)])
    assert said.exit_code == 0, said.output
    for part in ("parameters for", "above the set's own", "weight 1.000000"):
        assert part in said.output
    found = json.loads((out / "results.json").read_text())
    trained = found["network"]
    ground = found["ground_state"]
    assert ground["energy_eV"] >= trained["set_energy_eV"] - 1e-12
    assert ground["energy_eV"] - trained["set_energy_eV"] < 1e-3
    assert all(np.min(r["energies_eV"]) > r["lowest_eV"] - 1e-12 for r in trained["rounds"])
    assert [r["configurations"] for r in trained["rounds"]] == sorted({r["configurations"] for r in trained["rounds"]})
    assert ground["energy_eV"] == pytest.approx(trained["rounds"][-1]["energy_eV"], abs=1e-12)
    page = (out / "report.html").read_text()
    assert "Training" in page
    assert "never seen" in page
    assert "outside its set" in said.output
    assert trained["outside"]["energy_eV"] >= trained["outside"]["exact_energy_eV"] - 1e-10
    assert trained["outside"]["configurations"] > 0
    assert len(np.load(out / "network.npz")["parameters"]) == trained["parameters"]
    assert "net-network" in {row["id"] for row in json.loads((out / "metrics.json").read_text())}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("heads: 2", "heads: 3"), "heads that divide the width"),
        (("method: network", "method: network\n  basis: star"), "a network is made for natural orbitals"),
        (("width: 4", "widht: 4"), "width"),
    ],
)
def test_mistakes_are_one_clear_error(tmp_path, change, message):
    path = tmp_path / "model.yaml"
    path.write_text(FILE.replace(*change))
    said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(tmp_path / "out")])
    assert said.exit_code != 0
    assert message in str(said.exception)


def test_without_jax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    network_module._compiled.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"limbeck\[network\]"):
        network_module.jax_module()


def test_importing_the_network_does_not_import_jax():
    code = "import sys, limbeck.impurity.network_state, limbeck.workflows.impurity.run; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_one_network_for_several_models_starts_close_to_another():
    family = train_conditioned([problem_at(u) for u in (1.6, 2.0, 2.4, 2.8)], SMALL, np.random.default_rng(0), 60)
    assert np.all(family.energies >= family.subspace_energies - 1e-12)
    given = problem_at(2.2)
    lowest = task_on(given, family.features(given))[1]
    warm = family.state(given, 36, 10)
    cold = network_state(given, SMALL, 36, steps=1, features=family.features(given), starts=1)
    start = warm.rounds[0].energies[0] - lowest
    assert 0 <= start < 2e-2
    assert warm.state.energy <= warm.rounds[0].energies[0]
    assert warm.rounds[0].fit_steps == 0 < cold.rounds[0].fit_steps
    # what it was told matters: with another model's features it starts further away
    wrong = network_state(given, SMALL, 36, steps=1, features=family.features(problem_at(4.0)), start=family.parameters)
    assert wrong.rounds[0].energies[0] - lowest > 2 * start


def test_models_of_different_sizes_need_different_networks():
    with pytest.raises(ConfigError, match="as many orbitals"):
        train_conditioned([problem_at(2.0), problem_at(2.0, 20, 5)], SMALL, np.random.default_rng(0))
