"""A forge run killed anywhere goes on where it was, computes no label twice, and ends with the same bits."""

import json
import os
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

CONFIG = """
name: tiny
seed: 5
structures:
  - {kind: bulk, formula: Si, lattice: diamond, lattice_constant_A: 5.43, cell: conventional}
perturb: {copies: 3, strain: 0.02, rattle_A: 0.05}
labels: {kind: tblite}
test: {frames: 3, trajectories: 1}
explore: {temperatures_K: [300, 600], steps: 8, equilibration_steps: 2, every: 2}
loop: {trajectories: 2, labels_per_iteration: 4, fresh_frames: 1, max_iterations: 1, stability_steps: 10}
finetune: {epochs: 2}
distil:
  explore: {temperatures_K: [300, 900], steps: 20, equilibration_steps: 2, every: 4}
  repeat: [1, 1, 1]
  trajectories: 2
  student_rounds: 0
  students: [{kind: pod}]
  speed_atoms: 64
  stability_atoms: 64
  stability_time_ps: 0.2
properties: {nve_time_ps: 0.2, nve_temperature_K: 300, vacancy_repeat: [1, 1, 2]}
run: {steps: 40, equilibration_steps: 20, least_atoms: 64, thermo_every: 10, dump_every: 20, restart_every: 20}
executor: {kind: serial}
"""

STAGES = (
    "10-structures", "20-test-set", "30-zero-shot", "40-iteration-00-a-labels", "40-iteration-00-b-fit",
    "40-iteration-00-c-test", "50-distil-teacher", "55-students-final", "58-choose", "60-properties", "70-run",
)  # fmt: skip

PRODUCTS = (
    "stages/40-iteration-00-b-fit/teacher.limbeck",
    "stages/50-distil-teacher/labelled.json",
    "stages/70-run/lammps/thermo.csv",
)


def start(config: Path, run_folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "limbeck.cli", "forge", str(config), "-o", str(run_folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def finish(config: Path, run_folder: Path) -> None:
    process = start(config, run_folder)
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors.decode()


def kill_when(config: Path, run_folder: Path, reached: Callable[[], bool]) -> bool:
    """Start, kill -9 at the moment when ``reached`` holds; False if the run finished before."""
    process = start(config, run_folder)
    try:
        while not reached():
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
    assert content["labels"]["count"] == 8
    assert {e["role"] for e in content["evaluations"]} == {"zero_shot", "fine_tuned", "student"}
    assert_no_label_twice(straight)


@pytest.mark.xdist_group("forge")
def test_a_finished_run_does_nothing(config, straight):
    before = {p: p.stat().st_mtime_ns for p in (straight / "stages").rglob("*") if p.is_file()}
    finish(config, straight)
    assert {p: p.stat().st_mtime_ns for p in (straight / "stages").rglob("*") if p.is_file()} == before


@pytest.mark.xdist_group("forge")
def test_killed_in_mid_label_and_between_stages_the_result_is_the_same(config, straight, tmp_path):
    run_folder = tmp_path / "run"

    def in_mid_label() -> bool:
        events = [e["event"] for e in read_ledger(run_folder / "spool")]
        return len(events) % 2 == 1 and len(events) >= 3  # the second label has started and is not finished

    def done(stage: str) -> Callable[[], bool]:
        return (run_folder / "stages" / stage / "done.json").exists

    def epoch_done() -> bool:
        path = run_folder / "stages" / "40-iteration-00-b-fit" / "fit.progress"
        return path.exists() and json.loads(path.read_text())["done"] >= 1

    moments = [in_mid_label, done("20-test-set"), epoch_done, done("55-students-final")]
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


@pytest.mark.xdist_group("forge")
def test_a_changed_setting_redoes_what_it_decides_and_nothing_before(config, straight, tmp_path):
    import shutil

    run_folder = tmp_path / "run"
    shutil.copytree(straight, run_folder)
    changed = tmp_path / "changed.yaml"
    changed.write_text(CONFIG.replace("steps: 40, equilibration_steps: 20", "steps: 60, equilibration_steps: 20"))
    before = {name: (run_folder / "stages" / name / "done.json").stat().st_mtime_ns for name in STAGES}
    finish(changed, run_folder)
    after = {name: (run_folder / "stages" / name / "done.json").stat().st_mtime_ns for name in STAGES}
    assert {name for name in STAGES if after[name] != before[name]} == {"70-run"}
