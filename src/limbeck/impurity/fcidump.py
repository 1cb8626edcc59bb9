"""FCIDUMP files (P. J. Knowles, N. C. Handy, Comput. Phys. Commun. 54, 75 (1989), doi:10.1016/0010-4655(89)90033-7).

    H = E_core + sum h_ij c+_is c_js + 1/2 sum (ij|kl) c+_is c+_kt c_lt c_js

Orbitals hold both spins. A line is ``value i j k l`` with orbitals from 1: (ij|kl); h_ij where k and l are 0; E_core
where all are. Of real integrals one of eight equal ones is there, ``(ij|kl) = (ji|kl) = (ij|lk) = (kl|ij)``; of complex
ones, written ``(re,im)``, one of four, ``(ij|kl) = (kl|ij) = conj (ji|lk)``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from limbeck.core.errors import ConfigError
from limbeck.core.record import write_text
from limbeck.impurity.formats import integer_of, lines_of, number_of
from limbeck.impurity.interaction import with_spin
from limbeck.impurity.model import ImpurityModel

SMALL = 1e-14
"""Integrals below this are not written."""
NEGLIGIBLE = 1e-10
"""Two-body integral of an orbital outside the impurity below which it is none."""
SAME = 1e-8
"""How far integrals may differ that symmetry makes equal."""


@dataclass(frozen=True)
class Fcidump:
    """What a file says, with the correlated orbitals first.

    Attributes:
        model: The impurity model, in the file's unit.
        constant: Energy of what is not in the model (nuclei, frozen core).
        orbitals: Number of each orbital of the model in the file, from 0.
    """

    model: ImpurityModel
    constant: float
    orbitals: Int[np.ndarray, " n"]


def read_fcidump(path: Path, impurity: "list[int] | None" = None) -> Fcidump:
    """Model of a FCIDUMP file.

    Args:
        path: The file.
        impurity: Orbitals that interact, from 0; those that have a two-body integral where left out.

    Raises:
        MissingFileError: If the file is not there.
        ConfigError: If it is not such a file, is for unrestricted orbitals, an integral is given twice with different
            values, or orbitals outside the impurity interact.
    """
    lines = lines_of(path)
    header, first = _header(path, lines)
    n, electrons, spin_2z = (_of_header(path, header, key) for key in ("NORB", "NELEC", "MS2"))
    for key in ("IUHF", "UHF"):
        if re.search(rf"\b{key}\s*=\s*\.?(T|[1-9])", header, re.IGNORECASE):
            raise ConfigError(
                f"{path}: {key} is set; integrals that depend on spin are not read: give one set for both"
            )
    h, constant, two, is_complex = _integrals(path, lines, first, n)
    used = sorted({index for row in two if abs(row[0]) > NEGLIGIBLE for index in row[1:5]})
    chosen = used if impurity is None else list(impurity)
    _check_chosen(path, chosen, n, two)
    orbitals = np.array([*chosen, *(k for k in range(n) if k not in chosen)], dtype=int)
    tensor = _tensor(path, chosen, two, is_complex)
    one = np.kron(h[np.ix_(orbitals, orbitals)], np.eye(2))
    if not is_complex:
        one, tensor = one.real, tensor.real
    return Fcidump(ImpurityModel(one, with_spin(tensor), electrons, spin_2z), constant, orbitals)


def _integrals(path: Path, lines: list[str], first: int, n: int) -> "tuple[np.ndarray, float, list[tuple], bool]":
    """One-body Hamiltonian, constant, two-body integrals with indices (from 0) and lines; whether they are complex."""
    h, constant, two, is_complex = np.zeros((n, n), complex), 0.0, [], False
    seen: dict[tuple[int, ...], tuple[complex, int]] = {}
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        value, (i, j, k, m), paired = _integral(path, number, line, n)
        is_complex = is_complex or paired
        if i and j and k and m:
            two.append((value, i - 1, j - 1, k - 1, m - 1, number))
        elif i and j and not (k or m):
            for a, b, x in ((i - 1, j - 1, value), (j - 1, i - 1, value.conjugate())):
                _not_otherwise(path, number, seen, (a, b), x)
                h[a, b] = x
        elif not (i or j or k or m):
            constant = value.real
        elif not (i and not (j or k or m)):  # with i alone: energy of an orbital, no part of H
            raise ConfigError(f"{path}, line {number}: the indices {i} {j} {k} {m} mean nothing")
    return h, constant, two, is_complex


def write_fcidump(path: Path, model: ImpurityModel, constant: float = 0.0) -> None:
    """Write a model; real integrals with eightfold symmetry once, others as complex ones with fourfold symmetry.

    Args:
        path: The file.
        model: Without spin dependence.
        constant: Energy that the model does not have.

    Raises:
        ConfigError: If h or U depends on the spin, or the model has a core shell that must stay full.
    """
    h, u = model.one_body, model.interaction
    mixing = np.abs(h[0::2, 1::2]).max(initial=0.0)
    same = np.allclose(h[0::2, 0::2], h[1::2, 1::2], atol=1e-12) and mixing == 0
    # of opposite spins an element stands by itself; those of one spin matter only antisymmetrized
    tensor = u[0::2, 1::2, 0::2, 1::2] - u[0::2, 1::2, 1::2, 0::2].transpose(0, 1, 3, 2)
    tensor = 0.5 * (tensor + tensor.transpose(1, 0, 3, 2))
    if not same or not _alike(with_spin(tensor), u) or model.spin_2z is None:
        raise ConfigError("a FCIDUMP file holds one set of integrals for both spins; this h or U depends on the spin")
    if model.n_core:
        raise ConfigError("a FCIDUMP file cannot say that a core shell stays full")
    chemist = tensor.transpose(0, 2, 1, 3)  # (ij|kl) = <ik|jl>
    eightfold = not (np.iscomplexobj(h) and np.any(np.imag(h))) and not np.any(np.imag(chemist))
    eightfold = eightfold and np.allclose(chemist, chemist.transpose(1, 0, 2, 3), atol=1e-12)
    n = len(h) // 2
    rows = [
        f"&FCI NORB={n},NELEC={model.n_electrons},MS2={model.spin_2z},", f" ORBSYM={','.join(['1'] * n)},", " ISYM=1,",
        "&END",
    ]  # fmt: skip
    for i, j, k, m in np.argwhere(np.abs(chemist) > SMALL):
        if (i, j, k, m) == min(_equal(i, j, k, m, eightfold))[:4]:
            rows.append(_line(chemist[i, j, k, m], i + 1, j + 1, k + 1, m + 1, eightfold))
    for i, j in np.argwhere(np.abs(h[0::2, 0::2]) > SMALL):
        if i >= j:
            rows.append(_line(h[2 * i, 2 * j], i + 1, j + 1, 0, 0, eightfold))
    rows.append(_line(constant, 0, 0, 0, 0, eightfold))
    write_text(path, "\n".join(rows) + "\n")


def _alike(a: "np.ndarray", b: "np.ndarray") -> bool:
    """Whether two tensors are the same interaction: antisymmetrized in the last pair."""
    off = (a - a.transpose(0, 1, 3, 2)) - (b - b.transpose(0, 1, 3, 2))
    off = off - off.transpose(1, 0, 2, 3)
    return bool(np.abs(off).max(initial=0.0) < 1e-10 * max(float(np.abs(b).max(initial=0.0)), 1.0))


def _line(value: complex, i: int, j: int, k: int, m: int, is_real: bool) -> str:
    x = complex(value) + 0.0  # no negative zero
    text = f"{x.real:.16e}" if is_real else f"({x.real:.16e},{x.imag + 0.0:.16e})"
    return f" {text} {i} {j} {k} {m}"


def _header(path: Path, lines: list[str]) -> tuple[str, int]:
    """The namelist in one line, and the number of the line after it."""
    if not lines or not re.match(r"\s*[&$]FCI", lines[0], re.IGNORECASE):
        raise ConfigError(f"{path}, line 1: a FCIDUMP file begins with &FCI")
    for number, line in enumerate(lines):
        if re.search(r"([&$]END|/)\s*$", line, re.IGNORECASE):
            return " ".join(lines[: number + 1]), number + 1
    raise ConfigError(f"{path}: the namelist &FCI has no end (&END or /)")


def _of_header(path: Path, header: str, key: str) -> int:
    found = re.search(rf"\b{key}\s*=\s*(-?\d+)", header, re.IGNORECASE)
    if found:
        return int(found.group(1))
    if key == "MS2":
        return 0
    raise ConfigError(f"{path}: {key} is not in the namelist &FCI")


def _integral(path: Path, number: int, line: str, n: int) -> tuple[complex, tuple[int, int, int, int], bool]:
    """Value and indices of a line, and whether it is written as a pair."""
    paired = re.match(r"\s*\(\s*([^,()]+)\s*,\s*([^,()]+)\s*\)(.*)$", line)
    words = line.split()
    if paired:
        value = complex(*(number_of(path, number, paired.group(k).strip()) for k in (1, 2)))
        words = ["", *paired.group(3).split()]
    elif words:
        value = complex(number_of(path, number, words[0]))
    if len(words) != 5:
        raise ConfigError(f"{path}, line {number}: expected a value and four indices, got '{line.strip()}'")
    i, j, k, m = (integer_of(path, number, word, least=0, most=n) for word in words[1:])
    return value, (i, j, k, m), paired is not None


def _check_chosen(path: Path, chosen: list[int], n: int, two: "list[tuple]") -> None:
    """Each orbital once, and no interaction elsewhere."""
    if len(set(chosen)) != len(chosen) or any(not 0 <= k < n for k in chosen):
        raise ConfigError(f"{path}: impurity orbitals {chosen}: each once, of 0 to {n - 1}")
    if not chosen:
        raise ConfigError(f"{path}: no two-body integral in it; say which orbitals are the impurity's")
    inside = set(chosen)
    for value, *indices, number in two:
        outside = [k + 1 for k in indices if k not in inside]
        if outside and abs(value) > NEGLIGIBLE:
            raise ConfigError(
                f"{path}, line {number}: orbital {outside[0]} interacts ({value.real:.3g}), but is not one of the "
                f"impurity's, {[k + 1 for k in chosen]} of the file; interactions within the bath are not possible"
            )


def _equal(i: int, j: int, k: int, m: int, eightfold: bool) -> Iterator[tuple[int, int, int, int, bool]]:
    """Indices of integrals that equal one, and whether as its conjugate."""
    for a, b, c, d in ((i, j, k, m), (k, m, i, j)):
        yield a, b, c, d, False
        yield b, a, d, c, True
        if eightfold:
            yield b, a, c, d, False
            yield a, b, d, c, False


def _tensor(path: Path, chosen: list[int], two: "list[tuple]", is_complex: bool) -> "np.ndarray":
    """``<ab|cd> = (ac|bd)`` of the chosen orbitals."""
    place = {k: a for a, k in enumerate(chosen)}
    tensor = np.zeros((len(chosen),) * 4, complex)
    seen: dict[tuple[int, ...], tuple[complex, int]] = {}
    for value, *indices, number in two:
        if any(k not in place for k in indices):
            continue
        i, j, k, m = (place[x] for x in indices)
        for a, b, c, d, conjugate in _equal(i, j, k, m, not is_complex):
            x = value.conjugate() if conjugate else value
            _not_otherwise(path, number, seen, (a, b, c, d), x)
            tensor[a, c, b, d] = x
    return tensor


def _not_otherwise(
    path: Path, number: int, seen: dict[tuple[int, ...], tuple[complex, int]], key: tuple[int, ...], value: complex
) -> None:
    before = seen.setdefault(key, (value, number))
    if abs(before[0] - value) > SAME * max(1.0, abs(value)):
        raise ConfigError(
            f"{path}, line {number}: this integral is {value:.8g}, but by symmetry line {before[1]} makes it "
            f"{before[0]:.8g}; integrals over complex orbitals must be written as (re,im)"
        )
