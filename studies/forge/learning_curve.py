"""Learning curves: does selection by entropy need fewer labels than random selection at equal error?

    .venv/bin/python studies/forge/learning_curve.py studies/forge/silicon.yaml runs/learning-silicon \
        studies/forge/data/silicon-dense-labels.extxyz.xz

Candidates are the ``pool`` and ``fresh`` frames of the configuration's stored labels and all frames of further sets
(whole trajectories drawn anew for every seed, so that seeds differ by more than training noise), errors are those on
all ``test`` frames. Every fit of both methods has the recipe of the configuration. Results: ``learning_curve.json`` in
the run folder; finished fits are kept.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from limbeck.core.progress import ConsoleReporter
from limbeck.core.record import read_json, write_json
from limbeck.core.rng import integer_seed, stream
from limbeck.executors.parsl_local import ParslLocalExecutor
from limbeck.labels.dataset import load_set, require_one_theory
from limbeck.labels.engines import StoredSettings
from limbeck.labels.engines.stored import StoredEngine
from limbeck.labels.labelled import Labelled
from limbeck.labels.selection import SelectionSettings, select
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.frames import write_labelled
from limbeck.workflows.forge.run import read_settings
from limbeck.workflows.tasking import Task, run_tasks

SIZES = (4, 8, 16)
SEEDS = (1, 2, 3)
METHODS = ("entropy", "random")
OURS = "entropy"
"""The method that is compared with random selection."""
POOL_SHARE = 0.75
"""Share of the pool's trajectories that each seed may choose from."""


def frames_of(settings: ForgeSettings, roles: set[str]) -> list[Labelled]:
    """Stored labels of some roles."""
    if not isinstance(settings.labels, StoredSettings):
        raise SystemExit("the learning curve needs stored labels: every candidate must have one")
    return [f for f in StoredEngine(settings.labels).frames() if f.atoms.info.get("role") in roles]


def candidates_of(settings: ForgeSettings, more: list[Path]) -> list[Labelled]:
    """All candidates; trajectories of further sets are named after their set, so that no two are mixed up."""
    frames = frames_of(settings, {"pool", "fresh"})
    for path in more:
        for frame in load_set(path)[0]:
            frame.atoms.info["trajectory"] = f"{path.name.split('.')[0]}/{frame.trajectory}"
            frames.append(frame)
    require_one_theory(frames)
    return frames


def pool_of(frames: list[Labelled], seed: int) -> list[Labelled]:
    """Candidates of one seed: whole trajectories, the same ones for every method."""
    names = sorted({frame.trajectory for frame in frames})
    rng = stream(seed, "learning-curve", "pool")
    chosen = {names[int(i)] for i in rng.permutation(len(names))[: round(POOL_SHARE * len(names))]}
    return [frame for frame in frames if frame.trajectory in chosen]


def plan(candidates: list[Labelled], folder: Path) -> list[tuple[str, int, int, Path]]:
    """Training sets of all methods, seeds and sizes; smaller sets are the beginnings of larger ones."""
    rows = []
    for seed in SEEDS:
        pool = pool_of(candidates, seed)
        for method in METHODS:
            how: Any = TypeAdapter(SelectionSettings).validate_python({"kind": method})
            chosen = select([f.atoms for f in pool], [], max(SIZES), how, stream(seed, "learning-curve", method))
            for size in SIZES:
                target = folder / f"{method}-{seed}-{size}"
                write_labelled(target / "train.json", [pool[i] for i in chosen.indices[:size]])
                rows.append((method, seed, size, target))
    return rows


def gain(curve: list[dict[str, Any]]) -> tuple[float, float]:
    """Labels that random selection needs over ours at the error that ours reaches with its largest set.

    For each seed, random's curve is a power law fitted in log-log; the error is the spread over seeds.
    """
    ratios = []
    for seed in SEEDS:
        rows = {
            method: sorted(
                (row["labels"], row["force_rmse_eV_per_A"])
                for row in curve
                if row["selection"] == method and row["seed"] == seed
            )
            for method in METHODS
        }
        x, y = np.log(np.array(rows["random"])).T
        slope, intercept = np.polyfit(x, y, 1)
        labels, error = rows[OURS][-1]
        ratios.append(float(np.exp((np.log(error) - intercept) / slope) / labels))
    return float(np.mean(ratios)), float(np.std(ratios, ddof=1) / np.sqrt(len(ratios)))


def main() -> None:
    """Fit, evaluate, write."""
    settings, folder = read_settings(Path(sys.argv[1])), Path(sys.argv[2])
    reporter = ConsoleReporter()
    test = folder / "test.json"
    write_labelled(test, frames_of(settings, {"test"}))
    empty = folder / "no-validation.json"
    write_labelled(empty, [])
    rows = plan(candidates_of(settings, [Path(name) for name in sys.argv[3:]]), folder)
    base = folder / "base.limbeck"
    tasks.prepare_teacher(settings.teacher.model_dump(mode="json"), None, str(base))
    recipe = settings.finetune.model_dump(mode="json")
    fits, tests = [], []
    for method, seed, size, target in rows:
        teacher, progress = str(target / "teacher.limbeck"), str(target / "fit.progress")
        number = integer_seed(seed, "learning-curve", method, size)
        arguments = (str(base), str(target / "train.json"), str(empty), recipe, number, teacher, progress)
        fits.append(Task(tasks.fit_teacher, arguments, Path(progress), weight=size))
        tests.append(Task(tasks.evaluate, ({"teacher": teacher}, str(test), str(target / "test.npz"))))
    with ParslLocalExecutor(folder / "executor", 2) as executor:
        run_tasks(executor, reporter, "fine-tuning", fits)
        results, _ = run_tasks(executor, reporter, "evaluating", tests)
    curve = [
        {
            "selection": method,
            "seed": seed,
            "labels": size,
            "force_rmse_eV_per_A": result["errors"]["force_RMSE_eV_per_A"]["value"],
            "energy_rmse_meV_per_atom": result["errors"]["energy_RMSE_without_offset_meV_per_atom"]["value"],
        }
        for (method, seed, size, _), result in zip(rows, results, strict=True)
    ]
    value, error = gain(curve)
    command = shlex.join([".venv/bin/python", *sys.argv])
    found = {"command": command, "curve": curve, "gain": value, "gain_standard_error": error}
    write_json(folder / "learning_curve.json", found)
    print(json.dumps(read_json(folder / "learning_curve.json"), indent=1))


if __name__ == "__main__":
    main()
