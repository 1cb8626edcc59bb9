"""The forge from end to end: one function, top to bottom."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.core.config import dump, load
from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.core.record import RunRecord, hash_file, hash_of, read_json, write_json, write_text
from limbeck.core.rng import stream
from limbeck.executors import build_executor
from limbeck.labels.engines import StoredSettings
from limbeck.labels.store import LabelStore
from limbeck.report.forge import build_report
from limbeck.report.reading import write_results
from limbeck.structures.crystals import BulkSettings, build_structure
from limbeck.structures.perturb import perturb
from limbeck.workflows.forge import loop as loop_stages
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.context import Forge, crystal_of
from limbeck.workflows.forge.distil import distil
from limbeck.workflows.forge.frames import write_frames
from limbeck.workflows.forge.labelling import label_store_folder
from limbeck.workflows.forge.production import produce
from limbeck.workflows.forge.properties import compute_properties
from limbeck.workflows.forge.results import collect_results
from limbeck.workflows.stages import StageResult, StageRunner

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
    changes: dict[str, Any] = {"structures": [_absolute(s, base) for s in settings.structures]}
    if isinstance(settings.labels, StoredSettings):
        changes["labels"] = _absolute(settings.labels, base)
    changes["report_on"] = {name: _absolute(value, base) for name, value in settings.report_on.items()}
    if settings.label_store:
        changes["label_store"] = str((base / settings.label_store).resolve())
    return settings.model_copy(update=changes)


def _absolute(settings: Any, base: Path) -> Any:
    if not hasattr(settings, "path"):
        return settings
    path = Path(settings.path)
    path = path if path.is_absolute() else base / path
    if not path.exists():
        raise MissingFileError(f"{path}: no such file, named in the configuration ({settings.kind}). Check the path.")
    return settings.model_copy(update={"path": str(path.resolve())})


def forge(
    settings: ForgeSettings, run_folder: Path, *, reporter: Reporter | None = None, command: str = ""
) -> ForgeOutcome:
    """Fine-tune, distil, validate, run and report; a rerun in the same folder goes on where it stopped.

    Args:
        settings: From :func:`read_settings`.
        run_folder: Where everything goes. Started there before with other settings: what they change is redone.
        reporter: Where progress goes.
        command: Command line, for the record.

    Returns:
        Folder, report and results. A gate that is not passed does not stop the run; the report says what failed.

    Raises:
        LimbeckError: With its reason; all finished stages and labels stay, the same call resumes.
    """
    reporter = reporter or SilentReporter()
    run_folder = Path(run_folder).resolve()
    _write_record(settings, run_folder, command)
    with ExitStack() as stack:
        store = stack.enter_context(LabelStore(label_store_folder(run_folder, settings.label_store)))
        executor = stack.enter_context(build_executor(settings.executor, run_folder / "executor"))
        run = Forge(settings, run_folder, store, executor, StageRunner(run_folder, reporter), reporter)
        starts = _structures(run)
        crystal = crystal_of(run_folder)
        test = loop_stages.test_set(run, starts)
        universal = loop_stages.zero_shot(run, test)
        tuned = loop_stages.loop(run, starts, test, universal)
        taught, chosen = distil(run, crystal, tuned.teacher, tuned.labels, test)
        compute_properties(run, crystal, universal, tuned.teacher, taught, chosen)
        produce(run, crystal, chosen)
    return ForgeOutcome(run_folder, report_again(run_folder), tuned.passed)


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


def _structures(run: Forge) -> StageResult:
    """Stage: starting cells and their perturbed copies."""
    settings = run.settings

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        crystals = [build_structure(s, Path.cwd()) for s in settings.structures]
        rng = stream(settings.seed, "perturb")
        starts = [copy for crystal in crystals for copy in perturb(crystal, settings.perturb, rng)]
        if not starts:
            raise ConfigError("perturb.copies is 0, so there is nothing to start from. Set it to 1 or more.")
        write_frames(folder / "crystal.json", crystals[:1])
        write_frames(folder / "starts.json", starts)
        return {"structures": len(crystals), "starts": len(starts)}, 0.0

    files = [hash_file(Path(s.path)) for s in settings.structures if not isinstance(s, BulkSettings)]
    inputs = [[s.model_dump(mode="json") for s in settings.structures], files, settings.perturb.model_dump(mode="json")]
    return run.stages.run("10-structures", [*inputs, settings.seed], work, title="Structures")


def _write_record(settings: ForgeSettings, run_folder: Path, command: str) -> None:
    """Resolved settings and record, before any work; the first start's time is kept."""
    values = settings.model_dump(mode="json")
    named: list[Any] = [*settings.structures, settings.labels, *settings.report_on.values()]
    inputs = {s.path: hash_file(Path(s.path)) for s in named if hasattr(s, "path")}
    record = RunRecord("forge", values, hash_of(values), settings.seed, inputs, command=command)
    path = run_folder / RECORD
    content: dict[str, Any] = dict(vars(record))
    if path.exists():
        content["started"] = read_json(path)["started"]
    write_json(path, content)
    write_text(run_folder / RESOLVED, dump(settings))
