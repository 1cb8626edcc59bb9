"""The report of core-level spectra: page and numbers."""

from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.record import write_json, write_text
from limbeck.report.blocks import Card, Cell, Facts, Note, Plot, Report, Section, Table, format_number
from limbeck.report.document import render_html
from limbeck.report.impurity import COLORS, METRICS_FILE, REPORT_FILE
from limbeck.report.style import axis, compact

N_CUTS = 5
"""Incident energies whose losses are drawn as lines."""


def write_report(folder: Path, found: dict[str, Any]) -> Path:
    """Write ``report.html`` and ``metrics.json``; returns the page's path."""
    write_json(folder / METRICS_FILE, metrics(found))
    write_text(folder / REPORT_FILE, render_html(assemble(found)))
    return folder / REPORT_FILE


def metrics(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of ``id, value, standard_error, unit, command, note``."""

    def row(name: str, value: float, error: float | None, unit: str, note: str) -> dict[str, Any]:
        return {"id": f"{found['name']}-{name}", "value": value, "standard_error": error, "unit": unit,
                "command": found["command"], "note": note}  # fmt: skip

    rows = [row("spin-squared", found["multiplets"]["means"]["S2"], None, "1", "thermal mean, valence shell")]
    for name, key in (("xas", "isotropic"), ("xps", "spectrum")):
        if name in found:
            x = found[name]
            at = int(np.argmax(x[key]))
            rows.append(row(f"{name}-line", x["energies_eV"][at], None, "eV", "energy of the main line"))
            rows.append(row(f"{name}-peak", x[key][at], max(x["errors"]), "1/eV", "height of the main line"))
    return rows


def assemble(found: dict[str, Any]) -> Report:
    """The page from the results."""
    part, warnings = found["multiplets"], found["warnings"]
    means, weights = part["means"], part["weights"]
    first = next(iter(weights))
    sections = []
    if "xas" in found:
        sections.append(Section("xas", "Absorption", "", tuple(_absorption(found["xas"]))))
    if "xps" in found:
        sections.append(Section("xps", "Photoemission", "", (_photoemission(found["xps"]),)))
    if "rixs" in found:
        sections.append(Section("rixs", "Inelastic scattering", "", tuple(_scattering(found["rixs"]))))
    sections.append(Section("multiplets", "Initial states", "", tuple(_multiplets(found))))
    ion, electrons = found["settings"]["ion"], found["parameters"]["electrons"]
    return Report(
        title=found["title"],
        subtitle=f"{'' if ion is None else f'{ion}, '}d^{electrons}, {part['spin_orbitals']} spin orbitals, "
        f"{format_number(found['settings']['temperature_K'])} K",
        verdict="; ".join(warnings) if warnings else "Within the stated errors, and nothing odd was seen.",
        verdict_tone="quiet" if warnings else "good",
        verdict_word="see below" if warnings else "converged",
        cards=(
            Card("largest configuration", f"{100 * weights[first]:.2f}", "", "%", first),
            Card("spin", f"{means['S2']:.4f}", "", "", "⟨S²⟩ of the valence shell"),
            Card("orbital", f"{means['L2']:.4f}", "", "", "⟨L²⟩ of the valence shell"),
            Card("total", f"{means['J2']:.4f}", "", "", "⟨J²⟩ of the valence shell"),
        ),
        sections=tuple(sections),
        facts=(("command", found["command"]), ("limbeck", found["version"])),
    )


def _line(name: str, x: Any, y: Any, number: int, dash: str = "solid") -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": compact(x), "y": compact(y),
            "line": {"color": COLORS[number % len(COLORS)], "dash": dash}}  # fmt: skip


def _band(x: Any, y: Any, error: Any) -> dict[str, Any]:
    x, y, error = (np.asarray(v) for v in (x, y, error))
    return {"type": "scatter", "mode": "lines", "x": compact([*x, *x[::-1]]),
            "y": compact([*(y + error), *(y - error)[::-1]]), "fill": "toself", "fillcolor": COLORS[0], "opacity": 0.25,
            "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}  # fmt: skip


def _absorption(x: dict[str, Any]) -> list[Plot]:
    energies = x["energies_eV"]
    layout = {"xaxis": axis("photon energy (eV)"), "yaxis": axis("absorption (1/eV)")}
    return [
        Plot("absorption",
             (_band(energies, x["isotropic"], x["errors"]), _line("isotropic", energies, x["isotropic"], 0)),
             layout, f"Average over all directions; Lorentzian of half width {format_number(x['half_width_eV'])} eV. "
             f"The band is what the last growth of the set changed. {x['configurations']} final configurations; "
             f"integral {format_number(x['integral'])}.", "wide", "Isotropic"),
        Plot("dichroism",
             (*(_line(f"along {name}", energies, y, k)
                for k, (name, y) in enumerate(zip("xyz", x["along"], strict=True))),
              _line("left less right", energies, x["circular_dichroism"], 3, "dot")),
             layout, "Linear polarizations, and the circular dichroism along z.", "wide", "By polarization"),
    ]  # fmt: skip


def _photoemission(x: dict[str, Any]) -> Plot:
    energies = x["energies_eV"]
    return Plot(
        "photoemission",
        (_band(energies, x["spectrum"], x["errors"]), _line("all", energies, x["spectrum"], 0),
         *(_line(f"from j = {j}", energies, y, k + 1) for k, (j, y) in enumerate(x["of_j"].items()))),
        {"xaxis": axis("binding energy (eV)", autorange="reversed"), "yaxis": axis("photoemission (1/eV)")},
        f"Core photoemission, Lorentzian of half width {format_number(x['half_width_eV'])} eV; the integral is the "
        f"number of core electrons, {format_number(x['integral'])}. {x['configurations']} final configurations.",
        "wide", "Core level",
    )  # fmt: skip


def _scattering(x: dict[str, Any]) -> list[Plot]:
    powder = np.array(x["powder"])
    incident, losses = x["incident_eV"], x["losses_eV"]
    strongest = np.sort(np.argsort(-powder.max(axis=1), kind="stable")[:N_CUTS])
    note = (
        f"Powder average in the geometry of the file. Half widths {format_number(x['core_half_width_eV'])} eV (core "
        f"hole) and {format_number(x['half_width_eV'])} eV (final states); {x['configurations'][0]} configurations "
        f"with a core hole, {x['configurations'][1]} without; the last growth changed {format_number(x['error'])}."
    )
    lines = tuple(_line(f"{incident[k]:.2f} eV", losses, powder[k], n) for n, k in enumerate(strongest))
    if len(incident) < 2:
        return [
            Plot("cuts", lines, {"xaxis": axis("energy loss (eV)"), "yaxis": axis("intensity")}, note, "wide", "Loss")
        ]
    colors = {"type": "heatmap", "x": compact(losses), "y": compact(incident), "z": [compact(row) for row in powder],
              "colorscale": "Viridis", "colorbar": {"title": {"text": "intensity"}}}  # fmt: skip
    return [
        Plot("map", (colors,), {"xaxis": axis("energy loss (eV)"), "yaxis": axis("incident energy (eV)")}, note, "wide",
             "Map"),
        Plot("cuts", lines, {"xaxis": axis("energy loss (eV)"), "yaxis": axis("intensity")},
             "Losses at the incident energies of the strongest scattering.", "wide", "Cuts"),
    ]  # fmt: skip


def _multiplets(found: dict[str, Any]) -> list[Table | Facts | Note]:
    part = found["multiplets"]

    def number(value: float, digits: int = 4) -> Cell:
        return Cell(f"{value:.{digits}f}", numeric=True)

    blocks: list[Table | Facts | Note] = [
        Table(
            "Levels that count at the temperature; expectation values of the valence shell, means over the level.",
            ("energy (meV)", "states", "weight", "⟨S²⟩", "⟨L²⟩", "⟨J²⟩", "⟨Σ l·s⟩", "⟨S²⟩ with ligands"),
            tuple(
                (number(x["energy_meV"], 3), Cell(str(x["degeneracy"]), numeric=True),
                 *(number(x[name]) for name in ("weight", "S2", "L2", "J2", "l_s", "S2_of_all")))
                for x in part["levels"]
            ),
        ),
        Table(
            "Weights of configurations: L a ligand hole, C an electron in an empty shell.",
            ("configuration", "weight (%)"),
            tuple((Cell(name), number(100 * w, 3)) for name, w in part["weights"].items() if w > 1e-6),
        ),
    ]  # fmt: skip
    given = found["parameters"]
    blocks.append(Table(
        "Slater integrals and spin-orbit constants as the Hamiltonian has them; slater_factor "
        f"{given['slater_factor']:g}."
        f"{' Where the file gives none they are ' if given['source'] else ''}{given['source']}",
        ("parameter", "value (eV)"), tuple((Cell(name), number(value)) for name, value in given["values_eV"]), True,
    ))  # fmt: skip
    if found["configurations_eV"]:
        blocks.append(Table(
            "Average energies of configurations above the ionic one; c is a core hole.",
            ("configuration", "energy (eV)"),
            tuple((Cell(name), number(energy, 3)) for name, energy in found["configurations_eV"]),
        ))  # fmt: skip
    if part["steps"]:
        blocks.append(Table(
            "Growth of the set of configurations by whole classes.", ("configurations", "energy (eV)", "PT2 (meV)"),
            tuple(
                (Cell(str(s["configurations"]), numeric=True), number(s["energy_eV"], 6), number(1e3 * s["pt2_eV"], 3))
                for s in part["steps"]
            ),
        ))  # fmt: skip
    return blocks
