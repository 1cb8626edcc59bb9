"""Executors: where tasks run. Tasks are pure functions with serialisable arguments."""

from pathlib import Path
from typing import Annotated, assert_never

from pydantic import Field

from limbeck.executors.parsl_local import ParslLocalExecutor, default_workers
from limbeck.executors.protocol import Executor, LocalSettings, SerialSettings
from limbeck.executors.serial import SerialExecutor

ExecutorSettings = Annotated[LocalSettings | SerialSettings, Field(discriminator="kind")]

__all__ = ["Executor", "ExecutorSettings", "LocalSettings", "SerialSettings", "build_executor"]


def build_executor(settings: LocalSettings | SerialSettings, run_folder: Path) -> Executor:
    """Executor from its settings; ``run_folder`` is where it may keep scripts and logs."""
    match settings:
        case LocalSettings():
            return ParslLocalExecutor(run_folder, settings.workers or default_workers(), settings.threads_per_worker)
        case SerialSettings():
            return SerialExecutor()
        case _:
            assert_never(settings)
