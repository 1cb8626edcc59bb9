"""The command line: parse, call one workflow, show."""

import errno
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

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


@app.command()
def forge(
    config: Annotated[
        Path,
        typer.Argument(
            help="YAML file; 'limbeck keys' explains every key, docs/howto/own-material.md how to write one."
        ),
    ],
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", "-o", help="Where everything goes. Default: runs/NAME.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show plan, counts and estimated cost; do nothing.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one key: loop.max_iterations=3, structures.0.repeat=[2,1,1]. Repeatable."),
    ] = None,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Compute labels again that failed, after mending the cause.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a universal force field on few labels, distil it, validate, run, report.

    A rerun with the same folder goes on where it stopped; a finished run does nothing. Results: report.html,
    metrics.json, README.md and the potential's files in the run folder.
    """
    from limbeck.core.config import read_assignment
    from limbeck.core.progress import ConsoleReporter
    from limbeck.workflows.forge.plan import plan_of, show_plan
    from limbeck.workflows.forge.run import forge as run_forge
    from limbeck.workflows.forge.run import read_settings

    settings = read_settings(config, dict(map(read_assignment, assignments or [])))
    folder = run_folder or Path("runs") / settings.name
    if dry_run:
        plan = plan_of(settings, folder)
        typer.echo(json.dumps(plan, indent=1) if as_json else show_plan(plan))
        return
    command = " ".join(["limbeck", *(shlex.quote(a) for a in sys.argv[1:])])
    try:
        outcome = run_forge(
            settings, folder, reporter=ConsoleReporter(), command=command, try_failed_again=retry_quarantined
        )
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. {GOES_ON}", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(
            json.dumps({"run_folder": str(folder), "report": str(outcome.report), "gate_passed": outcome.passed})
        )
    else:
        typer.echo(f"{'Gate passed.' if outcome.passed else 'The gate was NOT passed; the report says which limit.'}")
        typer.echo(f"Report: {outcome.report}")
        typer.echo(f"How to use the potential: {folder / 'README.md'}")


@app.command()
def keys(
    part: Annotated[str, typer.Argument(help="Only keys of this part, for example distil or distil.explore.")] = "",
    of: Annotated[Literal["forge", "diffusion"], typer.Option(help="Command whose file is meant.")] = "forge",
    as_json: AsJson = False,
) -> None:
    """Explain every key of the file that 'limbeck forge' (or 'limbeck diffusion') takes, with its default."""
    from limbeck.workflows.diffusion.config import DiffusionSettings
    from limbeck.workflows.forge.config import ForgeSettings
    from limbeck.workflows.keys import keys as all_keys
    from limbeck.workflows.keys import show_keys

    rows = all_keys(ForgeSettings if of == "forge" else DiffusionSettings, part)
    typer.echo(json.dumps(rows, indent=1) if as_json else show_keys(rows))


@app.command()
def status(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Say which stages of a run are done, which is running and how far it is."""
    from limbeck.workflows.status import show_status, status_of

    state = status_of(run_folder)
    typer.echo(json.dumps(state, indent=1) if as_json else show_status(state))


@app.command()
def report(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Write report.html again from the saved records, also for a run that is not finished."""
    from limbeck.workflows.forge.run import report_again

    path = report_again(run_folder)
    typer.echo(json.dumps({"report": str(path)}) if as_json else f"Report: {path}")


@app.command()
def diffusion(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="TRAJECTORY|CONFIG|RUN",
            help="Trajectory (LAMMPS dump, XTC, TRR, DCD, NetCDF, npy, or what ASE reads), a YAML file with several "
            "('limbeck keys --of diffusion'), or the folder of a run of limbeck.",
        ),
    ],
    species: Annotated[str, typer.Option(help="Mobile species: Li, or Li,F.")] = "",
    temperature_K: Annotated[
        float | None, typer.Option("--temperature_K", help="Adds conductivity and Haven ratio.")
    ] = None,
    charge: Annotated[
        list[str] | None, typer.Option("--charge", help="Charge of a species, Li=1; usual ones are known. Repeatable.")
    ] = None,
    interval_fs: Annotated[
        float | None, typer.Option("--interval_fs", help="Time between frames, where the file does not say it.")
    ] = None,
    elements: Annotated[str, typer.Option(help="Elements of the types of a LAMMPS dump, in order: Li,P,S,Cl.")] = "",
    timestep_fs: Annotated[
        float | None, typer.Option("--timestep_fs", help="Time step of the run behind a LAMMPS dump.")
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option(help="Structure with the same atoms, for files without elements or cell (XTC, DCD, npy, XYZ)."),
    ] = None,
    unwrapped: Annotated[
        bool, typer.Option("--unwrapped", help="Positions of XTC, TRR, DCD, NetCDF or npy are unwrapped already.")
    ] = False,
    reference: Annotated[
        Literal["host", "total", "none"] | None,
        typer.Option(help="What displacements are relative to. Default: host where there is one, else total."),
    ] = None,
    skip_fs: Annotated[float, typer.Option("--skip_fs", help="Leave out so much time at the beginning.")] = 0.0,
    every: Annotated[int, typer.Option(help="Use every n-th frame; all are unwrapped.")] = 1,
    window_fs: Annotated[
        str,
        typer.Option("--window_fs", help="First and last lag of the fit: 500,20000. Chosen where left out."),
    ] = "",
    green_kubo: Annotated[
        bool, typer.Option("--green-kubo", help="Compare with the integral of velocities, if there are any.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for report.html, metrics.json, tables and figures.")
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder for unwrapped paths beyond memory; a reader that was killed goes on there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Diffusion coefficients, conductivity and Haven ratio with intervals, of one run or at several temperatures."""
    from limbeck.core.config import checked
    from limbeck.core.errors import ConfigError
    from limbeck.core.progress import ConsoleReporter
    from limbeck.workflows.diffusion.config import AnalysisSettings, SourceSettings
    from limbeck.workflows.diffusion.run import read_settings, run_diffusion, single
    from limbeck.workflows.diffusion.show import show_laws, show_run

    if source.suffix.lower() in (".yaml", ".yml"):
        given = {
            "--species": species, "--temperature_K": temperature_K, "--charge": charge, "--interval_fs": interval_fs,
            "--elements": elements, "--timestep_fs": timestep_fs, "--structure": structure, "--unwrapped": unwrapped,
            "--reference": reference, "--skip_fs": skip_fs, "--every": every != 1, "--window_fs": window_fs,
            "--green-kubo": green_kubo,
        }  # fmt: skip
        ignored = [option for option, value in given.items() if value]
        if ignored:
            raise ConfigError(f"{', '.join(ignored)} cannot be given beside a file; write them into {source}.")
        settings = read_settings(source)
        output = output or Path("runs") / settings.name
    else:
        if not species:
            raise ConfigError("which species moves? Give --species Li.")
        values = {
            "path": str(source), "temperature_K": temperature_K, "interval_fs": interval_fs, "timestep_fs": timestep_fs,
            "elements": _words(elements), "structure": None if structure is None else str(structure),
            "is_unwrapped": unwrapped, "skip_fs": skip_fs, "every": every,
        }  # fmt: skip
        wanted = {
            "species": _words(species), "charges": dict(_charge(item) for item in charge or []), "reference": reference,
            "window_fs": [_number(word, "--window_fs") for word in _words(window_fs)] or None, "green_kubo": green_kubo,
        }  # fmt: skip
        name = source.stem if source.stem[:1].isalnum() else "diffusion"
        settings = single(checked(values, SourceSettings), checked(wanted, AnalysisSettings), name.replace(" ", "-"))
    results = run_diffusion(settings, output, scratch=scratch, reporter=ConsoleReporter())
    if as_json:
        typer.echo(json.dumps(results if len(settings.runs) > 1 else results["runs"][0], indent=1))
        return
    parts = [show_run(run) for run in results["runs"]]
    typer.echo("\n\n".join([*parts, show_laws(results["laws"])] if results["laws"] else parts))
    if output is not None:
        typer.echo(f"\nReport: {output / 'report.html'}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str, option: str) -> float:
    from limbeck.core.errors import ConfigError

    try:
        return float(word)
    except ValueError:
        raise ConfigError(f"{option} holds {word!r}, which is no number.") from None


def _charge(item: str) -> tuple[str, float]:
    from limbeck.core.errors import ConfigError

    symbol, _, value = item.partition("=")
    try:
        return symbol, float(value)
    except ValueError:
        raise ConfigError(f"--charge is {item!r}; write it as Li=1.") from None


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing, and the exact line that mends it."""
    from limbeck.workflows.doctor import examine, show_findings

    findings = examine()
    typer.echo(json.dumps(findings, indent=1) if as_json else show_findings(findings))
    if any(f["needed"] and not f["found"] for f in findings):
        raise typer.Exit(1)


@app.command("export-labels")
def export_labels(
    run_folder: RunFolder,
    output: Annotated[
        Path, typer.Argument(help="File to write, for example labels.extxyz.xz; its card goes beside it.")
    ],
    title: Annotated[str, typer.Option(help="Title on the card.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write all labels of a run as one compressed set with its card, usable as 'labels: {kind: stored}'."""
    from limbeck.workflows.forge.export import export_labels as export

    count = export(run_folder, output, title=title)
    typer.echo(json.dumps({"labels": count, "output": str(output)}) if as_json else f"{count} labels: {output}")


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


if __name__ == "__main__":
    main()
