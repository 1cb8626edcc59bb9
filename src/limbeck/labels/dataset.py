"""Sets of labels as files: a compressed extended XYZ file and a card beside it that says what it is.

Equal frames give equal bytes. The card holds the SHA-256 of the data file, checked on loading, and every fingerprint
that occurs in it, so that a loaded frame is the frame that was saved, provenance apart.
"""

import gzip
import io
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import Field

from limbeck import __version__
from limbeck.core.config import Settings, dump, load
from limbeck.core.errors import LabelError, MissingFileError, MixedTheoryError, StoreError, StructureError
from limbeck.core.record import canonical_json, hash_file, write_bytes, write_text
from limbeck.labels.extxyz import Frame, frame_text, parse_frames
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import canonical, fingerprint_from_dict, fingerprint_id, fingerprint_to_dict

_FINGERPRINT_KEY, _CPU_KEY = "REF_fingerprint", "REF_cpu_s"


LARGEST_FORCE_EV_PER_A = 100.0
"""Forces above this are not taken from a file of labels."""


class Description(Settings):
    """What only the maker of a set of labels knows."""

    title: str = Field(min_length=1)
    """One line: material, engine, what it is for."""
    what: str = Field(min_length=1)
    """Where the structures come from, and how they were chosen."""
    command: str = Field(min_length=1)
    """Command that makes the set again."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """Day on which it was made, ISO form."""
    licence: str = "CC0-1.0"
    """SPDX name of the data's licence."""


class CardFingerprint(Settings):
    """Engine, version, parameters and potential files behind some of the frames."""

    engine: str
    version: str
    parameters: dict[str, Any]
    files: dict[str, str]
    theory: dict[str, Any]
    production: bool


class Card(Description):
    """All that is to be known about a set of labels."""

    limbeck_version: str
    """Version that wrote the set."""
    data_file: str
    """Name of the data file beside the card."""
    data_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the data file."""
    frames: int = Field(ge=1)
    """Number of frames."""
    atoms: int = Field(ge=1)
    """Number of atoms in all frames together."""
    elements: list[str]
    """Chemical symbols that occur."""
    trajectories: dict[str, int]
    """Trajectory -> number of its frames."""
    label_cpu_s: float = Field(ge=0)
    """CPU seconds that the labels took, where the engine counted them."""
    fingerprints: dict[str, CardFingerprint]
    """Short hash (``REF_fingerprint`` of the frames) -> engine and parameters."""


def card_path(path: Path | str) -> Path:
    """Where the card of a data file lies: ``silicon.extxyz.xz`` -> ``silicon.card.yaml``."""
    path = Path(path)
    name = path.name.removesuffix(".xz").removesuffix(".gz").removesuffix(".extxyz")
    return path.with_name(f"{name}.card.yaml")


def require_one_theory(frames: Sequence[Labelled], *, allow_mixed: bool = False) -> None:
    """Refuse to mix functionals, Hubbard U or dispersion settings in one set.

    A U counts for the frames that hold its element: one for iron says nothing about a frame without iron.

    Args:
        frames: Frames that are to be used together.
        allow_mixed: Say that the mixture is meant.

    Raises:
        MixedTheoryError: If two frames differ in theory; names both.
    """
    require_one_theory_across({"": frames}, allow_mixed=allow_mixed)


def require_one_theory_across(batches: Mapping[str, Sequence[Labelled]], *, allow_mixed: bool = False) -> None:
    """Refuse to mix theories in batches that are to be used together: test set, training set, new labels.

    Args:
        batches: Name of a batch, for the message -> its frames.
        allow_mixed: Say that the mixture is meant.

    Raises:
        MixedTheoryError: If two frames of any of them differ in theory; names both, and where they stand.
    """
    if allow_mixed:
        return
    seen: dict[str, tuple[str, str, Labelled]] = {}
    for batch, frames in batches.items():
        for frame in frames:
            for part, value in _theory_parts(frame).items():
                known, where, other = seen.setdefault(part, (value, batch, frame))
                if known != value:
                    raise _mixed(part, (where, other), (batch, frame))


def _theory_parts(frame: Labelled) -> dict[str, str]:
    """What of a frame's theory must agree with other frames: each entry, and U for each of its elements."""
    theory = dict(frame.fingerprint.theory)
    table = theory.pop("hubbard", {})
    parts = {name: canonical_json(value) for name, value in theory.items()}
    parts["entries"] = canonical_json(sorted(theory))
    for element in set(frame.atoms.get_chemical_symbols()):
        shells = table.get(element, {}) if isinstance(table, dict) else table
        if isinstance(shells, dict):
            shells = {shell: u for shell, u in shells.items() if u}
        parts[f"Hubbard U of {element}"] = canonical_json(shells)
    return parts


def _mixed(part: str, *places: tuple[str, Labelled]) -> MixedTheoryError:
    (first, second) = (
        f"{f.fingerprint.engine} {canonical_json(f.fingerprint.theory)} ({batch + ', ' if batch else ''}{f.trajectory})"
        for batch, f in places
    )
    return MixedTheoryError(
        f"labels of different theory cannot be used together: {first} and {second} differ in {part}. Use one of them, "
        "or allow mixed theories in the configuration (allow_mixed_theory: true)."
    )


def save_set(
    path: Path | str, frames: Sequence[Labelled], description: Description, *, allow_mixed: bool = False
) -> Card:
    """Write a set of labels and its card; equal arguments give equal bytes.

    Args:
        path: Data file; its name ends in ``.extxyz``, ``.extxyz.gz`` or ``.extxyz.xz``.
        frames: The labels.
        description: Title, origin, command, date.
        allow_mixed: Allow frames of different theories.

    Returns:
        The card, as written beside the data file.

    Raises:
        LabelError: If there are no frames.
        MixedTheoryError: If the frames differ in theory.
    """
    path = Path(path)
    if not frames:
        raise LabelError(f"{path}: a set without frames cannot be saved")
    require_one_theory(frames, allow_mixed=allow_mixed)
    texts: list[str] = []
    trajectories: dict[str, int] = {}
    fingerprints: dict[str, CardFingerprint] = {}
    cpu_s = 0.0
    for frame in frames:
        short = fingerprint_id(frame.fingerprint)[:12]
        fingerprints[short] = CardFingerprint(**fingerprint_to_dict(frame.fingerprint))
        trajectories[frame.trajectory] = trajectories.get(frame.trajectory, 0) + 1
        spent = round(float(frame.provenance.get("cpu_s", 0.0)), 3)
        cpu_s += spent
        texts.append(frame_text(frame, {_FINGERPRINT_KEY: short, _CPU_KEY: spent}))
    write_bytes(path, _compress(path.name, "".join(texts).encode()))
    card = Card(
        **description.model_dump(),
        limbeck_version=__version__,
        data_file=path.name,
        data_sha256=hash_file(path),
        frames=len(frames),
        atoms=sum(len(frame.atoms) for frame in frames),
        elements=sorted({symbol for frame in frames for symbol in frame.atoms.get_chemical_symbols()}),
        trajectories=trajectories,
        label_cpu_s=round(cpu_s, 3),
        fingerprints=fingerprints,
    )
    write_text(card_path(path), dump(card))
    return card


def load_set(path: Path | str) -> tuple[tuple[Labelled, ...], Card]:
    """Read a set of labels with its card.

    Returns:
        The frames in their order, and the card. ``provenance`` holds the CPU seconds and the title of the set.

    Raises:
        MissingFileError: If the data file or its card is not there.
        StoreError: If the data file is not the one that the card describes, or is damaged.
        ConfigError: If the card is not valid.
    """
    path = Path(path)
    for needed in (path, card_path(path)):
        if not needed.is_file():
            raise MissingFileError(
                f"{needed}: no such file. A set of labels is a data file with its card beside it; for a file of your "
                "own, say under 'theory' what its labels were made with."
            )
    card = load(card_path(path), Card)
    found = hash_file(path)
    if found != card.data_sha256:
        raise StoreError(
            f"{path}: SHA-256 is {found[:12]}…, the card says {card.data_sha256[:12]}…: not the file that the card "
            "describes. Restore it, or make the set again."
        )
    fingerprints = {short: fingerprint_from_dict(f.model_dump()) for short, f in card.fingerprints.items()}
    text = _decompress(path.name, path.read_bytes()).decode()
    frames = tuple(_labelled(frame, fingerprints, card.title, path) for frame in parse_frames(text, source=str(path)))
    if len(frames) != card.frames:
        raise StoreError(f"{path}: {len(frames)} frames found, the card says {card.frames}")
    return frames, card


def _labelled(frame: Frame, fingerprints: dict[str, Fingerprint], title: str, path: Path) -> Labelled:
    short = str(frame.atoms.info.pop(_FINGERPRINT_KEY, ""))
    cpu_s = float(frame.atoms.info.pop(_CPU_KEY, 0.0))
    if short not in fingerprints or frame.energy is None or frame.forces is None:
        raise StoreError(f"{path}: a frame has no energy, no forces or an unknown fingerprint '{short}'")
    return Labelled(
        atoms=frame.atoms,
        energy=frame.energy,
        forces=frame.forces,
        stress=frame.stress,
        magnetic_moments=frame.magnetic_moments,
        fingerprint=fingerprints[short],
        provenance={"cpu_s": cpu_s, "set": title},
    )


def _compress(name: str, data: bytes) -> bytes:
    if name.endswith(".xz"):
        return lzma.compress(data, preset=9, check=lzma.CHECK_CRC64)
    if name.endswith(".gz"):
        buffer = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as stream:
            stream.write(data)
        return buffer.getvalue()
    return data


def _decompress(name: str, data: bytes) -> bytes:
    try:
        if name.endswith(".xz"):
            return lzma.decompress(data)
        return gzip.decompress(data) if name.endswith(".gz") else data
    except (lzma.LZMAError, OSError, EOFError) as error:
        raise StoreError(f"{name}: cannot be decompressed: {error}") from error


def read_labelled(path: Path | str, theory: dict[str, Any]) -> tuple[Labelled, ...]:
    """Labels of a user's own extended XYZ file (or anything that ASE reads with energies and forces).

    Args:
        path: The file. Keys ``REF_energy``, ``REF_forces``, ``REF_stress`` come first, then ``energy``, ``forces``,
            ``stress``.
        theory: What the labels were made with: ``{"functional": "PBE", "hubbard": {}, "dispersion": "none"}``.

    Returns:
        The frames in their order. Frames without a ``trajectory`` of their own belong to one trajectory, named after
        the file: neighboring frames of a file are not independent.

    Raises:
        MissingFileError: If there is no such file.
        LabelError: If a frame has no energy or forces, holds NaN, or the file cannot be read or is empty.
    """
    import ase.io

    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Check the path.")
    try:
        images = ase.io.read(path, index=":")
    except Exception as error:
        raise LabelError(f"{path}: ASE cannot read it: {error}. Expected extended XYZ with labels.") from error
    if not images:
        raise LabelError(f"{path}: holds no frame. Expected extended XYZ with labels.")
    fingerprint = Fingerprint("file", "1", {"theory": theory}, {path.name: hash_file(path)}, theory)
    return tuple(
        _user_frame(atoms, f"{path}, frame {number}", path, fingerprint) for number, atoms in enumerate(images)
    )


def _user_frame(atoms: Atoms, where: str, path: Path, fingerprint: Fingerprint) -> Labelled:
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    energy = atoms.info.get("REF_energy", results.get("energy", atoms.info.get("energy")))
    forces = atoms.arrays.get("REF_forces", results.get("forces", atoms.arrays.get("forces")))
    stress = atoms.info.get("REF_stress", results.get("stress", atoms.info.get("stress")))
    if energy is None or forces is None:
        missing = "energy" if energy is None else "forces"
        raise LabelError(f"{where}: no {missing}. Expected REF_energy and REF_forces, or energy and forces.")
    largest = float(np.abs(np.asarray(forces, dtype=float)).max(initial=0.0))
    if largest > LARGEST_FORCE_EV_PER_A:
        raise LabelError(
            f"{where}: a force of {largest:.4g} eV/Å. Above {LARGEST_FORCE_EV_PER_A:g} atoms overlap, or the unit is "
            "another. Remove the frame, or convert the forces to eV/Å."
        )
    try:
        clean = canonical(atoms)
        for name in ("REF_energy", "energy"):
            clean.info.pop(name, None)
        clean.info.setdefault("trajectory", path.name)
        return Labelled(
            atoms=clean,
            energy=float(energy),
            forces=np.array(forces, dtype=float),
            stress=None if stress is None else _voigt(np.array(stress, dtype=float), where),
            fingerprint=fingerprint,
            provenance={"file": path.name},
        )
    except StructureError as error:
        raise LabelError(f"{where}: {error}. Remove the frame, or label it again.") from error


def _voigt(stress: np.ndarray, where: str) -> np.ndarray:
    """Six components of a stress given as six, nine or 3 x 3 numbers."""
    if stress.size == 6:
        return stress.ravel()
    if stress.size == 9:
        return stress.ravel()[[0, 4, 8, 5, 2, 1]]
    raise LabelError(f"{where}: stress has {stress.size} numbers, expected 6 (Voigt xx yy zz yz xz xy) or 9")
