"""Tasks in this process, one after the other, at the moment they are submitted."""

from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self


class SerialExecutor:
    """Runs each task at once in the calling process."""

    workers = 1

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Call now; the returned future is already done."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
