"""Figures of a diffusion analysis for print: mean square displacements and Arrhenius plots, PDF and PNG."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.report.print_figures import COLUMN_INCH, FOLDER, print_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRINT_COLORS = ("#0072b2", "#009e73", "#d55e00", "#aa4499", "#b8860b", "#56b4e9")
MARKERS = ("o", "D", "s", "^", "v", "*")


def write_print_figures(folder: Path, results: dict[str, Any]) -> tuple[Path, ...]:
    """Write ``figures/msd`` and ``figures/arrhenius-NAME``.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    written: list[Path] = []
    with print_style():
        written += save_figure(_msd(results["runs"]), folder / FOLDER, "msd")
        for name, law in results["laws"].items():
            written += save_figure(_law(law), folder / FOLDER, f"arrhenius-{name}")
    return tuple(written)


def _new() -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN_INCH, 0.8 * COLUMN_INCH), layout="constrained")
    return figure, figure.add_subplot()


def _msd(runs: list[dict[str, Any]]) -> "Figure":
    figure, axes = _new()
    for number, run in enumerate(runs):
        color = PRINT_COLORS[number % len(PRINT_COLORS)]
        for symbol, found in run["species"].items():
            curve = found["curves"]
            times, msd, line = (np.array(curve[k], dtype=float) for k in ("times_fs", "msd", "line"))
            first, last = found["window_fs"]
            shown, inside = times <= 4 * last, (times >= 0.999 * first) & (times <= 1.001 * last)
            temperature = run["temperature_K"]
            label = symbol if temperature is None else f"{symbol}, {temperature:g} K"
            marker = MARKERS[number // len(PRINT_COLORS) % len(MARKERS)]
            axes.loglog(times[shown] / 1e3, msd[shown], marker, color=color, ms=2, mew=0, label=label)
            axes.loglog(times[inside] / 1e3, line[inside], "-", color=color, lw=1)
    axes.set_xlabel("lag (ps)")
    axes.set_ylabel("mean square displacement (Å$^2$)")
    if len(runs) <= len(PRINT_COLORS):
        axes.legend()
    return figure


def _law(law: dict[str, Any]) -> "Figure":
    figure, axes = _new()
    x = 1000 / np.array([p["temperature_K"] for p in law["line"]])
    low, high = (np.array([p["interval_95"][k] for p in law["line"]], dtype=float) for k in (0, 1))
    axes.fill_between(x, low, high, color="0.85", lw=0)
    axes.semilogy(x, [p["value"] for p in law["line"]], "k-", lw=1)
    values = np.array([p["value"] for p in law["points"]])
    ends = np.array([[np.nan if e is None else e for e in p["interval_95"]] for p in law["points"]], dtype=float)
    axes.errorbar(
        1000 / np.array([p["temperature_K"] for p in law["points"]]), values,
        yerr=[np.nan_to_num(values - ends[:, 0]), np.nan_to_num(ends[:, 1] - values)], fmt="o", color=PRINT_COLORS[0],
        ms=3, capsize=2, lw=0.8,
    )  # fmt: skip
    axes.set_xlabel("1000 K / T")
    axes.set_ylabel(f"{law['quantity']} ({law['unit'].replace('^2', '$^2$')})")
    return figure
