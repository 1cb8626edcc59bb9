"""Labels that were made before in place of an engine: a committed set, or a file of somebody's own labels."""

from pathlib import Path
from typing import Literal

from ase import Atoms
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import LabelError, StoreError
from limbeck.labels.dataset import card_path, load_set, read_labelled
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import structure_hash


class TheorySettings(Settings):
    """What somebody's labels were made with, where no card says so."""

    functional: str = Field(min_length=1)
    """Exchange-correlation functional, for example ``PBE``."""
    dispersion: str = "none"
    """Dispersion correction, for example ``D3(BJ)``."""
    hubbard_U_eV: dict[str, dict[Literal["s", "p", "d", "f"], float]] = Field(default_factory=dict)
    """Hubbard U by element and shell, for example ``{Fe: {d: 4.3}}``."""


class StoredSettings(Settings):
    """Labels that were made before, by limbeck or by you; no engine runs."""

    kind: Literal["stored"] = "stored"
    path: str
    """A set with its card beside it (``….extxyz.xz``, ``….extxyz.gz``), or your own file that ASE reads, with energies
    and forces in every frame. Frames say what they are for by ``role`` (``test``, ``pool``, ``fresh``); in your own
    file, those that do not are candidates for training (``pool``)."""
    theory: TheorySettings | None = None
    """What the labels of your own file were made with; a set with a card needs none."""


class StoredEngine:
    """The label engine behind :class:`StoredSettings`: looks labels up by structure, computes none.

    Raises:
        MissingFileError: If the set is not there, or has no card and no ``theory`` is given.
        StoreError: If the data file is not the one that the card describes, or a card and ``theory`` are given.
        LabelError: If a frame of a file without a card has no energy or forces, or holds NaN.
    """

    def __init__(self, settings: StoredSettings) -> None:
        self.settings = settings
        path = Path(settings.path)
        self._frames: tuple[Labelled, ...]
        if settings.theory is None:
            self._frames, card = load_set(path)
            self._set, self._files = {"set": card.title}, {card.data_file: card.data_sha256}
        else:
            self._frames = _users_frames(path, settings.theory)
            self._set, self._files = {"set": path.name}, dict(self._frames[0].fingerprint.files)
        self._by_structure = {structure_hash(frame.atoms): frame for frame in self._frames}

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
            parameters=self._set,
            files=self._files,
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


def _users_frames(path: Path, theory: TheorySettings) -> tuple[Labelled, ...]:
    """Labels of a file without a card; frames without a role are candidates for training."""
    if card_path(path).exists():
        raise StoreError(f"{path} has a card ({card_path(path).name}) that says its theory. Remove 'theory'.")
    frames = read_labelled(
        path, {"functional": theory.functional, "hubbard": theory.hubbard_U_eV, "dispersion": theory.dispersion}
    )
    for frame in frames:
        frame.atoms.info.setdefault("role", "pool")
    return frames
