"""limbeck impurity."""

import json
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.app import AsJson, app


@app.command()
def impurity(
    config: Annotated[Path, typer.Argument(help="YAML file; 'limbeck keys --of impurity' explains every key.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where everything goes. Default: runs/NAME.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Solve an Anderson impurity: ground state, occupations, spectral function and self-energy on the real axis."""
    from limbeck.core.progress import ConsoleReporter
    from limbeck.workflows.impurity.run import read_settings, run_impurity
    from limbeck.workflows.impurity.show import show

    settings = read_settings(config)
    folder = output or Path("runs") / settings.name
    found = run_impurity(settings, folder, reporter=ConsoleReporter())
    typer.echo(json.dumps(found, indent=1) if as_json else f"{show(found)}\n\nReport: {folder / 'report.html'}")
