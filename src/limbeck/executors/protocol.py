"""The thin door to distributed execution: submit a pure function, get a future."""

from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from limbeck.core.config import Settings


class Executor(Protocol):
    """Runs tasks: importable functions with serialisable arguments whose products are files or plain values.

    An executor is a context manager; leaving it ends its workers. A task whose worker died is tried again; an
    error that the task raised itself is handed on by the future, not retried.
    """

    workers: int

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Queue a call; the future gives its value or its error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalSettings(Settings):
    """Worker processes on this machine, through Parsl's local provider."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, ge=1)
    """Worker processes; one per processor core if not given."""
    threads_per_worker: int = Field(default=1, ge=1)
    """OpenMP and BLAS threads in each worker. More threads than cores in all make everything slower."""


class SerialSettings(Settings):
    """Everything in this process, one task after the other: for debugging."""

    kind: Literal["serial"]
