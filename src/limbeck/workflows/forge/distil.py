"""Distillation: the fine-tuned teacher labels many frames, students are fitted, the fastest good one is chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.errors import TrainingError
from limbeck.core.record import hash_file, read_json
from limbeck.core.rng import integer_seed, stream
from limbeck.dynamics.lammps_script import repeats_for
from limbeck.labels.serialize import atoms_to_dict
from limbeck.labels.split import split_by_trajectory
from limbeck.potentials.evaluate import Evaluation, force_error_ratio
from limbeck.structures.perturb import perturb
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge, explore_tasks, physical_frames
from limbeck.workflows.forge.frames import read_frames, read_labelled, write_frames, write_labelled
from limbeck.workflows.forge.identity import content_of
from limbeck.workflows.forge.loop import evaluate_on, labels_hash, reported_content, reported_sets
from limbeck.workflows.stages import StageResult
from limbeck.workflows.tasking import Task

FRAMES_PER_LABEL_TASK = 8
EXPLORATION = "distil"
"""Name of the teacher's own exploration: its random streams depend on it."""
SPEED_STEPS = 40
TEACHER_PREFIX = "teacher-"
TEACHER_LABELS = "teacher-labels"
"""Name of the set on which students are compared with their teacher: the validation frames."""
EQUALLY_FAST = 1.1
"""Speeds within this factor of the fastest count as equal: timings of one run differ by less from another's."""


def distil(
    forge: Forge, crystal: Atoms, teacher: Path, labels: Path, test: StageResult
) -> tuple[StageResult, StageResult]:
    """All stages of the distillation: the one in which the teacher explored, and the one that chose a student."""
    taught = seen = _teacher_frames(forge, crystal, teacher, labels)
    for index in range(forge.settings.distil.student_rounds):
        scouts = _fit_students(forge, f"round-{index}", seen, teacher, forge.settings.distil.students[:1])
        seen = _student_frames(forge, index, crystal, teacher, scouts, seen)
    fitted = _fit_students(forge, "final", seen, teacher, forge.settings.distil.students)
    return taught, _choose(forge, crystal, fitted, teacher, test)


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
        kept = physical_frames(forge, frames)[0] + known
        more = _label(forge, teacher, kept, folder / "labelled.json")
        return {"frames": len(kept), "unstable": sum(not r["stable"] for r in records)}, cpu_s + more

    inputs = [
        hash_file(teacher), hash_file(labels), content_of(settings.explore), settings.repeat, settings.trajectories,
        content_of(settings.perturb), content_of(forge.settings.filter), atoms_to_dict(crystal), forge.settings.seed,
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
        frames, _ = physical_frames(forge, [f for record in records for f in read_frames(Path(record["path"]))])
        picked = sorted(int(i) for i in rng.permutation(len(frames))[: settings.student_frames])
        old, new, more = read_labelled(seen.folder / "labelled.json"), [], 0.0
        if picked:
            more = _label(forge, teacher, [frames[i] for i in picked], folder / "new.json")
            new = read_labelled(folder / "new.json")
        write_labelled(folder / "labelled.json", [*old, *new])
        summary = {"frames": len(old) + len(new), "unstable": sum(not r["stable"] for r in records)}
        return summary, cpu_s + more

    inputs = [
        scouts.hash, seen.hash, settings.student_repeat, settings.student_frames, content_of(settings.explore),
        settings.trajectories, content_of(settings.perturb), content_of(forge.settings.filter), forge.settings.seed,
    ]  # fmt: skip
    return forge.stages.run(f"52-distil-round-{index}", inputs, work, title="Distil: a first student explores")


def _label(forge: Forge, teacher: Path, frames: Sequence[Atoms], target: Path) -> float:
    """Label frames with the teacher in chunks; ``target`` gets all of them in order."""
    if not frames:
        raise TrainingError("distillation has no frame to label. Explore longer, or loosen 'filter'.")
    digest, folder = hash_file(teacher), target.parent
    work, outputs = [], []
    for number, first in enumerate(range(0, len(frames), FRAMES_PER_LABEL_TASK)):
        chunk, output = folder / f"chunk-{number:04d}.json", folder / f"chunk-{number:04d}.labelled.json"
        write_frames(chunk, frames[first : first + FRAMES_PER_LABEL_TASK])
        work.append(Task(tasks.label_by_teacher, (str(teacher), digest, str(chunk), str(output))))
        outputs.append(output)
    _, cpu_s = forge.run_tasks("the teacher labels", work)
    write_labelled(target, [label for output in outputs for label in read_labelled(output)])
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
                "failed": result["failed"],
            }
            for family, result in zip(families, results, strict=True)
        ]
        if all(student["failed"] for student in students):
            reasons = "; ".join(f"{student['name']}: {student['failed']}" for student in students)
            raise TrainingError(f"no student could be fitted ({reasons})")
        return {"students": students, "n_train": len(split.train), "n_validation": len(split.validation)}, cpu_s

    inputs = [
        seen.hash,
        [content_of(family) for family in families],
        settings.distil.validation_fraction,
        settings.seed,
    ]
    return forge.stages.run(f"55-students-{name}", inputs, work, title=f"Distil: fit students ({name})")


def _choose(forge: Forge, crystal: Atoms, fitted: StageResult, teacher: Path, test: StageResult) -> StageResult:
    """Stage: errors against the labels and against the teacher, speed, and the choice."""
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        sets = {"test": test.folder / "labelled.json"} | reported_sets(forge)
        block = atoms_to_dict(
            crystal.repeat(repeats_for(crystal.cell.array, len(crystal), settings.distil.speed_atoms))
        )
        teacher_errors, _, cpu_s = evaluate_on(forge, folder, {"teacher": str(teacher)}, sets, TEACHER_PREFIX)
        limit = settings.distil.max_error_ratio * teacher_errors["test"]["force_RMSE_eV_per_A"]["value"]
        sets |= {TEACHER_LABELS: fitted.folder / "validation.json"}
        rows = []
        for student in fitted.summary["students"]:
            row, used = _measure_student(forge, folder, student, sets, block)
            cpu_s += used
            force = row["errors"].get("test", {}).get("force_RMSE_eV_per_A", {}).get("value")
            rows.append(row | {"meets_target": force is not None and force <= limit})
        arguments = (str(teacher), block, str(folder / "teacher-speed.json"))
        timing, used = forge.run_tasks("timing", [Task(tasks.teacher_speed, arguments)])
        cpu_s += used + _add_stability(forge, folder, crystal, rows)
        summary = {
            "students": rows,
            "chosen": choose(rows),
            "limit_force_RMSE_eV_per_A": limit,
            "teacher_errors": teacher_errors,
            "teacher_speed": timing[0],
        }
        return summary, cpu_s

    distil, properties = settings.distil, settings.properties
    inputs = [
        fitted.hash, labels_hash(test), hash_file(teacher), reported_content(forge), atoms_to_dict(crystal),
        distil.speed_atoms, distil.max_error_ratio, distil.stability_atoms, distil.stability_time_ps,
        distil.max_drift_meV_per_atom, properties.nve_temperature_K, properties.nve_timestep_fs, settings.seed,
    ]  # fmt: skip
    return forge.stages.run("58-choose", inputs, work, title="Distil: accuracy against speed")


def _measure_student(
    forge: Forge, folder: Path, student: dict[str, Any], sets: dict[str, Path], block: dict[str, Any]
) -> tuple[dict[str, Any], float]:
    """Errors and speed of one student.

    ``unusable_because`` says why it has no errors, ``unstable_because`` why it has no speed.
    """
    if student.get("failed"):
        nothing: dict[str, Any] = {"errors": {}, "failures": {}, "error_ratio": None, "speed": None}
        return student | nothing | {"unusable_because": student["failed"], "unstable_because": ""}, 0.0
    name, place = student["name"], str(forge.run_folder / student["folder"])
    errors, failures, cpu_s = evaluate_on(forge, folder, {"student": place}, sets, f"{name}-")
    timing = Task(tasks.student_speed, (place, block, SPEED_STEPS, str(folder / f"{name}-speed.json")))
    speeds, more = forge.run_tasks("timing", [timing])
    needed = [failures[key] for key in ("test", TEACHER_LABELS) if key in failures]
    ratio = None
    if "test" in errors:
        mine, teachers = (Evaluation.load(folder / f"{p}evaluated-test.npz") for p in (f"{name}-", TEACHER_PREFIX))
        ratio = force_error_ratio(mine, teachers)
    row = student | {
        "errors": errors,
        "failures": failures,
        "error_ratio": ratio,
        "speed": None if "failed" in speeds[0] else speeds[0],
        "unusable_because": "; ".join(needed),
        "unstable_because": speeds[0].get("failed", ""),
    }
    return row, cpu_s + more


def _add_stability(forge: Forge, folder: Path, crystal: Atoms, rows: list[dict[str, Any]]) -> float:
    """Run students that have not failed yet at constant energy; rows get ``stable`` and ``unstable_because``."""
    distil, properties = forge.settings.distil, forge.settings.properties
    hopeful = [row for row in rows if not row["unusable_because"] and not row["unstable_because"]]
    work = []
    for row in hopeful:
        progress = folder / f"{row['name']}-stability.progress"
        arguments = (
            str(forge.run_folder / row["folder"]), atoms_to_dict(crystal), properties.nve_temperature_K,
            distil.stability_time_ps, properties.nve_timestep_fs, str(folder / f"{row['name']}-stability"),
            integer_seed(forge.settings.seed, "stability"), str(progress), distil.stability_atoms,
        )  # fmt: skip
        work.append(Task(tasks.nve_of_student, arguments, progress))
    results, cpu_s = forge.run_tasks("students at constant energy", work)
    reasons = {row["name"]: _instability(result, forge) for row, result in zip(hopeful, results, strict=True)}
    for row in rows:
        reason = row["unusable_because"] or row["unstable_because"] or reasons[row["name"]]
        row |= {"stable": not reason, "unstable_because": reason}
    return cpu_s


def _instability(result: dict[str, Any], forge: Forge) -> str:
    """Why a constant-energy run shows that a student is unstable; empty if it is not."""
    distil = forge.settings.distil
    if "failed" in result:
        return str(result["failed"])
    drift = result["drift"]["value"]
    if abs(drift) <= distil.max_drift_meV_per_atom:
        return ""
    return (
        f"its energy drifts by {drift:.2f} meV/atom in {distil.stability_time_ps:g} ps; "
        f"the limit is {distil.max_drift_meV_per_atom:g}"
    )


def choose(rows: Sequence[dict[str, Any]]) -> str:
    """Name of the student to take: the fastest stable one that meets the target, else the most accurate stable one.

    Among those about as fast as the fastest, the most accurate is taken, so that noise of a timing does not choose.

    Args:
        rows: Students with ``stable``, ``meets_target``, ``speed``, ``errors`` and ``unusable_because``; the most
            accurate usable one is taken if none is stable.

    Raises:
        TrainingError: If no student can be used at all.
    """
    usable = [row for row in rows if not row["unusable_because"]]
    if not usable:
        reasons = "; ".join(f"{row['name']}: {row['unusable_because']}" for row in rows)
        raise TrainingError(f"no student can be used ({reasons}). Distil from more frames, or fit another family.")
    stable = [row for row in usable if row["stable"]]
    good = [row for row in stable if row["meets_target"]]
    if good:
        fastest = min(row["speed"]["value"] for row in good)
        good = [row for row in good if row["speed"]["value"] <= EQUALLY_FAST * fastest]
    best = min(good or stable or usable, key=lambda r: (r["errors"]["test"]["force_RMSE_eV_per_A"]["value"], r["name"]))
    return str(best["name"])


def chosen_student(chosen: StageResult) -> dict[str, Any]:
    """Row of the student that was chosen."""
    row: dict[str, Any] = next(s for s in chosen.summary["students"] if s["name"] == chosen.summary["chosen"])
    return row


def student_content(folder: Path) -> dict[str, Any]:
    """What decides a saved student's forces: its files, as hashes, and how LAMMPS is told to use them."""
    record = read_json(folder / "student.json")
    return {name: record[name] for name in ("kind", "pair_style", "files")}
