"""Radial distribution functions of teacher and student from the same cells, temperatures and random numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.observables.rdf import radial_distribution
from limbeck.structures.trajectory import MemoryTrajectory
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge, explore_tasks
from limbeck.workflows.forge.distil import EXPLORATION
from limbeck.workflows.forge.frames import read_frames
from limbeck.workflows.stages import StageResult

CUTOFF_A = 6.0
BIN_WIDTH_A = 0.1


def compare_radial(
    forge: Forge, folder: Path, taught: StageResult, student: tasks.Potential
) -> tuple[list[dict[str, Any]], float]:
    """g(r) of the teacher's exploration and of the student's in the same cells, by temperature, at the first pressure.

    Args:
        forge: The run.
        folder: Where the student's trajectories go.
        taught: Stage in which the teacher explored.
        student: The chosen student.

    Returns:
        Curves for the report, and the CPU seconds used.
    """
    settings = forge.settings.distil
    starts = read_frames(taught.folder / "starts.json")
    plan = explore_tasks(forge, folder, student, starts, settings.explore, settings.trajectories, EXPLORATION)
    records, cpu_s = forge.run_tasks("the student explores as the teacher did", plan)
    first_pressure_GPa = settings.explore.pressures_GPa[0]
    interval_fs = settings.explore.every * settings.explore.timestep_fs
    curves = []
    for temperature_K in settings.explore.temperatures_K:
        for potential, source in (("fine-tuned teacher", taught.folder), ("student", folder)):
            frames = [
                frame
                for record in records
                if record["temperature_K"] == temperature_K and record["pressure_GPa"] == first_pressure_GPa
                for frame in read_frames(source / Path(record["path"]).name)
            ]
            if len(frames) >= 2:
                curves.append(_curve(potential, temperature_K, frames, interval_fs))
    return curves, cpu_s


def _curve(potential: str, temperature_K: float, frames: Sequence[Atoms], interval_fs: float) -> dict[str, Any]:
    found = radial_distribution(MemoryTrajectory(frames, interval_fs), cutoff=CUTOFF_A, bin_width=BIN_WIDTH_A)
    return {
        "potential": potential,
        "temperature_K": temperature_K,
        "r_A": found.r,
        "g": found.g,
        "standard_error": found.standard_error,
    }
