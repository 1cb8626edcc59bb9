"""Commands of the main path: forge, status, report, export-labels."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.app import GOES_ON, AsJson, RunFolder, app


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
