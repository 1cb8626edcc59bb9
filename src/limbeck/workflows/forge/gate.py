"""The gate: every limit by name, so that a failure says which one."""

from collections.abc import Sequence
from typing import Any

from limbeck.workflows.forge.config import GateSettings


def check_gate(
    limits: GateSettings,
    errors: dict[str, dict[str, Any]],
    trajectories: Sequence[dict[str, Any]],
    *,
    fresh_frames: int = 0,
    stored: bool = False,
) -> dict[str, Any]:
    """Compare errors and stability with the limits.

    Args:
        limits: Upper bounds.
        errors: Set name (``test``, ``fresh``) -> error table of the fine-tuned teacher.
        trajectories: Records of its fresh trajectories.
        fresh_frames: Fresh frames that were wanted; if there were any and none has a label, that check fails.
        stored: Whether labels are stored ones: fresh frames are then those of a held-out trajectory of the set.

    Returns:
        ``passed`` and ``checks``, each with name, value, standard error, limit, unit and whether it is met. A limit
        that the labels cannot judge stands among them without a value and says so.
    """
    test = errors["test"]
    rows = [
        ("energy", test["energy_RMSE_meV_per_atom"], limits.energy_RMSE_meV_per_atom),
        ("force", test["force_RMSE_eV_per_A"], limits.force_RMSE_eV_per_A),
        ("worst 1 % of atoms, force", test["worst_force_error_eV_per_A"], limits.worst_atoms_force_error_eV_per_A),
    ]
    if "stress_RMSE_GPa" in test:
        rows.append(("stress", test["stress_RMSE_GPa"], limits.stress_RMSE_GPa))
    fresh_name = "force, held-out trajectory (stored)" if stored else "force, fresh trajectory"
    if "fresh" in errors:
        rows.append((fresh_name, errors["fresh"]["force_RMSE_eV_per_A"], limits.fresh_force_RMSE_eV_per_A))
    checks = [
        {
            "name": name,
            "value": estimate["value"],
            "standard_error": estimate["standard_error"],
            "limit": limit,
            "unit": estimate["unit"],
            "passed": estimate["value"] <= limit,
        }
        for name, estimate, limit in rows
    ]
    if "stress_RMSE_GPa" not in test:
        why = "stress, not judged: the labels of the test set have none"
        checks.append(_without_value(why, limits.stress_RMSE_GPa, "GPa", passed=True))
    if fresh_frames and "fresh" not in errors:
        why = f"{fresh_name}: {'no such frame is left in the set' if stored else 'no fresh frame could be labelled'}"
        checks.append(_without_value(why, limits.fresh_force_RMSE_eV_per_A, "eV/Å", passed=False))
    unstable = [t for t in trajectories if not t["stable"]]
    checks.append(
        {
            "name": "unstable fresh trajectories" + (f" ({unstable[0]['reason']})" if unstable else ""),
            "value": float(len(unstable)),
            "standard_error": None,
            "limit": 0.0,
            "unit": f"of {len(trajectories)}",
            "passed": not unstable,
        }
    )
    return {"passed": all(check["passed"] for check in checks), "checks": checks}


def _without_value(name: str, limit: float, unit: str, *, passed: bool) -> dict[str, Any]:
    return {"name": name, "value": None, "standard_error": None, "limit": limit, "unit": unit, "passed": passed}
