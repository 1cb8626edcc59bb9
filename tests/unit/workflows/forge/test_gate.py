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
