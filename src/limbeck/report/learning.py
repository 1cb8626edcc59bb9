"""Interactive figures of the fine-tuning loop: learning curve, training, selection, filter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.report.blocks import Plot, format_number
from limbeck.report.schema import ForgeResults, GateCheck, Iteration, LearningPoint, Quantity
from limbeck.report.style import (
    FINE_TUNED,
    INK,
    REFERENCE,
    STUDENT,
    ZERO_SHOT,
    axis,
    compact,
    line,
    mark,
    marker,
    plain,
    rule,
    wrapped,
)


def learning_curve(
    points: Sequence[LearningPoint], results: ForgeResults, zero_shot: Quantity | None = None
) -> Plot | None:
    """Force RMSE on the test labels against the number of labels trained on.

    Args:
        points: Learning curves of ways of selection, with the spread over seeds; may be empty.
        results: The run, whose iterations make a curve of their own.
        zero_shot: Force RMSE of the universal teacher: the error with no label at all.

    Returns:
        The figure; on linear axes from zero labels on where only the run itself is shown. ``None`` where there are
        fewer than two points.
    """
    traces = _by_selection(points)
    compared = bool(traces)
    own = [(i.n_train + i.n_validation, f) for i in results.iterations if (f := _gate_force(i)) is not None]
    if zero_shot is not None and not compared:
        own = [(0, zero_shot), *own]
    if own:
        traces.append(
            {"type": "scatter", "mode": "lines+markers", "x": [n for n, _ in own],
             "y": compact([f.value for _, f in own]), "name": "this run, by iteration",
             "line": {"color": INK, "width": 1, "dash": "dot"},
             "error_y": {"type": "data", "array": compact([f.standard_error or 0.0 for _, f in own]), "color": INK,
                         "thickness": 1.2},
             "marker": {"color": INK, "symbol": "cross-thin-open" if compared else "circle", "size": 11},
             "hovertemplate": "%{x} labels: %{y:.4g} eV/Å"}
        )  # fmt: skip
    if sum(len(t["x"]) for t in traces) < 2:
        return None
    ticks = sorted({n for t in traces for n in t["x"]})
    notes, shapes = [], []
    if zero_shot is not None and zero_shot.value is not None:
        if compared:
            shapes.append(rule(y=zero_shot.value))
            notes.append(mark("zero-shot", y=zero_shot.value, log_y=True, right=True))
        else:
            notes.append(_beside(0, zero_shot.value, "zero-shot"))
    if not compared:
        done = [i for i in results.iterations if _gate_force(i) is not None]
        notes += [
            _beside(n, f.value, f"iteration {i.index}", left=n > 0.6 * ticks[-1])
            for i, (n, f) in zip(done, own[-len(done) :], strict=False)
        ]
    limit = _force_limit(results.iterations)
    if limit is not None:
        shapes.append(rule(y=limit))
        notes.append(mark(f"gate {format_number(limit)} eV/Å", y=limit, log_y=compared))
    caption = (
        "Error on the test labels against the number of labels that the teacher was fine-tuned on (training and "
        "validation). "
    )
    if compared:
        caption += (
            "Logarithmic axes: the horizontal distance between two curves is what a better selection saves. Bars: "
            "standard error of the mean over seeds; of this run, over trajectories."
        )
    else:
        caption += "Bars: one standard error over trajectories. A curve that still falls wants more labels."
    kind: dict[str, Any] = {"type": "log", "tickvals": _sparse(ticks)} if compared else {"tickvals": ticks}
    room = {} if compared else {"range": [-0.08 * ticks[-1], 1.12 * ticks[-1]]}
    return Plot(
        "learning-curve",
        tuple(traces),
        {
            "xaxis": axis("labels used for fine-tuning", **kind, **room),
            "yaxis": axis(
                "force RMSE (eV/Å)", **({"type": "log", "nticks": 6} if compared else {"rangemode": "tozero"})
            ),
            "shapes": shapes,
            "annotations": notes,
        },
        caption,
        "half",
        "Learning curve",
    )


def _by_selection(points: Sequence[LearningPoint]) -> list[dict[str, Any]]:
    """One trace a way of selection: mean over seeds with its standard error."""
    looks = {"entropy": FINE_TUNED, "information_entropy": FINE_TUNED, "random": ZERO_SHOT}
    fallback = [STUDENT, REFERENCE]
    traces: list[dict[str, Any]] = []
    for selection in dict.fromkeys(p.selection for p in points):
        style = looks.get(selection) or fallback[len(traces) % 2]
        by_labels: dict[int, list[float]] = {}
        for p in points:
            if p.selection == selection and p.force_rmse_eV_per_A is not None:
                by_labels.setdefault(p.labels, []).append(p.force_rmse_eV_per_A)
        if not by_labels:
            continue
        labels = sorted(by_labels)
        means = [float(np.mean(by_labels[n])) for n in labels]
        errors = [
            float(np.std(v, ddof=1) / np.sqrt(len(v))) if len(v) > 1 else 0.0 for v in (by_labels[n] for n in labels)
        ]
        seeds = max(len(v) for v in by_labels.values())
        traces.append(
            {"type": "scatter", "mode": "lines+markers", "x": labels, "y": compact(means), "line": line(style),
             "marker": marker(style), "name": plain(f"{selection.replace('_', ' ')} selection, {seeds} seed(s)"),
             "error_y": {"type": "data", "array": compact(errors), "color": style.color, "thickness": 1.2},
             "hovertemplate": "%{x} labels: %{y:.4g} eV/Å"}
        )  # fmt: skip
    return traces


def _beside(x: float, y: float | None, text: str, left: bool = False) -> dict[str, Any]:
    """Text above a point on its right, or below it on its left: clear of a falling curve either way."""
    side = {"xanchor": "right", "yanchor": "top", "xshift": -6} if left else {"xanchor": "left", "yanchor": "bottom"}
    return {"x": x, "y": y, "text": text, "showarrow": False, "xshift": 6, **side}


def _force_check(iteration: Iteration) -> GateCheck | None:
    """The gate's check of the force error on the test set."""
    checks = iteration.gate.checks if iteration.gate else ()
    return next((c for c in checks if c.name == "force"), None)


def _gate_force(iteration: Iteration) -> Quantity | None:
    check = _force_check(iteration)
    if check is None or check.value is None:
        return None
    return Quantity(value=check.value, standard_error=check.standard_error)


def _force_limit(iterations: Sequence[Iteration]) -> float | None:
    return next((c.limit for i in reversed(iterations) if (c := _force_check(i)) is not None), None)


def _sparse(ticks: list[int], ratio: float = 1.35) -> list[int]:
    kept: list[int] = []
    for tick in reversed(ticks):
        if tick > 0 and (not kept or kept[-1] >= ratio * tick):
            kept.append(tick)
    return kept[::-1]


def training_history(iterations: Sequence[Iteration]) -> Plot | None:
    """Training and validation errors (or losses) by epoch, iterations one after the other."""
    rows = [(i.index, r) for i in iterations for r in i.history]
    keys = [k for k in dict.fromkeys(k for _, r in rows for k in r) if k != "epoch"]
    known = [k for k in keys if any(r.get(k) is not None for _, r in rows)]
    chosen = [k for k in known if "force" in k.lower()] or [k for k in known if "loss" in k.lower()]
    if not chosen:
        return None
    traces, starts, offset = [], [], 0.0
    xs: dict[str, list[float]] = {k: [] for k in chosen}
    ys: dict[str, list[float | None]] = {k: [] for k in chosen}
    for iteration in iterations:
        if not iteration.history:
            continue
        starts.append((offset, iteration.index))
        for number, row in enumerate(iteration.history):
            epoch = row.get("epoch")
            for key in chosen:
                xs[key].append(offset + (float(epoch) if epoch is not None else number))
                ys[key].append(row.get(key))
        last = iteration.history[-1].get("epoch")
        offset += (float(last) if last is not None else len(iteration.history)) + 1
        for key in chosen:
            xs[key].append(offset)
            ys[key].append(None)
    for key, style in zip(chosen, [FINE_TUNED, ZERO_SHOT, STUDENT, REFERENCE] * len(chosen), strict=False):
        traces.append(
            {"type": "scatter", "mode": "lines", "name": plain(_words(key)), "line": line(style), "x": xs[key],
             "y": compact(ys[key]), "connectgaps": False}
        )  # fmt: skip
    return Plot(
        "training-history",
        tuple(traces),
        {
            "showlegend": True,
            "xaxis": axis("epoch, all iterations one after the other" if len(starts) > 1 else "epoch"),
            "yaxis": axis("error (eV/Å)" if "force" in chosen[0].lower() else "loss", type="log", nticks=6),
            "shapes": [rule(x=x) for x, _ in starts[1:]],
            "annotations": [mark(f"iteration {index}", x=x) for x, index in starts if len(starts) > 1],
        },
        _training_caption(chosen, len(starts), sum(1 for _, row in rows if row.get("damping") is not None)),
        "half",
        "Training",
    )


def _training_caption(keys: Sequence[str], n_iterations: int, n_steps: int) -> str:
    text = "Training error by epoch" + ("; dashed lines part the iterations." if n_iterations > 1 else ".")
    if n_steps:
        last = "point is a Gauss-Newton step" if n_steps == n_iterations else "points are Gauss-Newton steps"
        text += f" The last {last} on all labels at once" + (", in each iteration." if n_iterations > 1 else ".")
    if any("validation" in key for key in keys):
        return text.replace("Training error", "Training and validation error") + (
            " The two should fall together: a validation curve that turns up while training goes on falling is "
            "over-fitting."
        )
    return text + " There was no validation set; over-fitting would show in the test error of the learning curve."


def _words(key: str) -> str:
    for unit in ("_eV_per_A", "_meV_per_atom", "_GPa"):
        key = key.replace(unit, "")
    return key.replace("_", " ")


def selection_gains(iterations: Sequence[Iteration]) -> Plot | None:
    """Information gained by every frame in the order of selection."""
    traces = []
    looks = [FINE_TUNED, STUDENT, ZERO_SHOT, REFERENCE]
    for number, iteration in enumerate(i for i in iterations if i.selection_gains):
        style = looks[number % len(looks)]
        gains = iteration.selection_gains
        traces.append(
            {"type": "scatter", "mode": "lines+markers", "name": f"iteration {iteration.index}", "line": line(style),
             "marker": marker(style, 6), "x": list(range(1, len(gains) + 1)), "y": compact(gains, 4)}
        )  # fmt: skip
    if not traces:
        return None
    return Plot(
        "selection-gains",
        tuple(traces),
        {"xaxis": axis("order of selection", rangemode="tozero"), "yaxis": axis("gain of the frame (nat)")},
        "How much each chosen frame added to the information in the training set when it was picked. The curve falls; "
        "where it is flat and low, further frames would have told nothing new.",
        "half",
        "What each selected frame added",
    )


def filter_reasons(iterations: Sequence[Iteration]) -> Plot | None:
    """Candidates that were dropped before selection, by reason and iteration."""
    reasons = list(dict.fromkeys(r for i in iterations for r in i.filter_reasons))
    if not reasons:
        return None
    looks = [FINE_TUNED, STUDENT, ZERO_SHOT, REFERENCE]
    traces = [
        {"type": "bar", "orientation": "h", "name": f"iteration {i.index}", "y": [wrapped(r, 22) for r in reasons],
         "x": [i.filter_reasons.get(r, 0) for r in reasons], "marker": {"color": looks[n % 4].color}}
        for n, i in enumerate(iterations)
    ]  # fmt: skip
    return Plot(
        "filter-reasons",
        tuple(traces),
        {
            "barmode": "stack",
            "legend": {"traceorder": "normal"},
            "xaxis": axis("candidate frames dropped", rangemode="tozero"),
            "yaxis": {"automargin": True, "autorange": "reversed", "type": "category"},
        },
        "Frames of the exploration that were dropped before selection, by reason. Many dropped frames in the last "
        "iteration would mean that the teacher still runs into unphysical structures.",
        "half",
        "Filtered out",
    )
