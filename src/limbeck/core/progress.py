"""Progress with an estimated end: a bar on a terminal, plain lines elsewhere, a small file across processes.

Library code never prints. It is handed a :class:`Reporter`; the command line makes the one that shows.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol


class Bar(Protocol):
    """One running count."""

    def set(self, done: float, note: str = "") -> None:
        """Set how much is done, with a short note on the latest result."""

    def advance(self, by: float = 1, note: str = "") -> None:
        """Add to what is done."""


class Reporter(Protocol):
    """Where progress goes."""

    def message(self, text: str) -> None:
        """Show one line."""

    @contextmanager
    def bar(self, label: str, total: float, unit: str = "") -> Iterator[Bar]:
        """Show a running count with rate and estimated end until the block ends."""
        ...


class _Silent:
    def set(self, done: float, note: str = "") -> None:
        """Show nothing."""

    def advance(self, by: float = 1, note: str = "") -> None:
        """Show nothing."""


class SilentReporter:
    """Shows nothing: the default for library use and for tests."""

    def message(self, text: str) -> None:
        """Show nothing."""

    @contextmanager
    def bar(self, label: str, total: float, unit: str = "") -> Iterator[Bar]:
        """Show nothing."""
        yield _Silent()


class FileProgress:
    """Progress of a task in another process: a small JSON file, replaced at most twice a second.

    The driver and ``limbeck status`` read it with :func:`read_progress`.
    """

    def __init__(self, path: Path | str | None, total: float, unit: str = "") -> None:
        self._path = Path(path) if path else None
        self._total, self._unit = total, unit
        self._done, self._last, self._start = 0.0, 0.0, time.time()

    def set(self, done: float, note: str = "") -> None:
        """Set how much is done; the first and the last value are always written."""
        self._done = done
        now = time.time()
        if self._path is None or (now - self._last < 0.5 and self._last and done < self._total):
            return
        self._last = now
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        state = {
            "done": done,
            "total": self._total,
            "unit": self._unit,
            "note": note,
            "start": self._start,
            "now": now,
        }
        with suppress(OSError):  # a full disk must not end work whose own results may still fit
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(state))
            os.replace(temporary, self._path)

    def advance(self, by: float = 1, note: str = "") -> None:
        """Add to what is done."""
        self.set(self._done + by, note)


def read_progress(path: Path) -> dict[str, float | str] | None:
    """Latest state that a :class:`FileProgress` wrote, or ``None`` if there is none yet."""
    try:
        state: dict[str, float | str] = json.loads(Path(path).read_text())
        return state
    except (OSError, ValueError):
        return None


def format_seconds(seconds: float) -> str:
    """Short human text of a duration: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


class ConsoleReporter:
    """Shows progress on standard error: bars on a terminal, a plain line every few seconds in a log file.

    Args:
        quiet: Show messages only, no bars.
    """

    PLAIN_INTERVAL_S = 15.0

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._start = time.monotonic()

    def message(self, text: str) -> None:
        """Show one line with the time since the start."""
        elapsed = time.monotonic() - self._start
        self._console.print(f"[dim]{elapsed:7.1f} s[/dim]  ", end="")
        self._console.print(text, markup=False)

    @contextmanager
    def bar(self, label: str, total: float, unit: str = "") -> Iterator[Bar]:
        """Show a running count with its estimated end."""
        if self._quiet or total <= 0:
            yield _Silent()
        elif self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (
                TextColumn("           {task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            with Progress(*columns, console=self._console, transient=True) as progress:
                yield _RichBar(progress, progress.add_task(label, total=total, note=""))
        else:
            yield _PlainBar(self, label, total, unit)


class _RichBar:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def set(self, done: float, note: str = "") -> None:
        self._progress.update(self._task, completed=done, note=note)

    def advance(self, by: float = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=by, note=note)


class _PlainBar:
    def __init__(self, reporter: ConsoleReporter, label: str, total: float, unit: str) -> None:
        self._reporter, self._label, self._total, self._unit = reporter, label, total, unit
        self._done, self._start = 0.0, time.monotonic()
        self._last = self._start

    def set(self, done: float, note: str = "") -> None:
        self._done = done
        now = time.monotonic()
        if now - self._last < self._reporter.PLAIN_INTERVAL_S or done <= 0:
            return
        self._last = now
        left = (now - self._start) * (self._total - done) / done
        text = f"  {self._label}: {100 * done / self._total:.0f} %, about {format_seconds(left)} left"
        self._reporter.message(f"{text}  {note}".rstrip())

    def advance(self, by: float = 1, note: str = "") -> None:
        self.set(self._done + by, note)
