"""Stages of a run: each leaves a folder, and its ``done.json`` appears last.

So a run can be killed at any moment and started again: a stage with a matching ``done.json`` is skipped, any other is
entered again, where tasks skip the products that already stand. The hash in ``done.json`` covers the stage's own
inputs and those of every stage it builds on; a changed setting redoes that stage and what follows, nothing else.
"""

import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.core.progress import Reporter, format_seconds
from limbeck.core.record import hash_of, read_json, to_jsonable, write_json

DONE = "done.json"


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves behind.

    Attributes:
        name: Name of the stage.
        folder: Its folder.
        hash: Hash of everything that decided its products; goes into the inputs of the stages that build on it.
        summary: Plain values, as the stage returned them.
        wall_s: Wall seconds, summed over the attempts that finished it.
        cpu_s: CPU seconds of the tasks and of this process.
    """

    name: str
    folder: Path
    hash: str
    summary: dict[str, Any]
    wall_s: float
    cpu_s: float


@dataclass
class StageRunner:
    """Runs the stages of one run folder in the order in which they are called."""

    run_folder: Path
    reporter: Reporter
    results: list[StageResult] = field(default_factory=list)

    def run(
        self, name: str, inputs: Any, work: Callable[[Path], tuple[dict[str, Any], float]], *, title: str
    ) -> StageResult:
        """Do a stage, or take it as done.

        Args:
            name: Folder name below ``stages/``; numbers in front keep the order.
            inputs: JSON-like value of all that decides the products (settings, seeds, hashes of upstream stages).
            work: Gets the stage's folder, returns its summary and the CPU seconds that its tasks used.
            title: What it does, for the progress line.
        """
        folder = self.run_folder / "stages" / name
        wanted = hash_of([name, to_jsonable(inputs)])
        finished = read_done(folder)
        if finished and finished["hash"] == wanted:
            result = StageResult(name, folder, wanted, finished["summary"], finished["wall_s"], finished["cpu_s"])
            self.results.append(result)
            self.reporter.message(f"{title}: done before")
            return result
        if _started_hash(folder) not in (None, wanted):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "inputs.json", {"hash": wanted, "inputs": inputs})
        self.reporter.message(f"{title} ...")
        start, cpu = time.monotonic(), _own_cpu_s()
        summary, task_cpu_s = work(folder)
        wall_s = time.monotonic() - start
        cpu_s = task_cpu_s + _own_cpu_s() - cpu
        done = {"hash": wanted, "summary": to_jsonable(summary), "wall_s": wall_s, "cpu_s": cpu_s}
        write_json(folder / DONE, done)
        self.reporter.message(f"{title}: {format_seconds(wall_s)}")
        result = StageResult(name, folder, wanted, done["summary"], wall_s, cpu_s)
        self.results.append(result)
        return result


def read_done(folder: Path) -> dict[str, Any] | None:
    """Content of a stage's ``done.json``, or ``None`` while it is not finished."""
    path = folder / DONE
    return read_json(path) if path.exists() else None


def _started_hash(folder: Path) -> str | None:
    path = folder / "inputs.json"
    return read_json(path)["hash"] if path.exists() else None


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
