"""Write ``metrics.json`` of the silicon study from what the commands of its README left.

    .venv/bin/python studies/forge/collect.py runs/silicon [runs/learning-silicon]

Every row says which command reproduces it. A learning curve that was not run leaves its row out.
"""

import sys
from pathlib import Path
from typing import Any

from limbeck.core.record import read_json, write_json

FORGE = ".venv/bin/limbeck forge studies/forge/silicon.yaml"
LEARNING = ".venv/bin/python studies/forge/learning_curve.py studies/forge/silicon.yaml runs/learning-silicon"


def row(name: str, quantity: Any, unit: str, command: str, note: str) -> dict[str, Any]:
    """One row; ``quantity`` is a number, or a record with value and standard error."""
    record = quantity if isinstance(quantity, dict) else {"value": quantity}
    return {
        "id": name,
        "value": record["value"],
        "standard_error": record.get("standard_error"),
        "unit": unit,
        "command": command,
        "note": note,
    }


def rows_of(run: Path) -> list[dict[str, Any]]:
    """Rows of the main job."""
    results = read_json(run / "results.json")
    errors = {
        (e["role"], e["set"]): e["errors"] for e in results["evaluations"] if e["role"] in ("zero_shot", "fine_tuned")
    }
    zero, tuned = errors["zero_shot", "test"], errors["fine_tuned", "test"]
    chosen = next(s for s in results["students"] if s["chosen"])
    force, energy = tuned["force_rmse"], tuned["energy_rmse"]
    ratio = chosen["errors_vs_labels"]["force_rmse"]["value"] / force["value"]
    drift = results["curves"]["nve"][0]["drift_meV_per_atom"]
    minutes = sum(stage["wall_s"] for stage in results["cost"]) / 60
    labels = results["labels"]
    counts = ", ".join(f"{n} {role}" for role, n in labels["by_role"].items())
    before = f"zero-shot {zero['force_rmse']['value']:.3f} eV/Å, {zero['energy_rmse']['value']:.1f} meV/atom"
    return [
        row("forge-si-force-rmse", force, "eV/Å", FORGE, f"test set, GPAW PBE; {before}; {force['method']}"),
        row("forge-si-energy-rmse", energy, "meV/atom", FORGE, f"same; {energy['method']}"),
        row("forge-si-labels", labels["count"], "labels", FORGE, counts),
        row("forge-si-student-error-ratio", ratio, "1", FORGE, f"student {chosen['name']}: {chosen['why']}"),
        row(
            "forge-student-speedup", chosen["speedup_over_teacher"], "1", FORGE, f"{chosen['name']}, one core, same run"
        ),
        row("forge-student-nve-drift", drift, "meV/atom", FORGE, "50 ps at 1000 K; absolute value counts"),
        row("forge-main-job-minutes", minutes, "min", FORGE, "wall time of all stages, set-up excluded, 2 cores"),
    ]


def main() -> None:
    """Collect and write."""
    rows = rows_of(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        curve = read_json(Path(sys.argv[2]) / "learning_curve.json")
        quantity = {"value": curve["gain"], "standard_error": curve["gain_standard_error"]}
        rows.append(row("forge-selection-gain", quantity, "1", LEARNING, "spread over 3 seeds"))
        write_json(Path(__file__).parent / "learning_curve.json", curve)
    write_json(Path(__file__).parent / "metrics.json", rows)


if __name__ == "__main__":
    main()
