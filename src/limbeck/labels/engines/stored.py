"""Labels that were made before: a committed set in place of an engine, so that a machine without one still works."""

from pathlib import Path
from typing import Literal

from ase import Atoms

from limbeck.core.config import Settings
from limbeck.core.errors import LabelError
from limbeck.labels.dataset import Card, load_set
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import structure_hash


class StoredSettings(Settings):
    """A set of labels that was made before; no engine runs."""

    kind: Literal["stored"] = "stored"
    path: str
    """Data file of the set (``….extxyz.xz`` or ``….extxyz.gz``) with its card beside it."""


class StoredEngine:
    """The label engine behind :class:`StoredSettings`: looks labels up by structure, computes none.

    Raises:
        MissingFileError: If the set or its card is not there.
        StoreError: If the data file is not the one that the card describes.
    """

    def __init__(self, settings: StoredSettings) -> None:
        self.settings = settings
        frames, self._card = load_set(Path(settings.path))
        self._frames = frames
        self._by_structure = {structure_hash(frame.atoms): frame for frame in frames}

    @property
    def card(self) -> Card:
        """What the set is and how it was made."""
        return self._card

    def frames(self) -> tuple[Labelled, ...]:
        """All labels of the set, in its order."""
        return self._frames

    def fingerprint(self, atoms: Atoms) -> Fingerprint:
        """Fingerprint that the structure was labelled with, or one that names the set for a structure not in it."""
        frame = self._by_structure.get(structure_hash(atoms))
        if frame is not None:
            return frame.fingerprint
        first = self._frames[0].fingerprint
        return Fingerprint(
            engine="stored",
            version=first.version,
            parameters={"set": self._card.title},
            files={self._card.data_file: self._card.data_sha256},
            theory=first.theory,
            production=first.production,
        )

    def label(self, atoms: Atoms) -> Labelled:
        """Label of one structure of the set, with the ``info`` of the structure asked for.

        Raises:
            LabelError: If the set does not hold the structure.
        """
        frame = self._by_structure.get(structure_hash(atoms))
        if frame is None:
            raise LabelError(
                f"{self.settings.path} holds no label for this {atoms.get_chemical_formula()} structure "
                f"({len(self._frames)} frames are stored). Structures off the set need a label engine that computes."
            )
        return frame
