"""Which settings redo which stages: no more, so that a change costs little, and no less, so that nothing is stale."""

import os

import pytest

from limbeck.core.errors import MixedTheoryError
from limbeck.labels.dataset import Description, save_set
from limbeck.labels.labelled import Fingerprint
from limbeck.workflows.forge import loop
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.identity import run_identity
from recorded_forge import ENGINE, label, stage_hashes

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}
VALUES = {
    "name": "x",
    "structures": [CELL],
    "labels": {"kind": "emt"},
    "loop": {"max_iterations": 1},
    "distil": {"students": [{"kind": "pod"}]},
}
LATE = {"60-properties", "70-run"}
STUDENTS = {"55-students-round-0", "52-distil-round-0", "55-students-final", "58-choose", *LATE}
DISTIL = {"50-distil-teacher", *STUDENTS}
GATE = {"40-iteration-00-d-gate"}
TEST = {"40-iteration-00-c-test", *GATE, *DISTIL}
FIT = {"40-iteration-00-b-fit", *TEST}
LABELS = {"40-iteration-00-a-labels", *FIT}
ZERO_SHOT = {"30-zero-shot", *LABELS}
ALL = {"05-teacher", "10-structures", "20-test-set", *ZERO_SHOT}
LIST_LAST = {"58-choose", "60-properties"}
"""The student itself does not change, so its run stands."""

CASES = {
    "name": set(),
    "title": set(),
    "executor.kind": set(),
    "allow_mixed_theory": set(),
    "seed": ALL - {"05-teacher"},
    "teacher.model": ALL - {"10-structures"},
    "structures.0.lattice_constant_A": ALL - {"05-teacher"},
    "perturb.strain": ALL - {"05-teacher"},
    "labels.asap_cutoff": ALL - {"05-teacher", "10-structures"},
    "test.frames": ALL - {"05-teacher", "10-structures"},
    "test.trajectories": ALL - {"05-teacher", "10-structures"},
    "explore.steps": ALL - {"05-teacher", "10-structures"},
    "filter.minimum_volume_ratio": ALL - {"05-teacher", "10-structures"},
    "select.kind": LABELS,
    "loop.trajectories": LABELS,
    "loop.labels_per_iteration": LABELS,
    "loop.validation_fraction": FIT,
    "finetune.epochs": FIT,
    "loop.fresh_frames": TEST,
    "loop.stability_steps": TEST,
    "loop.max_iterations": DISTIL,
    "gate.force_RMSE_eV_per_A": GATE,
    "distil.explore": DISTIL,
    "distil.trajectories": DISTIL,
    "distil.perturb": DISTIL,
    "distil.repeat": DISTIL,
    "distil.student_rounds": STUDENTS - {"55-students-round-0", "52-distil-round-0"},
    "distil.student_frames": STUDENTS - {"55-students-round-0"},
    "distil.student_repeat": STUDENTS - {"55-students-round-0"},
    "distil.validation_fraction": STUDENTS,
    "distil.students": {"55-students-final", "58-choose", *LATE},
    "distil.speed_atoms": LIST_LAST,
    "distil.max_error_ratio": LIST_LAST,
    "distil.stability_atoms": LIST_LAST,
    "distil.stability_time_ps": LIST_LAST,
    "distil.max_drift_meV_per_atom": LIST_LAST,
    "properties.nve_temperature_K": LIST_LAST,
    "properties.nve_time_ps": {"60-properties"},
    "run.steps": {"70-run"},
}
NEW = {
    "name": "y",
    "title": "y",
    "run.steps": 4000,
    "executor.kind": "serial",
    "allow_mixed_theory": True,
    "teacher.model": "7net-l3i5",
    "structures.0.lattice_constant_A": 3.7,
    "perturb.strain": 0.011,
    "labels.asap_cutoff": True,
    "filter.minimum_volume_ratio": 0.7,
    "select.kind": "random",
    "loop.validation_fraction": 0.5,
    "loop.max_iterations": 2,
    "gate.force_RMSE_eV_per_A": 0.1,
    "distil.explore": {"steps": 7},
    "distil.perturb": {"copies": 2},
    "distil.repeat": [3, 1, 1],
    "distil.student_rounds": 0,
    "distil.student_repeat": [3, 1, 1],
    "distil.validation_fraction": 0.5,
    "distil.students": [{"kind": "pod"}, {"kind": "uf3"}],
    "distil.max_error_ratio": 1.5,
    "distil.stability_time_ps": 0.1,
    "distil.max_drift_meV_per_atom": 0.5,
    "properties.nve_temperature_K": 500.0,
    "properties.nve_time_ps": 1.0,
}


def settings(key=None, value=None, **top):
    values = {**VALUES, "loop": dict(VALUES["loop"]), "distil": dict(VALUES["distil"]), **top}
    if key:
        *parents, last = key.split(".")
        target = values
        for name in parents:
            if isinstance(target, list):
                target[int(name)] = dict(target[int(name)])
                target = target[int(name)]
            else:
                fresh = target.get(name, {"kind": "sevennet"} if name == "teacher" else {})
                target[name] = list(fresh) if isinstance(fresh, list) else dict(fresh)
                target = target[name]
        target[last] = value
    return ForgeSettings.model_validate(values)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    found = stage_hashes(settings(), tmp_path_factory.mktemp("before"))
    assert set(found) == ALL
    return found


@pytest.mark.parametrize("key", CASES)
def test_a_changed_key_redoes_exactly_what_it_decides(key, before, tmp_path):
    after = stage_hashes(settings(key, NEW.get(key, 13)), tmp_path)
    assert {name for name in before if name in after and after[name] != before[name]} == CASES[key]


def test_the_place_of_files_does_not_count_but_their_bytes_do(tmp_path):
    description = Description(title="x", what="x", command="x", date="2025-01-01")

    def run(folder, *, trajectory="a", beyond="b"):
        frames = [label("t", role="test"), label(trajectory)]
        save_set(tmp_path / folder / "set.extxyz", frames, description)
        save_set(tmp_path / folder / "beyond.extxyz", [label(beyond)], description)
        changed = settings(
            labels={"kind": "stored", "path": str(tmp_path / folder / "set.extxyz")},
            report_on={"beyond": {"kind": "stored", "path": str(tmp_path / folder / "beyond.extxyz")}},
        )
        return stage_hashes(changed, tmp_path / folder / "run"), run_identity(changed)

    (first, identity), (moved, same) = run("one"), run("two")
    assert (moved, same) == (first, identity)
    (other, _), (reported, different) = run("three", trajectory="c"), run("four", beyond="d")
    assert {n for n in first if other[n] != first[n]} == ALL - {"05-teacher", "10-structures"}
    assert {n for n in first if reported[n] != first[n]} >= {"30-zero-shot", "40-iteration-00-c-test", "58-choose"}
    assert reported["20-test-set"] == first["20-test-set"]
    assert different != identity


def test_stored_labels_are_not_redone_for_settings_that_only_exploration_reads(tmp_path):
    description = Description(title="x", what="x", command="x", date="2025-01-01")
    save_set(tmp_path / "set.extxyz", [label("t", role="test"), label("a")], description)
    stored = {"labels": {"kind": "stored", "path": str(tmp_path / "set.extxyz")}}
    first = stage_hashes(settings(**stored), tmp_path / "one")
    for key in ("test.trajectories", "loop.trajectories"):
        assert stage_hashes(settings(key, 9, **stored), tmp_path / key) == first
    changed = stage_hashes(settings("explore.steps", 9, **stored), tmp_path / "two")
    assert {n for n in first if changed[n] != first[n]} == TEST


def test_a_saved_teacher_counts_by_its_bytes(tmp_path):
    def teacher(name, content):
        (tmp_path / name).write_bytes(content)
        return settings(teacher={"kind": "saved", "path": os.fspath(tmp_path / name)})

    assert run_identity(teacher("a", b"x")) == run_identity(teacher("b", b"x"))
    first = stage_hashes(teacher("a", b"x"), tmp_path / "run")
    second = stage_hashes(teacher("a", b"y"), tmp_path / "run")
    assert {n for n in first if first[n] != second[n]} == ALL - {"10-structures"}


def test_labels_of_two_theories_are_refused_together_even_when_all_stages_stand(tmp_path, monkeypatch):
    other = Fingerprint("emt", "1", {}, {}, {**ENGINE.theory, "functional": "PBE"})

    def read(path):
        return [label("x", other if "20-test-set" in str(path) else ENGINE)]

    monkeypatch.setattr(loop, "read_labelled", read)
    with pytest.raises(MixedTheoryError, match="test set"):
        stage_hashes(settings(), tmp_path)
    stage_hashes(settings(allow_mixed_theory=True), tmp_path)
