import numpy as np
import pytest
from ase.build import bulk

from limbeck.core.errors import UnsupportedElementError
from limbeck.core.record import write_json
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.store import LabelStore
from limbeck.workflows.forge import plan, tasks
from limbeck.workflows.forge.config import ForgeSettings
from recorded_forge import stage_hashes

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}
SILICON = {"kind": "bulk", "formula": "Si", "lattice": "diamond", "lattice_constant_A": 5.43}


def settings(cell=CELL, **values):
    base = {"name": "x", "structures": [cell], "labels": {"kind": "emt"}, "executor": {"kind": "serial"}}
    return ForgeSettings.model_validate(base | values)


@pytest.fixture(autouse=True)
def teacher(monkeypatch):
    monkeypatch.setattr(tasks, "describe_teacher", lambda values: {"name": "stub", "elements": ["Cu", "Si"]})


def rows(found):
    return {row["stage"]: row for row in found["stages"]}


def finish(names, run_folder, hashes, **summary):
    for name in names:
        write_json(
            run_folder / "stages" / name / "done.json",
            {"hash": hashes[name], "summary": summary, "wall_s": 1.0, "cpu_s": 1.0},
        )


def test_every_stage_of_a_run_has_its_row(tmp_path):
    loop = {"max_iterations": 2}
    planned = [row["stage"] for row in plan.plan_of(settings(loop=loop), tmp_path)["stages"]]
    assert sorted(planned) == sorted(stage_hashes(settings(loop=loop), tmp_path / "recorded"))


def test_done_is_what_these_very_settings_would_find_done(tmp_path):
    hashes = stage_hashes(settings(), tmp_path)
    summary = {"name": "stub", "elements": ["Cu"], "teacher_sha256": "x"}
    finish(["05-teacher", "10-structures", "20-test-set"], tmp_path, hashes, **summary)
    assert [n for n, row in rows(plan.plan_of(settings(), tmp_path)).items() if row["done"]] == [
        "05-teacher", "10-structures", "20-test-set",
    ]  # fmt: skip
    other = plan.plan_of(settings(test={"frames": 20}), tmp_path)
    assert [n for n, row in rows(other).items() if row["done"]] == ["05-teacher", "10-structures"]


def test_fresh_labels_cost_in_the_stage_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.setitem(plan.LABEL_S, "emt", 1000.0)
    few, many = (rows(plan.plan_of(settings(loop={"fresh_frames": n}), tmp_path)) for n in (0, 4))
    stem = "40-iteration-00"
    assert many[f"{stem}-c-test"]["cpu_s"] - few[f"{stem}-c-test"]["cpu_s"] == pytest.approx(4000)
    assert many[f"{stem}-a-labels"]["cpu_s"] == few[f"{stem}-a-labels"]["cpu_s"]


def test_labels_that_exist_are_not_paid_again_and_tell_what_one_costs(tmp_path):
    before = plan.plan_of(settings(), tmp_path)
    fingerprint = Fingerprint("emt", "1", {}, {}, {"functional": "EMT"})
    with LabelStore(tmp_path / "labels") as store:
        for n in range(5):
            atoms = bulk("Cu", a=3.6 + 0.01 * n)
            store.add(Labelled(atoms, -1.0, np.zeros((1, 3)), None, fingerprint, provenance={"cpu_s": 50.0}))
    after = plan.plan_of(settings(), tmp_path)
    assert (before["labels_in_store"], after["labels_in_store"]) == (0, 5)
    assert after["label_cpu_s_each"] == pytest.approx(50.0)
    test_labels = 12
    gained = rows(after)["20-test-set"]["cpu_s"] - rows(before)["20-test-set"]["cpu_s"]
    assert gained == pytest.approx((test_labels - 5) * 50.0 - test_labels * plan.LABEL_S["emt"])


def test_a_label_costs_more_with_cutoff_k_points_and_atoms():
    def cost(cell=SILICON, **labels):
        made = settings(cell, labels={"kind": "gpaw", "plane_wave_cutoff_eV": 300.0, **labels})
        return plan.estimated_label_s(made, plan.build_structures(made))

    silicon = cost()
    assert silicon == pytest.approx(plan.GPAW_LABEL_S, rel=0.05)
    assert cost(plane_wave_cutoff_eV=1200.0) == pytest.approx(8 * silicon)
    assert cost(k_spacing_per_A=1.0) < silicon / 5
    assert cost({**SILICON, "repeat": [2, 1, 1]}) > silicon


def test_waiting_counts_the_tasks_that_can_run_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "default_workers", lambda: 8)
    one = plan.plan_of(settings(executor={"kind": "local", "workers": 1}), tmp_path)
    eight = plan.plan_of(settings(executor={"kind": "local", "workers": 8}), tmp_path)
    assert one["wall_s_left_about"] == pytest.approx(one["cpu_s_left"])
    fit = rows(eight)["40-iteration-00-b-fit"]["cpu_s"]
    assert fit < eight["wall_s_left_about"] < eight["cpu_s_left"]


def test_an_element_that_the_teacher_does_not_know_is_found_before_anything_starts(tmp_path):
    lithium = {"kind": "bulk", "formula": "Li", "lattice": "bcc", "lattice_constant_A": 3.5}
    with pytest.raises(UnsupportedElementError, match="the teacher stub does not know Li"):
        plan.plan_of(settings(lithium), tmp_path)
