"""limbeck diffusion."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from limbeck.cli.app import AsJson, app


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
    line: Annotated[
        Literal["generalized", "weighted", "ordinary"],
        typer.Option(help="Least squares of the line; ordinary is the customary one, for comparison."),
    ] = "generalized",
    errors: Annotated[
        Literal["automatic", "covariance", "particles", "time", "both"],
        typer.Option(help="Error from the covariance of random walks, or from blocks of ions, of time, or of both."),
    ] = "automatic",
    hop_length_A: Annotated[
        float | None, typer.Option("--hop_length_A", help="Displacement that counts as a hop. Default: 2 Å.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Relative error that the needed run length is told for. Default: 0.1.")
    ] = None,
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
            "--line": line != "generalized", "--errors": errors != "automatic", "--hop_length_A": hop_length_A,
            "--target": target, "--green-kubo": green_kubo,
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
        wanted: dict[str, Any] = {
            "species": _words(species), "charges": dict(_charge(item) for item in charge or []), "reference": reference,
            "window_fs": [_number(word, "--window_fs") for word in _words(window_fs)] or None, "green_kubo": green_kubo,
            "line": line, "errors": errors,
        }  # fmt: skip
        wanted |= {} if hop_length_A is None else {"hop_length_A": hop_length_A}
        wanted |= {} if target is None else {"target_relative_error": target}
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
