"""Quasi-particle weight of the one-band Bethe lattice over U, metallic from below and insulating from above.

    OMP_NUM_THREADS=1 python studies/impurity/bethe.py
    OMP_NUM_THREADS=1 python studies/impurity/bethe.py --levels 31 --phases metal --u 2.0

Rows go to bethe.json beside this file as they are found; rows that are there are not done again. In each phase a U
begins with the self-energy of the one before.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from limbeck.core.record import write_json
from limbeck.impurity.bethe import Bethe
from limbeck.impurity.dmft import Accuracy, Iteration, Problem, insulating, iterate, metallic, on_lattice
from limbeck.impurity.interaction import kanamori

FILE = Path(__file__).with_name("bethe.json")
METRICS = Path(__file__).with_name("metrics.json")
METAL, INSULATOR = (0.5, 1.0, 1.5, 2.0, 2.5), (3.5, 3.0, 2.6)


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--levels", type=int, nargs="+", default=[31, 23, 39])
    parser.add_argument("--phases", nargs="+", default=["metal", "insulator"])
    parser.add_argument("--u", type=float, nargs="+")
    parser.add_argument("--iterations", type=int, default=16)
    parser.add_argument("--output", type=Path, default=FILE)
    asked = parser.parse_args()
    for levels in asked.levels:
        for phase in asked.phases:
            lattice: Bethe | None = None
            for u in asked.u or (METAL if phase == "metal" else INSULATOR):
                lattice = row(asked.output, levels, phase, u, asked.iterations, lattice)
    if asked.output == FILE:
        write_json(METRICS, metrics(json.loads(FILE.read_text())))


def metrics(table: dict) -> list[dict]:
    """Claims: the slowest iteration with 31 levels, and Z with the spread over the numbers of levels as its error."""
    rows = [r for r in table["rows"] if r["levels"] == 31]
    slowest = max(rows, key=lambda r: r["cpu_s_per_iteration"])
    note = f"slowest of {len(rows)} couplings (U = {slowest['U_over_D']:g} D, {slowest['phase']})"
    found = [{"id": "impurity-dmft-iteration-s", "value": slowest["cpu_s_per_iteration"], "standard_error": None,
              "unit": "CPU s", "command": table["command"], "note": note}]  # fmt: skip
    for r in rows:
        same = [q["Z"] for q in table["rows"] if (q["phase"], q["U_over_D"]) == (r["phase"], r["U_over_D"])]
        parts = [r["Z_difference_of_two_ways"], r["Z_spread_of_last_three"], float(np.ptp(same))]
        found.append(
            {"id": f"impurity-dmft-z-{r['phase']}-{r['U_over_D']:g}", "value": r["Z"], "unit": "1",
             "standard_error": float(np.linalg.norm(parts)), "command": table["command"],
             "note": f"levels {', '.join(str(q['levels']) for q in table['rows'] if q['U_over_D'] == r['U_over_D'])}"}
        )  # fmt: skip
    return found


def row(file: Path, levels: int, phase: str, u: float, iterations: int, start: Bethe | None) -> Bethe | None:
    """One row, unless it is there; returns where the next one begins."""
    table = json.loads(file.read_text()) if file.exists() else {"rows": []}
    if any((r["levels"], r["phase"], r["U_over_D"]) == (levels, phase, u) for r in table["rows"]):
        return start
    accuracy = Accuracy(configurations=2000, excited=3000)
    problem = Problem(kanamori(1, u), sites=levels, accuracy=accuracy)
    first = metallic(problem) if phase == "metal" else insulating(problem)
    lattice = first if start is None else on_lattice(problem, start.self_energy)
    seen: list[Iteration] = []
    began = time.process_time()
    done = iterate(problem, lattice, iterations, 1e-2, 1.0, keep=seen.append)
    weights = [i.quasiparticle_weight()[0] for i in seen]
    found = {
        "levels": levels, "phase": phase, "U_over_D": u, "Z": weights[-1],
        "Z_difference_of_two_ways": done.quasiparticle_weight()[1],
        "Z_spread_of_last_three": float(np.ptp(weights[-3:])),
        "has_gap": done.bath.has_gap, "double_occupancy": done.solution.double_occupancy,
        "iterations": len(seen), "change_of_Delta_over_D": done.change,
        "cpu_s_per_iteration": (time.process_time() - began) / len(seen), "pt2_over_D": done.solution.state.pt2,
        "configurations": accuracy.configurations, "excited_configurations": accuracy.excited,
    }  # fmt: skip
    table = json.loads(file.read_text()) if file.exists() else {"rows": []}
    table["rows"].append(found)
    table["rows"].sort(key=lambda r: (r["levels"], r["phase"], r["U_over_D"]))
    table["command"] = "OMP_NUM_THREADS=1 .venv/bin/python studies/impurity/bethe.py"
    write_json(file, table)
    return done.following


if __name__ == "__main__":
    main()
