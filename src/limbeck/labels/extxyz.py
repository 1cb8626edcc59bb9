"""Extended XYZ text of labelled frames: exact to the last bit, and plain enough for every other program.

One frame is the number of atoms, a comment line of ``key=value`` pairs, and one line an atom. Numbers are written in
the shortest form that reads back as the same double. Labels have the keys that trainers of this field look for:
``REF_energy`` (eV), ``REF_forces`` (eV/Å), ``REF_stress`` (eV/Å^3, ASE's sign, Voigt order xx yy zz yz xz xy).
Provenance goes beside the frames (the store's catalogue, a data set's card), not into them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from limbeck.core.errors import StoreError
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import canonical

ENERGY_KEY, FORCES_KEY, STRESS_KEY, MOMENTS_KEY = "REF_energy", "REF_forces", "REF_stress", "REF_magmoms"
_OWN_KEYS = {"Lattice", "Properties", "pbc", ENERGY_KEY, STRESS_KEY}
_PAIR = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_.\-]*)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*\Z")
_COLUMNS = {
    "species": "species:S:1",
    "pos": "pos:R:3",
    "initial_magmoms": "initial_magmoms:R:1",
    FORCES_KEY: f"{FORCES_KEY}:R:3",
    MOMENTS_KEY: f"{MOMENTS_KEY}:R:1",
}


@dataclass(frozen=True)
class Frame:
    """What one frame of a file holds.

    Attributes:
        atoms: The structure with its ``info``.
        energy: eV, or ``None``.
        forces: (n_atoms, 3) in eV/Å, or ``None``.
        stress: (6,) in eV/Å^3, or ``None``.
        magnetic_moments: (n_atoms,) in Bohr magnetons, or ``None``.
    """

    atoms: Atoms
    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    magnetic_moments: np.ndarray | None


def frame_text(labelled: Labelled, extra: Mapping[str, str | float] | None = None) -> str:
    """Extended XYZ text of one labelled frame, with a line break at its end.

    Args:
        labelled: The frame.
        extra: Further ``key=value`` pairs of the comment line; they come back in ``info``.
    """
    atoms = canonical(labelled.atoms)
    columns: list[tuple[str, np.ndarray]] = [("pos", atoms.positions)]
    if atoms.has("initial_magmoms"):
        columns.append(("initial_magmoms", atoms.get_initial_magnetic_moments()[:, None]))
    columns.append((FORCES_KEY, np.asarray(labelled.forces, dtype=float)))
    if labelled.magnetic_moments is not None:
        columns.append((MOMENTS_KEY, np.asarray(labelled.magnetic_moments, dtype=float)[:, None]))
    pairs = [
        f'Lattice="{_numbers(atoms.cell.array.ravel())}"',
        "Properties=" + ":".join([_COLUMNS["species"], *(_COLUMNS[name] for name, _ in columns)]),
        f'pbc="{" ".join("T" if flag else "F" for flag in atoms.pbc)}"',
        f"{ENERGY_KEY}={float(labelled.energy)!r}",
    ]
    if labelled.stress is not None:
        pairs.append(f'{STRESS_KEY}="{_numbers(labelled.stress)}"')
    pairs += [
        f"{name}={_value_text(value)}" for name, value in {**atoms.info, **(extra or {})}.items() if _is_free(name)
    ]
    table = np.hstack([values for _, values in columns]).tolist()
    lines = [
        f"{symbol} {' '.join(map(repr, row))}" for symbol, row in zip(atoms.get_chemical_symbols(), table, strict=True)
    ]
    return "\n".join([str(len(atoms)), " ".join(pairs), *lines]) + "\n"


def _is_free(name: str) -> bool:
    return bool(_NAME.match(name)) and name not in _OWN_KEYS


def _numbers(values: np.ndarray) -> str:
    return " ".join(map(repr, np.asarray(values, dtype=float).tolist()))


def _value_text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, str):
        # Braces and backslashes mean something to other readers of this format: kept as \\u escapes.
        text = json.dumps(value)[1:-1]
        text = text.replace('\\"', "\\u0022").replace("{", "\\u007b").replace("}", "\\u007d")
        return f'"{text}"'
    return repr(value)


def parse_frame(text: str, *, source: str = "frame") -> Frame:
    """Frame from the text of :func:`frame_text`.

    Raises:
        StoreError: If the text is not one whole frame.
    """
    frames = list(parse_frames(text, source=source))
    if len(frames) != 1:
        raise StoreError(f"{source}: {len(frames)} frames found where one was expected")
    return frames[0]


def parse_frames(text: str, *, source: str = "frames") -> Iterator[Frame]:
    """Frames of a text made by :func:`frame_text`, in order.

    Raises:
        StoreError: If a frame is cut short or a number cannot be read; names the line.
    """
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        try:
            count = int(lines[at])
            body = lines[at + 2 : at + 2 + count]
            if count < 1 or len(body) != count:
                raise ValueError(f"{len(body)} atom lines found, {count} expected")
            yield _frame(lines[at + 1], body)
        except (ValueError, KeyError, IndexError) as error:
            raise StoreError(f"{source}: damaged frame at line {at + 1}: {error}") from error
        at += 2 + count


def _frame(comment: str, body: list[str]) -> Frame:
    pairs = _pairs(comment)
    declared = str(pairs["Properties"]).split(":")
    names, widths = declared[0::3], [int(w) for w in declared[2::3]]
    rows = [line.split() for line in body]
    if names[0] != "species" or any(len(row) != sum(widths) for row in rows):
        raise ValueError("atom lines do not have the columns that 'Properties' declares")
    table = np.array([[float(word) for word in row[1:]] for row in rows])
    columns: dict[str, np.ndarray] = {}
    start = 0
    for name, width in zip(names[1:], widths[1:], strict=True):
        columns[name] = table[:, start : start + width].copy()
        start += width
    atoms = Atoms(
        symbols=[row[0] for row in rows],
        positions=columns["pos"],
        cell=_vector(pairs["Lattice"]).reshape(3, 3),
        pbc=[flag == "T" for flag in str(pairs["pbc"]).split()],
    )
    if "initial_magmoms" in columns:
        atoms.set_initial_magnetic_moments(columns["initial_magmoms"][:, 0])
    atoms.info.update({name: value for name, value in pairs.items() if name not in _OWN_KEYS})
    return Frame(
        atoms=atoms,
        energy=float(pairs[ENERGY_KEY]) if ENERGY_KEY in pairs else None,
        forces=columns.get(FORCES_KEY),
        stress=_vector(pairs[STRESS_KEY]) if STRESS_KEY in pairs else None,
        magnetic_moments=columns[MOMENTS_KEY][:, 0] if MOMENTS_KEY in columns else None,
    )


def _vector(text: Any) -> np.ndarray:
    return np.array([float(word) for word in str(text).split()])


def _pairs(comment: str) -> dict[str, Any]:
    """Key and value pairs of a comment line; quoted values stay text, the rest are flags or numbers."""
    pairs: dict[str, Any] = {}
    at = 0
    while match := _PAIR.match(comment, at):
        name, quoted, plain = match.groups()
        pairs[name] = json.loads(f'"{quoted}"') if quoted is not None else _plain(plain)
        at = match.end()
    if comment[at:].strip():
        raise ValueError(f"cannot read {comment[at : at + 40]!r} in the comment line")
    return pairs


def _plain(word: str) -> Any:
    if word in ("T", "F"):
        return word == "T"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
