"""Numbers of a diffusion analysis: rows of metrics, and the table that pastes into a paper."""

from pathlib import Path
from typing import Any

from limbeck.report.blocks import format_estimate, format_number


def metrics(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of ``id, value, standard_error, unit, command, note``."""
    rows: list[dict[str, Any]] = []

    def row(name: str, estimate: dict[str, Any], note: str) -> None:
        if estimate["value"] is None:
            return
        low, high = estimate.get("interval_95", (None, None))
        rows.append({
            "id": f"{results['name']}-{name}".replace("\u00a0", ""), "value": estimate["value"],
            "standard_error": estimate["standard_error"], "unit": estimate["unit"], "command": results["command"],
            "note": f"{note}; 95 %: {end_text(low)} to {end_text(high)}", "interval_95": [low, high],
        })  # fmt: skip

    for number, run in enumerate(results["runs"]):
        name = short_name(run, number, results["runs"])
        for symbol, found in run["species"].items():
            row(f"{name}-D-{symbol}", found["diffusion"], run["trajectory"])
        if "conductivity" in run:
            row(f"{name}-conductivity", run["conductivity"], run["trajectory"])
            row(f"{name}-haven-ratio", run["haven_ratio"], run["trajectory"])
    for name, law in results["laws"].items():
        row(f"{name}-activation", law["energy"], law["title"])
        for at in law["at"]:
            row(f"{name}-{at['temperature_K']:g}K", at, f"{law['title']}, extrapolated")
    return rows


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table for a paper: a line for each run and species, value with error and 95 % interval."""
    header = ["run", "species", "D (cm²/s)", "95 %", "σ (mS/cm)", "95 %", "Haven ratio", "95 %", "hops", "length (ps)"]
    rows = []
    for number, run in enumerate(results["runs"]):
        for line, (symbol, found) in enumerate(run["species"].items()):
            has = "conductivity" in run and line == 0  # of the run, not of a species
            rows.append([
                short_name(run, number, results["runs"]), symbol, *pair(found["diffusion"]),
                *(pair(run["conductivity"]) if has else ("–", "–")),
                *(pair(run["haven_ratio"]) if has else ("–", "–")),
                ("≥ " if found["hops_at_least"] else "") + str(found["hops"]), f"{run['length_ps']:.4g}",
            ])  # fmt: skip
    return header, rows


def short_name(run: dict[str, Any], number: int, runs: list[dict[str, Any]]) -> str:
    """Name of a run in tables: its temperature where that tells it from the others."""
    temperature = run["temperature_K"]
    if temperature is not None and sum(r["temperature_K"] == temperature for r in runs) == 1:
        return f"{temperature:g}\u00a0K"
    label = Path(run["trajectory"])
    name = label.parent.name if label.stem == "trajectory" else label.stem
    return f"{number + 1}: {name}" + (f", {temperature:g} K" if temperature is not None else "")


def pair(row: dict[str, Any]) -> tuple[str, str]:
    """Value with its error, and the 95 % interval, as texts."""
    value, error = format_estimate(row["value"], row["standard_error"])
    low, high = (end_text(end) for end in row["interval_95"])
    return (f"{value} ± {error}" if error else value), f"{low} to {high}"


def end_text(end: float | None) -> str:
    """End of an interval as text; ``None`` is no bound."""
    return "no bound" if end is None else format_number(end, 3)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """The table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def latex(header: list[str], rows: list[list[str]]) -> str:
    """Body of a LaTeX table with booktabs."""
    signs = {
        "±": r"$\pm$",
        "²": "$^2$",
        "σ": r"$\sigma$",
        "%": r"\%",
        "–": "--",
        "−": "$-$",
        "\u202f": r"\,",
        "\u00a0": "~",
        "_": r"\_",
    }
    signs |= {digit: f"$^{{{plain_digit}}}$" for digit, plain_digit in zip("⁰¹³⁴⁵⁶⁷⁸⁹⁻", "013456789-", strict=True)}
    signs["×"] = r"$\times$"

    def clean(text: str) -> str:
        return "".join(signs.get(c, c) for c in text).replace("}$$^{", "")

    body = [" & ".join(map(clean, line)) + r" \\" for line in [header, *rows]]
    columns = "l" * 2 + "r" * (len(header) - 2)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
