"""What can be known to fail before anything is computed: a missing engine or file, an element that nothing knows."""

from collections.abc import Collection, Sequence
from pathlib import Path

from ase import Atoms

from limbeck.core.errors import LabelError, StructureError, UnsupportedElementError
from limbeck.labels.engines import StoredSettings, build_engine
from limbeck.labels.engines.stored import StoredEngine
from limbeck.labels.labelled import Labelled
from limbeck.structures.crystals import build_structure
from limbeck.workflows.forge.config import ForgeSettings


def check_labels(settings: ForgeSettings, crystals: Sequence[Atoms]) -> None:
    """Labels can be had for the starting structures.

    Raises:
        MissingDependencyError: If the label engine is not installed.
        MissingFileError: If a stored set is not there.
        UnsupportedElementError: If the engine has no data for an element, or a stored set no frame with it.
        LabelError: If a stored set has no frames for the test set or for training.
    """
    for stored in settings.report_on.values():
        StoredEngine(stored)
    if not isinstance(settings.labels, StoredSettings):
        engine = build_engine(settings.labels)
        for crystal in crystals:
            engine.fingerprint(crystal)
        return
    frames = StoredEngine(settings.labels).frames()
    known = {symbol for frame in frames for symbol in frame.atoms.get_chemical_symbols()}
    check_elements(known, crystals, f"the set {settings.labels.path}")
    roles = [frame.atoms.info.get("role") for frame in frames]
    for role, purpose in (("test", "the test set"), ("pool", "training")):
        if role not in roles:
            raise LabelError(
                f"{settings.labels.path} has no frame of role '{role}', which {purpose} is taken from. Its roles are "
                f"{', '.join(sorted({str(r) for r in roles}))}; known are test, pool and fresh. Give some frames the "
                f"role '{role}' (info['role'], see docs/howto/own-material.md)."
            )
    _check_use(settings, frames, known_elements(crystals))


def build_structures(settings: ForgeSettings) -> list[Atoms]:
    """Starting structures of the configuration.

    Raises:
        StructureError: Naming the entry of the list that cannot be built.
    """
    built = []
    for number, structure in enumerate(settings.structures):
        try:
            built.append(build_structure(structure, Path.cwd()))
        except StructureError as error:
            raise StructureError(f"structures.{number}: {error}") from error
    return built


def known_elements(crystals: Sequence[Atoms]) -> set[str]:
    """Elements of some structures."""
    return {symbol for crystal in crystals for symbol in crystal.get_chemical_symbols()}


def _check_use(settings: ForgeSettings, frames: Sequence[Labelled], elements: set[str]) -> None:
    """Stored frames are what the loop will ask for."""
    where = settings.labels.path if isinstance(settings.labels, StoredSettings) else ""
    for number, frame in enumerate(frames):
        if foreign := sorted(set(frame.atoms.get_chemical_symbols()) - elements):
            raise LabelError(
                f"{where}, frame {number}: holds {', '.join(foreign)}, which no starting structure has. Leave the "
                "frame out, or add a structure with it."
            )
    pool = {frame.trajectory for frame in frames if frame.atoms.info.get("role") == "pool"}
    if settings.loop.validation_fraction > 0 and len(pool) < 2:
        raise LabelError(
            f"{where}: all frames for training are of one trajectory, which cannot be split from itself. Set "
            "loop.validation_fraction to 0, or give frames of different runs different info['trajectory']."
        )
    if settings.loop.fresh_frames and not any(frame.atoms.info.get("role") == "fresh" for frame in frames):
        raise LabelError(
            f"{where}: loop.fresh_frames is {settings.loop.fresh_frames}, and no frame has the role 'fresh'. Set it to "
            "0, or give a trajectory that nothing is trained on that role."
        )


MAGNETIC = frozenset(
    {"Cr", "Mn", "Fe", "Co", "Ni", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"}
)
"""Elements whose compounds usually carry moments."""


def cautions(settings: ForgeSettings, crystals: Sequence[Atoms]) -> list[str]:
    """What is allowed and seldom meant."""
    magnetic = sorted(known_elements(crystals) & MAGNETIC)
    if magnetic and getattr(settings.labels, "spin_polarized", True) is False:
        return [
            f"{', '.join(magnetic)} may be magnetic, and labels are computed without spin. If there are moments, set "
            "labels.spin_polarized to true."
        ]
    return []


def check_elements(known: Collection[str], crystals: Sequence[Atoms], who: str) -> None:
    """Every element of the starting structures is known.

    Raises:
        UnsupportedElementError: Naming those that are not.
    """
    wanted = {symbol for crystal in crystals for symbol in crystal.get_chemical_symbols()}
    if unknown := sorted(wanted - set(known)):
        raise UnsupportedElementError(
            f"{who} does not know {', '.join(unknown)}, of which the structures are made; it knows "
            f"{', '.join(sorted(known))}. Choose another, or other structures."
        )
