"""The report of an impurity calculation: page and numbers."""

from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.record import write_json, write_text
from limbeck.report.blocks import Card, Cell, Facts, Note, Plot, Report, Section, Table, format_number
from limbeck.report.document import render_html
from limbeck.report.impurity_dmft import dmft_metrics, dmft_parts
from limbeck.report.impurity_dmrg import dmrg_parts
from limbeck.report.impurity_network import network_parts
from limbeck.report.style import axis, compact, rule

REPORT_FILE, METRICS_FILE = "report.html", "metrics.json"
COLORS = ("var(--fine-tuned)", "var(--student)", "var(--zero-shot)", "var(--extra-1)", "var(--extra-2)")


def write_report(folder: Path, found: dict[str, Any]) -> Path:
    """Write ``report.html`` and ``metrics.json``; returns the page's path."""
    write_json(folder / METRICS_FILE, metrics(found))
    write_text(folder / REPORT_FILE, render_html(assemble(found)))
    return folder / REPORT_FILE


def metrics(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of ``id, value, standard_error, unit, command, note``."""
    ground = found["ground_state"]
    n = ground["configurations"]

    def row(name: str, value: float, error: float | None, unit: str, note: str) -> dict[str, Any]:
        return {"id": f"{found['name']}-{name}", "value": value, "standard_error": error, "unit": unit,
                "command": found["command"], "note": note}  # fmt: skip

    value = ground["extrapolated_eV"]
    continued = _continued(found)
    rows = [
        row("energy", ground["energy_eV"], None, "eV", f"upper bound, {n} configurations"),
        row("energy-extrapolated", value["value"], value["standard_error"], "eV", continued),
        row("double-occupancy", ground["double_occupancies"][0], None, "1", "orbital 0"),
    ]
    if "network" in found:
        above = ground["energy_eV"] - found["network"]["set_energy_eV"]
        rows.append(
            row("network", above, None, "eV", f"above the set's lowest; {found['network']['parameters']} numbers")
        )
    if "dmrg" in found:
        part = found["dmrg"]
        note = f"matrix product state, bond dimension {part['bonds'][-1]['bond']}, {part['symmetry']}"
        rows.append(row("dmrg-energy", part["energy_eV"], None, "eV", f"upper bound; {note}"))
    if "spectrum" in found:
        spectrum = found["spectrum"]
        peak = max(spectrum["spectral_function"][0])
        rows.append(row("peak", peak, max(spectrum["errors"][0]), "1/eV", "spectral function of the first orbital"))
    if "dmft" in found:
        rows += [row(*values) for values in dmft_metrics(found["dmft"])]
    return rows


def _digits(error: float) -> int:
    """Decimals that an error leaves a meaning."""
    return 7 if not 0 < error < 1 else min(max(int(-np.floor(np.log10(error))), 2), 12)


def _continued(found: dict[str, Any]) -> str:
    return "continued to no discarded weight" if "dmrg" in found else "continued to PT2 = 0"


def assemble(found: dict[str, Any]) -> Report:
    """The page from the results."""
    ground, model, warnings = found["ground_state"], found["model"], found["warnings"]
    value = ground["extrapolated_eV"]
    sections = [Section("ground", "Ground state", "", tuple(_ground(ground)))]
    if "dmft" in found:
        sections.insert(0, Section("dmft", "Self-consistency", "", tuple(dmft_parts(found["dmft"], found["spectrum"]))))
    if "network" in found:
        sections.append(Section("network", "Network", "", tuple(network_parts(found["network"]))))
    if "dmrg" in found:
        sections.append(Section("dmrg", "Matrix product state", "", tuple(dmrg_parts(found["dmrg"]))))
    if "spectrum" in found:
        sections.append(Section("spectrum", "Spectrum", "", tuple(_spectrum(found["spectrum"]))))
    sections.append(Section("model", "Model", "", tuple(_model(found))))
    return Report(
        title=found["title"],
        subtitle=f"{model['orbitals']} correlated orbital{'s' if model['orbitals'] > 1 else ''}, "
        f"{model['bath_levels']} bath levels, {model['electrons']} electrons",
        verdict="; ".join(warnings) if warnings else "Converged within the stated errors, and nothing odd was seen.",
        verdict_tone="quiet" if warnings else "good",
        verdict_word="see below" if warnings else "converged",
        cards=(
            Card(
                "energy",
                f"{value['value']:.{_digits(value['standard_error'])}f}",
                f"{value['standard_error']:.1g}",
                "eV",
                _continued(found),
            ),
            Card("upper bound", f"{ground['energy_eV']:.8f}", "", "eV", f"{ground['configurations']} configurations"),
            Card("double occupancy", f"{ground['double_occupancies'][0]:.5f}", "", "", "of orbital 0"),
            Card("local moment", f"{ground['local_moment']:.4f}", "", "", "⟨S²⟩ of the impurity"),
        ),
        sections=tuple(sections),
        facts=(("command", found["command"]), ("limbeck", found["version"])),
    )


def _ground(ground: dict[str, Any]) -> list[Plot | Table | Note]:
    steps = ground["steps"]
    n = np.array([s["configurations"] for s in steps], dtype=float)
    energy, pt2 = np.array([s["energy_eV"] for s in steps]), np.array([s["pt2_eV"] for s in steps])
    above = energy - ground["extrapolated_eV"]["value"]
    traces = [
        {"type": "scatter", "mode": "lines+markers", "name": name, "x": compact(n), "y": compact(np.abs(y)),
         "line": {"color": color}}
        for name, y, color in (("energy", above, COLORS[0]), ("PT2", pt2, COLORS[1]))
    ]  # fmt: skip
    weights = [(k, w) for k, w in enumerate(ground["electron_weights"]) if w > 1e-6]
    growth = [
        Plot("growth", tuple(traces),
             {"xaxis": axis("configurations", type="log"), "yaxis": axis("eV", type="log")},
             "Distance of the energy to the extrapolated one, and the second-order correction for what is outside.",
             "half", "Growth of the set"),
    ]  # fmt: skip
    return [
        *(growth if len(steps) > 1 else []),
        Plot("weights",
             ({"type": "bar", "x": [f"{k}" for k, _ in weights], "y": compact([w for _, w in weights]),
               "marker": {"color": COLORS[0]}},),
             {"xaxis": axis("electrons on the impurity"), "yaxis": axis("weight")},
             "Weight of the configurations by the number of electrons on the impurity.", "half", "Valence"),
        Table(
            "Occupation of each orbital and how often it is doubly occupied.",
            ("orbital", "up", "down", "double"),
            tuple(
                (Cell(str(k)), *(Cell(f"{x:.5f}", numeric=True) for x in (*pair, double)))
                for k, (pair, double) in enumerate(
                    zip(ground["occupations"], ground["double_occupancies"], strict=True)
                )
            ),
        ),
    ]  # fmt: skip


def _spectrum(spectrum: dict[str, Any]) -> list[Plot | Table]:
    x = compact(spectrum["frequencies_eV"])
    traces: list[dict[str, Any]] = []
    selves: list[dict[str, Any]] = []
    for k, orbital in enumerate(spectrum["orbitals"]):
        color = COLORS[k % len(COLORS)]
        value, error = np.array(spectrum["spectral_function"][k]), np.array(spectrum["errors"][k])
        traces += [
            {"type": "scatter", "mode": "lines", "x": [*x, *x[::-1]],
             "y": compact([*(value + error), *(value - error)[::-1]]), "fill": "toself", "fillcolor": color,
             "opacity": 0.25, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False},
            {"type": "scatter", "mode": "lines", "name": f"orbital {orbital}", "x": x, "y": compact(value),
             "line": {"color": color}},
        ]  # fmt: skip
        for part, dash in (("real", "solid"), ("imaginary", "dot")):
            y = compact(spectrum[f"self_energy_{part}_eV"][k])
            selves.append({"type": "scatter", "mode": "lines", "name": f"orbital {orbital}, {part}", "x": x, "y": y,
                           "line": {"color": color, "dash": dash}})  # fmt: skip
    width = format_number(spectrum["broadening_eV"])
    return [
        Plot("spectral-function", tuple(traces),
             {"xaxis": axis("energy (eV)"), "yaxis": axis("A(ω) (1/eV)"), "shapes": [rule(x=0.0)]},
             f"Spectral function, Lorentzian of half width {width} eV; the band is what the second half of the space "
             "changed.", "wide", "Spectral function"),
        Plot("self-energy", tuple(selves),
             {"xaxis": axis("energy (eV)"), "yaxis": axis("Σ(ω) (eV)"), "shapes": [rule(x=0.0)]},
             "Self-energy from F / G at the same broadening.", "wide", "Self-energy"),
        Table(
            "Sum rules: the weight must be 1, the first moment is the level with its mean field.",
            ("orbital", "weight", "first moment (eV)", "configurations"),
            tuple(
                (Cell(str(orbital)), Cell(f"{spectrum['moment_0'][k]:.8f}", numeric=True),
                 Cell(f"{spectrum['moment_1_eV'][k]:.6f}", numeric=True),
                 Cell(" + ".join(str(n) for n in spectrum["configurations"][k]), numeric=True))
                for k, orbital in enumerate(spectrum["orbitals"])
            ),
        ),
    ]  # fmt: skip


def _model(found: dict[str, Any]) -> list[Plot | Facts]:
    model, ground = found["model"], found["ground_state"]
    squares = np.array(model["couplings_eV"]) ** 2 + np.array(model.get("couplings_imaginary_eV", 0.0)) ** 2
    traces = [
        {"type": "bar", "name": f"orbital {k}", "x": compact(model["bath_energies_eV"]),
         "y": compact(row), "marker": {"color": COLORS[k % len(COLORS)]}}
        for k, row in enumerate(squares)
    ]  # fmt: skip
    facts = [
        ("levels (eV)", Cell(", ".join(format_number(x) for x in model["levels_eV"]))),
        ("sum of squared couplings (eV²)", Cell(", ".join(format_number(x) for x in model["hybridization_eV2"]))),
        ("mean-field energy (eV)", Cell(f"{found['mean_field_energy_eV']:.8f}")),
        ("variance (eV²)", Cell(format_number(ground["variance_eV2"]))),
        ("⟨S²⟩", Cell(f"{ground['spin_squared']:.6f}")),
        ("largest weight of a configuration", Cell(f"{ground['largest_weight']:.4f}")),
        (
            "configurations that count (inverse participation ratio)",
            Cell(f"{ground['inverse_participation_ratio']:.1f}"),
        ),
    ]
    if "bath_fit" in model:
        fit = model["bath_fit"]
        names = (("Δ", "error"), ("Δ at its worst", "largest_error"), ("G₀", "error_green"))
        facts += [(f"error of the fitted {name} (relative)", Cell(format_number(fit[key]))) for name, key in names]
    if "constant_eV" in model:
        facts.append(("constant of the file, not in the energies (eV)", Cell(f"{model['constant_eV']:.8f}")))
    return [
        Plot("bath", tuple(traces),
             {"xaxis": axis("energy of the bath level (eV)"), "yaxis": axis("V² (eV²)"), "barmode": "overlay"},
             "Levels of the bath and their squared couplings.", "wide", "Bath"),
        Facts(tuple(facts)),
    ]  # fmt: skip
