"""A forge run killed anywhere goes on where it was, computes no label twice, and ends with the same bits."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from limbeck.core.record import hash_file, read_json
from limbeck.labels.task import read_ledger
from limbeck.workflows.forge.export import export_labels, labels_of
from limbeck.workflows.forge.run import report_again
from limbeck.workflows.status import status_of

CONFIG = """
name: tiny
seed: 5
structures:
  - {kind: bulk, formula: Si, lattice: diamond, lattice_constant_A: 5.43, cell: conventional}
perturb: {copies: 3, strain: 0.02, rattle_A: 0.05}
labels: {kind: tblite}
test: {frames: 3, trajectories: 1}
explore: {temperatures_K: [300, 600], steps: 8, equilibration_steps: 2, every: 2}
loop: {trajectories: 2, labels_per_iteration: 3, fresh_frames: 1, max_iterations: 2, stability_steps: 10}
finetune: {epochs: 2, second_order_steps: 0}
distil:
  explore: {temperatures_K: [300, 900], steps: 12, equilibration_steps: 2, every: 4}
  repeat: [1, 1, 1]
  trajectories: 2
  student_rounds: 1
  student_repeat: [1, 1, 1]
  student_frames: 3
  students: [{kind: pod}]
  speed_atoms: 8
  stability_atoms: 64
  stability_time_ps: 0.1
properties: {nve_time_ps: 0.1, nve_temperature_K: 300, vacancy_repeat: [1, 1, 2], phonon_repeat: [1, 1, 1]}
run: {steps: 40, equilibration_steps: 20, least_atoms: 64, thermo_every: 10, dump_every: 20, restart_every: 20}
executor: {kind: serial}
"""

STAGES = (
    "05-teacher", "10-structures", "20-test-set", "30-zero-shot",
    "40-iteration-00-a-labels", "40-iteration-00-b-fit", "40-iteration-00-c-test", "40-iteration-00-d-gate",
    "40-iteration-01-a-labels", "40-iteration-01-b-fit", "40-iteration-01-c-test", "40-iteration-01-d-gate",
    "50-distil-teacher", "55-students-round-0", "52-distil-round-0", "55-students-final", "58-choose",
    "60-properties", "70-run",
)  # fmt: skip
"""In the order in which they run: two iterations (the gate is out of reach), one round with a first student."""

PRODUCTS = (
    "stages/40-iteration-01-b-fit/teacher.limbeck",
    "stages/50-distil-teacher/labelled.json",
    "stages/52-distil-round-0/labelled.json",
    "stages/70-run/lammps/thermo.csv",
)


def start(config: Path, run_folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "limbeck", "forge", str(config), "-o", str(run_folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def finish(config: Path, run_folder: Path) -> str:
    """Run to the end; what it said."""
    process = start(config, run_folder)
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors.decode()
    return errors.decode()


def kill_when(config: Path, run_folder: Path, reached: Callable[[], bool]) -> bool:
    """Start, kill -9 at the moment when ``reached`` holds; False if the run finished before."""
    process = start(config, run_folder)

    def is_there() -> bool:
        with contextlib.suppress(FileNotFoundError):  # a folder may go while it is looked through
            return reached()
        return False

    try:
        while not is_there():
            if process.poll() is not None:
                return False
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        return True
    finally:
        process.kill()
        process.communicate()


def results(run_folder: Path) -> dict[str, str]:
    students = sorted((run_folder / "stages" / "55-students-final").glob("*/*.pod"))
    assert students
    return {str(p): hash_file(run_folder / p) for p in PRODUCTS} | {p.name: hash_file(p) for p in students}


def assert_no_label_twice(run_folder: Path) -> None:
    finished = Counter(entry["key"] for entry in read_ledger(run_folder / "spool") if entry["event"] == "finished")
    assert finished
    assert max(finished.values()) == 1


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("forge") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    run_folder = tmp_path_factory.mktemp("straight") / "run"
    finish(config, run_folder)
    return run_folder


@pytest.mark.xdist_group("forge")
def test_a_run_leaves_everything_that_it_promises(straight):
    for name in ("report.html", "metrics.json", "README.md", "results.json", "record.json", "config.resolved.yaml"):
        assert (straight / name).stat().st_size > 0
    assert sorted(p.name for p in (straight / "stages").iterdir()) == sorted(STAGES)
    content = read_json(straight / "results.json")
    assert content["labels"]["production"] is False  # tight binding is a smoke engine
    assert "not for production" in (straight / "README.md").read_text()
    assert (straight / "potential" / "teacher.limbeck").exists()
    assert content["labels"]["count"] == 3 + 2 * (3 + 1)
    assert [len(i["gate"]["checks"]) > 0 for i in content["iterations"]] == [True, True]
    assert content["finished"] == read_json(straight / "stages.json")["finished"] != ""
    assert {e["role"] for e in content["evaluations"]} == {"zero_shot", "fine_tuned", "student"}
    assert_no_label_twice(straight)


@pytest.mark.xdist_group("forge")
def test_a_finished_run_does_nothing(config, straight):
    def files() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in straight.rglob("*") if p.is_file() and p.name != "run.lock"}

    before = files()
    assert "finished before, nothing to do" in finish(config, straight)
    assert files() == before


@pytest.mark.xdist_group("forge")
def test_killed_in_mid_label_and_between_stages_the_result_is_the_same(config, straight, tmp_path):
    run_folder = tmp_path / "run"

    def in_mid_label() -> bool:
        events = [e["event"] for e in read_ledger(run_folder / "spool")]
        return len(events) % 2 == 1 and len(events) >= 3  # the second label has started and is not finished

    def done(stage: str) -> Callable[[], bool]:
        return (run_folder / "stages" / stage / "done.json").exists

    def epoch_done() -> bool:
        path = run_folder / "stages" / "40-iteration-01-b-fit" / "fit.progress"
        return path.exists() and json.loads(path.read_text())["done"] >= 1

    def in_student_round() -> bool:
        return (run_folder / "stages" / "52-distil-round-0" / "starts.json").exists()

    moments = [in_mid_label, done("20-test-set"), epoch_done, in_student_round, done("55-students-final")]
    assert [kill_when(config, run_folder, moment) for moment in moments] == [True] * len(moments)
    finish(config, run_folder)
    assert results(run_folder) == results(straight)
    assert_no_label_twice(run_folder)


@pytest.mark.slow
def test_killed_at_every_stage_boundary_with_worker_processes_the_result_is_the_same(config, straight, tmp_path):
    local = tmp_path / "local.yaml"
    local.write_text(CONFIG.replace("{kind: serial}", "{kind: local, workers: 2}"))
    run_folder = tmp_path / "run"
    for stage in STAGES:
        kill_when(local, run_folder, (run_folder / "stages" / stage / "done.json").exists)
    finish(local, run_folder)
    assert results(run_folder) == results(straight)
    assert_no_label_twice(run_folder)


@pytest.fixture(scope="module")
def longer(config, straight, tmp_path_factory) -> Path:
    """A copy of the run that went on with another length of the production run."""
    folder = tmp_path_factory.mktemp("longer")
    shutil.copytree(straight, folder / "run")
    (folder / "longer.yaml").write_text(CONFIG.replace("steps: 40, equi", "steps: 2000, equi"))
    finish(folder / "longer.yaml", folder / "run")
    return folder / "run"


@pytest.mark.xdist_group("forge")
def test_a_changed_setting_redoes_what_it_decides_and_nothing_before(straight, longer):
    times = [{n: (run / "stages" / n / "done.json").stat().st_mtime_ns for n in STAGES} for run in (straight, longer)]
    assert {name for name in STAGES if times[0][name] != times[1][name]} == {"70-run"}


@pytest.mark.xdist_group("forge")
def test_killed_with_worker_processes_the_result_is_the_same(straight, longer, tmp_path):
    run_folder, config = tmp_path / "moved" / "run", tmp_path / "local.yaml"
    shutil.copytree(straight, run_folder)  # a moved run goes on where it was
    text = CONFIG.replace("steps: 40, equi", "steps: 2000, equi")
    config.write_text(text.replace("{kind: serial}", "{kind: local, workers: 2}"))

    def in_lammps() -> bool:
        return any((run_folder / "stages" / "70-run" / "lammps").glob("*restart*"))

    assert kill_when(config, run_folder, in_lammps)
    finish(config, run_folder)
    thermo = PRODUCTS[-1]
    assert hash_file(run_folder / thermo) == hash_file(longer / thermo)
    assert hash_file(run_folder / thermo) != hash_file(straight / thermo)


@pytest.mark.xdist_group("forge")
def test_stages_of_an_earlier_configuration_are_neither_reported_nor_exported(straight, tmp_path):
    run_folder, config = tmp_path / "run", tmp_path / "fewer.yaml"
    shutil.copytree(straight, run_folder)
    config.write_text(CONFIG.replace("max_iterations: 2", "max_iterations: 1"))

    def distilling() -> bool:
        folder = run_folder / "stages" / "50-distil-teacher"
        return (folder / "starts.json").exists() and not (folder / "done.json").exists()

    assert kill_when(config, run_folder, distilling)

    assert (run_folder / "stages" / "40-iteration-01-b-fit" / "done.json").exists()
    report_again(run_folder)
    content = read_json(run_folder / "results.json")
    assert len(content["iterations"]) == 1
    assert content["labels"]["count"] == 3 + 3 + 1
    assert len(labels_of(run_folder)) == 3 + 3 + 1
    assert content["finished"] == ""
    assert "students" not in content
    assert status_of(run_folder)["finished"] is False


@pytest.mark.xdist_group("forge")
def test_the_main_path_runs_on_the_labels_that_a_run_exported(straight, tmp_path):
    assert export_labels(straight, tmp_path / "labels.extxyz.xz") == 11
    stored = CONFIG.replace("{kind: tblite}", "{kind: stored, path: labels.extxyz.xz}")
    stored = stored.replace("max_iterations: 2", "max_iterations: 1").replace("student_rounds: 1", "student_rounds: 0")
    stored = stored.replace("cell: conventional", "cell: primitive")
    stored = stored.replace("  repeat: [1, 1, 1]", "  repeat: [2, 1, 1]")
    too_large = "{kind: uf3, name: too-large, three_body_cutoff_A: 5.5, three_body_intervals: 30}"
    stored = stored.replace("students: [{kind: pod}]", f"students: [{{kind: pod}}, {too_large}]")
    (tmp_path / "stored.yaml").write_text(stored)
    finish(tmp_path / "stored.yaml", tmp_path / "run")
    content = read_json(tmp_path / "run" / "results.json")
    assert content["labels"]["count"] == 3 + 3 + 1
    names = [check["name"] for check in content["iterations"][0]["gate"]["checks"]]
    assert "force, held-out trajectory (stored)" in names
    assert content["students"][0]["error_ratio"]["value"] > 0
    assert content["students"][1]["why"].startswith("cannot be used: UF3 would have")
    assert "too-large" in (tmp_path / "run" / "report.html").read_text()
    assert not (tmp_path / "run" / "spool").exists()
