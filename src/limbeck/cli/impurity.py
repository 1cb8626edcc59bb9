"""limbeck impurity."""

import json
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.app import AsJson, app


@app.command()
def impurity(
    config: Annotated[
        Path, typer.Argument(help="YAML file; 'limbeck keys --of impurity' (or core-level) explains every key.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where everything goes. Default: runs/NAME.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Solve an Anderson impurity: ground state and spectra on the real axis, or core-level spectra of an ion."""
    from limbeck.core.progress import ConsoleReporter
    from limbeck.workflows.impurity.core_run import describes_an_ion, read_core_settings, run_core_level
    from limbeck.workflows.impurity.core_show import show_core_level
    from limbeck.workflows.impurity.run import read_settings, run_impurity
    from limbeck.workflows.impurity.show import show

    if describes_an_ion(config):
        ion = read_core_settings(config)
        folder = output or Path("runs") / ion.name
        found = run_core_level(ion, folder, reporter=ConsoleReporter())
        text = show_core_level(found)
        typer.echo(json.dumps(found, indent=1) if as_json else f"{text}\n\nReport: {folder / 'report.html'}")
        return
    settings = read_settings(config)
    folder = output or Path("runs") / settings.name
    found = run_impurity(settings, folder, reporter=ConsoleReporter())
    typer.echo(json.dumps(found, indent=1) if as_json else f"{show(found)}\n\nReport: {folder / 'report.html'}")
