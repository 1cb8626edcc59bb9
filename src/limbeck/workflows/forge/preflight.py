"""What can be known to fail before anything is computed: a missing engine or file, an element that nothing knows."""

from collections.abc import Collection, Sequence

from ase import Atoms

from limbeck.core.errors import LabelError, UnsupportedElementError
from limbeck.labels.engines import StoredSettings, build_engine
from limbeck.labels.engines.stored import StoredEngine
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
                f"{', '.join(sorted({str(r) for r in roles}))}. See docs/decisions/0006-stored-labels.md."
            )


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
