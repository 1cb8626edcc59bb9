"""What a forge run will do and about what it will cost, before it does anything."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from limbeck.core.progress import SilentReporter, format_seconds
from limbeck.core.record import hash_of, to_jsonable
from limbeck.executors import LocalSettings
from limbeck.executors.parsl_local import default_workers
from limbeck.executors.serial import SerialExecutor
from limbeck.labels.engines import StoredSettings
from limbeck.labels.engines.gpaw import GpawSettings, k_mesh
from limbeck.labels.store import LabelStore
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.context import Forge
from limbeck.workflows.forge.labelling import label_store_folder
from limbeck.workflows.forge.preflight import build_structures, cautions, check_elements, check_labels
from limbeck.workflows.forge.run import do_stages
from limbeck.workflows.stages import StageResult, StageRunner, read_done

TEACHER_CALL_S_PER_ATOM = {"sevennet": 6.5e-3, "chgnet": 3.0e-3}
"""Energy, forces and stress on one core; measured, see benchmarks/student_speed.json."""
TRAINING_S_PER_ATOM_EPOCH = {"sevennet": 25e-3, "chgnet": 15e-3}
STUDENT_S_PER_ATOM_STEP = 60e-6
LABEL_S = {"tblite": 1.0, "emt": 0.01, "stored": 0.0}
"""One label of a few atoms on one core."""
GPAW_LABEL_S, GPAW_ATOMS, GPAW_VOLUME_A3, GPAW_CUTOFF_EV, GPAW_K_POINTS = 35.0, 8, 160.0, 300.0, 63
"""A measured label: silicon, 5 x 5 x 5 Gamma-centered k points, of which time reversal leaves 63."""
LOADING_S = 10.0
"""Importing and loading a teacher."""


def plan_of(settings: ForgeSettings, run_folder: Path) -> dict[str, Any]:
    """Stages with counts and estimated CPU seconds; which of them are done already, with these very settings.

    Raises:
        LimbeckError: For everything that would stop the run at its start: structures that cannot be built, label
            files that are missing or changed, an engine or a teacher that is not there or lacks an element.
    """
    crystals = build_structures(settings)
    check_labels(settings, crystals)
    found = tasks.describe_teacher(settings.teacher.model_dump(mode="json"))
    check_elements(found["elements"], crystals, f"the teacher {found['name']}")
    done = finished_stages(settings, Path(run_folder))
    kept = _Kept.of(settings, Path(run_folder), done)
    label_s = kept.label_s if kept.label_s is not None else estimated_label_s(settings, crystals)
    rows = [*_loop_rows(settings, crystals, label_s), *_student_rows(settings, len(crystals[0]))]
    if any(name.startswith("50-") for name in done):  # the loop has ended: iterations that it left out are no plan
        rows = [row for row in rows if row.stage in done or not row.stage.startswith("40-")]
    workers = settings.executor.workers or default_workers() if isinstance(settings.executor, LocalSettings) else 1
    spare, shown, wall_s = kept.spare, [], 0.0
    for row in rows:
        reused = 0 if row.stage in done else min(spare, row.labels)
        spare -= reused
        cpu_s = row.cpu_s - reused * label_s
        wall_s += 0.0 if row.stage in done else cpu_s / max(1, min(workers, row.tasks, default_workers()))
        shown.append({"stage": row.stage, "what": row.what, "cpu_s": cpu_s, "done": row.stage in done})
    loop = settings.loop
    return {
        "name": settings.name,
        "warnings": cautions(settings, crystals),
        "conditions": _conditions(settings),
        "run_folder": str(run_folder),
        "labels_at_most": settings.test.frames + loop.max_iterations * (loop.labels_per_iteration + loop.fresh_frames),
        "labels_in_store": kept.labels,
        "label_engine": settings.labels.kind,
        "label_cpu_s_each": label_s,
        "workers": workers,
        "stages": shown,
        "cpu_s_left": sum(row["cpu_s"] for row in shown if not row["done"]),
        "wall_s_left_about": wall_s,
    }


def _conditions(settings: ForgeSettings) -> str:
    """What the potential is explored and tested for, in words."""
    parts = []
    for name, md in (("loop", settings.explore), ("distillation", settings.distil.explore)):
        temperatures = ", ".join(f"{t:g}" for t in md.temperatures_K)
        pressures = ", ".join(f"{p:g}" for p in md.pressures_GPa)
        at = f" at {pressures} GPa" if md.ensemble == "npt" else ", fixed cell"
        parts.append(f"{name}: {temperatures} K{at}")
    return "; ".join([*parts, f"stability: {settings.properties.nve_temperature_K:g} K"])


class _NotDoneError(Exception):
    """The first stage that is not done was reached."""


@dataclass
class _StageReader(StageRunner):
    """Takes stages as they stand and starts none."""

    def run(
        self, name: str, inputs: Any, work: Callable[[Path], tuple[dict[str, Any], float]], *, title: str
    ) -> StageResult:
        """The finished stage of these inputs."""
        folder = self.run_folder / "stages" / name
        done = read_done(folder)
        if done is None or done["hash"] != hash_of([name, to_jsonable(inputs)]):
            raise _NotDoneError(name)
        return self._keep(name, folder, done)


def finished_stages(settings: ForgeSettings, run_folder: Path) -> set[str]:
    """Names of the stages that a run with these settings would find done, up to the first that it would not."""
    reporter, run_folder = SilentReporter(), run_folder.resolve()
    stages = _StageReader(run_folder, reporter)
    with ExitStack() as stack:
        store: Any = None  # no stage is entered, so none asks for labels
        executor = stack.enter_context(SerialExecutor())
        with suppress(_NotDoneError):
            do_stages(Forge(settings, run_folder, store, executor, stages, reporter))
    return {result.name for result in stages.results}


@dataclass(frozen=True)
class _Kept:
    """What the label store of a run holds: labels, those that no finished stage has used yet, mean CPU seconds."""

    labels: int
    spare: int
    label_s: float | None

    @classmethod
    def of(cls, settings: ForgeSettings, run_folder: Path, done: set[str]) -> "_Kept":
        folder = label_store_folder(run_folder, settings.label_store)
        if isinstance(settings.labels, StoredSettings) or not (folder / "catalogue.sqlite").exists():
            return cls(0, 0, None)
        with LabelStore(folder, read_only=True) as store:
            labels = [label for label in store.labels() if label.fingerprint.engine == settings.labels.kind]
        costs = [float(label.provenance["cpu_s"]) for label in labels if label.provenance.get("cpu_s")]
        summaries = [read_done(run_folder / "stages" / name) or {} for name in done]
        used = sum(content.get("summary", {}).get("labels", 0) for content in summaries)
        spare = 0 if settings.label_store else max(0, len(labels) - used)  # a shared store's may be of other runs
        return cls(len(labels), spare, float(np.mean(costs)) if costs else None)


def estimated_label_s(settings: ForgeSettings, crystals: Sequence[Atoms]) -> float:
    """CPU seconds of one label, a guess where none has been made yet.

    Plane waves: proportional to k points, plane waves (volume times cutoff^1.5) and atoms (for the bands), from a
    measured label of silicon. Elements with many valence electrons take longer, by a factor of a few.
    """
    if not isinstance(settings.labels, GpawSettings):
        return LABEL_S[settings.labels.kind]
    each = []
    for crystal in crystals:
        k_points = (math.prod(k_mesh(crystal, settings.labels.k_spacing_per_A)) + 1) // 2
        waves = crystal.get_volume() / GPAW_VOLUME_A3 * (settings.labels.plane_wave_cutoff_eV / GPAW_CUTOFF_EV) ** 1.5
        each.append(GPAW_LABEL_S * k_points / GPAW_K_POINTS * waves * len(crystal) / GPAW_ATOMS)
    spin = 2.0 if settings.labels.spin_polarized else 1.0
    return spin * float(np.mean(each))


@dataclass(frozen=True)
class _Row:
    """One stage: what it does, its CPU seconds, the tasks that can run at once, the labels that it needs."""

    stage: str
    what: str
    cpu_s: float
    tasks: int = 1
    labels: int = 0


def _loop_rows(settings: ForgeSettings, crystals: Sequence[Atoms], label_s: float) -> Iterator[_Row]:
    """Rows of test set and fine-tune loop."""
    atoms = sum(map(len, crystals)) / len(crystals)
    kind = settings.teacher.kind
    call = TEACHER_CALL_S_PER_ATOM.get(kind, 6.5e-3) * atoms
    epoch = TRAINING_S_PER_ATOM_EPOCH.get(kind, 25e-3) * atoms
    loop, md, test = settings.loop, settings.explore, settings.test
    stored = isinstance(settings.labels, StoredSettings)
    trajectory = 0.0 if stored else (md.equilibration_steps + md.steps) * call
    yield _Row("05-teacher", "the universal teacher is there and knows the elements", LOADING_S)
    yield _Row("10-structures", f"{len(crystals)} structures, {settings.perturb.copies} perturbed copies of each", 0.0)
    test_s = test.frames * label_s + test.trajectories * trajectory
    what = f"{test.frames} labels for the fixed test set"
    yield _Row("20-test-set", what, test_s, 1 if stored else max(test.trajectories, test.frames), test.frames)
    yield _Row("30-zero-shot", "errors of the universal teacher", LOADING_S + 2 * test.frames * call)
    fresh = max(2, len(md.temperatures_K))
    fresh_md_s = fresh * (md.equilibration_steps + loop.stability_steps) * call
    for i in range(loop.max_iterations):
        n_train = (1 - loop.validation_fraction) * ((i + 1) * loop.labels_per_iteration + i * loop.fresh_frames)
        fit = f"fine-tune on about {n_train:.0f} frames, {settings.finetune.epochs} epochs"
        stem, new = f"40-iteration-{i:02d}", loop.labels_per_iteration
        label_cost = loop.trajectories * trajectory + new * label_s
        parallel = 1 if stored else max(loop.trajectories, new)
        yield _Row(f"{stem}-a-labels", f"{new} labels selected", label_cost, parallel, new)
        yield _Row(f"{stem}-b-fit", fit, n_train * epoch * settings.finetune.epochs)
        what = f"test set, fresh trajectories, {loop.fresh_frames} fresh labels"
        cost = fresh_md_s + loop.fresh_frames * label_s + (test.frames + n_train) * call
        yield _Row(f"{stem}-c-test", what, cost, fresh, loop.fresh_frames)
        yield _Row(f"{stem}-d-gate", "the limits", 0.0)


def _student_rows(settings: ForgeSettings, first: int) -> Iterator[_Row]:
    """Rows of distillation, properties and run; ``first`` is the number of atoms of the first structure."""
    distil, run, properties = settings.distil, settings.run, settings.properties
    call = TEACHER_CALL_S_PER_ATOM.get(settings.teacher.kind, 6.5e-3)
    big, scout = first * math.prod(distil.repeat), first * math.prod(distil.student_repeat)
    steps = distil.trajectories * (distil.explore.steps + distil.explore.equilibration_steps)
    n_students, many = len(distil.students), distil.trajectories
    yield _Row(
        "50-distil-teacher", f"{many} trajectories of {big} atoms by the teacher", steps * big * call * 1.1, many
    )
    for i in range(distil.student_rounds):
        yield _Row(f"55-students-round-{i}", "a first student fitted", 60.0)
        cost = distil.student_frames * scout * call + steps * scout * STUDENT_S_PER_ATOM_STEP * 2
        what = f"{distil.student_frames} frames of {scout} atoms met by a student"
        yield _Row(f"52-distil-round-{i}", what, cost, many)
    yield _Row("55-students-final", f"{n_students} students fitted", 60.0 * n_students, n_students)
    stable_steps = distil.stability_time_ps * 1000 / properties.nve_timestep_fs
    choose_s = n_students * (stable_steps * distil.stability_atoms * STUDENT_S_PER_ATOM_STEP + 10.0)
    choose_s += 4 * max(distil.speed_atoms, first) * call + 2 * LOADING_S
    yield _Row("58-choose", "errors, speed and stability of the students", choose_s)
    nve_s = properties.nve_time_ps * 1000 / properties.nve_timestep_fs * max(64, first) * STUDENT_S_PER_ATOM_STEP
    yield _Row("60-properties", "equation of state, elastic constants, phonons, vacancy, NVE", 120 + nve_s, 8)
    run_s = (run.steps + run.equilibration_steps) * run.least_atoms * STUDENT_S_PER_ATOM_STEP
    yield _Row("70-run", f"LAMMPS, {run.steps} steps of {run.least_atoms} atoms or more", run_s, run.ranks)


def show_plan(plan: dict[str, Any]) -> str:
    """Plan as text."""
    stored = f", {plan['labels_in_store']} of them in its store" if plan["labels_in_store"] else ""
    lines = [
        f"{plan['name']}: at most {plan['labels_at_most']} labels ({plan['label_engine']}){stored}, "
        f"{plan['workers']} workers, results in {plan['run_folder']}",
        f"Conditions of the {plan['conditions']}",
        *(f"Warning: {text}" for text in plan["warnings"]),
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
