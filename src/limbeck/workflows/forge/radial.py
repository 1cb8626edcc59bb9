"""Radial distribution functions: teacher and student in the same cells, and the student in a wide one."""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.dynamics.lammps_script import repeats_for
from limbeck.observables.rdf import largest_distance, radial_distribution
from limbeck.structures.trajectory import MemoryTrajectory
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge, explore_tasks
from limbeck.workflows.forge.distil import EXPLORATION
from limbeck.workflows.forge.frames import read_frames
from limbeck.workflows.stages import StageResult

CUTOFF_A = 8.0
"""Largest distance shown; half the smallest width of the cells where that is less."""
BIN_WIDTH_A = 0.1
WIDE = "wide"
WIDE_ATOMS = 216
"""Fewest atoms of the student's wide cell."""


def compare_radial(
    forge: Forge, folder: Path, crystal: Atoms, taught: StageResult, student: tasks.Potential
) -> tuple[list[dict[str, Any]], float]:
    """g(r) of every pair of elements, by temperature, at the first pressure, up to half the width of the cells.

    The teacher's comes from its exploration, whose cells are small since the teacher is slow. The student runs twice:
    in those very cells with the same starts, conditions and random numbers, to be compared; and in a wide cell, to show
    what small cells cannot.

    Args:
        forge: The run.
        folder: Where the student's trajectories go.
        crystal: What the wide cell is repeated from.
        taught: Stage in which the teacher explored.
        student: The chosen student.

    Returns:
        Curves for the report, and the CPU seconds used.
    """
    settings = forge.settings.distil
    first_pressure_GPa = settings.explore.pressures_GPa[0]
    starts = read_frames(taught.folder / "starts.json")
    equal = explore_tasks(forge, folder, student, starts, settings.explore, settings.trajectories, EXPLORATION)
    large = crystal.repeat(repeats_for(crystal.cell[:], len(crystal), WIDE_ATOMS))
    at_first = settings.explore.model_copy(update={"pressures_GPa": [first_pressure_GPa]})
    wide = explore_tasks(
        forge, folder / WIDE, student, [large], at_first, len(at_first.temperatures_K), f"{EXPLORATION}-{WIDE}"
    )
    records, cpu_s = forge.run_tasks("the student explores as the teacher did", [*equal, *wide])
    names = [Path(record["path"]).name for record in records]
    interval_fs = settings.explore.every * settings.explore.timestep_fs
    curves: list[dict[str, Any]] = []
    for potential, source, chosen, compared in (
        ("fine-tuned teacher", taught.folder, range(len(equal)), True),
        ("student", folder, range(len(equal)), True),
        ("student", folder / WIDE, range(len(equal), len(records)), False),
    ):
        for temperature_K in settings.explore.temperatures_K:
            conditions = {"temperature_K": temperature_K, "pressure_GPa": first_pressure_GPa}
            frames = [
                frame
                for index in chosen
                if records[index].items() >= conditions.items()
                for frame in read_frames(source / names[index])
            ]
            if len(frames) >= 2:
                known = {"potential": potential, "temperature_K": temperature_K, "compared": compared}
                curves += [known | curve for curve in radial_curves(frames, interval_fs)]
    return curves, cpu_s


def radial_curves(frames: Sequence[Atoms], interval_fs: float) -> Iterator[dict[str, Any]]:
    """g(r) of all pairs of elements, or of all atoms where there is one element, as far as the cells allow."""
    trajectory = MemoryTrajectory(frames, interval_fs)
    bins = int(min(CUTOFF_A, largest_distance(trajectory)) / BIN_WIDTH_A + 1e-9)
    if bins < 1:
        return
    elements = sorted(set(trajectory.species))
    pairs = list(combinations_with_replacement(elements, 2)) if len(elements) > 1 else [None]
    for pair in pairs:
        found = radial_distribution(trajectory, cutoff=bins * BIN_WIDTH_A, bin_width=BIN_WIDTH_A, pair=pair)
        yield {
            "pair": "–".join(pair) if pair else "",
            "atoms": len(trajectory.species),
            "r_A": found.r,
            "g": found.g,
            "standard_error": found.standard_error,
        }
