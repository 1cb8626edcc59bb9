"""Figures for print, beside the report: PDF (vector) and PNG of parity, front and phonons, in one column's width."""

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.core.errors import MissingDependencyError
from limbeck.core.record import write_bytes
from limbeck.report.blocks import in_words
from limbeck.report.curves import GAMMA
from limbeck.report.figures import PARITY_TITLES, Tested
from limbeck.report.schema import ForgeResults, PhononBands
from limbeck.report.style import FINE_TUNED, REFERENCE, STUDENT, Styles, thin
from limbeck.report.verdict import error_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "figures"
COLUMN_INCH = 3.4
SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.frameon": False,
    "legend.fontsize": 7,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": "--",
    "dot": ":",
    "dashdot": "-.",
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 2, 3)),
}
POINTS = 4000


def write_print_figures(
    folder: Path, results: ForgeResults, tested: Sequence[Tested], styles: Styles
) -> tuple[Path, ...]:
    """Write what there is data for into ``figures/``.

    Args:
        folder: The run folder.
        results: The records.
        tested: Evaluations of one set with their points.
        styles: Look of the potentials.

    Returns:
        The files.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    drawings: list[tuple[str, Callable[[], Figure | None]]] = [
        ("parity", lambda: _parity(tested, styles)),
        ("front", lambda: _front(results)),
        ("phonons", lambda: _phonons(results.curves.phonons, styles)),
    ]
    written: list[Path] = []
    with print_style():
        for name, draw in drawings:
            figure = draw()
            if figure is None:
                continue
            written += save_figure(figure, Path(folder) / FOLDER, name)
    return tuple(written)


def print_style() -> "AbstractContextManager[None]":
    """Settings of all figures for print.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingDependencyError(
            "figures for print need matplotlib, which is not installed: pip install 'matplotlib>=3.10'"
        ) from error
    return rc_context(SETTINGS)


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and PNG; the same figure gives the same bytes."""
    written = []
    for ending in ("pdf", "png"):
        path = folder / f"{name}.{ending}"
        stream = io.BytesIO()
        # No creation date: the same results give the same bytes.
        figure.savefig(stream, format=ending, metadata={"CreationDate": None} if ending == "pdf" else None)
        figure.set_layout_engine("none")  # settled by the first drawing
        write_bytes(path, stream.getvalue())
        written.append(path)
    return written


def _new(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple["Figure", np.ndarray]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _parity(tested: Sequence[Tested], styles: Styles) -> "Figure | None":
    """One panel a quantity with all potentials, the last drawn on top; errors stand in the empty corner."""
    quantities = [q for q in ("energy", "force", "stress") if any(f"{q}_reference" in p for _, p in tested)]
    if not quantities:
        return None
    figure, grid = _new(2.1 * len(quantities), 2.4, 1, len(quantities))
    for ax, quantity in zip(grid[0], quantities, strict=True):
        _parity_panel(ax, quantity, tested, styles)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), markerscale=4, handletextpad=0.2)
    return figure


def _parity_panel(ax: "Axes", quantity: str, tested: Sequence[Tested], styles: Styles) -> None:
    unit = PARITY_TITLES[quantity][2]
    values: list[np.ndarray] = []
    for row, (evaluation, _) in enumerate(reversed(tested)):
        error = evaluation.errors.get(f"{quantity}_rmse")
        if error is not None:
            text = in_words(error.value, error.standard_error, "" if error.unit == unit else error.unit)
            ax.text(0.97, 0.03 + 0.08 * row, text, color=styles.of(evaluation.potential).print_color,
                    transform=ax.transAxes, ha="right", fontsize=6.5)  # fmt: skip
    for evaluation, points in tested:
        if f"{quantity}_reference" not in points:
            continue
        x, y = points[f"{quantity}_reference"], points[f"{quantity}_predicted"]
        if quantity == "energy":
            # Each less its own mean: a far offset of a zero-shot teacher would hide all else.
            x, y = 1000 * (x - np.nanmean(x)), 1000 * (y - np.nanmean(y))
        shown, _ = thin(x, y, POINTS)
        style = styles.of(evaluation.potential)
        ax.plot(x[shown], y[shown], ".", ms=1.5, color=style.print_color, label=style.label, rasterized=True)
        values += [x[shown], y[shown]]
    low, high = float(np.min(np.concatenate(values))), float(np.max(np.concatenate(values)))
    pad = 0.05 * max(high - low, 1e-9)
    ax.axline((low, low), slope=1, color="0.5", lw=0.6, zorder=0)
    ax.set(
        xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal",
        xlabel=f"reference {quantity} ({unit})", ylabel=f"predicted ({unit})",
    )  # fmt: skip
    ax.locator_params(nbins=5)


def _front(results: ForgeResults) -> "Figure | None":
    rows = [
        (s, s.microseconds_per_atom_step, s.errors_vs_labels["force_rmse"])
        for s in results.students
        if s.microseconds_per_atom_step is not None and "force_rmse" in s.errors_vs_labels
    ]
    rows = [(s, t, e) for s, t, e in rows if t.value and e.value is not None]
    if not rows:
        return None
    figure, grid = _new(COLUMN_INCH, 2.6)
    ax = grid[0][0]
    for number, (student, speed, error) in enumerate(rows):
        ax.errorbar(
            speed.value, error.value, xerr=speed.standard_error, yerr=error.standard_error,
            marker="Dsv^p"[number % 5], ms=6, color=STUDENT.print_color,
            mec=REFERENCE.print_color if student.chosen else None,
        )  # fmt: skip
        ax.annotate(student.name, (speed.value, error.value), xytext=(6, -9), textcoords="offset points")
    teacher = error_of(results, "fine_tuned", "force_rmse")
    gains = [(t.value or 0) * s.speedup_over_teacher.value for s, t, _ in rows
             if s.speedup_over_teacher and s.speedup_over_teacher.value]  # fmt: skip
    if teacher is not None and teacher.value is not None and gains:
        pace = float(np.mean(gains))
        ax.errorbar(pace, teacher.value, yerr=teacher.standard_error, marker="o", color=FINE_TUNED.print_color, ms=6)
        ax.annotate("teacher", (pace, teacher.value), xytext=(-6, -9), textcoords="offset points", ha="right")
    target = results.front_target
    if target is not None and target.force_rmse_eV_per_A is not None:
        ax.axhline(target.force_rmse_eV_per_A, color="0.5", lw=0.6, ls="--", zorder=0)
    if target is not None and target.microseconds_per_atom_step is not None:
        ax.axvline(target.microseconds_per_atom_step, color="0.5", lw=0.6, ls="--", zorder=0)
    ax.set(xscale="log", xlabel="time per atom and step, one core (µs)", ylabel="force RMSE (eV/Å)")
    ax.set_ylim(bottom=0, top=1.2 * ax.get_ylim()[1])
    ax.margins(x=0.15)
    return figure


def _phonons(curves: Sequence[PhononBands], styles: Styles) -> "Figure | None":
    if not curves:
        return None
    figure, grid = _new(COLUMN_INCH, 2.6)
    ax = grid[0][0]
    for curve in curves:
        style = styles.of(curve.potential)
        bands = np.array(curve.frequencies_THz, dtype=float).T
        lines = ax.plot(curve.distance, bands, color=style.print_color, ls=DASHES[style.dash], lw=1.0)
        if lines:
            lines[0].set_label(style.label)
    ticked = next((c for c in curves if c.ticks), curves[0])
    for tick in ticked.ticks:
        ax.axvline(tick, color="0.8", lw=0.5, zorder=0)
    ax.axhline(0, color="0.5", lw=0.5, zorder=0)
    ax.set(ylabel="frequency (THz)", xticks=ticked.ticks, xlim=(0, max(c.distance[-1] for c in curves)))
    ax.set_xticklabels([GAMMA.get(t, t).replace("$", "\\$") for t in ticked.tick_labels])
    figure.legend(loc="outside upper center", ncols=3)
    return figure
