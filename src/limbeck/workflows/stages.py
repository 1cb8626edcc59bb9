"""Stages of a run: each leaves a folder, and its ``done.json`` appears last.

So a run can be killed at any moment and started again: a stage with a matching ``done.json`` is skipped, any other is
entered again, where tasks skip the products that already stand. The hash in ``done.json`` covers the stage's own
inputs and those of every stage it builds on; a changed setting redoes that stage and what follows, nothing else.

``stages.json`` beside the folders names the stages that the latest start of the run has come to, each with its hash.
Reports, status and exports go by this list, never by the folders: one may be left from an earlier configuration.
"""

import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck import __version__
from limbeck.core.errors import MissingFileError
from limbeck.core.progress import Reporter, format_seconds
from limbeck.core.record import hash_of, read_json, to_jsonable, write_json

DONE = "done.json"
INPUTS = "inputs.json"
SPENT = "spent.json"
"""Wall and CPU seconds of a stage's attempts so far; renewed while it runs, so that a kill loses little."""
LOCK = "run.lock"
"""Held by the process that works in a run folder."""
LIST = "stages.json"
TRASH = ".trash-"
"""Begins the name of a folder that is being deleted."""
RENEW_S = 5.0
"""Interval at which the time spent is written."""


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves behind.

    Attributes:
        name: Name of the stage.
        folder: Its folder.
        hash: Hash of everything that decided its products; goes into the inputs of the stages that build on it.
        summary: Plain values, as the stage returned them.
        wall_s: Wall seconds, summed over all attempts.
        cpu_s: CPU seconds of this process, summed over all attempts, and of the tasks of the attempt that finished.
    """

    name: str
    folder: Path
    hash: str
    summary: dict[str, Any]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class ListedStage:
    """A stage that the latest start of a run has come to.

    Attributes:
        name: Name of the stage.
        folder: Its folder.
        done: Content of its ``done.json``; ``None`` while it is not finished.
    """

    name: str
    folder: Path
    done: dict[str, Any] | None


@dataclass
class StageRunner:
    """Runs the stages of one run folder in the order in which they are called."""

    run_folder: Path
    reporter: Reporter
    results: list[StageResult] = field(default_factory=list)

    def begin(self, identity: str) -> None:
        """Start the list of stages anew and delete what an earlier start was killed at deleting.

        Args:
            identity: Hash of all that decides the run's results, to tell later whether it was finished with this.
        """
        for leftover in (self.run_folder / "stages").glob(f"{TRASH}*"):
            shutil.rmtree(leftover)
        self._write_list(identity=identity)

    def run(
        self, name: str, inputs: Any, work: Callable[[Path], tuple[dict[str, Any], float]], *, title: str
    ) -> StageResult:
        """Do a stage, or take it as done.

        Args:
            name: Folder name below ``stages/``; numbers in front keep the order.
            inputs: JSON-like value of all that decides the products (settings, seeds, hashes of files and of upstream
                stages). Paths have no place in it: a run can be moved.
            work: Gets the stage's folder, returns its summary and the CPU seconds that its tasks used.
            title: What it does, for the progress line.
        """
        folder = self.run_folder / "stages" / name
        wanted = hash_of([name, to_jsonable(inputs)])
        finished = read_done(folder)
        self._write_list(name=name, stage_hash=wanted)
        if finished and finished["hash"] == wanted:
            self.reporter.message(f"{title}: done before")
            return self._keep(name, folder, finished)
        if _is_stale(folder, wanted):
            _delete(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / INPUTS, {"hash": wanted, "inputs": inputs})
        self.reporter.message(f"{title} ...")
        with _stopwatch(folder / SPENT) as watch:
            summary, task_cpu_s = work(folder)
        spent = watch.spent()
        done = {"hash": wanted, "summary": to_jsonable(summary), **spent, "cpu_s": spent["cpu_s"] + task_cpu_s}
        write_json(folder / DONE, done)
        self.reporter.message(f"{title}: {format_seconds(done['wall_s'])}")
        return self._keep(name, folder, done)

    def finish(self) -> None:
        """Note the time at which the run was finished first, and delete folders that are not among its stages."""
        names = {result.name for result in self.results}
        stale = [f for f in sorted((self.run_folder / "stages").iterdir()) if f.name not in names]
        for folder in stale:
            _delete(folder)
        if stale:
            self.reporter.message(f"Deleted, of an earlier configuration: {', '.join(f.name for f in stale)}")
        self._write_list(finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))

    def _keep(self, name: str, folder: Path, done: dict[str, Any]) -> StageResult:
        result = StageResult(name, folder, done["hash"], done["summary"], done["wall_s"], done["cpu_s"])
        self.results.append(result)
        return result

    def _write_list(self, *, identity: str = "", name: str = "", stage_hash: str = "", finished: str = "") -> None:
        path = self.run_folder / LIST
        if identity or not path.exists():
            content: dict[str, Any] = {"limbeck": __version__, "identity": identity, "finished": "", "stages": []}
        else:
            content = read_json(path)
        if name:
            content["stages"].append({"stage": name, "hash": stage_hash})
        content["finished"] = content["finished"] or finished
        write_json(path, content)


def listed_stages(run_folder: Path) -> list[ListedStage]:
    """Stages that the latest start of a run has come to, in order.

    Raises:
        MissingFileError: If the run has no list of stages.
    """
    stages = []
    for entry in _read_list(run_folder)["stages"]:
        folder = Path(run_folder) / "stages" / entry["stage"]
        done = read_done(folder)
        stages.append(ListedStage(entry["stage"], folder, done if done and done["hash"] == entry["hash"] else None))
    return stages


def finish_time(run_folder: Path) -> str:
    """ISO time at which a run was finished first; empty while it is not.

    Raises:
        MissingFileError: If the run has no list of stages.
    """
    if any(stage.done is None for stage in listed_stages(run_folder)):
        return ""
    return str(_read_list(run_folder)["finished"])


def is_finished_with(run_folder: Path, identity: str) -> bool:
    """Whether a run was finished with the settings and inputs behind ``identity``, and all its products stand."""
    if not (Path(run_folder) / LIST).exists():
        return False
    return _read_list(run_folder)["identity"] == identity and bool(finish_time(run_folder))


def _read_list(run_folder: Path) -> dict[str, Any]:
    path = Path(run_folder) / LIST
    if not path.exists():
        raise MissingFileError(
            f"{run_folder}: no list of its stages ({LIST}). The run has not started, or an earlier version made it: "
            "start it with 'limbeck forge'; labels that exist are not computed again."
        )
    content: dict[str, Any] = read_json(path)
    return content


def read_done(folder: Path) -> dict[str, Any] | None:
    """Content of a stage's ``done.json``, or ``None`` while it is not finished."""
    path = folder / DONE
    return read_json(path) if path.exists() else None


def _is_stale(folder: Path, wanted: str) -> bool:
    """Whether a folder holds products of other inputs, or of unknown ones."""
    if not folder.exists():
        return False
    path = folder / INPUTS
    if not path.exists():
        return any(folder.iterdir())
    return bool(read_json(path)["hash"] != wanted)


def _delete(folder: Path) -> None:
    """Delete a folder such that a kill in between leaves nothing of it under its name."""
    trash = folder.with_name(f"{TRASH}{folder.name}-{time.time_ns()}")
    folder.replace(trash)
    if trash.is_dir():
        shutil.rmtree(trash)
    else:
        trash.unlink()


class _Stopwatch:
    """Wall and CPU seconds of this attempt and those before it, written to a file now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        before = read_json(path) if path.exists() else {"wall_s": 0.0, "cpu_s": 0.0}
        self._wall_s, self._cpu_s = before["wall_s"], before["cpu_s"]
        self._start, self._cpu_start = time.monotonic(), _own_cpu_s()

    def spent(self) -> dict[str, float]:
        """``wall_s`` and ``cpu_s`` until now."""
        return {
            "wall_s": self._wall_s + time.monotonic() - self._start,
            "cpu_s": self._cpu_s + _own_cpu_s() - self._cpu_start,
        }

    def write(self) -> None:
        """Keep the time for a further attempt; a disk without space is told of by what must be written."""
        with suppress(OSError):
            write_json(self._path, self.spent())

    def renew(self, stopped: threading.Event) -> None:
        """Write again and again until told to stop."""
        while not stopped.wait(RENEW_S):
            self.write()


@contextmanager
def _stopwatch(path: Path) -> Iterator[_Stopwatch]:
    """A stopwatch that runs during the block, and whose time is kept however the block ends."""
    watch, stopped = _Stopwatch(path), threading.Event()
    thread = threading.Thread(target=watch.renew, args=(stopped,), daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stopped.set()
        thread.join()
        watch.write()


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
