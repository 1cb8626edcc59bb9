"""The fine-tune loop: explore, filter, select, label, split, train, test, gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.errors import TrainingError
from limbeck.core.record import hash_file
from limbeck.core.rng import integer_seed, stream
from limbeck.labels.dataset import require_one_theory_across
from limbeck.labels.engines import StoredSettings
from limbeck.labels.engines.stored import StoredEngine
from limbeck.labels.labelled import Labelled
from limbeck.labels.selection import select
from limbeck.labels.serialize import structure_hash
from limbeck.labels.split import split_by_trajectory
from limbeck.potentials.evaluate import Evaluation
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge, explore_tasks, physical_frames
from limbeck.workflows.forge.frames import read_frames, read_labelled, write_frames, write_labelled
from limbeck.workflows.forge.gate import check_gate
from limbeck.workflows.forge.identity import content_of
from limbeck.workflows.forge.labelling import LabelBatch, label_frames
from limbeck.workflows.stages import StageResult
from limbeck.workflows.tasking import Task

TEACHER_FILE = "teacher.limbeck"
SMALLEST_SLOPE, LARGEST_SLOPE = 0.25, 4.0
"""Forces of the universal teacher over labelled ones, outside of which the unit of the labels is doubted."""


@dataclass(frozen=True)
class LoopOutcome:
    """Where the loop ended.

    Attributes:
        teacher: File of the last fine-tuned teacher.
        labels: File with all labels but those of the test set.
        iterations: Stages of each iteration, in order; the last of each is its gate.
        passed: Whether the gate was passed.
    """

    teacher: Path
    labels: Path
    iterations: list[StageResult]
    passed: bool


def _is_stored(forge: Forge) -> bool:
    return isinstance(forge.settings.labels, StoredSettings)


def stored_frames(forge: Forge, role: str) -> list[Labelled] | None:
    """Frames of one role in a stored label set, or ``None`` if labels are computed."""
    if not isinstance(forge.settings.labels, StoredSettings):
        return None
    frames = StoredEngine(forge.settings.labels).frames()
    return [frame for frame in frames if frame.atoms.info.get("role") == role]


def test_set(forge: Forge, starts: StageResult) -> StageResult:
    """Stage: the fixed external test set, labelled."""
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        stored = stored_frames(forge, "test")
        cpu_s = 0.0
        if stored is not None:
            chosen = _spread([f.atoms for f in stored], settings.test.frames, forge, "test")
        else:
            base = folder / "universal.limbeck"
            prepare = Task(tasks.prepare_teacher, (settings.teacher.model_dump(mode="json"), None, str(base)))
            _, first = forge.run_tasks("loading the teacher", [prepare])
            plan = explore_tasks(
                forge, folder, {"teacher": str(base)}, read_frames(starts.folder / "starts.json"),
                settings.explore, settings.test.trajectories, "test",
            )  # fmt: skip
            records, second = forge.run_tasks("exploring for the test set", plan)
            cpu_s = first + second
            candidates, _ = physical_frames(forge, _frames_of(records))
            chosen = _spread(candidates, settings.test.frames, forge, "test")
        for atoms in chosen:
            atoms.info["role"] = "test"
        batch = label_frames(forge, chosen, "labelling the test set")
        _require(batch, "the test set")
        write_labelled(folder / "labelled.json", batch.labelled)
        return _batch_summary(batch), cpu_s + batch.cpu_s

    inputs: list[Any] = [content_of(settings.labels), settings.test.frames, settings.seed]
    if not _is_stored(forge):
        inputs += [
            starts.hash, settings.test.trajectories, content_of(settings.explore), content_of(settings.filter),
            content_of(settings.teacher),
        ]  # fmt: skip
    return forge.stages.run("20-test-set", inputs, work, title="Test set")


def zero_shot(forge: Forge, test: StageResult) -> StageResult:
    """Stage: the universal teacher as it comes, element energies aligned, against the labels."""

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        teacher = str(folder / TEACHER_FILE)
        frames = str(test.folder / "labelled.json")
        prepare = Task(tasks.prepare_teacher, (forge.settings.teacher.model_dump(mode="json"), frames, teacher))
        _, first = forge.run_tasks("loading the teacher", [prepare])
        sets = {"test": Path(frames)} | reported_sets(forge)
        errors, _, second = evaluate_on(forge, folder, {"teacher": teacher}, sets)
        doubt = doubt_of_units(Evaluation.load(folder / "evaluated-test.npz"))
        if doubt:
            forge.reporter.message(f"Warning: {doubt}")
        found = {"errors": errors, "teacher_sha256": hash_file(Path(teacher)), "doubt": doubt}
        return found, first + second

    inputs = [labels_hash(test), content_of(forge.settings.teacher), reported_content(forge)]
    return forge.stages.run("30-zero-shot", inputs, work, title="Universal teacher, zero-shot")


def doubt_of_units(evaluation: Evaluation) -> str:
    """What speaks against labels in eV/Å, empty if nothing: a universal teacher has forces of the right size.

    The slope of its forces over the labelled ones is 0.7 to 1.1 for materials; 1 kcal/mol is 0.043 eV, 1 Hartree/Bohr
    51 eV/Å, and a sign is -1.
    """
    reference, predicted = evaluation.reference_forces.ravel(), evaluation.forces.ravel()
    square = float(reference @ reference)
    slope = float(reference @ predicted) / square if square > 0 else 1.0
    if SMALLEST_SLOPE <= slope <= LARGEST_SLOPE:
        return ""
    return (
        f"the universal teacher's forces are {slope:.2g} times the labelled ones. Are the labels in eV and eV/Å, and "
        "is the teacher made for such a material?"
    )


def labels_hash(stage: StageResult) -> str:
    """Hash of the labels that a stage left: a further label, of a frame that failed before, changes it."""
    return hash_file(stage.folder / "labelled.json")


def reported_sets(forge: Forge) -> dict[str, Path]:
    """The sets that are only reported on, as files of frames."""
    paths = {}
    for name, settings in forge.settings.report_on.items():
        paths[name] = forge.run_folder / "report-on" / f"{name}-{hash_file(Path(settings.path))[:12]}.json"
        if not paths[name].exists():
            write_labelled(paths[name], StoredEngine(settings).frames())
    return paths


def reported_content(forge: Forge) -> dict[str, Any]:
    """What the sets that are only reported on hold, as hashes."""
    return {name: content_of(settings) for name, settings in forge.settings.report_on.items()}


def evaluate_on(
    forge: Forge, folder: Path, potential: tasks.Potential, sets: dict[str, Path], prefix: str = ""
) -> tuple[dict[str, Any], dict[str, str], float]:
    """Errors of a potential on labelled sets; predictions go to ``folder``.

    Returns:
        Set name -> error table; set name -> reason, of sets on which a student failed; and the CPU seconds used.
    """
    work = [
        Task(tasks.evaluate, (potential, str(path), str(folder / f"{prefix}evaluated-{name}.npz")))
        for name, path in sets.items()
    ]
    results, cpu_s = forge.run_tasks("evaluating", work)
    found = dict(zip(sets, results, strict=True))
    errors = {name: result["errors"] for name, result in found.items() if "failed" not in result}
    return errors, {name: result["failed"] for name, result in found.items() if "failed" in result}, cpu_s


def loop(forge: Forge, starts: StageResult, test: StageResult, base: StageResult) -> LoopOutcome:
    """The whole loop, until the gate is passed or ``max_iterations`` is reached."""
    known: Path | None = None
    current = base
    stages: list[StageResult] = []
    for index in range(forge.settings.loop.max_iterations):
        labels = _explore_and_label(forge, index, starts, current, known)
        _require_theory(forge, test, labels.folder / "labelled.json")
        fitted = _fit(forge, index, base, labels)
        tested = _test(forge, index, starts, test, fitted)
        known, current = tested.folder / "labelled.json", fitted
        _require_theory(forge, test, known)
        gate = _gate(forge, index, tested)
        stages += [labels, fitted, tested, gate]
        if gate.summary["passed"]:
            break
    assert known is not None
    return LoopOutcome(current.folder / TEACHER_FILE, known, stages, gate.summary["passed"])


def _require_theory(forge: Forge, test: StageResult, labels: Path) -> None:
    """All labels of a run are of one level of theory, those of the test set and of earlier batches included.

    It is checked outside the stages: what was made while mixing was allowed is refused when it no longer is.
    """
    batches = {"test set": read_labelled(test.folder / "labelled.json"), "labels of the loop": read_labelled(labels)}
    require_one_theory_across(batches, allow_mixed=forge.settings.allow_mixed_theory)


def _explore_and_label(
    forge: Forge, index: int, starts: StageResult, current: StageResult, known: Path | None
) -> StageResult:
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        before = read_labelled(known) if known else []
        stored = stored_frames(forge, "pool")
        if stored is not None:
            taken = {structure_hash(f.atoms) for f in before}
            fresh = [f.atoms for f in stored if structure_hash(f.atoms) not in taken]
            kept, rejected = physical_frames(forge, fresh)
            cpu_s = 0.0
        else:
            plan = explore_tasks(
                forge, folder, {"teacher": str(current.folder / TEACHER_FILE)},
                read_frames(starts.folder / "starts.json"), settings.explore, settings.loop.trajectories,
                f"iteration-{index}",
            )  # fmt: skip
            records, cpu_s = forge.run_tasks(f"iteration {index}: exploring", plan)
            kept, rejected = physical_frames(forge, _frames_of(records))
        if not kept:
            raise TrainingError(
                f"iteration {index}: no candidate frame is left after filtering ({dict(rejected)}). "
                "Explore at lower temperature, or loosen 'filter'."
            )
        count = min(settings.loop.labels_per_iteration, len(kept))
        rng = stream(settings.seed, "select", index)
        chosen = select(kept, [f.atoms for f in before], count, settings.select, rng)
        frames = [kept[i] for i in chosen.indices]
        for atoms in frames:
            atoms.info["role"] = "pool"
        write_frames(folder / "selected.json", frames)
        batch = label_frames(forge, frames, f"iteration {index}: labelling")
        write_labelled(folder / "labelled.json", [*before, *batch.labelled])
        summary = _batch_summary(batch) | {
            "labels_total": len(before) + len(batch.labelled),
            "candidates": len(kept) + sum(rejected.values()),
            "filter_reasons": dict(rejected),
            "selection_gains": list(chosen.gains),
            "selected_stopped_because": chosen.stopped_because,
        }
        return summary, cpu_s + batch.cpu_s

    inputs: list[Any] = [
        starts.hash, hash_file(known) if known else "", content_of(settings.labels), content_of(settings.filter),
        content_of(settings.select), settings.loop.labels_per_iteration, settings.seed,
    ]  # fmt: skip
    if not _is_stored(forge):
        inputs += [current.summary["teacher_sha256"], content_of(settings.explore), settings.loop.trajectories]
    return forge.stages.run(
        f"40-iteration-{index:02d}-a-labels", inputs, work, title=f"Iteration {index}: explore and label"
    )


def _fit(forge: Forge, index: int, base: StageResult, labels: StageResult) -> StageResult:
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        frames = read_labelled(labels.folder / "labelled.json")
        split = split_by_trajectory(
            frames, settings.loop.validation_fraction, integer_seed(settings.seed, "split", index)
        )
        write_labelled(folder / "train.json", split.train)
        write_labelled(folder / "validation.json", split.validation)
        progress = folder / "fit.progress"
        arguments = (
            str(base.folder / TEACHER_FILE), str(folder / "train.json"), str(folder / "validation.json"),
            settings.finetune.model_dump(mode="json"), integer_seed(settings.seed, "fit", index),
            str(folder / TEACHER_FILE), str(progress),
        )  # fmt: skip
        results, cpu_s = forge.run_tasks(
            f"iteration {index}: fine-tuning", [Task(tasks.fit_teacher, arguments, progress)]
        )
        summary = {
            "n_train": len(split.train),
            "n_validation": len(split.validation),
            "history": results[0]["history"],
            "teacher_sha256": hash_file(folder / TEACHER_FILE),
        }
        return summary, cpu_s

    inputs = [
        base.summary["teacher_sha256"], labels_hash(labels), content_of(settings.finetune),
        settings.loop.validation_fraction, settings.seed,
    ]  # fmt: skip
    return forge.stages.run(f"40-iteration-{index:02d}-b-fit", inputs, work, title=f"Iteration {index}: fine-tune")


def _test(forge: Forge, index: int, starts: StageResult, test: StageResult, fitted: StageResult) -> StageResult:
    """Stage: fixed test set, and a fresh trajectory of the new teacher."""
    settings = forge.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        potential = {"teacher": str(fitted.folder / TEACHER_FILE)}
        md = settings.explore.model_copy(update={"steps": settings.loop.stability_steps})
        plan = explore_tasks(
            forge, folder, potential, read_frames(starts.folder / "starts.json"), md,
            max(2, len(md.temperatures_K)), f"fresh-{index}",
        )  # fmt: skip
        records, cpu_s = forge.run_tasks(f"iteration {index}: fresh trajectories", plan)
        before = read_labelled(fitted.folder / "train.json") + read_labelled(fitted.folder / "validation.json")
        fresh = _label_fresh(forge, index, records, before)
        sets = {"test": test.folder / "labelled.json"} | reported_sets(forge)
        sets |= {
            part: fitted.folder / f"{part}.json" for part in ("train", "validation") if fitted.summary[f"n_{part}"]
        }
        if fresh.labelled:
            write_labelled(folder / "fresh.json", fresh.labelled)
            sets["fresh"] = folder / "fresh.json"
        errors, _, more = evaluate_on(forge, folder, potential, sets)
        write_labelled(folder / "labelled.json", before + fresh.labelled)
        trajectories = [record | {"path": forge.relative(record["path"])} for record in records]
        summary = _batch_summary(fresh) | {"errors": errors, "trajectories": trajectories}
        return summary, cpu_s + fresh.cpu_s + more

    inputs = [
        starts.hash, labels_hash(test), fitted.hash, content_of(settings.labels), settings.loop.fresh_frames,
        settings.loop.stability_steps, content_of(settings.explore), content_of(settings.filter), settings.seed,
        reported_content(forge),
    ]  # fmt: skip
    return forge.stages.run(f"40-iteration-{index:02d}-c-test", inputs, work, title=f"Iteration {index}: test")


def _gate(forge: Forge, index: int, tested: StageResult) -> StageResult:
    """Stage: the limits; of its own, so that another limit computes nothing again."""
    limits, fresh_frames, stored = forge.settings.gate, forge.settings.loop.fresh_frames, _is_stored(forge)

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        errors, records = tested.summary["errors"], tested.summary["trajectories"]
        return check_gate(limits, errors, records, fresh_frames=fresh_frames, stored=stored), 0.0

    inputs = [tested.hash, content_of(limits)]
    return forge.stages.run(f"40-iteration-{index:02d}-d-gate", inputs, work, title=f"Iteration {index}: gate")


def _label_fresh(forge: Forge, index: int, records: Sequence[dict[str, Any]], before: Sequence[Labelled]) -> LabelBatch:
    count = forge.settings.loop.fresh_frames
    if count == 0:
        return LabelBatch([], 0, [], 0.0)
    stored = stored_frames(forge, "fresh")
    if stored is not None:
        used = {structure_hash(f.atoms) for f in before}
        unused = [f.atoms for f in stored if structure_hash(f.atoms) not in used]
        frames = _spread(unused, count, forge, f"fresh-{index}")
    else:
        frames = _spread(physical_frames(forge, _frames_of(records))[0], count, forge, f"fresh-{index}")
    for atoms in frames:
        atoms.info["role"] = "fresh"
    return label_frames(forge, frames, f"iteration {index}: labelling fresh frames")


def _frames_of(records: Sequence[dict[str, Any]]) -> list[Atoms]:
    return [frame for record in records for frame in read_frames(Path(record["path"]))]


def _spread(frames: Sequence[Atoms], count: int, forge: Forge, name: str) -> list[Atoms]:
    """Random frames, as evenly as possible over their trajectories."""
    rng = stream(forge.settings.seed, name, "spread")
    by_trajectory: dict[str, list[Atoms]] = {}
    for position in rng.permutation(len(frames)):
        atoms = frames[int(position)]
        by_trajectory.setdefault(str(atoms.info.get("trajectory")), []).append(atoms)
    queues = [by_trajectory[name] for name in sorted(by_trajectory)]
    chosen: list[Atoms] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop().copy())
    return chosen


def _require(batch: LabelBatch, what: str) -> None:
    if not batch.labelled:
        reasons = "; ".join(sorted({reason for _, reason in batch.quarantined})) or "no frame was found"
        raise TrainingError(f"{what} has no label: {reasons}")


def _batch_summary(batch: LabelBatch) -> dict[str, Any]:
    return {"labels": len(batch.labelled), "reused": batch.reused, "quarantined": batch.quarantined}
