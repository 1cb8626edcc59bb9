"""Commands about the program itself and its tables: keys, doctor, compile, atom."""

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from pydantic import BaseModel

from limbeck.cli.app import AsJson, app


@app.command()
def keys(
    part: Annotated[str, typer.Argument(help="Only keys of this part, for example distil or distil.explore.")] = "",
    of: Annotated[
        Literal["forge", "diffusion", "impurity", "core-level"], typer.Option(help="Command whose file is meant.")
    ] = "forge",
    as_json: AsJson = False,
) -> None:
    """Explain every key of the file that 'limbeck forge' (or another command) takes, with its default."""
    from limbeck.workflows.diffusion.config import DiffusionSettings
    from limbeck.workflows.forge.config import ForgeSettings
    from limbeck.workflows.impurity.config import ImpuritySettings
    from limbeck.workflows.impurity.core_config import CoreLevelSettings
    from limbeck.workflows.keys import keys as all_keys
    from limbeck.workflows.keys import show_keys

    files: dict[str, type[BaseModel]] = {
        "forge": ForgeSettings,
        "diffusion": DiffusionSettings,
        "impurity": ImpuritySettings,
        "core-level": CoreLevelSettings,
    }
    rows = all_keys(files[of], part)
    typer.echo(json.dumps(rows, indent=1) if as_json else show_keys(rows))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing, and the exact line that mends it."""
    from limbeck.workflows.doctor import examine, show_findings

    findings = examine()
    typer.echo(json.dumps(findings, indent=1) if as_json else show_findings(findings))
    if any(f["needed"] and not f["found"] for f in findings):
        raise typer.Exit(1)


@app.command("compile")
def compile_all(as_json: AsJson = False) -> None:
    """Compile the numba kernels of 'limbeck impurity' now, so that its first use does not have to; setup.sh does it."""
    from limbeck.impurity.compiled import compile_kernels

    found = compile_kernels()
    made = {name: count for name, count in found.items() if count}
    said = f"{sum(made.values())} versions of {len(made)} kernels were compiled and stored" if made else "all are there"
    typer.echo(json.dumps(found, indent=1) if as_json else f"Kernels: {said}.")


@app.command()
def atom(
    ion: Annotated[str, typer.Argument(help="Element and charge, as Ni2+; left out: a list of all ions.")] = "",
    core: Annotated[str, typer.Option(help="The p shell with the hole: 2p for L2,3 edges, 3p for M2,3.")] = "2p",
    as_json: AsJson = False,
) -> None:
    """Show Slater integrals and spin-orbit constants of a free ion, which 'ion' in a core-level file stands for."""
    from limbeck.impurity.atomic import atomic_parameters, ions, show_parameters

    if not ion:
        typer.echo(json.dumps(ions(), indent=1) if as_json else " ".join(ions()))
        return
    found = atomic_parameters(ion, core)
    typer.echo(json.dumps(asdict(found), indent=1) if as_json else show_parameters(found))
