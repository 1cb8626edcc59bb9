"""Distillation: the fine-tuned teacher labels many frames, students are fitted, the fastest good one is chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.errors import TrainingError
from limbeck.core.record import hash_file
from limbeck.core.rng import integer_seed, stream
from limbeck.dynamics.lammps_script import repeats_for
from limbeck.labels.filters import filter_frames
from limbeck.labels.serialize import atoms_to_dict
from limbeck.labels.split import split_by_trajectory
from limbeck.structures.perturb import perturb
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge, crystal_of, explore_tasks
from limbeck.workflows.forge.frames import read_frames, read_labelled, write_frames, write_labelled
from limbeck.workflows.forge.loop import evaluate_on, reported_sets
from limbeck.workflows.stages import StageResult
from limbeck.workflows.tasking import Task

FRAMES_PER_LABEL_TASK = 8
EXPLORATION = "distil"
"""Name of the teacher's own exploration: its random streams depend on it."""
SPEED_STEPS = 40


def distil(
    forge: Forge, crystal: Atoms, teacher: Path, labels: Path, test: StageResult
) -> tuple[StageResult, StageResult]:
    """All stages of the distillation: the one in which the teacher explored, and the one that chose a student."""
    taught = seen = _teacher_frames(forge, crystal, teacher, labels)
    for index in range(forge.settings.distil.student_rounds):
        scouts = _fit_students(forge, f"round-{index}", seen, teacher, forge.settings.distil.students[:1])
        seen = _student_frames(forge, index, crystal, teacher, scouts, seen)
    fitted = _fit_students(forge, "final", seen, teacher, forge.settings.distil.students)
    return taught, _choose(forge, crystal, fitted, teacher, test, seen)


def _teacher_frames(forge: Forge, crystal: Atoms, teacher: Path, labels: Path) -> StageResult:
    """Stage: the teacher explores, and labels what it met and all frames that have first-principles labels."""
    settings = forge.settings.distil

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        rng = stream(forge.settings.seed, "distil", "perturb")
        starts = perturb(crystal.repeat(tuple(settings.repeat)), settings.perturb, rng)
        potential = {"teacher": str(teacher)}
        plan = explore_tasks(forge, folder, potential, starts, settings.explore, settings.trajectories, EXPLORATION)
        records, cpu_s = forge.run_tasks("the teacher explores", plan)
        frames = [f for record in records for f in read_frames(Path(record["path"]))]
        known = [label.atoms for label in read_labelled(labels)]
        kept = _physical(forge, frames) + known
        more = _label(forge, folder, teacher, kept)
        return {"frames": len(kept), "unstable": sum(not r["stable"] for r in records)}, cpu_s + more

    inputs = [
        hash_file(teacher), hash_file(labels), settings.explore.model_dump(mode="json"), settings.repeat,
        settings.trajectories, settings.perturb.model_dump(mode="json"), forge.settings.seed,
    ]  # fmt: skip
    return forge.stages.run("50-distil-teacher", inputs, work, title="Distil: the teacher explores and labels")


def _student_frames(
    forge: Forge, index: int, crystal: Atoms, teacher: Path, scouts: StageResult, seen: StageResult
) -> StageResult:
    """Stage: a first student explores larger cells; the teacher labels what it met."""
    settings = forge.settings.distil

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        rng = stream(forge.settings.seed, "distil", "round", index)
        starts = perturb(crystal.repeat(tuple(settings.student_repeat)), settings.perturb, rng)
        potential = {"student": str(forge.run_folder / scouts.summary["students"][0]["folder"])}
        name = f"scout-{index}"
        plan = explore_tasks(forge, folder, potential, starts, settings.explore, settings.trajectories, name)
        records, cpu_s = forge.run_tasks("a first student explores", plan)
        frames = _physical(forge, [f for record in records for f in read_frames(Path(record["path"]))])
        picked = sorted(int(i) for i in rng.permutation(len(frames))[: settings.student_frames])
        more = _label(forge, folder, teacher, [frames[i] for i in picked])
        old, new = read_labelled(seen.folder / "labelled.json"), read_labelled(folder / "labelled.json")
        write_labelled(folder / "labelled.json", [*old, *new])
        summary = {"frames": len(old) + len(new), "unstable": sum(not r["stable"] for r in records)}
        return summary, cpu_s + more

    inputs = [scouts.hash, seen.hash, settings.student_repeat, settings.student_frames, forge.settings.seed]
    return forge.stages.run(f"52-distil-round-{index}", inputs, work, title="Distil: a first student explores")


def _physical(forge: Forge, frames: Sequence[Atoms]) -> list[Atoms]:
    return [frames[i] for i in filter_frames(frames, forge.settings.filter, start=crystal_of(forge.run_folder)).kept]


def _label(forge: Forge, folder: Path, teacher: Path, frames: Sequence[Atoms]) -> float:
    """Label frames with the teacher in chunks; ``labelled.json`` gets all of them in order."""
    if not frames:
        raise TrainingError("distillation has no frame to label. Explore longer, or loosen 'filter'.")
    digest = hash_file(teacher)
    work, outputs = [], []
    for number, first in enumerate(range(0, len(frames), FRAMES_PER_LABEL_TASK)):
        chunk, output = folder / f"chunk-{number:04d}.json", folder / f"chunk-{number:04d}.labelled.json"
        write_frames(chunk, frames[first : first + FRAMES_PER_LABEL_TASK])
        work.append(Task(tasks.label_by_teacher, (str(teacher), digest, str(chunk), str(output))))
        outputs.append(output)
    _, cpu_s = forge.run_tasks("the teacher labels", work)
    write_labelled(folder / "labelled.json", [label for output in outputs for label in read_labelled(output)])
    for output in outputs:
        output.unlink()
        output.with_name(output.name.replace(".labelled", "")).unlink()
    return cpu_s


def _fit_students(forge: Forge, name: str, seen: StageResult, teacher: Path, families: Sequence[Any]) -> StageResult:
    """Stage: fit each family to the teacher's labels."""
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        split = split_by_trajectory(
            read_labelled(seen.folder / "labelled.json"),
            settings.distil.validation_fraction,
            integer_seed(settings.seed, "distil", "split"),
        )
        write_labelled(folder / "train.json", split.train)
        write_labelled(folder / "validation.json", split.validation)
        work = []
        for family in families:
            target = folder / family.name
            progress = folder / f"{family.name}.progress"
            arguments = (
                family.model_dump(mode="json"), str(folder / "train.json"), str(folder / "validation.json"),
                integer_seed(settings.seed, "student", family.name), str(target), str(progress),
            )  # fmt: skip
            work.append(Task(tasks.fit_student, arguments, progress))
        results, cpu_s = forge.run_tasks("fitting students", work)
        students = [
            {
                "name": family.name,
                "kind": family.kind,
                "folder": forge.relative(result["folder"]),
                "history": result["history"],
            }
            for family, result in zip(families, results, strict=True)
        ]
        return {"students": students, "n_train": len(split.train), "n_validation": len(split.validation)}, cpu_s

    inputs = [
        seen.hash,
        [f.model_dump(mode="json") for f in families],
        settings.distil.validation_fraction,
        settings.seed,
    ]
    return forge.stages.run(f"55-students-{name}", inputs, work, title=f"Distil: fit students ({name})")


def _choose(
    forge: Forge, crystal: Atoms, fitted: StageResult, teacher: Path, test: StageResult, seen: StageResult
) -> StageResult:
    """Stage: errors against the labels and against the teacher, speed, and the choice."""
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        sets = {"test": test.folder / "labelled.json"} | reported_sets(forge)
        cpu_s, rows = 0.0, []
        block = atoms_to_dict(
            crystal.repeat(repeats_for(crystal.cell.array, len(crystal), settings.distil.speed_atoms))
        )
        teacher_errors, used = evaluate_on(forge, folder, {"teacher": str(teacher)}, sets, "teacher-")
        cpu_s += used
        limit = settings.distil.max_error_ratio * teacher_errors["test"]["force_RMSE_eV_per_A"]["value"]
        validation = {"teacher-labels": fitted.folder / "validation.json"}
        for student in fitted.summary["students"]:
            place = str(forge.run_folder / student["folder"])
            potential = {"student": place}
            errors, used = evaluate_on(forge, folder, potential, sets | validation, f"{student['name']}-")
            speed, more = forge.run_tasks("timing", [Task(tasks.student_speed, (place, block, SPEED_STEPS))])
            cpu_s += used + more
            force = errors["test"]["force_RMSE_eV_per_A"]["value"]
            rows.append(student | {"errors": errors, "speed": speed[0], "meets_target": force <= limit})
        timing, used = forge.run_tasks("timing", [Task(tasks.teacher_speed, (str(teacher), block))])
        more = _add_stability(forge, folder, crystal, rows)
        cpu_s += more
        summary = {
            "students": rows,
            "chosen": choose(rows),
            "limit_force_RMSE_eV_per_A": limit,
            "teacher_errors": teacher_errors,
            "teacher_speed": timing[0],
        }
        return summary, cpu_s + used

    distil, properties = settings.distil, settings.properties
    inputs = [
        fitted.hash, seen.hash, test.hash, hash_file(teacher), distil.max_error_ratio, distil.stability_atoms,
        distil.stability_time_ps, distil.max_drift_meV_per_atom, properties.nve_temperature_K,
        properties.nve_timestep_fs, settings.seed,
    ]  # fmt: skip
    return forge.stages.run("58-choose", inputs, work, title="Distil: accuracy against speed")


def _add_stability(forge: Forge, folder: Path, crystal: Atoms, rows: list[dict[str, Any]]) -> float:
    """Run every student at constant energy; its row gets ``stable`` and, if it is not, ``unstable_because``."""
    distil, properties = forge.settings.distil, forge.settings.properties
    work = []
    for row in rows:
        progress = folder / f"{row['name']}-stability.progress"
        arguments = (
            str(forge.run_folder / row["folder"]), atoms_to_dict(crystal), properties.nve_temperature_K,
            distil.stability_time_ps, properties.nve_timestep_fs, str(folder / f"{row['name']}-stability"),
            integer_seed(forge.settings.seed, "stability"), str(progress), distil.stability_atoms,
        )  # fmt: skip
        work.append(Task(tasks.nve_of_student, arguments, progress))
    results, cpu_s = forge.run_tasks("students at constant energy", work)
    for row, result in zip(rows, results, strict=True):
        reason = result.get("failed", "")
        if not reason and abs(result["drift"]["value"]) > distil.max_drift_meV_per_atom:
            reason = (
                f"its energy drifts by {result['drift']['value']:.2f} meV/atom in {distil.stability_time_ps:g} ps; "
                f"the limit is {distil.max_drift_meV_per_atom:g}"
            )
        row |= {"stable": not reason, "unstable_because": reason}
    return cpu_s


def choose(rows: Sequence[dict[str, Any]]) -> str:
    """Name of the student to take: the fastest stable one that meets the target, else the most accurate stable one.

    Args:
        rows: Students with ``stable``, ``meets_target``, ``speed`` and ``errors``; the most accurate of all is taken if
            none is stable.
    """
    stable = [row for row in rows if row["stable"]]
    good = [row for row in stable if row["meets_target"]]
    if good:
        return str(min(good, key=lambda row: row["speed"]["value"])["name"])
    by_error = sorted(stable or rows, key=lambda row: row["errors"]["test"]["force_RMSE_eV_per_A"]["value"])
    return str(by_error[0]["name"])


def chosen_student(chosen: StageResult) -> dict[str, Any]:
    """Row of the student that was chosen."""
    row: dict[str, Any] = next(s for s in chosen.summary["students"] if s["name"] == chosen.summary["chosen"])
    return row
