"""All trajectories of an analysis: each by itself, then the laws of temperature, then the files."""

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import __version__
from limbeck.core.config import load
from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.estimate import Estimate
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.core.record import hash_of, make_folder, package_versions, read_json, to_jsonable, write_json
from limbeck.observables.diffusion.arrhenius import arrhenius
from limbeck.observables.diffusion.vtf import vtf
from limbeck.report.diffusion import write_report
from limbeck.workflows.diffusion.analyze import analyze_run, of_limbeck
from limbeck.workflows.diffusion.config import AnalysisSettings, DiffusionSettings, SourceSettings

RESULTS = "results.json"
N_LINE = 60
LEAST_FOR_VTF = 5


def read_settings(path: Path) -> DiffusionSettings:
    """Settings of a YAML file; paths in it are relative to the file."""
    return load(path, DiffusionSettings).beside(path.parent)


def single(source: SourceSettings, settings: AnalysisSettings, name: str) -> DiffusionSettings:
    """Settings of one trajectory."""
    return DiffusionSettings(name=name, runs=[source], **settings.model_dump(exclude_defaults=True))


def run_diffusion(
    settings: DiffusionSettings,
    folder: Path | None = None,
    *,
    scratch: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Analyze all runs of the settings and, where a folder is given, write report, figures, table and numbers there.

    A run that was analyzed before with the same settings and the same file (size and time of change) is not analyzed
    again.

    Returns:
        What ``results.json`` holds.

    Raises:
        ConfigError: If the laws of temperature need a temperature that is not there.
    """
    say = reporter or SilentReporter()
    _check_first(settings, folder)
    runs = []
    common = AnalysisSettings(**settings.model_dump(include=set(AnalysisSettings.model_fields)))
    for number, source in enumerate(settings.runs):
        saved = None if folder is None else folder / "runs" / f"{number:03d}.json"
        key = _key(source, common)
        before = read_json(saved) if saved is not None and saved.exists() else {}
        if before.get("key") == key:
            runs.append(before["found"])
            continue
        if len(settings.runs) > 1:
            say.message(f"run {number + 1} of {len(settings.runs)}: {source.path}")
        where = None if scratch is None else scratch / f"{number:03d}"
        found = analyze_run(source, common, scratch=where, reporter=say)
        if saved is not None:
            write_json(saved, {"key": key, "found": found})
        runs.append(found)
    results: dict[str, Any] = to_jsonable({
        "name": settings.name,
        "title": settings.title or settings.name,
        "command": shlex.join(["limbeck", *sys.argv[1:]]),
        "version": __version__,
        "versions": package_versions(),
        "settings": settings.model_dump(mode="json"),
        "runs": runs,
        "laws": laws(runs, settings),
    })  # fmt: skip
    if folder is not None:
        write_json(folder / RESULTS, results)
        write_report(folder, results)
    return results


def _check_first(settings: DiffusionSettings, folder: Path | None) -> None:
    """What can be told before hours of reading."""
    known = [of_limbeck(source) for source in settings.runs]
    for source in known:
        if not Path(source.path).is_file():
            raise MissingFileError(f"{source.path}: no such trajectory file.")
    if len(known) > 1 and any(s.temperature_K is None for s in known) and any(s.temperature_K for s in known):
        raise ConfigError("a law of temperature needs 'temperature_K' of every run")
    if folder is not None:
        make_folder(folder)


def _key(source: SourceSettings, settings: AnalysisSettings) -> str:
    files = [Path(p) for p in (of_limbeck(source).path, source.structure) if p]
    state = [[p.stat().st_size, p.stat().st_mtime_ns] for p in files if p.is_file()]
    return hash_of([__version__, source.model_dump(mode="json"), settings.model_dump(mode="json"), state])


def laws(runs: list[dict[str, Any]], settings: DiffusionSettings) -> dict[str, Any]:
    """Arrhenius and, from five temperatures on, VTF, for D of each species and for conductivity times temperature."""
    temperatures = {run["temperature_K"] for run in runs}
    if len(runs) < 2 or len(temperatures) < 2:
        return {}
    if None in temperatures:
        raise ConfigError("a law of temperature needs 'temperature_K' of every run")
    found = {}
    for symbol in sorted({s for run in runs for s in run["species"]}):
        rows = [
            (
                run["temperature_K"],
                run["species"][symbol]["diffusion"],
                run["species"][symbol]["degrees_of_freedom"],
                run["species"][symbol]["is_diffusive"],
            )
            for run in runs
        ]
        found[f"D_{symbol}"] = _law(f"D of {symbol}", rows, settings, with_temperature=False)
    charge = [
        (
            run["temperature_K"],
            run["conductivity"],
            run["conductivity_degrees_of_freedom"],
            all(species["is_diffusive"] for species in run["species"].values()),
        )
        for run in runs
    ]
    found["conductivity"] = _law("conductivity", charge, settings, with_temperature=True)
    return {name: law for name, law in found.items() if law}


def _law(
    title: str, rows: list[tuple[float, dict[str, Any], float | None, bool]], settings: DiffusionSettings,
    *, with_temperature: bool,
) -> dict[str, Any]:  # fmt: skip
    """The law of one quantity; of its product with the temperature where asked. Runs without a value are left out."""
    used = [row for row in rows if row[3] and row[1]["value"] > 2 * row[1]["standard_error"] > 0]
    left_out = [
        f"{t:g} K is left out: " + ("not above twice its error" if diffusive else "not diffusive")
        for t, _, _, diffusive in (row for row in rows if row not in used)
    ]
    warnings = [f"{text} (a law through what is left may be biased)" for text in left_out]
    if len({t for t, *_ in used}) < 2:
        return {}
    t = np.array([row[0] for row in used])
    factor = t if with_temperature else np.ones(len(t))
    unit = used[0][1]["unit"]
    values = [
        Estimate(f * r["value"], f * r["standard_error"], r["n_effective"] or np.inf, unit, r["method"])
        for f, (_, r, *_) in zip(factor, used, strict=True)
    ]
    line = arrhenius(t.tolist(), values, [np.inf if d is None else d for _, _, d, _ in used])
    curve = 1.0 / np.linspace(1.0 / t.max(), 1.0 / min([float(t.min()), *settings.extrapolate_K]), N_LINE)

    def at(temperature: float) -> dict[str, Any]:
        scale = temperature if with_temperature else 1.0
        estimate, (low, high) = line.at(temperature), line.interval(temperature)
        return {
            "temperature_K": temperature, "value": estimate.value / scale, "unit": unit,
            "standard_error": estimate.standard_error / scale, "interval_95": [low / scale, high / scale],
        }  # fmt: skip

    result: dict[str, Any] = {
        "title": title + (" (Arrhenius law of its product with T)" if with_temperature else " (Arrhenius law)"),
        "quantity": title,
        "unit": unit,
        "energy": vars(line.energy) | {"interval_95": line.energy_interval(0.95)},
        "probability": line.probability,
        "points": [
            {"temperature_K": x, "value": r["value"], "interval_95": r["interval_95"]} for x, r, *_ in used
        ],
        "line": [at(float(x)) for x in curve],
        "at": [at(x) for x in settings.extrapolate_K],
        "warnings": [*warnings, *line.warnings],
    }  # fmt: skip
    if len({row[0] for row in used}) >= LEAST_FOR_VTF:
        law = vtf(t.tolist(), values)
        result["vtf"] = {
            "temperature_0_K": vars(law.temperature_0),
            "activation_eV": vars(law.activation),
            "evidence": law.evidence,
            "verdict": law.verdict,
        }
    return result
