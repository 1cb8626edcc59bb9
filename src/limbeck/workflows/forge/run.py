"""The forge from end to end: one function, top to bottom."""

import errno
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck import __version__
from limbeck.core.config import Settings, dump, load
from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.core.record import RunRecord, hash_of, locked, read_json, write_json, write_text
from limbeck.core.rng import stream
from limbeck.executors import build_executor
from limbeck.labels.store import LabelStore
from limbeck.labels.task import retry_quarantined
from limbeck.potentials.teachers.sevennet import SHIPPED
from limbeck.report.forge import REPORT_FILE, build_report
from limbeck.report.reading import write_results
from limbeck.structures.perturb import perturb
from limbeck.workflows.forge import loop as loop_stages
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.context import Forge, crystal_of, crystals_of
from limbeck.workflows.forge.distil import distil
from limbeck.workflows.forge.frames import write_frames
from limbeck.workflows.forge.identity import content_of, file_of, named_files, run_identity
from limbeck.workflows.forge.labelling import label_store_folder
from limbeck.workflows.forge.preflight import build_structures, cautions, check_elements, check_labels
from limbeck.workflows.forge.production import produce
from limbeck.workflows.forge.properties import compute_properties
from limbeck.workflows.forge.results import collect_results
from limbeck.workflows.stages import LOCK, StageResult, StageRunner, is_finished_with, listed_stages
from limbeck.workflows.tasking import Task

RECORD = "record.json"
RESOLVED = "config.resolved.yaml"


@dataclass(frozen=True)
class ForgeOutcome:
    """What a finished run leaves.

    Attributes:
        run_folder: Where everything is.
        report: The HTML file.
        passed: Whether the fine-tuned teacher passed the gate.
    """

    run_folder: Path
    report: Path
    passed: bool


def read_settings(config: Path, overrides: dict[str, Any] | None = None) -> ForgeSettings:
    """Settings with every path made absolute, relative ones being taken from the file's own folder.

    Raises:
        ConfigError: If the file does not fit.
        MissingFileError: If it, or a file that it names, is not there.
    """
    settings = load(Path(config), ForgeSettings, overrides)
    base = Path(config).resolve().parent
    changes: dict[str, Any] = {
        "structures": [_absolute(s, base) for s in settings.structures],
        "teacher": _absolute(settings.teacher, base),
        "labels": _absolute(settings.labels, base),
        "report_on": {name: _absolute(value, base) for name, value in settings.report_on.items()},
    }
    if settings.label_store:
        changes["label_store"] = str((base / settings.label_store).resolve())
    return settings.model_copy(update=changes)


def _absolute(settings: Settings, base: Path) -> Settings:
    named = file_of(settings)
    if named is None:
        return settings
    path = base / named
    if not path.exists():
        kind = getattr(settings, "kind", "file")
        known = f" SevenNet models that need no file: {', '.join(SHIPPED)}." if kind == "sevennet" else ""
        raise MissingFileError(f"{path}: no such file, named in the configuration ({kind}). Check the path.{known}")
    key = "path" if hasattr(settings, "path") else "model"
    return settings.model_copy(update={key: str(path.resolve())})


def forge(
    settings: ForgeSettings,
    run_folder: Path,
    *,
    reporter: Reporter | None = None,
    command: str = "",
    try_failed_again: bool = False,
) -> ForgeOutcome:
    """Fine-tune, distil, validate, run and report; a rerun in the same folder goes on where it stopped.

    Args:
        settings: From :func:`read_settings`.
        run_folder: Where everything goes. Started there before with other settings: what they change is redone.
        reporter: Where progress goes.
        command: Command line, for the record.
        try_failed_again: Take frames out of quarantine first, so that their labels are computed again.

    Returns:
        Folder, report and results. A gate that is not passed does not stop the run; the report says what failed.

    Raises:
        ExecutionError: If another process works in the run folder.
        LimbeckError: With its reason; all finished stages and labels stay, the same call resumes.
    """
    reporter = reporter or SilentReporter()
    run_folder = Path(run_folder).resolve()
    with ExitStack() as stack:
        _claim(run_folder, settings.name)
        stack.enter_context(locked(run_folder / LOCK, wait_s=0.0))
        _warn_of_other_version(run_folder, reporter)
        identity = run_identity(settings)
        if is_finished_with(run_folder, identity) and not try_failed_again:
            return _finished_before(run_folder, reporter)
        crystals = build_structures(settings)
        check_labels(settings, crystals)
        for text in cautions(settings, crystals):
            reporter.message(f"Warning: {text}")
        stages = StageRunner(run_folder, reporter)
        _write_record(settings, run_folder, command)
        stages.begin(identity)
        store = stack.enter_context(LabelStore(label_store_folder(run_folder, settings.label_store)))
        if try_failed_again:
            _release_quarantined(run_folder, store, reporter)
        executor = stack.enter_context(build_executor(settings.executor, run_folder / "executor"))
        run = Forge(settings, run_folder, store, executor, stages, reporter)
        passed = do_stages(run)
        (run_folder / REPORT_FILE).unlink(missing_ok=True)  # written last: with it, a finished run is whole
        stages.finish()
        return ForgeOutcome(run_folder, report_again(run_folder), passed)


def _claim(run_folder: Path, name: str) -> None:
    """Make the run folder, unless it is somebody else's.

    Raises:
        ConfigError: If it cannot be written, or holds other files or a run of another name.
    """
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / LOCK).touch()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ConfigError(
            f"{run_folder}: cannot be written ({error.strerror}). Choose another folder with --run-folder."
        ) from error
    others = {path.name for path in run_folder.iterdir()} - {LOCK}
    if not others:
        return
    if not (run_folder / RECORD).exists():
        raise ConfigError(
            f"{run_folder}: holds other files ({', '.join(sorted(others)[:3])}) and no run, so nothing is written "
            "there. Choose an empty or a new folder with --run-folder."
        )
    before = read_json(run_folder / RECORD).get("config", {}).get("name", name)
    if before != name:
        raise ConfigError(
            f"{run_folder}: holds the run '{before}', the configuration is '{name}'. Choose another folder with "
            "--run-folder, or the same name."
        )


def do_stages(run: Forge) -> bool:
    """All stages in order; whether the gate was passed."""
    teacher = _teacher(run)
    starts = _structures(run)
    crystal = crystal_of(run.run_folder)
    check_elements(teacher.summary["elements"], crystals_of(run.run_folder), f"the teacher {teacher.summary['name']}")
    test = loop_stages.test_set(run, starts)
    universal = loop_stages.zero_shot(run, test)
    tuned = loop_stages.loop(run, starts, test, universal)
    taught, chosen = distil(run, crystal, tuned.teacher, tuned.labels, test)
    compute_properties(run, crystal, universal, tuned.teacher, taught, chosen)
    produce(run, crystal, chosen)
    return tuned.passed


def _release_quarantined(run_folder: Path, store: LabelStore, reporter: Reporter) -> None:
    """Try failed labels again: stages that had some are entered again, with all else that they made."""
    released = retry_quarantined(store, run_folder / "spool")
    for path in (run_folder / "stages").glob("*/done.json") if released else ():
        if read_json(path)["summary"].get("quarantined"):
            path.unlink()
    reporter.message(f"{len(released)} quarantined frames are tried again")


def _finished_before(run_folder: Path, reporter: Reporter) -> ForgeOutcome:
    """What a finished run left; only a report that was interrupted is written again."""
    gates = [s.done for s in listed_stages(run_folder) if s.done and s.name.endswith("-d-gate")]
    report = run_folder / REPORT_FILE
    if report.exists():
        reporter.message("finished before, nothing to do")
    else:
        report = report_again(run_folder)
    return ForgeOutcome(run_folder, report, bool(gates[-1]["summary"]["passed"]))


def _warn_of_other_version(run_folder: Path, reporter: Reporter) -> None:
    path = run_folder / RECORD
    before = read_json(path)["versions"].get("limbeck", "unknown") if path.exists() else __version__
    if before != __version__:
        reporter.message(
            f"Warning: limbeck {before} made this run folder, this is {__version__}; its finished stages are kept. "
            "Take another folder to compute all by one version."
        )


def report_again(run_folder: Path) -> Path:
    """Write ``results.json`` and the report from what the stages recorded; for unfinished runs too.

    Raises:
        MissingFileError: If the folder holds no run.
    """
    if not (Path(run_folder) / RECORD).exists():
        raise MissingFileError(
            f"{run_folder}: no run here (no {RECORD}). Give the folder of a run, such as runs/silicon."
        )
    write_results(run_folder, collect_results(run_folder))
    return build_report(run_folder)


def _teacher(run: Forge) -> StageResult:
    """Stage: the universal teacher is there; what it knows."""
    settings = run.settings.teacher

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        found, cpu_s = run.run_tasks("checking", [Task(tasks.describe_teacher, (settings.model_dump(mode="json"),))])
        return found[0], cpu_s

    return run.stages.run("05-teacher", [content_of(settings)], work, title="Universal teacher")


def _structures(run: Forge) -> StageResult:
    """Stage: starting cells and their perturbed copies."""
    settings = run.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        crystals = build_structures(settings)
        rng = stream(settings.seed, "perturb")
        starts = [copy for crystal in crystals for copy in perturb(crystal, settings.perturb, rng)]
        if not starts:
            raise ConfigError("perturb.copies is 0, so there is nothing to start from. Set it to 1 or more.")
        write_frames(folder / "crystal.json", crystals[:1])
        write_frames(folder / "crystals.json", crystals)
        write_frames(folder / "starts.json", starts)
        return {"structures": len(crystals), "starts": len(starts)}, 0.0

    inputs = [[content_of(s) for s in settings.structures], content_of(settings.perturb), settings.seed]
    return run.stages.run("10-structures", inputs, work, title="Structures")


def _write_record(settings: ForgeSettings, run_folder: Path, command: str) -> None:
    """Resolved settings and record, before any work; the first start's time is kept."""
    values = settings.model_dump(mode="json")
    record = RunRecord("forge", values, hash_of(values), settings.seed, named_files(settings), command=command)
    path = run_folder / RECORD
    content: dict[str, Any] = dict(vars(record))
    if path.exists():
        content["started"] = read_json(path)["started"]
    write_json(path, content)
    write_text(run_folder / RESOLVED, dump(settings))
