"""The report of a diffusion analysis: page, numbers, a table for a paper, figures for print."""

from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.record import write_json, write_text
from limbeck.report.blocks import (
    Card,
    Cell,
    Facts,
    Note,
    Plot,
    Report,
    Section,
    Table,
    format_estimate,
    format_number,
    format_unit,
)
from limbeck.report.diffusion_print import write_print_figures
from limbeck.report.diffusion_tables import end_text, latex, markdown, metrics, short_name, table
from limbeck.report.document import render_html
from limbeck.report.style import INK, QUIET, axis, compact, plain, rule

REPORT_FILE, METRICS_FILE, TABLE_FILE, LATEX_FILE = "report.html", "metrics.json", "table.md", "table.tex"
MOST_TABLE_WARNINGS = 12
COLORS = (
    "var(--fine-tuned)",
    "var(--student)",
    "var(--zero-shot)",
    "var(--extra-1)",
    "var(--extra-2)",
    "var(--extra-3)",
)
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star")


def write_report(folder: Path, results: dict[str, Any]) -> Path:
    """Write ``report.html``, ``metrics.json``, ``table.md``, ``table.tex`` and ``figures/``; returns the page's path.

    Args:
        folder: Where they go.
        results: What :func:`limbeck.workflows.diffusion.run.run_diffusion` returns.
    """
    write_json(folder / METRICS_FILE, metrics(results))
    header, rows = table(results)
    write_text(folder / TABLE_FILE, markdown(header, rows))
    write_text(folder / LATEX_FILE, latex(header, rows))
    write_print_figures(folder, results)
    write_text(folder / REPORT_FILE, render_html(assemble(results)))
    return folder / REPORT_FILE


def assemble(results: dict[str, Any]) -> Report:
    """The page from the results."""
    runs = results["runs"]
    warnings = [
        f"{short_name(run, number, runs)}: {text}"
        for number, run in enumerate(runs)
        for text in [*run["warnings"], *(w for s in run["species"].values() for w in s["warnings"]),
                     *run.get("charge_warnings", [])]
    ]  # fmt: skip
    warnings += [f"{law['quantity']}: {text}" for law in results["laws"].values() for text in law["warnings"]]
    diffusive = all(s["is_diffusive"] for run in runs for s in run["species"].values())
    first = runs[0]
    verdict = (
        "Displacements of all runs are diffusive within the windows used, and nothing odd was seen."
        if diffusive and not warnings
        else f"To know before a number is used: {len(warnings)} warning{'s' if len(warnings) > 1 else ''} below."
        if diffusive
        else "At least one run is not diffusive within its window: its number is no diffusion coefficient."
    )
    header, rows = table(results)
    sections = [
        Section(
            "results", "Results", "",
            (Table("Values with one standard error, and 95 % intervals.", tuple(header),
                   tuple(tuple(Cell(text, numeric=k > 1) for k, text in enumerate(row)) for row in rows)),
             *_warning_table(warnings)),
        ),
        Section("displacements", "Mean square displacements", "", tuple(_displacement_plots(runs))),
    ]  # fmt: skip
    if results["laws"]:
        sections.append(Section("temperature", "Temperature", "", tuple(_law_blocks(results["laws"]))))
    sections.append(Section("behind", "What is behind the numbers", "", tuple(_behind(runs))))
    sections.append(Section("method", "Method", "", tuple(_method(results))))
    return Report(
        title=results["title"],
        subtitle=f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {', '.join(first['species'])}",
        verdict=verdict,
        verdict_tone="bad" if not diffusive else "good" if not warnings else "quiet",
        verdict_word="not diffusive" if not diffusive else "diffusive",
        cards=tuple(_cards(results)),
        sections=tuple(sections),
        facts=(("command", results["command"]), ("limbeck", results["version"])),
    )


def _cards(results: dict[str, Any]) -> list[Card]:
    cards = []
    if len(results["runs"]) == 1:
        run = results["runs"][0]
        for symbol, found in run["species"].items():
            cards.append(_card(f"D of {symbol}", found["diffusion"]))
        if "conductivity" in run:
            cards += [_card("conductivity", run["conductivity"]), _card("Haven ratio", run["haven_ratio"])]
    for law in results["laws"].values():
        cards.append(_card(f"activation energy, {law['quantity']}", law["energy"]))
        for at in law["at"]:
            cards.append(_card(f"{law['quantity']} at {at['temperature_K']:g} K", at, "extrapolated, if the law holds"))
    return cards


def _card(label: str, row: dict[str, Any], note: str = "") -> Card:
    value, error = format_estimate(row["value"], row["standard_error"])
    low, high = (end_text(end) for end in row["interval_95"])
    interval = f"95 %: {low} to {high}"
    return Card(label, value, error, format_unit(row["unit"]), f"{interval}; {note}" if note else interval)


def _warning_table(warnings: list[str]) -> list[Table]:
    if not warnings:
        return []
    rows = tuple((Cell(text),) for text in warnings)
    return [Table("Warnings", ("what to know",), rows, folded=len(warnings) > MOST_TABLE_WARNINGS)]


def _displacement_plots(runs: list[dict[str, Any]]) -> list[Plot | Note]:
    """Mean square displacement with its line, log-log, of ions and of the charge."""
    ions: list[dict[str, Any]] = []
    charge: list[dict[str, Any]] = []
    for number, run in enumerate(runs):
        color, symbol = COLORS[number % len(COLORS)], SYMBOLS[number // len(COLORS) % len(SYMBOLS)]
        name = short_name(run, number, runs)
        for line, (species, found) in enumerate(run["species"].items()):
            own = COLORS[(number + line) % len(COLORS)] if len(runs) == 1 else color
            marker = SYMBOLS[(SYMBOLS.index(symbol) + line) % len(SYMBOLS)]
            ions += _msd_traces(f"{name}, {species}", found["curves"], found["window_fs"], own, marker)
        if "charge_curves" in run:
            charge += _msd_traces(name, run["charge_curves"], run["charge_window_fs"], color, symbol)
    axes = {"xaxis": axis("lag (ps)", type="log"), "legend": {"orientation": "v"}}
    plots: list[Plot | Note] = [
        Plot("msd", tuple(ions), axes | {"yaxis": axis("mean square displacement (Å²)", type="log")},
             "Points: time-averaged mean square displacement. Line: the fit, drawn over its window. A slope of one is "
             "diffusion; a plateau at short lags is vibration, which the fit takes as a constant, so that the slope "
             "over the window may be below one for diffusing ions.", "wide", "Ions")
    ]  # fmt: skip
    if charge:
        plots.append(
            Plot("charge", tuple(charge), axes | {"yaxis": axis("of the charge (e² Å²)", type="log")},
                 "The same of the sum of charge times position: one coordinate, with the scatter of one particle.",
                 "wide", "Charge")
        )  # fmt: skip
    return plots


def _msd_traces(
    name: str, curve: dict[str, Any], window_fs: list[float], color: str, symbol: str
) -> list[dict[str, Any]]:
    times, msd, fitted = (np.array(curve[key], dtype=float) for key in ("times_fs", "msd", "line"))
    inside = (times >= window_fs[0] * 0.999) & (times <= window_fs[1] * 1.001) & (fitted > 0)
    shown = times <= 4 * window_fs[1]
    return [
        {"type": "scatter", "mode": "markers", "name": plain(name),
         "marker": {"color": color, "symbol": symbol, "size": 5},
         "x": compact(times[shown] / 1e3), "y": compact(msd[shown]), "hovertemplate": "%{x:.4g} ps: %{y:.4g}"},
        {"type": "scatter", "mode": "lines", "showlegend": False, "line": {"color": color, "width": 2},
         "x": compact(times[inside] / 1e3), "y": compact(fitted[inside]), "hoverinfo": "skip"},
    ]  # fmt: skip


def _law_blocks(laws: dict[str, Any]) -> list[Plot | Table | Note]:
    blocks: list[Plot | Table | Note] = []
    for name, law in laws.items():
        points, line = law["points"], law["line"]
        x = [1000 / p["temperature_K"] for p in points]
        ends = np.array([[np.nan if e is None else e for e in p["interval_95"]] for p in points], dtype=float)
        values = np.array([p["value"] for p in points])
        band_x = compact([1000 / p["temperature_K"] for p in line])
        low, high = (compact([p["interval_95"][k] for p in line]) for k in (0, 1))
        traces = (
            {"type": "scatter", "mode": "lines", "x": band_x, "y": low, "line": {"width": 0, "color": QUIET},
             "hoverinfo": "skip", "showlegend": False},
            {"type": "scatter", "mode": "lines", "x": band_x, "y": high, "line": {"width": 0, "color": QUIET},
             "fill": "tonexty", "fillcolor": "rgba(128,128,128,0.2)", "name": "95 %", "hoverinfo": "skip"},
            {"type": "scatter", "mode": "lines", "x": band_x, "y": compact([p["value"] for p in line]),
             "line": {"color": INK, "width": 1.5}, "name": "Arrhenius law", "hovertemplate": "%{y:.4g}"},
            {"type": "scatter", "mode": "markers", "x": compact(x), "y": compact(values), "name": "runs",
             "marker": {"color": COLORS[0], "size": 8},
             "error_y": {"type": "data", "symmetric": False, "array": compact(ends[:, 1] - values),
                         "arrayminus": compact(values - ends[:, 0])},
             "hovertemplate": "1000 K / T = %{x:.4g}: %{y:.4g}"},
        )  # fmt: skip
        unit = format_unit(law["unit"])
        blocks.append(
            Plot(f"law-{name}", traces,
                 {"xaxis": axis("1000 K / T"),
                  "yaxis": axis(f"{law['quantity']} ({unit})", type="log", exponentformat="power"),
                  "shapes": [rule(x=1000 / at["temperature_K"]) for at in law["at"]]},
                 "Bars and band are 95 % intervals. At the dashed line nothing was measured: the band assumes that one "
                 "law holds all the way.", "half", law["quantity"])
        )  # fmt: skip
    rows = []
    for law in laws.values():
        vtf = law.get("vtf")
        value, error = format_estimate(law["energy"]["value"], law["energy"]["standard_error"])
        rows.append((
            Cell(law["quantity"]), Cell(value, error, numeric=True),
            Cell(" to ".join(end_text(end) for end in law["energy"]["interval_95"]), numeric=True),
            Cell("–" if law["probability"] is None else f"{law['probability']:.2f}", numeric=True),
            Cell(f"{vtf['verdict']}" if vtf else "–"),
        ))  # fmt: skip
    blocks.append(Table(
        "Activation energies. The probability is that of a chi-square as large if law and errors hold.",
        ("of", "activation energy (eV)", "95 % (eV)", "probability", "VTF or Arrhenius"), tuple(rows),
    ))  # fmt: skip
    return blocks


def _behind(runs: list[dict[str, Any]]) -> list[Table | Plot]:
    rows, ways = [], []
    bars: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for number, run in enumerate(runs):
        name = short_name(run, number, runs)
        for line, (symbol, found) in enumerate(run["species"].items()):
            color = COLORS[(number + line if len(runs) == 1 else number) % len(COLORS)]
            tensor, errors = found["tensor_cm2_per_s"], found["tensor_errors_cm2_per_s"]
            forecast = found["forecast"]
            rows.append((
                Cell(f"{name}, {symbol}"),
                Cell(("≥ " if found["hops_at_least"] else "") + str(found["hops"]), numeric=True),
                Cell(f"{100 * found['moved_share']:.0f} %", numeric=True),
                Cell(_or_dash(found["log_log_slope"], ".2f"), numeric=True),
                Cell(_or_dash(found["halves_differ_by_standard_errors"], "+.1f"), numeric=True),
                *(Cell(*format_estimate(tensor[a][a], errors[a][a]), numeric=True) for a in range(len(tensor))),
                Cell(f"{found['window_fs'][0] / 1e3:.3g} to {found['window_fs'][1] / 1e3:.3g}", numeric=True),
                Cell(f"{100 * forecast['target']:g} %: " + ("–" if forecast["total_fs"] is None
                     else f"{forecast['total_fs'] / 1e3:.3g}"), numeric=True),
            ))  # fmt: skip
            influence = found["influence"]["time"]
            if influence:
                bars.append({"type": "scatter", "mode": "lines+markers", "name": plain(f"{name}, {symbol}"),
                             "x": list(range(1, len(influence) + 1)), "y": compact(influence),
                             "line": {"color": color}, "marker": {"color": color}})  # fmt: skip
            curve = found["curves"]
            shapes.append({"type": "scatter", "mode": "lines", "name": plain(f"{name}, {symbol}"),
                           "x": compact(np.array(curve["non_gaussian_fs"]) / 1e3), "y": compact(curve["non_gaussian"]),
                           "line": {"color": color}})  # fmt: skip
        for symbol, found in run["species"].items():
            by = found["errors_cm2_per_s"]
            ways.append((
                Cell(f"{name}, {symbol}"), *(Cell(_or_dash(by[way], ".2g"), numeric=True) for way in by),
                Cell(found["diffusion"]["method"].partition(", ")[2]),
            ))  # fmt: skip
    axes = ("D xx", "D yy", "D zz")
    blocks: list[Table | Plot] = [Table(
        "Hops are displacements beyond the length given in the settings. The halves of the run are compared in "
        "standard errors. D by axis in cm²/s, window and run length for the wanted error in ps.",
        ("of", "hops", "ions that hopped", "log-log slope", "halves differ", *axes, "window (ps)", "run length (ps)"),
        tuple(rows),
    ), Table(
        "Standard errors of D in cm²/s: from the covariance of independent random walks, from blocks of ions, of time "
        "and of both together (the last two are those of a fit to short lags, scaled); and which one counts.",
        ("of", "covariance", "ions", "time", "both", "counts"), tuple(ways),
    )]  # fmt: skip
    if bars:
        blocks.append(
            Plot("influence", tuple(bars),
                 {"xaxis": axis("block of time"), "yaxis": axis("change without it (standard errors)"),
                  "shapes": [rule(y=0.0)]},
                 "How much the coefficient changes if one block of time is left out. One far out is a rare event.",
                 "half", "Influence of blocks of time")
        )  # fmt: skip
    blocks.append(
        Plot("non-gaussian", tuple(shapes),
             {"xaxis": axis("lag (ps)", type="log"), "yaxis": axis("non-Gaussian parameter"), "shapes": [rule(y=0.0)]},
             "Zero where displacements are normal. It is large while few ions have moved and must fall towards zero.",
             "half", "Non-Gaussian parameter")
    )  # fmt: skip
    return blocks


def _method(results: dict[str, Any]) -> list[Facts | Note | Table]:
    runs, run = results["runs"], results["runs"][0]
    rows = []
    for number, one in enumerate(runs):
        name = short_name(one, number, runs)
        for symbol, found in one["species"].items():
            rows.append((Cell(f"{name}, {symbol}"), Cell(found["window_reason"]), Cell(found["diffusion"]["method"])))
        if "charge_window_reason" in one:
            rows.append(
                (Cell(f"{name}, charge"), Cell(one["charge_window_reason"]), Cell(one["conductivity"]["method"]))
            )
    facts = [
        ("frame of reference", Cell(run["reference"])),
        ("time between frames", Cell(f"{format_number(run['interval_fs'])} fs")),
    ]
    if "charges_e" in run:
        facts.append(("charges", Cell(", ".join(f"{s} {q:+g} e" for s, q in run["charges_e"].items()))))
    return [
        Facts(tuple(facts)),
        Table("Windows, and where errors come from.", ("of", "window", "value and error"), tuple(rows)),
        Note(
            "Straight lines are fitted to time-averaged mean square displacements by generalized least squares under "
            "the exact covariance of a random walk with noise (doi:10.1063/5.0008312). Errors are jackknife errors "
            "over blocks of ions or of time (arXiv:2503.04281) where there are enough, with Student's t; where they "
            "exceed those of independent walks by more than chance, a warning says so."
        ),
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
