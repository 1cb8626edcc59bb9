from limbeck.workflows.forge.config import GateSettings
from limbeck.workflows.forge.gate import check_gate


def estimate(value, unit="x"):
    return {"value": value, "standard_error": 0.1 * value, "unit": unit}


def errors(force=0.03):
    table = {
        "energy_RMSE_meV_per_atom": estimate(1.0),
        "force_RMSE_eV_per_A": estimate(force),
        "worst_force_error_eV_per_A": estimate(0.1),
        "stress_RMSE_GPa": estimate(0.2),
    }
    return {"test": table}


STABLE = [{"stable": True, "reason": ""}]


def test_all_limits_met():
    gate = check_gate(GateSettings(), errors(), STABLE)
    assert gate["passed"]
    assert all(check["passed"] for check in gate["checks"])


def test_the_failed_check_is_named_with_value_and_limit():
    gate = check_gate(GateSettings(force_RMSE_eV_per_A=0.02), errors(), STABLE)
    assert not gate["passed"]
    failed = [c for c in gate["checks"] if not c["passed"]]
    assert [(c["name"], c["value"], c["limit"]) for c in failed] == [("force", 0.03, 0.02)]


def test_a_limit_just_met_passes():
    assert check_gate(GateSettings(force_RMSE_eV_per_A=0.03), errors(0.03), STABLE)["passed"]


def test_fresh_frames_and_instability_count():
    table = errors() | {"fresh": {"force_RMSE_eV_per_A": estimate(0.2)}}
    unstable = [*STABLE, {"stable": False, "reason": "the temperature reached 9000 K"}]
    gate = check_gate(GateSettings(), table, unstable)
    names = [c["name"] for c in gate["checks"] if not c["passed"]]
    assert names[0] == "force, fresh trajectory"
    assert "9000 K" in names[1]


def test_an_engine_without_stress_is_not_judged_on_it():
    table = errors()
    del table["test"]["stress_RMSE_GPa"]
    assert "stress" not in [c["name"] for c in check_gate(GateSettings(), table, STABLE)["checks"]]


def test_a_gate_does_not_pass_by_the_absence_of_fresh_labels():
    gate = check_gate(GateSettings(), errors(), STABLE, fresh_frames=4)
    assert not gate["passed"]
    failed = [c for c in gate["checks"] if not c["passed"]]
    assert [(c["name"], c["value"]) for c in failed] == [
        ("force, fresh trajectory: no fresh frame could be labelled", None)
    ]
    assert check_gate(GateSettings(), errors(), STABLE, fresh_frames=0)["passed"]


def test_stored_fresh_frames_are_called_what_they_are():
    table = errors() | {"fresh": {"force_RMSE_eV_per_A": estimate(0.01)}}
    gate = check_gate(GateSettings(), table, STABLE, fresh_frames=4, stored=True)
    assert "force, held-out trajectory (stored)" in [c["name"] for c in gate["checks"]]
    left = check_gate(GateSettings(), errors(), STABLE, fresh_frames=4, stored=True)
    assert [c["name"] for c in left["checks"] if not c["passed"]] == [
        "force, held-out trajectory (stored): no such frame is left in the set"
    ]


def test_a_limit_that_the_labels_cannot_judge_is_said():
    table = errors()
    del table["test"]["stress_RMSE_GPa"]
    gate = check_gate(GateSettings(), table, STABLE)
    said = [c for c in gate["checks"] if c["value"] is None]
    assert [c["name"] for c in said] == ["stress, not judged: the labels of the test set have none"]
    assert gate["passed"]
