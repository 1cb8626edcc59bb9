"""Part of the impurity's page that tells of a network."""

from typing import Any

import numpy as np

from limbeck.report.blocks import Cell, Facts, Plot, Table, format_number
from limbeck.report.style import axis, compact

COLORS = ("var(--fine-tuned)", "var(--student)", "var(--zero-shot)", "var(--extra-1)", "var(--extra-2)")
FLOOR = 1e-15
"""Differences below this are not drawn, eV."""


def network_parts(network: dict[str, Any]) -> list[Plot | Table | Facts]:
    """Training, sets, and how the network does outside what it was trained on."""
    traces, begun = [], 0
    for k, one in enumerate(network["rounds"]):
        above = np.maximum(np.array(one["energies_eV"]) - one["lowest_eV"], FLOOR)
        traces.append(
            {"type": "scatter", "mode": "lines", "name": f"{one['configurations']} configurations",
             "x": compact(np.arange(begun, begun + len(above), dtype=float)), "y": compact(above),
             "line": {"color": COLORS[k % len(COLORS)]}}
        )  # fmt: skip
        begun += len(above)
    parts: list[Plot | Table | Facts] = [
        Plot("training", tuple(traces), {"xaxis": axis("step"), "yaxis": axis("eV", type="log")},
             "Energy of the network above the lowest one of what is trained (set and boundary), step by step.",
             "wide", "Training"),
        Table(
            "Sets: the network's energy and the lowest one there is on the same configurations.",
            ("configurations", "free amplitudes", "network (eV)", "set (eV)", "difference (eV)", "fits + steps"),
            tuple(
                (Cell(str(r["configurations"]), numeric=True), Cell(str(r["amplitudes"]), numeric=True),
                 Cell(f"{r['energy_eV']:.9f}", numeric=True), Cell(f"{r['set_energy_eV']:.9f}", numeric=True),
                 Cell(format_number(r["energy_eV"] - r["set_energy_eV"]), numeric=True),
                 Cell(f"{r['fit_steps']} + {len(r['energies_eV']) - 1}", numeric=True))
                for r in network["rounds"]
            ),
        ),
    ]  # fmt: skip
    facts = [
        ("parameters", Cell(str(network["parameters"]))),
        ("amplitudes that symmetry leaves free", Cell(str(network["amplitudes"]))),
        ("variance within the set (eV²)", Cell(format_number(network["variance_inside_eV2"]))),
    ]
    if "outside" in network:
        out = network["outside"]
        facts += [
            ("configurations outside, never seen", Cell(str(out["configurations"]))),
            ("their signs right, share of the weight", Cell(f"{100 * out['right_signs']:.1f} %")),
            ("correlation of log sizes with perturbation theory", Cell(f"{out['size_correlation']:.3f}")),
            ("network on set and outside, above the lowest (eV)",
             Cell(format_number(out["energy_eV"] - out["exact_energy_eV"]))),
        ]  # fmt: skip
    return [*parts, Facts(tuple(facts))]
