"""The gate: every limit by name, so that a failure says which one."""

from collections.abc import Sequence
from typing import Any

from limbeck.workflows.forge.config import GateSettings


def check_gate(
    limits: GateSettings, errors: dict[str, dict[str, Any]], trajectories: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Compare errors and stability with the limits.

    Args:
        limits: Upper bounds.
        errors: Set name (``test``, ``fresh``) -> error table of the fine-tuned teacher.
        trajectories: Records of its fresh trajectories.

    Returns:
        ``passed`` and ``checks``, each with name, value, standard error, limit, unit and whether it is met.
    """
    test = errors["test"]
    rows = [
        ("energy", test["energy_RMSE_meV_per_atom"], limits.energy_RMSE_meV_per_atom),
        ("force", test["force_RMSE_eV_per_A"], limits.force_RMSE_eV_per_A),
        ("worst 1 % of atoms, force", test["worst_force_error_eV_per_A"], limits.worst_atoms_force_error_eV_per_A),
    ]
    if "stress_RMSE_GPa" in test:
        rows.append(("stress", test["stress_RMSE_GPa"], limits.stress_RMSE_GPa))
    if "fresh" in errors:
        fresh = errors["fresh"]["force_RMSE_eV_per_A"]
        rows.append(("force, fresh trajectory", fresh, limits.fresh_force_RMSE_eV_per_A))
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
