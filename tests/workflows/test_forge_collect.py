import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "studies" / "forge" / "collect.py"


@pytest.fixture(scope="module")
def collect():
    spec = importlib.util.spec_from_file_location("forge_collect", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quantity(value, method=""):
    return {"value": value, "standard_error": 0.1 * value, "unit": "x", "method": method}


def results(command="limbeck forge studies/forge/mgo.yaml"):
    errors = {"force_rmse": quantity(0.03, "jackknife"), "energy_rmse": quantity(2.0)}
    student = {
        "name": "pod", "chosen": True, "why": "fast", "error_ratio": quantity(1.05, "paired"),
        "speedup_over_teacher": quantity(150.0),
    }  # fmt: skip
    return {
        "command": command,
        "evaluations": [{"role": role, "set": "test", "errors": errors} for role in ("zero_shot", "fine_tuned")],
        "students": [student],
        "curves": {"nve": [{"drift_meV_per_atom": quantity(0.01), "time_ps": [0, 50], "temperature_K": 1000.0}]},
        "labels": {
            "count": 38,
            "by_role": {"test": 12, "train": 26},
            "engine": "gpaw",
            "theory": {"functional": "PBE"},
        },
        "cost": [{"stage": "x", "wall_s": 600.0}],
    }


def test_rows_carry_the_prefix_and_the_command_of_their_run(collect):
    rows = {row["id"]: row for row in collect.rows_of(results(), "forge-mgo", False)}
    assert all(name.startswith("forge-mgo-") for name in rows)
    assert {row["command"] for row in rows.values()} == {".venv/bin/limbeck forge studies/forge/mgo.yaml"}
    ratio = rows["forge-mgo-student-error-ratio"]
    assert (ratio["value"], ratio["standard_error"]) == (1.05, pytest.approx(0.105))


def test_the_main_job_has_the_ids_of_the_targets(collect):
    ids = {row["id"] for row in collect.rows_of(results(), "forge-si", True)}
    assert {"forge-si-force-rmse", "forge-student-speedup", "forge-main-job-minutes", "forge-student-nve-drift"} <= ids


def test_rows_of_another_material_stay(collect):
    known = [{"id": "forge-si-labels", "value": 38}, {"id": "forge-mgo-labels", "value": 1}]
    new = [{"id": "forge-mgo-labels", "value": 40}, {"id": "forge-mgo-force-rmse", "value": 0.1}]
    assert [(r["id"], r["value"]) for r in collect.merged(known, new)] == [
        ("forge-si-labels", 38), ("forge-mgo-labels", 40), ("forge-mgo-force-rmse", 0.1),
    ]  # fmt: skip
