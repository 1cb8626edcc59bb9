"""Merge the rows of one material into ``metrics.json`` of the study, from what the commands of its README left.

    .venv/bin/python studies/forge/collect.py runs/silicon [runs/learning-silicon] --prefix forge-si --main
    .venv/bin/python studies/forge/collect.py runs/mgo --prefix forge-mgo

Every row says which command reproduces it: the one that the run recorded. Rows of other ids stay as they are. With
``--main`` the run is that of the main job, and its speed, drift and time are those of the targets. A learning curve
that was not run leaves its row out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.core.record import read_json, write_json

METRICS = Path(__file__).parent / "metrics.json"


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


def rows_of(results: dict[str, Any], prefix: str, main_job: bool) -> Iterator[dict[str, Any]]:
    """Rows of one run.

    Args:
        results: Its ``results.json``.
        prefix: Begins the ids.
        main_job: Whether speed, drift and time carry the ids of the main job in place of the prefix.
    """
    command = f".venv/bin/{results['command']}"
    errors = {
        (e["role"], e["set"]): e["errors"] for e in results["evaluations"] if e["role"] in ("zero_shot", "fine_tuned")
    }
    zero, tuned = errors["zero_shot", "test"], errors["fine_tuned", "test"]
    chosen = next(s for s in results["students"] if s["chosen"])
    force, energy, ratio = tuned["force_rmse"], tuned["energy_rmse"], chosen["error_ratio"]
    settings = results["curves"]["nve"][0]
    counts = ", ".join(f"{n} {role}" for role, n in results["labels"]["by_role"].items())
    theory = f"{results['labels']['engine']} {results['labels']['theory'].get('functional', '')}".strip()
    before = f"zero-shot {zero['force_rmse']['value']:.3f} eV/Å, {zero['energy_rmse']['value']:.1f} meV/atom"
    student, job = ("forge-student", "forge-main-job") if main_job else (f"{prefix}-student", f"{prefix}-job")
    minutes = sum(stage["wall_s"] for stage in results["cost"]) / 60
    length = f"{settings['time_ps'][-1]:.0f} ps at {settings['temperature_K']:.0f} K"
    yield row(f"{prefix}-force-rmse", force, "eV/Å", command, f"test set, {theory}; {before}; {force['method']}")
    yield row(f"{prefix}-energy-rmse", energy, "meV/atom", command, f"same; {energy['method']}")
    yield row(f"{prefix}-labels", results["labels"]["count"], "labels", command, counts)
    note = f"student {chosen['name']}: {chosen['why']}; {ratio['method']}"
    yield row(f"{prefix}-student-error-ratio", ratio, "1", command, note)
    speed = chosen["speedup_over_teacher"]
    yield row(f"{student}-speedup", speed, "1", command, f"{chosen['name']}, one core, same run")
    yield row(f"{student}-nve-drift", settings["drift_meV_per_atom"], "meV/atom", command, length)
    yield row(f"{job}-minutes", minutes, "min", command, "wall time of all stages, set-up excluded")


def merged(known: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Known rows with those of the same id replaced, and further ones at the end."""
    by_id = {entry["id"]: entry for entry in known} | {entry["id"]: entry for entry in new}
    return list(by_id.values())


def main() -> None:
    """Collect and write."""
    parser = argparse.ArgumentParser(description="Merge the rows of one run into metrics.json.")
    parser.add_argument("run", type=Path)
    parser.add_argument("learning", type=Path, nargs="?")
    parser.add_argument("--prefix", required=True, help="begins the ids of the rows, for example forge-si")
    parser.add_argument("--main", action="store_true", help="the run is that of the main job")
    arguments = parser.parse_args()
    rows = list(rows_of(read_json(arguments.run / "results.json"), arguments.prefix, arguments.main))
    if arguments.learning:
        curve = read_json(arguments.learning / "learning_curve.json")
        quantity = {"value": curve["gain"], "standard_error": curve["gain_standard_error"]}
        name = "forge-selection-gain" if arguments.main else f"{arguments.prefix}-selection-gain"
        rows.append(row(name, quantity, "1", curve["command"], "spread over the seeds of the curve"))
        write_json(Path(__file__).parent / f"learning_curve-{arguments.prefix}.json", curve)
    write_json(METRICS, merged(read_json(METRICS) if METRICS.exists() else [], rows))


if __name__ == "__main__":
    main()
