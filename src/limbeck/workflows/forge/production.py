"""The production run: the chosen student drives a large cell in LAMMPS."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from limbeck.core.estimate import mean_of_series
from limbeck.core.rng import integer_seed
from limbeck.labels.serialize import atoms_to_dict
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge
from limbeck.workflows.forge.distil import chosen_student, student_content
from limbeck.workflows.forge.identity import content_of
from limbeck.workflows.stages import StageResult
from limbeck.workflows.tasking import Task


def produce(forge: Forge, crystal: Atoms, chosen: StageResult) -> StageResult:
    """Stage: run the student as ``run`` says; the summary holds thermodynamic series and their averages.

    A student that was found unstable before may fail here: then it holds ``failed`` and why.
    """
    settings = forge.settings.run
    student = chosen_student(chosen)
    place = forge.run_folder / student["folder"]

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        progress = folder / "lammps.progress"
        arguments = (
            str(place), atoms_to_dict(crystal), settings.model_dump(mode="json"), str(folder / "lammps"),
            integer_seed(forge.settings.seed, "run"), str(progress), bool(student["stable"]),
        )  # fmt: skip
        results, cpu_s = forge.run_tasks("LAMMPS", [Task(tasks.run_student, arguments, progress)])
        found = results[0]
        if "failed" in found:
            return found, cpu_s
        trajectory = forge.relative(found["trajectory"]) if found["trajectory"] else ""
        return found | {"trajectory": trajectory, "averages": averages_of(found)}, cpu_s

    inputs = [
        student_content(place), student["stable"], atoms_to_dict(crystal), content_of(settings), forge.settings.seed,
    ]  # fmt: skip
    return forge.stages.run("70-run", inputs, work, title=f"Run {settings.ensemble.upper()} in LAMMPS")


def averages_of(result: dict[str, Any]) -> dict[str, Any]:
    """Time averages with errors that allow for correlation: temperature, pressure, volume, potential energy."""
    thermo, atoms = result["thermo"], result["atoms"]
    columns = {
        "temperature_K": ("temperature_K", 1.0, "K"),
        "pressure_GPa": ("pressure_GPa", 1.0, "GPa"),
        "volume_A3_per_atom": ("volume_A3", 1.0 / atoms, "Å^3/atom"),
        "potential_energy_eV_per_atom": ("potential_energy_eV", 1.0 / atoms, "eV/atom"),
    }
    return {
        name: mean_of_series(np.array(thermo[column]) * factor, unit)
        for name, (column, factor, unit) in columns.items()
        if len(thermo.get(column, ())) >= 2
    }
