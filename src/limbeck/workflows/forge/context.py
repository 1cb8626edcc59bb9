"""What every stage of one forge run shares."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.progress import Reporter
from limbeck.core.rng import stream
from limbeck.dynamics.ase_md import ExploreSettings
from limbeck.executors import Executor
from limbeck.labels.filters import reject_reason
from limbeck.labels.store import LabelStore
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.frames import read_frames, write_frames
from limbeck.workflows.stages import StageRunner
from limbeck.workflows.tasking import Task, run_tasks


@dataclass(frozen=True)
class Forge:
    """One run: its settings, folders, label store, executor and stages."""

    settings: ForgeSettings
    run_folder: Path
    store: LabelStore
    executor: Executor
    stages: StageRunner
    reporter: Reporter

    def relative(self, path: Path | str) -> str:
        """Path from the run folder: what is recorded, so that a run can be moved."""
        return str(Path(path).resolve().relative_to(self.run_folder))

    def run_tasks(self, title: str, work: Sequence[Task]) -> tuple[list[dict[str, Any]], float]:
        """Run tasks with one progress bar; results in order, and the CPU seconds used."""
        return run_tasks(self.executor, self.reporter, title, work)


def crystal_of(run_folder: Path) -> Atoms:
    """The first starting structure, as it was built."""
    return read_frames(run_folder / "stages" / "10-structures" / "crystal.json")[0]


def crystals_of(run_folder: Path) -> list[Atoms]:
    """All starting structures, as they were built."""
    return read_frames(run_folder / "stages" / "10-structures" / "crystals.json")


def physical_frames(forge: Forge, frames: Sequence[Atoms]) -> tuple[list[Atoms], Counter[str]]:
    """Frames that pass the filter, and how many were rejected by kind of reason.

    The reference of a frame's volume is the mean of the starting structures of its composition.
    """
    volumes: dict[str, list[float]] = defaultdict(list)
    for crystal in crystals_of(forge.run_folder):
        volumes[_composition(crystal)].append(crystal.get_volume() / len(crystal))
    kept: list[Atoms] = []
    rejected: Counter[str] = Counter()
    for frame in frames:
        known = volumes.get(_composition(frame))
        reason = reject_reason(frame, forge.settings.filter, sum(known) / len(known) if known else None)
        if reason:
            rejected[reason.split(":")[0]] += 1
        else:
            kept.append(frame)
    return kept, rejected


def _composition(atoms: Atoms) -> str:
    return str(atoms.symbols.formula.reduce()[0].convert("hill"))


def explore_tasks(
    forge: Forge,
    folder: Path,
    potential: tasks.Potential,
    starts: Sequence[Atoms],
    settings: ExploreSettings,
    count: int,
    name: str,
) -> list[Task]:
    """Trajectories spread evenly over starting structures, temperatures and pressures.

    Args:
        forge: The run.
        folder: Where starts, frames and records go.
        potential: Drives the dynamics.
        starts: Starting structures; taken in turn, in random order.
        settings: Temperatures, pressures, steps.
        count: Number of trajectories.
        name: Prefix of their names.
    """
    rng = stream(forge.settings.seed, name, "plan")
    write_frames(folder / "starts.json", starts)
    grid = [(t, p) for t in settings.temperatures_K for p in settings.pressures_GPa]
    order = [int(i) for _ in range(-(-count // len(starts))) for i in rng.permutation(len(starts))]
    points = [int(i) for _ in range(-(-count // len(grid))) for i in rng.permutation(len(grid))]
    planned = []
    for number in range(count):
        temperature_K, pressure_GPa = grid[points[number]]
        trajectory = f"{name}/{number:03d}"
        stem = folder / f"trajectory-{number:03d}"
        arguments = (
            potential,
            str(folder / "starts.json"),
            order[number],
            settings.model_dump(mode="json"),
            temperature_K,
            pressure_GPa,
            trajectory,
            forge.settings.seed,
            str(stem.with_suffix(".json")),
            str(stem.with_suffix(".progress")),
        )
        planned.append(Task(tasks.explore, arguments, stem.with_suffix(".progress")))
    return planned
