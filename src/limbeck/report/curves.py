"""Interactive figures of properties (equation of state, phonons, g(r), energy drift) and of the production run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.report.blocks import Plot, PlotGrid, format_number, in_words
from limbeck.report.schema import (
    EnergyConservation,
    EquationOfState,
    PhononBands,
    ProductionRun,
    RadialDistribution,
)
from limbeck.report.style import QUIET, REFERENCE, STUDENT, Styles, axis, compact, line, marker, plain

THERMO_SERIES = (
    ("temperature_K", "T (K)"),
    ("pressure_GPa", "p (GPa)"),
    ("volume_A3_per_atom", "V (Å³/atom)"),
    ("potential_energy_eV_per_atom", "E (eV/atom)"),
)
MAX_CURVE_POINTS = 1500
GAMMA = {"G": "Γ", "GAMMA": "Γ", "Gamma": "Γ"}


def equation_of_state(curves: Sequence[EquationOfState], styles: Styles) -> Plot | None:
    """Energy less its minimum against volume, one curve a potential."""
    traces = []
    for curve in curves:
        energy = np.array([np.nan if e is None else e for e in curve.energy_eV_per_atom], dtype=float)
        if not np.isfinite(energy).any():
            continue
        style = styles.of(curve.potential)
        traces.append(
            {"type": "scatter", "mode": "markers" if style is REFERENCE else "lines+markers",
             "name": plain(style.label), "line": line(style), "marker": marker(style, 10 if style is REFERENCE else 6),
             "x": compact(curve.volume_A3_per_atom), "y": compact(1000 * (energy - np.nanmin(energy)), 5),
             "hovertemplate": "%{x:.4g} Å³: %{y:.4g} meV/atom"}
        )  # fmt: skip
    if not traces:
        return None
    labelled = any(styles.of(curve.potential) is REFERENCE for curve in curves)
    return Plot(
        "equation-of-state",
        tuple(traces),
        {"xaxis": axis("volume (Å³/atom)"), "yaxis": axis("energy less its minimum (meV/atom)")},
        "Energy against volume at the cell shape of zero pressure, every curve less its own minimum. The place of the "
        "minimum gives the lattice constant, the curvature there the bulk modulus."
        + (" Curves should lie on the open squares (labels) also far from the minimum." if labelled else ""),
        "half",
        "Equation of state",
    )


def phonons(curves: Sequence[PhononBands], styles: Styles) -> Plot | None:
    """Phonon dispersion of all potentials over each other."""
    traces: list[dict[str, Any]] = []
    for curve in curves:
        style = styles.of(curve.potential)
        x: list[float | None] = []
        y: list[float | None] = []
        for band in curve.frequencies_THz:
            x += [*compact(curve.distance, 5), None]
            y += [*compact(band, 5), None]
        traces.append(
            {"type": "scatter", "mode": "lines", "name": plain(style.label), "line": line(style, 1.8), "x": x, "y": y,
             "hovertemplate": "%{y:.4g} THz"}
        )  # fmt: skip
    if not traces:
        return None
    ticked = next((c for c in curves if c.ticks), curves[0])
    return Plot(
        "phonons",
        tuple(traces),
        {
            "xaxis": axis("wave vector", range=[0, max(c.distance[-1] for c in curves)],
                          tickvals=compact(ticked.ticks),
                          ticktext=[plain(GAMMA.get(t, t)) for t in ticked.tick_labels]),
            "yaxis": axis("frequency (THz)", zeroline=True),
        },
        " ".join([
            "Phonon frequencies along lines of high symmetry. Branches of fine-tuned teacher and student should cover "
            "each other; negative values stand for imaginary modes, that is, an unstable structure.",
            *dict.fromkeys(c.note for c in curves if c.note),
        ]),
        "wide",
        "Phonons",
    )  # fmt: skip


def radial_distribution(curves: Sequence[RadialDistribution], styles: Styles) -> PlotGrid | None:
    """g(r) at temperature: one panel a pair of elements and temperature, with all potentials."""
    panels: list[Plot] = []
    for pair, temperature_K in dict.fromkeys((c.pair, c.temperature_K) for c in curves):
        mine = [c for c in curves if (c.pair, c.temperature_K) == (pair, temperature_K)]
        title = ([pair] if pair else []) + ([f"{format_number(temperature_K)} K"] if temperature_K is not None else [])
        panels.append(
            Plot(
                f"radial-distribution-{len(panels)}",
                tuple(_radial_trace(curve, styles) for curve in mine),
                {
                    "xaxis": axis("distance r (Å)", range=[_first_distance(mine), max(c.r_A[-1] or 0.0 for c in mine)]),
                    "yaxis": axis("g(r)", rangemode="tozero"),
                    "showlegend": not panels,
                    "legend": {"y": 1.0, "x": 1.0, "xanchor": "right", "yanchor": "top", "orientation": "v"},
                },
                "",
                "half",
                " · ".join(title),
            )
        )
    if not panels:
        return None
    reach = min((c.r_A[-1] or 0.0 for c in curves if c.compared), default=0.0)
    caption = (
        "Radial distribution function g(r) at temperature, each curve up to half the smallest width of its cell: "
        "beyond that, atoms meet images of themselves. Place and height of the peaks of student and teacher should "
        "agree"
    )
    caption += (
        f" (solid and dashed line: same cells, starts and conditions, up to {format_number(reach, 2)} Å)."
        if reach
        else "."
    )
    if any(not c.compared for c in curves):
        caption += (
            " The dotted line is the student in a wider cell, which the teacher was too slow for (distil.repeat sets "
            "the teacher's); it may differ from the others, since small cells restrain motion. Weight between the "
            "first two peaks would be atoms that left their sites."
        )
    return PlotGrid(tuple(panels), caption, columns=min(3, len(panels)), title="Structure at temperature")


def _radial_trace(curve: RadialDistribution, styles: Styles) -> dict[str, Any]:
    style = styles.of(curve.potential)
    name = f"{style.label}, {curve.atoms} atoms" if curve.atoms is not None else style.label
    look = line(style) if curve.compared else {"color": style.color, "dash": "dot", "width": 1.4}
    return {
        "type": "scatter", "mode": "lines", "name": plain(name), "line": look, "x": compact(curve.r_A, 5),
        "y": compact(curve.g, 5), "hovertemplate": "g(%{x:.3g} Å) = %{y:.4g}",
    }  # fmt: skip


def _first_distance(curves: Sequence[RadialDistribution]) -> float:
    """A little less than the least distance at which any curve is above zero."""
    found = [r for c in curves for r, g in zip(c.r_A, c.g, strict=True) if r is not None and g is not None and g > 0]
    return max(0.0, min(found, default=0.0) - 0.5)


def energy_conservation(curves: Sequence[EnergyConservation], styles: Styles) -> Plot | None:
    """Total energy in constant-energy runs."""
    traces = []
    for curve in curves:
        style = styles.of(curve.potential)
        step = max(1, len(curve.time_ps) // MAX_CURVE_POINTS)
        drift = curve.drift_meV_per_atom
        name = style.label
        if drift is not None and drift.value is not None:
            name += f": drift {in_words(drift.value, drift.standard_error, drift.unit or 'meV/atom')}"
        traces.append(
            {"type": "scatter", "mode": "lines", "name": plain(name), "line": {"color": style.color, "width": 1.2},
             "x": compact(curve.time_ps[::step], 5), "y": compact(curve.energy_meV_per_atom[::step], 5),
             "hovertemplate": "%{x:.4g} ps: %{y:.4g} meV/atom"}
        )  # fmt: skip
    if not traces:
        return None
    conditions = _conditions(curves[0].temperature_K, curves[0].atoms, curves[0].timestep_fs)
    return Plot(
        "energy-conservation",
        tuple(traces),
        {"xaxis": axis("time (ps)"), "yaxis": axis("energy less its start (meV/atom)"), "showlegend": True},
        f"Total energy at constant N, V, E{conditions}. It should fluctuate about a flat line; a slope means that "
        "forces are not the exact gradient of the energy, or that the time step is too long.",
        "half",
        "Energy conservation",
    )


def _conditions(temperature_K: float | None, atoms: int | None, timestep_fs: float | None) -> str:
    parts = [
        f"{format_number(value)} {unit}"
        for value, unit in ((temperature_K, "K"), (atoms, "atoms"), (timestep_fs, "fs a step"))
        if value is not None
    ]
    return f" ({', '.join(parts)})" if parts else ""


def thermo(run: ProductionRun) -> Plot | None:
    """Temperature, pressure, volume and energy of the production run, over a common time axis."""
    rows = [(key, title) for key, title in THERMO_SERIES if getattr(run.thermo, key)]
    if not rows or not run.thermo.time_ps:
        return None
    step = max(1, len(run.thermo.time_ps) // MAX_CURVE_POINTS)
    gap, height = 0.05, (1.0 - 0.05 * (len(rows) - 1)) / len(rows)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"showlegend": False, "shapes": [], "height": 150 * len(rows) + 60}
    for number, (key, title) in enumerate(rows):
        suffix = "" if number == 0 else str(number + 1)
        top = 1.0 - number * (height + gap)
        layout[f"yaxis{suffix}"] = axis(title, domain=[max(top - height, 0.0), top], nticks=4)
        traces.append(
            {"type": "scatter", "mode": "lines", "name": title, "x": compact(run.thermo.time_ps[::step], 5),
             "y": compact(getattr(run.thermo, key)[::step]), "line": {"color": STUDENT.color, "width": 1},
             "yaxis": f"y{suffix}", "hovertemplate": "%{x:.4g} ps: %{y:.5g}"}
        )  # fmt: skip
        target = {"temperature_K": run.temperature_K, "pressure_GPa": run.pressure_GPa}.get(key)
        if target is not None:
            layout["shapes"].append(
                {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": f"y{suffix}", "y0": target, "y1": target,
                 "line": {"color": QUIET, "width": 1.5, "dash": "dash"}}
            )  # fmt: skip
    layout["xaxis"] = axis("time (ps)", anchor=f"y{len(rows) if len(rows) > 1 else ''}")
    return Plot(
        "thermo",
        tuple(traces),
        layout,
        "The student's run in LAMMPS. After a short start every quantity should fluctuate about a constant; dashed "
        "lines are the temperature and pressure that were asked for.",
        "wide",
        "Thermodynamics of the run",
    )
