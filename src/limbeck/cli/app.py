"""The command line itself: its options, its exit status, its errors. Commands are in the modules beside it."""

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from limbeck import __version__

DISK_FULL_EXIT = 74
"""Exit status when the disk or the quota is full (EX_IOERR of sysexits.h)."""
GOES_ON = "Finished stages and labels are kept; the same command goes on from there."

app = typer.Typer(
    help="Turn a universal machine-learned force field into a fast one for your material, and run it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="First steps: 'limbeck doctor', then 'limbeck forge studies/forge/silicon.yaml --dry-run'.\n\n"
    "Exit status: 0 done; 1 an error that its message tells how to mend; 2 wrong usage; 74 disk or quota full; "
    "130 interrupted. After 74 and 130 the same 'limbeck forge' goes on.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output, for scripts.")]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, for example runs/silicon.")]


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Common options of all commands."""


def main() -> None:
    """Entry point: an error that the user can mend is one message, not a traceback."""
    from limbeck.core.errors import LimbeckError

    resumable = sys.argv[1:2] == ["forge"]
    try:
        app()
    except (LimbeckError, OSError) as error:
        typer.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(str(error), err=True)
        full = _disk_is_full(error)
        if full:
            typer.echo("Free some space: old runs, or the logs in a run's folder executor/.", err=True)
        if resumable and (full or not isinstance(error, LimbeckError)):
            typer.echo(GOES_ON, err=True)
        sys.exit(DISK_FULL_EXIT if full else 1)


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk or quota is behind an error, also one that was met in a worker process."""
    from limbeck.core.errors import DiskFullError

    for _ in range(20):  # causes may go round in a circle
        if error is None:
            break
        if isinstance(error, DiskFullError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
