"""The section of an impurity's report on the DMFT loop."""

from typing import Any

import numpy as np

from limbeck.report.blocks import Cell, Facts, Plot, Table, format_number
from limbeck.report.style import axis, compact, rule

COLORS = ("var(--fine-tuned)", "var(--student)", "var(--zero-shot)")


def dmft_metrics(loop: dict[str, Any]) -> list[tuple[str, float, float | None, str, str]]:
    """Name, value, error, unit and note of what the loop gives."""
    z, last = loop["Z"], loop["history"][-1]
    n = len(loop["history"])
    return [
        ("quasiparticle-weight", z["value"], z["standard_error"], "1", f"after {n} iterations"),
        ("change-of-delta", last["change_over_D"], None, "D", "of the last iteration"),
        ("filling", loop["filling_of_lattice"], None, "1", "electrons of a lattice site"),
        ("misfit-of-delta", loop["misfit_Delta_over_D"], None, "D", f"{last['bath_levels']} levels, at the broadening"),
    ]


def dmft_parts(loop: dict[str, Any], spectrum: dict[str, Any]) -> list[Plot | Table | Facts]:
    """Convergence, hybridization against its bath, impurity against lattice."""
    z = loop["Z"]
    facts = (
        ("quasi-particle weight Z", Cell(f"{z['value']:.4f}", f"{z['standard_error']:.1g}")),
        ("difference of two ways to Z", Cell(format_number(loop["Z_parts"]["two_ways"]))),
        ("change of Z by half of the excited space", Cell(format_number(loop["Z_parts"]["half_the_excited_space"]))),
        ("range of Z over the last three iterations", Cell(format_number(loop["Z_parts"]["iterations"]))),
        ("electrons of a site: lattice, impurity",
         Cell(f"{loop['filling_of_lattice']:.5f}, {loop['filling_of_impurity']:.5f}")),
        ("chemical potential (eV)", Cell(f"{loop['chemical_potential_eV']:.5f}")),
        ("largest difference of bath and Delta (D)", Cell(format_number(loop["misfit_Delta_over_D"]))),
        ("largest difference in G₀ (1/D)", Cell(format_number(loop["misfit_G0_times_D"]))),
        ("largest difference of the impurity's and the lattice's G (1/D)",
         Cell(format_number(loop["impurity_minus_lattice_G_times_D"]))),
        ("largest positive Im Σ (eV)", Cell(format_number(loop["largest_positive_imaginary_Sigma_eV"]))),
    )  # fmt: skip
    return [*_convergence(loop["history"]), _hybridization(loop, spectrum), _green(loop, spectrum), Facts(facts),
            _table(loop["history"])]  # fmt: skip


def _convergence(history: list[dict[str, Any]]) -> list[Plot]:
    x = compact([row["iteration"] for row in history])
    change, weight = compact([row["change_over_D"] for row in history]), compact([row["Z"] for row in history])
    look = {"type": "scatter", "mode": "lines+markers", "x": x}
    return [
        Plot("dmft-change", ({**look, "y": change, "line": {"color": COLORS[0]}},),
             {"xaxis": axis("iteration"), "yaxis": axis("change of Δ (D)", type="log")},
             "Largest change of the hybridization function from one iteration to the next.", "half", "Convergence"),
        Plot("dmft-weight", ({**look, "y": weight, "line": {"color": COLORS[1]}},),
             {"xaxis": axis("iteration"), "yaxis": axis("Z")},
             "Quasi-particle weight of each iteration.", "half", "Quasi-particle weight"),
    ]  # fmt: skip


def _hybridization(loop: dict[str, Any], spectrum: dict[str, Any]) -> Plot:
    x = compact(spectrum["frequencies_eV"])
    curves = (("Delta", "that comes out", "solid"), ("Delta_went_in", "that went in", "dash"),
              ("Delta_bath", "of the bath's levels", "dot"))  # fmt: skip
    traces = tuple(
        {"type": "scatter", "mode": "lines", "name": word, "x": x, "y": compact(-np.array(loop[f"{name}_imaginary"])),
         "line": {"color": color, "dash": dash}}
        for (name, word, dash), color in zip(curves, COLORS, strict=True)
    )  # fmt: skip
    return Plot(
        "dmft-hybridization", traces,
        {"xaxis": axis("energy (eV)"), "yaxis": axis("−Im Δ(ω) (eV)"), "shapes": [rule(x=0.0)]},
        "Hybridization function at the broadening: lattice, and the levels that stand for it.", "wide",
        "Hybridization",
    )  # fmt: skip


def _green(loop: dict[str, Any], spectrum: dict[str, Any]) -> Plot:
    x = compact(spectrum["frequencies_eV"])
    traces = tuple(
        {"type": "scatter", "mode": "lines", "name": word, "x": x,
         "y": compact(-np.array(loop[f"{name}_imaginary"]) / np.pi), "line": {"color": color, "dash": dash}}
        for (name, word, dash), color in zip(
            (("G", "lattice", "solid"), ("G_impurity", "impurity", "dot")), COLORS[:2], strict=True
        )
    )  # fmt: skip
    return Plot(
        "dmft-green", traces, {"xaxis": axis("energy (eV)"), "yaxis": axis("A(ω) (1/eV)"), "shapes": [rule(x=0.0)]},
        "Spectral function of the lattice and of the impurity; the same where bath and loop are converged.", "wide",
        "Lattice and impurity",
    )  # fmt: skip


def _table(history: list[dict[str, Any]]) -> Table:
    return Table(
        "Each iteration.",
        ("iteration", "change of Δ (D)", "Z", "double occupancy", "filling", "PT2 (eV)", "levels", "CPU s"),
        tuple(
            tuple(
                Cell(text, numeric=True)
                for text in (
                    str(row["iteration"]), f"{row['change_over_D']:.2e}", f"{row['Z']:.5f}",
                    f"{row['double_occupancy']:.5f}", f"{row['filling']:.5f}", f"{row['pt2_eV']:.1e}",
                    str(row["bath_levels"]), f"{row['cpu_s']:.1f}",
                )
            )
            for row in history
        ),
        folded=True,
    )  # fmt: skip
