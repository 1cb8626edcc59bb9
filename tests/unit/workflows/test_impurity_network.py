"""``limbeck impurity`` with a network as the ground state, and one network for several models."""

import contextlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError, MissingDependencyError
from limbeck.core.progress import SilentReporter
from limbeck.impurity import network as network_module
from limbeck.impurity.bath import semicircle
from limbeck.impurity.conditioned import Follower, train_conditioned
from limbeck.impurity.dmft import Accuracy, Problem, iterate, metallic
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import anderson
from limbeck.impurity.network import Architecture
from limbeck.impurity.network_problem import problem
from limbeck.impurity.network_state import network_state, task_on
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.workflows.impurity import network
from limbeck.workflows.impurity.network import UNFINISHED

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


def test_a_killed_training_goes_on_and_another_run_can_start_from_its_network(tmp_path):
    path, out, whole = tmp_path / "model.yaml", tmp_path / "out", tmp_path / "whole"
    path.write_text(FILE)
    code = (
        "from limbeck.cli import main; from limbeck.workflows.impurity import network; network.KEEP_EVERY_S = 0; main()"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code, "impurity", str(path), "-o", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    unfinished = out / UNFINISHED
    while killed.poll() is None:
        time.sleep(0.005)
        with contextlib.suppress(FileNotFoundError), np.load(unfinished) as data:
            if len(data.get("energies", ())) > 3:
                killed.send_signal(signal.SIGKILL)
                break
    assert killed.wait() == -signal.SIGKILL
    assert not (out / "results.json").exists()
    again = CliRunner().invoke(app, ["impurity", str(path), "-o", str(out)])
    assert again.exit_code == 0, again.output
    assert "going on after step" in again.output + again.stderr
    assert not unfinished.exists()
    assert CliRunner().invoke(app, ["impurity", str(path), "-o", str(whole)]).exit_code == 0
    one, other = (json.loads((folder / "results.json").read_text()) for folder in (out, whole))
    assert one["network"]["rounds"] == other["network"]["rounds"]
    np.testing.assert_array_equal(*(np.load(folder / "network.npz")["parameters"] for folder in (out, whole)))

    path.write_text(FILE.replace("boundary: 1.0", "boundary: 1.0, start: whole/network.npz").replace("2.0}", "2.1}"))
    near = tmp_path / "near"
    said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(near)])
    assert said.exit_code == 0, said.output
    rounds = json.loads((near / "results.json").read_text())["network"]["rounds"]
    assert all(r["fit_steps"] == 0 for r in rounds)
    assert rounds[0]["energies_eV"][0] - rounds[0]["lowest_eV"] < 0.05  # without any step
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "empty.npz").touch()
    with np.load(whole / "network.npz") as data:
        np.savez(tmp_path / "nan.npz", **{**data, "parameters": data["parameters"] * np.nan})
    for text, message in (
        (FILE.replace("boundary: 1.0", "boundary: 1.0, start: no.npz"), "no such file"),
        (FILE.replace("boundary: 1.0", "boundary: 1.0, start: array.npy"), "is no network.npz"),
        (FILE.replace("boundary: 1.0", "boundary: 1.0, start: empty.npz"), "is no network.npz"),
        (FILE.replace("boundary: 1.0", "boundary: 1.0, start: nan.npz"), "NaN"),
        (FILE.replace("boundary: 1.0", "boundary: 1.0, start: wrong/network.npz"), "no such file"),
        (FILE.replace("boundary: 1.0", "boundary: 1.0, start: model.yaml"), "is no network.npz"),
        (FILE.replace("width: 4", "start: whole/network.npz, width: 8"), "holds a network of"),
        (FILE.replace("sites: 5", "sites: 7").replace("width: 4", "start: whole/network.npz, width: 4"), "do not fit"),
    ):
        path.write_text(text)
        said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(tmp_path / "wrong")])
        assert message in str(said.exception)
    path.write_text(FILE.replace("boundary: 1.0", "boundary: 1.0, start: whole/network.npz"))
    said = CliRunner().invoke(app, ["impurity", str(path), "-o", str(whole)])
    assert "give the run another name" in str(said.exception)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut off"])
def test_an_unfinished_training_that_cannot_be_read_begins_anew(tmp_path, content):
    path = tmp_path / network.UNFINISHED
    path.write_bytes(content)
    said = []
    say = SilentReporter()
    say.message = said.append
    assert network._Store(path, "key", say).read() is None
    assert "training begins anew" in said[0]
    np.savez(path, rows=np.zeros(3))
    assert network._Store(path, "key", say).read() is None


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


def test_a_network_follows_the_loop_of_a_self_consistent_bath():
    steps, weights = {}, {}
    for is_warm in (False, True):
        follower = Follower(SMALL, 36, np.random.default_rng(0), is_warm=is_warm, above=1e-4)
        given = Problem(kanamori(1, 2.0), sites=5, accuracy=Accuracy(400, excited=400), ground=follower)
        last = iterate(given, metallic(given), 3, 1e-9)
        steps[is_warm], weights[is_warm] = follower.steps_taken(), last.quasiparticle_weight()[0]
        for state in follower.states:
            assert 0 <= state.state.energy - state.subspace_energy < 1.1e-4 * abs(state.subspace_energy)
    assert steps[True][0] == steps[False][0]
    assert sum(steps[True][1:]) < sum(steps[False][1:])
    whole = Problem(kanamori(1, 2.0), sites=5, accuracy=Accuracy(400, excited=400))
    truth = iterate(whole, metallic(whole), 3, 1e-9).quasiparticle_weight()[0]
    assert weights[True] == pytest.approx(truth, abs=0.02)
    # another number of levels begins anew
    energies, couplings = semicircle(7)
    follower(natural_orbitals(anderson([[-1.0]], energies, couplings, kanamori(1, 2.0), 8)))
    assert follower.steps_taken()[-1] > 0


def test_models_of_different_sizes_need_different_networks():
    with pytest.raises(ConfigError, match="as many orbitals"):
        train_conditioned([problem_at(2.0), problem_at(2.0, 20, 5)], SMALL, np.random.default_rng(0))
