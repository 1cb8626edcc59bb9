"""What a forge run will do and about what it will cost, before it does anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.progress import format_seconds
from limbeck.executors import LocalSettings
from limbeck.executors.parsl_local import default_workers
from limbeck.labels.engines import StoredSettings
from limbeck.labels.engines.stored import StoredEngine
from limbeck.structures.crystals import build_structure
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.stages import read_done

TEACHER_CALL_S_PER_ATOM = {"sevennet": 6.5e-3, "chgnet": 3.0e-3}
"""Energy, forces and stress on one core; measured, see benchmarks/student_speed.json."""
TRAINING_S_PER_ATOM_EPOCH = {"sevennet": 25e-3, "chgnet": 15e-3}
STUDENT_S_PER_ATOM_STEP = 60e-6
LABEL_S = {"gpaw": 30.0, "tblite": 1.0, "emt": 0.01, "stored": 0.0}
"""One label of a few atoms on one core; k points, elements and cell decide, so this is a first guess only."""


def plan_of(settings: ForgeSettings, run_folder: Path) -> dict[str, Any]:
    """Stages with counts and estimated CPU seconds; which of them are done already.

    Raises:
        LimbeckError: For everything that would stop the run at its start: structures that cannot be built, label
            files that are missing or changed.
    """
    crystals = [build_structure(s, Path.cwd()) for s in settings.structures]
    if isinstance(settings.labels, StoredSettings):
        StoredEngine(settings.labels)
    rows = [*_loop_rows(settings, crystals), *_student_rows(settings, len(crystals[0]))]
    for row in rows:
        row["done"] = read_done(run_folder / "stages" / row["stage"]) is not None
    workers = settings.executor.workers or default_workers() if isinstance(settings.executor, LocalSettings) else 1
    left = sum(row["cpu_s"] for row in rows if not row["done"])
    loop = settings.loop
    labels = settings.test.frames + loop.max_iterations * (loop.labels_per_iteration + loop.fresh_frames)
    return {
        "name": settings.name,
        "run_folder": str(run_folder),
        "labels_at_most": labels,
        "label_engine": settings.labels.kind,
        "workers": workers,
        "stages": rows,
        "cpu_s_left": left,
        "wall_s_left_about": left / min(workers, 1.6),
    }


def _loop_rows(settings: ForgeSettings, crystals: Sequence[Atoms]) -> list[dict[str, Any]]:
    """Rows of test set and fine-tune loop."""
    atoms = sum(map(len, crystals)) / len(crystals)
    kind = settings.teacher.kind
    call = TEACHER_CALL_S_PER_ATOM.get(kind, 6.5e-3) * atoms
    epoch = TRAINING_S_PER_ATOM_EPOCH.get(kind, 25e-3) * atoms
    loop, md, label = settings.loop, settings.explore, LABEL_S[settings.labels.kind]
    stored = isinstance(settings.labels, StoredSettings)
    trajectory = 0.0 if stored else (md.equilibration_steps + md.steps) * call
    test_s = settings.test.frames * label + settings.test.trajectories * trajectory
    rows = [_row("20-test-set", f"{settings.test.frames} labels for the fixed test set", test_s)]
    fresh_s = max(2, len(md.temperatures_K)) * (md.equilibration_steps + loop.stability_steps) * call
    for i in range(loop.max_iterations):
        label_s = loop.trajectories * trajectory + (loop.labels_per_iteration + loop.fresh_frames) * label
        n_train = (1 - loop.validation_fraction) * (i + 1) * loop.labels_per_iteration
        fit = f"fine-tune on about {n_train:.0f} frames, {settings.finetune.epochs} epochs"
        stem = f"40-iteration-{i:02d}"
        rows += [
            _row(f"{stem}-a-labels", f"{loop.labels_per_iteration} labels selected", label_s),
            _row(f"{stem}-b-fit", fit, n_train * epoch * settings.finetune.epochs),
            _row(f"{stem}-c-test", "test set, fresh trajectories, gate", fresh_s),
        ]
    return rows


def _student_rows(settings: ForgeSettings, first: int) -> list[dict[str, Any]]:
    """Rows of distillation, properties and run; ``first`` is the number of atoms of the first structure."""
    distil, run, properties = settings.distil, settings.run, settings.properties
    call = TEACHER_CALL_S_PER_ATOM.get(settings.teacher.kind, 6.5e-3)
    big, scout = first * _product(distil.repeat), first * _product(distil.student_repeat)
    steps = distil.trajectories * (distil.explore.steps + distil.explore.equilibration_steps)
    what = f"{distil.trajectories} trajectories of {big} atoms by the teacher"
    rows = [_row("50-distil-teacher", what, steps * big * call * 1.1)]
    for i in range(distil.student_rounds):
        cost = distil.student_frames * scout * call + steps * scout * STUDENT_S_PER_ATOM_STEP * 2
        rows.append(
            _row(f"52-distil-round-{i}", f"{distil.student_frames} frames of {scout} atoms met by a student", cost)
        )
    rows.append(_row("55-students-final", f"{len(distil.students)} students fitted", 60.0 * len(distil.students)))
    nve_s = properties.nve_time_ps * 1000 / properties.nve_timestep_fs * scout * STUDENT_S_PER_ATOM_STEP
    rows.append(_row("60-properties", "equation of state, elastic constants, phonons, vacancy, NVE", 120 + nve_s))
    run_s = (run.steps + run.equilibration_steps) * run.least_atoms * STUDENT_S_PER_ATOM_STEP
    rows.append(_row("70-run", f"LAMMPS, {run.steps} steps of {run.least_atoms} atoms or more", run_s))
    return rows


def _row(stage: str, what: str, cpu_s: float) -> dict[str, Any]:
    return {"stage": stage, "what": what, "cpu_s": cpu_s}


def _product(repeat: Sequence[int]) -> int:
    return repeat[0] * repeat[1] * repeat[2]


def show_plan(plan: dict[str, Any]) -> str:
    """Plan as text."""
    lines = [
        f"{plan['name']}: at most {plan['labels_at_most']} labels ({plan['label_engine']}), {plan['workers']} workers, "
        f"results in {plan['run_folder']}",
        "",
    ]
    for row in plan["stages"]:
        state = "done" if row["done"] else format_seconds(row["cpu_s"])
        lines.append(f"  {row['stage']:28} {state:>12}  {row['what']}")
    lines.append("")
    lines.append(
        f"Estimated: {format_seconds(plan['cpu_s_left'])} of CPU time, about "
        f"{format_seconds(plan['wall_s_left_about'])} of waiting on an idle machine. "
        "Iterations end early when the gate is passed. Nothing was started."
    )
    return "\n".join(lines)
