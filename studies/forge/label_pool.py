"""Make the labelled sets of a study: frames met by the universal teacher, labelled by GPAW.

    .venv/bin/python studies/forge/label_pool.py studies/forge/pool-silicon.yaml runs/pool-silicon studies/forge/data

Writes ``NAME-labels.extxyz.xz`` (roles ``pool``, ``test``, ``fresh``: candidates for selection, all of them labelled,
so that selection methods can be compared at equal cost; a fixed test set; frames of other trajectories) and
``NAME-beyond.extxyz.xz``, frames outside the conditions that the potential is made for, for reporting only. Whole
trajectories have one role. Killed and started again it goes on; frames without a label yet are left out.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from ase import Atoms
from pydantic import Field

from limbeck.core.config import Settings, load
from limbeck.core.progress import ConsoleReporter
from limbeck.core.record import write_text
from limbeck.core.rng import stream
from limbeck.dynamics.ase_md import ExploreSettings, explore
from limbeck.executors.parsl_local import ParslLocalExecutor
from limbeck.labels.dataset import Description, save_set
from limbeck.labels.engines import EngineSettings, build_engine
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import atoms_to_dict, canonical, label_key
from limbeck.labels.store import LabelStore
from limbeck.labels.task import collect_spool, label_to_spool
from limbeck.potentials.teachers import TeacherSettings, build_teacher
from limbeck.structures.crystals import StructureSettings, build_structure
from limbeck.structures.perturb import PerturbSettings, perturb
from limbeck.workflows.forge.frames import read_frames, write_frames
from limbeck.workflows.tasking import Task, run_tasks


class Part(Settings):
    """Trajectories of one kind of cell."""

    structure: StructureSettings
    trajectories: int = Field(ge=1)
    frames: int = Field(ge=1)
    """Frames labelled from each trajectory, at equal distances."""


class Domain(Settings):
    """Conditions that the potential is made for; other frames are kept, if labelled, in a set of their own."""

    max_temperature_K: float
    max_pressure_GPa: float
    min_atoms: int = 1

    def holds(self, atoms: Atoms) -> bool:
        """Whether a frame lies within."""
        return (
            atoms.info["temperature_K"] <= self.max_temperature_K
            and atoms.info["pressure_GPa"] <= self.max_pressure_GPa
            and len(atoms) >= self.min_atoms
        )


class PoolSettings(Settings):
    """What to explore and label."""

    name: str
    seed: int
    teacher: TeacherSettings
    labels: EngineSettings
    explore: ExploreSettings
    perturb: PerturbSettings
    pool: list[Part]
    holdout: list[Part]
    roles: dict[str, list[str]] = {}
    """Other roles of some trajectories of ``pool``: ``{test: [pool/0-009], fresh: [pool/0-011]}``."""
    domain: Domain
    workers: int = 1


def frames_of(settings: PoolSettings, role: str, reporter: ConsoleReporter) -> list[Atoms]:
    """Frames of one role, from molecular dynamics with the universal teacher."""
    teacher = build_teacher(settings.teacher)
    md = settings.explore
    grid = [(t, p) for t in md.temperatures_K for p in md.pressures_GPa]
    chosen: list[Atoms] = []
    for part_number, part in enumerate(getattr(settings, role)):
        crystal = build_structure(part.structure, Path.cwd())
        rng = stream(settings.seed, role, part_number)
        starts = perturb(crystal, settings.perturb.model_copy(update={"copies": part.trajectories}), rng)
        points = [int(i) for _ in range(-(-part.trajectories // len(grid))) for i in rng.permutation(len(grid))]
        for number, start in enumerate(starts):
            temperature_K, pressure_GPa = grid[points[number]]
            name = f"{role}/{part_number}-{number:03d}"
            result = explore(
                start, teacher.calculator(), temperature_K=temperature_K, pressure_GPa=pressure_GPa, settings=md,
                rng=stream(settings.seed, name),
            )  # fmt: skip
            reporter.message(
                f"{name}: {temperature_K:g} K, {pressure_GPa:g} GPa, {len(result.frames)} frames {result.reason}"
            )
            stride = max(1, len(result.frames) // part.frames)
            for frame in result.frames[stride - 1 :: stride][: part.frames]:
                atoms = canonical(frame)
                atoms.info.update(trajectory=name, role=role, temperature_K=temperature_K, pressure_GPa=pressure_GPa)
                chosen.append(atoms)
    return chosen


def _urgency(atoms: Atoms, frames: list[Atoms], roles: dict[str, list[str]]) -> tuple[bool, int]:
    """Test and fresh frames first, then one frame of every trajectory after the other: a cut leaves a balanced set."""
    name = atoms.info["trajectory"]
    mates = [f.info["trajectory"] for f in frames[: frames.index(atoms)]]
    return name not in [n for names in roles.values() for n in names], mates.count(name)


def main() -> None:
    """Explore, label, store, save."""
    config, folder, target = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    settings = load(config, PoolSettings)
    reporter = ConsoleReporter()
    path = folder / "frames.json"
    if not path.exists():
        write_frames(path, [f for role in ("holdout", "pool") for f in frames_of(settings, role, reporter)])
    frames = read_frames(path)
    engine, spool = build_engine(settings.labels), folder / "spool"
    keys = [label_key(atoms, engine.fingerprint(atoms)) for atoms in frames]
    with LabelStore(folder / "labels") as store, ParslLocalExecutor(folder / "executor", settings.workers) as executor:
        collect_spool(store, spool)
        missing = [a for a, key in zip(frames, keys, strict=True) if key not in store and settings.domain.holds(a)]
        missing.sort(key=lambda atoms: _urgency(atoms, frames, settings.roles))
        reporter.message(f"{len(frames)} frames, {len(missing)} to label")
        values = settings.labels.model_dump(mode="json")
        work = [Task(label_to_spool, (values, atoms_to_dict(atoms), str(spool))) for atoms in missing]
        run_tasks(executor, reporter, "labelling", work)
        collect_spool(store, spool)
        labelled = [
            (atoms, label) for atoms, key in zip(frames, keys, strict=True) if (label := store.get(key)) is not None
        ]
        for entry in store.quarantined():
            write_text(folder / f"quarantined-{entry.key[:12]}.txt", entry.reason + "\n")
    role_of = {trajectory: role for role, names in settings.roles.items() for trajectory in names}
    sets: dict[str, list[Labelled]] = {"labels": [], "beyond": []}
    for atoms, label in labelled:
        info = dict(atoms.info)
        info["role"] = role_of.get(info["trajectory"], info["role"])
        kept = label.atoms.copy()
        kept.info = info
        sets["labels" if settings.domain.holds(atoms) else "beyond"].append(replace(label, atoms=kept))
    for name, chosen in sets.items():
        if not chosen:
            continue
        output = target / f"{settings.name}-{name}.extxyz.xz"
        description = Description(
            title=f"{settings.name}: GPAW labels, {name}",
            what="Molecular dynamics of the universal teacher from strained, rattled cells (see the configuration). "
            "info['role'] of the set 'labels' is 'pool' (candidates for selection), 'test' or 'fresh'; the set "
            "'beyond' holds frames outside the conditions that the potential is made for.",
            command=f".venv/bin/python studies/forge/label_pool.py {config} RUN_FOLDER {target}",
            date=time.strftime("%Y-%m-%d"),
        )
        save_set(output, chosen, description)
        reporter.message(f"{len(chosen)} labels: {output}")


if __name__ == "__main__":
    main()
