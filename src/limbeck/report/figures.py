"""Interactive figures of accuracy, speed and cost, as Plotly traces and layouts in plain values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.report.blocks import Plot, PlotGrid, format_number, in_words
from limbeck.report.schema import Evaluation, ForgeResults, FrontTarget, Quantity, StageCost
from limbeck.report.style import (
    FINE_TUNED,
    GOOD,
    INK,
    QUIET,
    STUDENT,
    Styles,
    axis,
    compact,
    line,
    mark,
    marker,
    plain,
    rule,
    thin,
    wrapped,
)

PARITY_POINTS = 1200
"""Points shown in one parity panel; what is left out stands in crowded places."""

UNBROKEN_SPACE = "\u00a0"

PARITY_TITLES = {
    "energy": ("Energy, less the mean of the reference", "energy", "meV/atom"),
    "force": ("Force components", "force component", "eV/Å"),
    "stress": ("Stress components", "stress component", "GPa"),
}

PARITY_READING = {
    "force": "Points on the diagonal are exact; a cloud that tilts or bends is a systematic error (a tilt: too soft or "
    "too stiff), a single point far off is a frame to look at. The shade deepens where points crowd; crowded places "
    "are thinned, points that stand alone are all there.",
    "energy": "One point a frame. A common shift of all points off the diagonal changes no force.",
    "stress": "Six components a frame. Points off the diagonal here become errors of volume and elastic constants.",
}

Tested = tuple[Evaluation, dict[str, np.ndarray]]
"""An evaluation and its points (see :func:`limbeck.report.schema.read_points`)."""


def parity(quantity: str, tested: Sequence[Tested], styles: Styles) -> PlotGrid | None:
    """Predicted against reference values, one square panel a potential with common axes.

    Args:
        quantity: ``energy``, ``force`` or ``stress``.
        tested: Evaluations on one set, with points.
        styles: Look of the potentials.

    Returns:
        The panels; ``None`` where no evaluation has points of this quantity.
    """
    with_points = [(e, p) for e, p in tested if f"{quantity}_reference" in p]
    if not with_points:
        return None
    title, axis_name, unit = PARITY_TITLES[quantity]
    shifts = [_shifts(quantity, points) for _, points in with_points]
    scale = 1000.0 if quantity == "energy" else 1.0
    values = scale * np.concatenate(
        [
            np.concatenate([p[f"{quantity}_reference"] - a, p[f"{quantity}_predicted"] - b])
            for (_, p), (a, b) in zip(with_points, shifts, strict=True)
        ]
    )
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    pad = 0.05 * max(high - low, 1e-9)
    limits = [low - pad, high + pad]
    panels: list[Plot] = []
    for (evaluation, points), (shift_reference, shift_predicted) in zip(with_points, shifts, strict=True):
        reference = scale * (points[f"{quantity}_reference"] - shift_reference)
        predicted = scale * (points[f"{quantity}_predicted"] - shift_predicted)
        shown, density = thin(reference, predicted, PARITY_POINTS)
        style = styles.of(evaluation.potential)
        note = _parity_note(evaluation, quantity, reference.size, shown.size)
        if quantity == "energy" and shift_predicted != shift_reference:
            note += f"<br>offset of {in_words(shift_predicted - shift_reference, None, 'eV/atom')} taken off"
        panels.append(
            Plot(
                id=f"parity-{quantity}-{len(panels)}",
                title=style.label,
                shape="square",
                data=(
                    {"type": "scatter", "mode": "lines", "x": limits, "y": limits, "hoverinfo": "skip",
                     "line": {"color": QUIET, "width": 1}},
                    {"type": "scatter", "mode": "markers", "x": compact(reference[shown], 5),
                     "y": compact(predicted[shown], 5), "name": plain(style.label),
                     "hovertemplate": f"reference %{{x:.4g}} {unit}<br>predicted %{{y:.4g}} {unit}<extra></extra>",
                     "marker": {"size": 4, "opacity": 0.8, "color": compact(np.log10(density), 3),
                                "colorscale": f"ramp({style.color})"}},
                ),
                layout={
                    "xaxis": axis(f"reference {axis_name} ({unit})", range=limits, constrain="domain", nticks=5),
                    "yaxis": axis(f"predicted ({unit})", range=limits, scaleanchor="x", constrain="domain", nticks=5),
                    "showlegend": False,
                    "margin": {"t": 8, "r": 8},
                    "annotations": [
                        {"xref": "paper", "yref": "paper", "x": 0.03, "y": 0.98, "xanchor": "left", "yanchor": "top",
                         "showarrow": False, "align": "left", "text": note}
                    ],
                },
            )
        )  # fmt: skip
    return PlotGrid(
        tuple(panels),
        f"{title}, predicted against reference ({unit}); the same axes in every panel. {PARITY_READING[quantity]}",
        title=title,
    )


def _shifts(quantity: str, points: dict[str, np.ndarray]) -> tuple[float, float]:
    """What is taken off reference and prediction before drawing: the mean energy, and a far offset of a zero-shot."""
    if quantity != "energy":
        return 0.0, 0.0
    reference, predicted = points["energy_reference"], points["energy_predicted"]
    mean, spread = float(np.nanmean(reference)), float(np.nanmax(reference) - np.nanmin(reference))
    offset = float(np.nanmean(predicted - reference))
    return mean, mean + offset if abs(offset) > max(spread, 0.05) else mean


def _parity_note(evaluation: Evaluation, quantity: str, n_points: int, n_shown: int) -> str:
    error = evaluation.errors.get(f"{quantity}_rmse")
    text = f"RMSE {in_words(error.value, error.standard_error, error.unit)}" if error else ""
    shown = "" if n_shown == n_points else f" ({format_number(n_shown)} shown)"
    return f"{plain(text)}<br>{format_number(n_points, 7)} values{shown}".removeprefix("<br>")


def error_distribution(tested: Sequence[Tested], styles: Styles) -> Plot | None:
    """Share of force components whose error is larger than x, on logarithmic axes."""
    traces: list[dict[str, Any]] = []
    for evaluation, points in tested:
        if "force_reference" not in points:
            continue
        errors = np.abs(points["force_predicted"] - points["force_reference"])
        errors = np.sort(errors[np.isfinite(errors) & (errors > 0)])
        if errors.size < 10:
            continue
        share = 1.0 - np.arange(errors.size) / errors.size
        pick = np.unique(np.geomspace(1, errors.size, 220).round().astype(int))
        index = np.unique(np.concatenate([pick - 1, errors.size - pick]))
        style = styles.of(evaluation.potential)
        traces.append(
            {"type": "scatter", "mode": "lines", "name": plain(style.label), "line": line(style),
             "x": compact(errors[index], 4), "y": compact(100 * share[index], 4),
             "hovertemplate": "%{y:.3g} % above %{x:.3g} eV/Å"}
        )  # fmt: skip
    if not traces:
        return None
    x_low = min(np.log10(next(v for v, s in zip(t["x"], t["y"], strict=True) if s < 97)) for t in traces)
    x_high = max(np.log10(t["x"][-1]) for t in traces)
    y_low = min(-0.1, *(np.log10(t["y"][-1]) for t in traces))
    decades: dict[str, Any] = {"dtick": 1, "minor": {"ticks": "outside"}}
    return Plot(
        "force-error-distribution",
        tuple(traces),
        {
            "xaxis": axis("error of a force component (eV/Å)", type="log", range=[x_low, x_high + 0.05]),
            "yaxis": axis("share with a larger error (%)", type="log", range=[y_low, 2.05], **decades),
            "shapes": [rule(y=1.0)],
            "annotations": [mark("worst 1 %", y=1.0, log_y=True)],
        },
        "Share of force components with an error above x. A curve further to the left is better everywhere; the "
        "crossing with the dashed line is the error that the worst 1 % exceed, which is where simulations fail first.",
        "half",
        "How errors are spread",
    )


def trajectory_errors(evaluations: Sequence[Evaluation], styles: Styles) -> Plot | None:
    """Force RMSE of every trajectory of the set, one row each."""
    traces = []
    for evaluation in evaluations:
        rows = [r for r in evaluation.by_trajectory if r.force_rmse is not None]
        if rows:
            style = styles.of(evaluation.potential)
            traces.append(
                {"type": "scatter", "mode": "markers", "name": plain(style.label), "marker": marker(style, 9),
                 "x": compact([r.force_rmse for r in rows]), "y": [wrapped(_conditions(r), 18) for r in rows],
                 "hovertemplate": "%{y}: %{x:.4g} eV/Å"}
            )  # fmt: skip
    if not traces:
        return None
    return Plot(
        "trajectory-errors",
        tuple(traces),
        {
            "xaxis": axis("force RMSE (eV/Å)", rangemode="tozero"),
            "yaxis": {"automargin": True, "autorange": "reversed", "type": "category"},
        },
        "Force error of each trajectory of the test set, none of which was trained on. Errors should grow only slowly "
        "with temperature and pressure; one row far to the right is a region that the training set does not cover.",
        "half",
        "By trajectory",
    )


def _conditions(row: object) -> str:
    parts = [getattr(row, "trajectory", "")]
    temperature, pressure = getattr(row, "temperature_K", None), getattr(row, "pressure_GPa", None)
    if temperature is not None:
        parts.append(f"{format_number(temperature)}{UNBROKEN_SPACE}K")
    if pressure is not None:
        parts.append(f"{format_number(pressure)}{UNBROKEN_SPACE}GPa")
    return f"{UNBROKEN_SPACE}· ".join(parts)


def front(results: ForgeResults, teacher_error: Quantity | None) -> Plot | None:
    """Accuracy against speed of all students and of their teacher, with the targets.

    Args:
        results: The records.
        teacher_error: Force RMSE of the fine-tuned teacher on the same labels, if known.

    Returns:
        The figure; ``None`` where no student has both numbers.
    """
    traces = []
    slow: list[Quantity] = []
    for number, s in enumerate(results.students):
        speed, error = s.microseconds_per_atom_step, s.errors_vs_labels.get("force_rmse")
        if speed is None or error is None or not speed.value or error.value is None:
            continue
        if s.speedup_over_teacher and s.speedup_over_teacher.value:
            slow.append(Quantity(value=speed.value * s.speedup_over_teacher.value))
        symbol = ("diamond", "square", "triangle-up", "pentagon", "star")[number % 5]
        traces.append(
            _front_point(s.name + (" (chosen)" if s.chosen else ""), speed, error, STUDENT.color, symbol, s.chosen)
        )
    if not traces:
        return None
    if slow and teacher_error is not None and teacher_error.value is not None:
        pace = Quantity(value=float(np.mean([q.value for q in slow if q.value is not None])))
        traces.append(_front_point("fine-tuned teacher", pace, teacher_error, FINE_TUNED.color, "circle", False))
    rightmost = max(traces, key=lambda t: t["x"][0])
    rightmost["textposition"] = "bottom left"
    target = results.front_target
    shapes, annotations = _good_corner(target), []
    if target and target.force_rmse_eV_per_A is not None:
        shapes.append(rule(y=target.force_rmse_eV_per_A))
        annotations.append(mark(f"error target {format_number(target.force_rmse_eV_per_A)} eV/Å",
                                 y=target.force_rmse_eV_per_A))  # fmt: skip
    if target and target.microseconds_per_atom_step is not None:
        shapes.append(rule(x=target.microseconds_per_atom_step))
        annotations.append(mark(f"speed target {format_number(target.microseconds_per_atom_step)} µs",
                                 x=target.microseconds_per_atom_step, log_x=True))  # fmt: skip
    return Plot(
        "front",
        tuple(traces),
        {
            "xaxis": axis(
                "time per atom and step, one core (µs)",
                type="log",
                dtick=1,
                minor={"ticks": "outside"},
                exponentformat="none",
                separatethousands=True,
                range=_log_range(traces),
            ),
            "yaxis": axis("force RMSE against labels (eV/Å)", range=[0, _top(traces, target)]),
            "shapes": shapes,
            "annotations": annotations,
        },
        "Error against cost: the lower left corner is best. Of the students left of and below the dashed targets the "
        "fastest is chosen; what it loses in accuracy is its height above the teacher. Bars: one standard error.",
        "wide",
        "Accuracy against speed",
    )


def _log_range(traces: Sequence[dict[str, Any]]) -> list[float]:
    """Exponents of a range that leaves room for the names beside the points."""
    speeds = [t["x"][0] for t in traces]
    return [float(np.log10(min(speeds) / 2.5)), float(np.log10(max(speeds) * 2.5))]


def _top(traces: Sequence[dict[str, Any]], target: FrontTarget | None) -> float:
    limit = target.force_rmse_eV_per_A if target is not None else None
    return 1.12 * max([t["y"][0] + t["error_y"]["array"][0] for t in traces] + ([limit] if limit is not None else []))


def _good_corner(target: FrontTarget | None) -> list[dict[str, Any]]:
    """Tinted part of the plot where the targets are met."""
    if target is None or target.force_rmse_eV_per_A is None:
        return []
    x = {"xref": "paper", "x0": 0, "x1": 1}
    if target.microseconds_per_atom_step is not None:
        # Shapes on logarithmic axes are placed by value; one thousandth of a microsecond lies left of every student.
        x = {"xref": "x", "x0": 1e-3, "x1": target.microseconds_per_atom_step}
    return [
        {"type": "rect", **x, "y0": 0, "y1": target.force_rmse_eV_per_A, "fillcolor": GOOD, "opacity": 0.08,
         "line": {"width": 0}, "layer": "below"}
    ]  # fmt: skip


def _front_point(name: str, speed: Quantity, error: Quantity, color: str, symbol: str, ringed: bool) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers+text", "name": plain(name), "x": [speed.value], "y": [error.value],
        "text": [plain(name)], "textposition": "bottom right", "cliponaxis": False, "showlegend": False,
        "error_x": {"type": "data", "array": [speed.standard_error or 0], "color": color, "thickness": 1.2},
        "error_y": {"type": "data", "array": [error.standard_error or 0], "color": color, "thickness": 1.2},
        "marker": {"color": color, "symbol": symbol, "size": 14 if ringed else 11,
                   "line": {"color": INK if ringed else color, "width": 2 if ringed else 1}},
        "hovertemplate": "%{x:.4g} µs per atom and step<br>%{y:.4g} eV/Å",
    }  # fmt: skip


def cost(stages: Sequence[StageCost]) -> Plot | None:
    """CPU and wall seconds by stage."""
    if not any(s.cpu_s is not None or s.wall_s is not None for s in stages):
        return None
    names = [plain(s.stage) for s in stages]
    return Plot(
        "cost",
        (
            {"type": "bar", "orientation": "h", "name": "CPU", "y": names, "x": [s.cpu_s for s in stages],
             "marker": {"color": FINE_TUNED.color}, "hovertemplate": "%{x:.3g} CPU s"},
            {"type": "bar", "orientation": "h", "name": "wall clock", "y": names, "x": [s.wall_s for s in stages],
             "marker": {"color": QUIET}, "hovertemplate": "%{x:.3g} s"},
        ),
        {
            "xaxis": axis("seconds", rangemode="tozero"),
            "yaxis": {"automargin": True, "autorange": "reversed", "type": "category"},
            "barmode": "group",
        },
        "Processor and wall-clock time of each stage. CPU beyond wall clock is work done side by side.",
        "wide",
        "Where the time went",
    )  # fmt: skip
