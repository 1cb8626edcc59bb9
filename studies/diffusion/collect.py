"""Write the study's metrics.json from the two analyses.

    .venv/bin/limbeck diffusion studies/diffusion/temperatures.yaml
    .venv/bin/limbeck diffusion studies/diffusion/independent.yaml
    .venv/bin/python studies/diffusion/collect.py runs/argyrodite-temperatures runs/argyrodite-independent

Of the independent runs: the spread of their values over their mean error bar (with the error that ten values allow),
and how many of their 95 % intervals hold the mean of all.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.record import read_json, write_json

COMMAND = shlex.join([".venv/bin/python", *sys.argv])


def row(name: str, value: float, error: float | None, unit: str, note: str) -> dict[str, Any]:
    """One row of metrics.json."""
    return {"id": name, "value": value, "standard_error": error, "unit": unit, "command": COMMAND, "note": note}


def independent(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spread of independent runs beside the error bars of each."""
    rows = []
    for name, parts in (
        ("D", [run["species"]["Li"]["diffusion"] for run in runs]),
        ("conductivity", [run["conductivity"] for run in runs]),
        ("haven-ratio", [run["haven_ratio"] for run in runs]),
    ):
        values = np.array([p["value"] for p in parts])
        bars = np.array([p["standard_error"] for p in parts])
        ratio = float(values.std(ddof=1) / np.sqrt(np.mean(bars**2)))
        inside = sum(
            (p["interval_95"][0] is None or p["interval_95"][0] <= values.mean())
            and (p["interval_95"][1] is None or values.mean() <= p["interval_95"][1])
            for p in parts
        )
        n = len(values)
        note = f"{n} runs; {inside} of {n} intervals of 95 % hold their mean {values.mean():.4g} {parts[0]['unit']}"
        rows.append(row(f"diffusion-argyrodite-spread-to-bar-{name}", ratio, ratio / np.sqrt(2 * (n - 1)), "1", note))
    return rows


def main() -> None:
    """Collect."""
    temperatures, repeated = (Path(name) for name in sys.argv[1:3])
    rows = [r | {"id": f"diffusion-{r['id']}"} for r in read_json(temperatures / "metrics.json")]
    rows += independent(read_json(repeated / "results.json")["runs"])
    write_json(Path(__file__).with_name("metrics.json"), rows)
    for one in rows:
        error = "" if one["standard_error"] is None else f" ± {one['standard_error']:.2g}"
        sys.stdout.write(f"{one['id']:60} {one['value']:.4g}{error} {one['unit']}\n")


if __name__ == "__main__":
    main()
