"""Files of other programs: tables of numbers, hybridization functions, Wannier90's ``*_hr.dat``.

Every mistake names file and line. FCIDUMP has a module of its own, :mod:`limbeck.impurity.fcidump`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Complex, Float, Int

from limbeck.core.errors import ConfigError, MissingFileError


@dataclass(frozen=True)
class TightBinding:
    """Hoppings of a lattice of Wannier functions.

    Attributes:
        vectors: (n_vectors, 3) lattice vectors R in units of the primitive ones.
        hoppings: (n_vectors, n, n) ``<0 a|H|R b>``, eV, divided by the degeneracy of R.
    """

    vectors: Int[np.ndarray, "n_vectors 3"]
    hoppings: Complex[np.ndarray, "n_vectors n n"]


def lines_of(path: Path) -> list[str]:
    """Lines of a text file.

    Raises:
        MissingFileError: If it is not there.
        ConfigError: If it is no text.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file ({error.reason} at byte {error.start})") from error


def read_table(path: Path) -> Float[np.ndarray, "rows columns"]:
    """Numbers in columns; what follows a ``#`` is a comment.

    Raises:
        MissingFileError: If the file is not there.
        ConfigError: If a line holds something else than finite numbers, or another number of columns than the first.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(lines_of(path), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        row = [number_of(path, number, word) for word in words]
        if rows and len(row) != len(rows[0]):
            raise ConfigError(f"{path}, line {number}: {len(row)} columns, but the lines before have {len(rows[0])}")
        rows.append(row)
    if not rows:
        raise ConfigError(f"{path}: no numbers in it")
    return np.array(rows)


def read_hybridization(path: Path) -> tuple[Float[np.ndarray, " n"], Complex[np.ndarray, "n m m"]]:
    """Delta by energy or by Matsubara frequency, eV: the frequency, then real and imaginary part of each element.

    Columns after the first: Re and Im of Delta_00, Delta_01, ... Delta_0m, Delta_10, ...: 1 + 2 m^2 columns in all.

    Raises:
        MissingFileError: If the file is not there.
        ConfigError: If the number of columns fits no matrix, or frequencies do not increase.
    """
    table = read_table(path)
    columns = table.shape[1]
    m = round(float(np.sqrt(max(columns - 1, 0) / 2)))
    if m < 1 or columns != 1 + 2 * m * m:
        raise ConfigError(
            f"{path}: {columns} columns; expected the frequency and Re, Im of each element of a matrix: 3 for one "
            "orbital, 9 for two, 19 for three, 33 for four, 51 for five"
        )
    x = table[:, 0]
    if len(x) < 3 or np.any(np.diff(x) <= 0):
        raise ConfigError(f"{path}: frequencies must increase, three lines at least")
    return x, (table[:, 1::2] + 1j * table[:, 2::2]).reshape(len(x), m, m)


def read_wannier90(path: Path) -> TightBinding:
    """Hoppings of a ``*_hr.dat`` file of Wannier90.

    Raises:
        MissingFileError: If the file is not there.
        ConfigError: If the file ends early, a line is not what the format asks for, or H is not Hermitian.
    """
    lines = lines_of(path)
    if len(lines) < 4:
        raise ConfigError(f"{path}: {len(lines)} lines; a *_hr.dat file has a comment, two numbers, degeneracies, rows")
    n, n_vectors = (integer_of(path, k + 1, lines[k].strip(), least=1) for k in (1, 2))
    degeneracies: list[int] = []
    at = 3
    while len(degeneracies) < n_vectors:
        if at >= len(lines):
            raise ConfigError(f"{path}: ends after {len(degeneracies)} of {n_vectors} degeneracies")
        degeneracies += [integer_of(path, at + 1, word, least=1) for word in lines[at].split()]
        at += 1
    if len(degeneracies) > n_vectors:
        raise ConfigError(f"{path}, line {at}: {len(degeneracies)} degeneracies, expected {n_vectors}")
    rows = [(k + 1, line.split()) for k, line in enumerate(lines[at:], start=at) if line.strip()]
    if len(rows) != n_vectors * n * n:
        raise ConfigError(
            f"{path}: {len(rows)} rows of hoppings, expected {n_vectors} x {n} x {n} = {n_vectors * n * n}"
        )
    places: dict[tuple[int, ...], int] = {}
    hoppings, seen = np.zeros((n_vectors, n, n), complex), np.zeros((n_vectors, n, n), bool)
    for number, words in rows:
        if len(words) != 7:
            raise ConfigError(f"{path}, line {number}: {len(words)} columns, expected 7: R1 R2 R3 m n Re Im")
        vector = tuple(integer_of(path, number, word) for word in words[:3])
        a, b = (integer_of(path, number, word, least=1, most=n) - 1 for word in words[3:5])
        place = places.setdefault(vector, len(places))
        if place >= n_vectors:
            raise ConfigError(f"{path}, line {number}: more than {n_vectors} different R")
        if seen[place, a, b]:
            raise ConfigError(f"{path}, line {number}: the element {a + 1} {b + 1} of R = {vector} is there twice")
        seen[place, a, b] = True
        hoppings[place, a, b] = complex(*(number_of(path, number, word) for word in words[5:])) / degeneracies[place]
    _check_hermitian(path, places, hoppings)
    return TightBinding(np.array(list(places), dtype=int), hoppings)


def _check_hermitian(path: Path, places: dict[tuple[int, ...], int], hoppings: "np.ndarray") -> None:
    """H(R)+ = H(-R) to the digits that the files have."""
    largest = float(np.abs(hoppings).max())
    for vector, place in places.items():
        other = places.get(tuple(-x for x in vector))
        if other is None:
            raise ConfigError(f"{path}: R = {vector} is there, -R is not; H is not Hermitian")
        off = float(np.abs(hoppings[place] - hoppings[other].conj().T).max())
        if off > 1e-4 * largest:
            raise ConfigError(f"{path}: H is not Hermitian: H(R) and H(-R)+ of R = {vector} differ by {off:.3g}")


def number_of(path: Path, line: int, word: str) -> float:
    """A finite number; Fortran's exponent D is one too."""
    try:
        value = float(word.lower().replace("d", "e"))
    except ValueError:
        raise ConfigError(f"{path}, line {line}: '{word}' is not a number") from None
    if not np.isfinite(value):
        raise ConfigError(f"{path}, line {line}: '{word}' is not finite")
    return value


def integer_of(path: Path, line: int, word: str, least: int | None = None, most: int | None = None) -> int:
    """A whole number within limits."""
    try:
        value = int(word)
    except ValueError:
        raise ConfigError(f"{path}, line {line}: '{word}' is not a whole number") from None
    if (least is not None and value < least) or (most is not None and value > most):
        raise ConfigError(f"{path}, line {line}: {value} is out of range ({least} to {most or 'any'})")
    return value
