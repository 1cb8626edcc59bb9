"""Frames between stages: JSON files that keep every bit, whole or absent."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from limbeck.core.record import read_json, write_json
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import atoms_from_dict, atoms_to_dict, labelled_from_dict, labelled_to_dict


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write unlabelled frames."""
    write_json(path, [atoms_to_dict(a) for a in frames])


def read_frames(path: Path) -> list[Atoms]:
    """Read unlabelled frames."""
    return [atoms_from_dict(values) for values in read_json(path)]


def write_labelled(path: Path, frames: Sequence[Labelled]) -> None:
    """Write labelled frames."""
    write_json(path, [labelled_to_dict(f) for f in frames])


def read_labelled(path: Path) -> list[Labelled]:
    """Read labelled frames."""
    return [labelled_from_dict(values) for values in read_json(path)]
