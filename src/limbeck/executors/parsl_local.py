"""Tasks in worker processes of this machine, through Parsl's high-throughput executor and its local provider."""

import os
import shlex
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from limbeck.core.errors import ExecutionError, LimbeckError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
LOST_WORKER_RETRIES = 2


def _retry_cost(error: Exception, record: Any) -> float:
    """Budget that one failure costs: a lost worker is worth another try, an error of the task itself is not."""
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    return 1.0 if isinstance(error, ManagerLost | WorkerLost) else LOST_WORKER_RETRIES + 1.0


class ParslLocalExecutor:
    """Worker processes on this machine.

    The broker process ends with this one, also after ``kill -9``; so do workers and the programs that they run (where
    the system cannot watch a process, within 15 s).

    Args:
        run_folder: Where Parsl keeps its scripts and logs.
        workers: Worker processes.
        threads_per_worker: Threads that numerical libraries may use in each.
    """

    def __init__(self, run_folder: Path, workers: int, threads_per_worker: int = 1) -> None:
        self.workers = workers
        self._threads = threads_per_worker
        self._run_folder = Path(run_folder)
        self._kernel: Any = None

    def _start(self) -> None:
        from parsl import Config, DataFlowKernel, HighThroughputExecutor
        from parsl.providers import LocalProvider

        programs = Path(sys.executable).parent
        exports = [f"export {name}={self._threads}" for name in THREAD_VARIABLES]
        tether = [sys.executable, "-m", "limbeck.executors.tether"]
        watch = shlex.join([*tether, "--group-with", str(os.getpid())])
        high_throughput = HighThroughputExecutor(
            label="local",
            address="127.0.0.1",
            max_workers_per_node=self.workers,
            cores_per_worker=1e-6,
            heartbeat_period=5,
            heartbeat_threshold=15,
            interchange_launch_cmd=[*tether, sys.executable, str(programs / "interchange.py")],
            provider=LocalProvider(
                init_blocks=1,
                min_blocks=1,
                max_blocks=1,
                worker_init="\n".join([f'export PATH="{programs}:$PATH"', *exports, f"{watch} &"]),
            ),
        )
        self._run_folder.mkdir(parents=True, exist_ok=True)
        self._kernel = DataFlowKernel(
            Config(
                executors=[high_throughput],
                run_dir=str(self._run_folder),
                strategy="none",
                retries=LOST_WORKER_RETRIES,
                retry_handler=_retry_cost,
                usage_tracking=0,
                initialize_logging=False,
            )
        )

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Queue a call in a worker process; the workers start with the first task."""
        if self._kernel is None:
            self._start()
        inner: Future[Any] = self._kernel.submit(
            function, args, executors="all", cache=False, ignore_for_cache=None, app_kwargs={}
        )
        outer: Future[Any] = Future()
        inner.add_done_callback(lambda done: _pass_on(done, outer, function))
        return outer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kernel is not None:
            self._kernel.cleanup()
            self._kernel = None


def _pass_on(done: "Future[Any]", outer: "Future[Any]", function: Callable[..., Any]) -> None:
    error = done.exception()
    if error is None:
        outer.set_result(done.result())
    elif isinstance(error, LimbeckError):
        outer.set_exception(error)
    else:
        name = getattr(function, "__name__", str(function))
        wrapped = ExecutionError(f"task '{name}' failed: {type(error).__name__}: {error}")
        wrapped.__cause__ = error
        outer.set_exception(wrapped)


def default_workers() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
