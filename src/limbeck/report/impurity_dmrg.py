"""Part of the impurity's page that tells of a matrix product state."""

from typing import Any

import numpy as np

from limbeck.report.blocks import Cell, Facts, Plot, Table, format_number
from limbeck.report.style import axis, compact

FLOOR = 1e-15
"""Differences below this are not drawn, eV."""


def dmrg_parts(part: dict[str, Any]) -> list[Plot | Table | Facts]:
    """Energy by bond dimension, and what the state is worth."""
    value, rows = part["extrapolated_eV"], part["bonds"]
    bonds = np.array([row["bond"] for row in rows], dtype=float)
    above = np.maximum(np.array([row["energy_eV"] for row in rows]) - value["value"], FLOOR)
    discarded = np.maximum([row["discarded"] for row in rows], FLOOR)
    traces = [
        {"type": "scatter", "mode": "lines+markers", "name": name, "x": compact(bonds), "y": compact(y),
         "line": {"color": f"var(--{color})"}}
        for name, y, color in (
            ("energy above the continued one (eV)", above, "fine-tuned"), ("discarded weight", discarded, "student")
        )
    ]  # fmt: skip
    return [
        Plot("bonds", tuple(traces),
             {"xaxis": axis("bond dimension", type="log"), "yaxis": axis("eV, or weight", type="log")},
             "After the last sweep of two sites at each bond dimension.", "wide", "Bond dimensions"),
        Table(
            "Bond dimensions, one after the other.",
            ("bond dimension", "energy (eV)", "discarded weight", "sweeps", "CPU seconds so far"),
            tuple(
                (Cell(str(r["bond"]), numeric=True), Cell(f"{r['energy_eV']:.10f}", numeric=True),
                 Cell(format_number(r["discarded"]), numeric=True), Cell(str(r["sweeps"]), numeric=True),
                 Cell(f"{r['cpu_s']:.1f}", numeric=True))
                for r in rows
            ),
        ),
        Facts((
            ("energy of the state (eV), an upper bound", Cell(f"{part['energy_eV']:.10f}")),
            ("continued to no discarded weight (eV)",
             Cell(f"{value['value']:.10f} ± {format_number(value['standard_error'])}")),
            ("variance (eV²)", Cell(format_number(part["variance_eV2"]))),
            ("symmetry that is kept", Cell(part["symmetry"])),
            ("weight on the configurations that are kept", Cell(f"{part['weight']:.10f}")),
            ("selected configurations beside it (eV)", Cell(f"{part['compared_eV']:.10f}")),
        )),
    ]  # fmt: skip
