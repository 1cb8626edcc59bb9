"""Many tasks at once with one progress bar; the first error ends the stage, finished products stay."""

import os
import resource
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.core.progress import Reporter, read_progress
from limbeck.executors import Executor


@dataclass(frozen=True)
class Task:
    """One call for an executor.

    Attributes:
        function: Importable pure function; returns a dictionary.
        arguments: Serialisable arguments.
        progress_path: File in which the function reports how far it is, if it does.
        weight: Its share of the bar relative to the other tasks.
    """

    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]
    progress_path: Path | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Used:
    """CPU seconds of one call.

    Attributes:
        process: Process in which it ran.
        own_s: CPU seconds of that process.
        children_s: CPU seconds of programs that it started and that have ended.
    """

    process: int
    own_s: float
    children_s: float

    def outside(self, process: int) -> float:
        """CPU seconds that are not in the own count of a process."""
        return self.children_s if self.process == process else self.own_s + self.children_s


def run_tasks(
    executor: Executor,
    reporter: Reporter,
    title: str,
    tasks: Sequence[Task],
    on_result: Callable[[int, dict[str, Any]], None] | None = None,
) -> tuple[list[dict[str, Any]], float]:
    """Run tasks and wait for all.

    Args:
        executor: Where they run.
        reporter: Shows one bar over all of them.
        title: Label of the bar.
        tasks: What to run; results come back in this order.
        on_result: Called in this thread as each result arrives, for example to store it at once.

    Returns:
        Results in task order, and the CPU seconds that the tasks used outside this process: in workers, and in
        programs that they started. What a task uses inside this process is in this process' own count.

    Raises:
        LimbeckError: The first error of a task; tasks already running are left to finish, none is started anew.
    """
    futures: dict[Future[tuple[dict[str, Any], Used]], int] = {
        executor.submit(measured, task.function, task.arguments): index for index, task in enumerate(tasks)
    }
    results: list[dict[str, Any]] = [{} for _ in tasks]
    total = sum(task.weight for task in tasks)
    cpu_s, pending = 0.0, set(futures)
    with reporter.bar(title, total) as bar:
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                index = futures[future]
                result, used = future.result()
                results[index] = result
                cpu_s += used.outside(os.getpid())
                if on_result:
                    on_result(index, result)
            bar.set(*_progress(tasks, {futures[f] for f in pending}))
    return results, cpu_s


def _progress(tasks: Sequence[Task], pending: set[int]) -> tuple[float, str]:
    done, note = 0.0, ""
    for index, task in enumerate(tasks):
        if index not in pending:
            done += task.weight
        elif task.progress_path and (state := read_progress(task.progress_path)):
            done += task.weight * min(float(state["done"]) / max(float(state["total"]), 1e-12), 1.0)
            note = str(state.get("note", "")) or note
    return done, note


def measured(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Used]:
    """Call a function; its value and the CPU time of this process and its finished children."""
    own, children = _cpu_s(resource.RUSAGE_SELF), _cpu_s(resource.RUSAGE_CHILDREN)
    value = function(*arguments)
    used = Used(os.getpid(), _cpu_s(resource.RUSAGE_SELF) - own, _cpu_s(resource.RUSAGE_CHILDREN) - children)
    return value, used


def _cpu_s(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
