"""Labels for chosen frames: from the store where they exist, else computed by tasks and stored as they arrive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.errors import LabelError
from limbeck.labels.dataset import require_one_theory
from limbeck.labels.engine import LabelEngine
from limbeck.labels.engines import StoredSettings, build_engine
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import atoms_to_dict, canonical, label_key
from limbeck.labels.task import collect_spool, label_to_spool
from limbeck.workflows.forge.context import Forge
from limbeck.workflows.tasking import Task, run_tasks


@dataclass(frozen=True)
class LabelBatch:
    """What became of a batch of frames.

    Attributes:
        labelled: Frames with labels, in the order asked for, ``info`` as given.
        reused: How many of them the store had already.
        quarantined: (trajectory, reason) of those that could not be labelled.
        cpu_s: CPU seconds spent now.
    """

    labelled: list[Labelled]
    reused: int
    quarantined: list[tuple[str, str]]
    cpu_s: float


def label_frames(forge: Forge, frames: Sequence[Atoms], title: str) -> LabelBatch:
    """Label frames; one that exists is not computed again, one that fails is quarantined with its reason.

    Raises:
        MixedTheoryError: If the labels are not of one level of theory and the settings do not allow that.
    """
    engine = build_engine(forge.settings.labels)
    wanted = [canonical(frame) for frame in frames]
    keys = [label_key(atoms, engine.fingerprint(atoms)) for atoms in wanted]
    collect_spool(forge.store, forge.run_folder / "spool")
    failed = {entry.key: entry.reason for entry in forge.store.quarantined()}
    missing = [i for i, key in enumerate(keys) if key not in forge.store and key not in failed]
    cpu_s = 0.0
    if missing:
        chosen = [wanted[i] for i in missing]
        if isinstance(forge.settings.labels, StoredSettings):
            _look_up(forge, engine, chosen)
        else:
            cpu_s = _compute(forge, chosen, title)
    failed = {entry.key: entry.reason for entry in forge.store.quarantined()}
    labelled, quarantined = [], []
    for atoms, key in zip(wanted, keys, strict=True):
        label = forge.store.get(key)
        if label is None:
            quarantined.append((str(atoms.info.get("trajectory", "unnamed")), failed.get(key, "no label was made")))
        else:
            labelled.append(_with_info(label, atoms.info))
    require_one_theory(labelled, allow_mixed=forge.settings.allow_mixed_theory)
    return LabelBatch(labelled, len(wanted) - len(missing), quarantined, cpu_s)


def _compute(forge: Forge, frames: Sequence[Atoms], title: str) -> float:
    spool = forge.run_folder / "spool"
    engine_settings = forge.settings.labels.model_dump(mode="json")
    work = [Task(label_to_spool, (engine_settings, atoms_to_dict(atoms), str(spool))) for atoms in frames]

    def keep(_: int, result: dict[str, Any]) -> None:
        collect_spool(forge.store, spool)

    return run_tasks(forge.executor, forge.reporter, title, work, keep)[1]


def _look_up(forge: Forge, engine: LabelEngine, frames: Sequence[Atoms]) -> None:
    for atoms in frames:
        try:
            forge.store.add(engine.label(atoms))
        except LabelError as error:
            forge.store.quarantine(atoms, engine.fingerprint(atoms), str(error))


def _with_info(label: Labelled, info: dict[str, Any]) -> Labelled:
    """The same label, its structure carrying other ``info`` (the store keeps that of the first time)."""
    atoms = label.atoms.copy()
    atoms.info = dict(info)
    return replace(label, atoms=atoms)


def label_store_folder(run_folder: Path, configured: str | None) -> Path:
    """Where a run keeps its labels: its own folder, or a store that several runs share."""
    return Path(configured) if configured else run_folder / "labels"
