"""Slater integrals and spin-orbit constants of free ions: a d shell, alone and above a p shell with a hole.

Values are Hartree-Fock averages of configurations with relativistic corrections (R. D. Cowan, The Theory of Atomic
Structure and Spectra, University of California Press, 1981), as Crispy ships them (M. Retegan,
doi:10.5281/zenodo.1008184); the table, ``atomic_parameters.json``, holds its source and licence, and
``tools/atomic_parameters.py`` writes it. In solids Slater integrals are customarily taken at 70 to 90 % of these.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from limbeck.core.errors import ConfigError

TABLE = Path(__file__).with_suffix("").parent / "atomic_parameters.json"
CLOSED = {"3d": 18, "4d": 36, "5d": 68}
"""Electrons below a d shell, in atoms whose d shell is the valence shell."""


@dataclass(frozen=True)
class DShell:
    """A d shell, eV.

    Attributes:
        integrals: F^2 and F^4.
        spin_orbit: zeta.
    """

    integrals: Mapping[int, float]
    spin_orbit: float


@dataclass(frozen=True)
class AtomicParameters:
    """Parameters of an ion d^n and of p^5 d^(n+1), eV, not scaled.

    Attributes:
        ion: Name, as ``Ni2+``.
        shell: Valence shell, as ``3d``.
        core: Core shell, as ``2p``.
        electrons: n.
        before: The valence shell of d^n.
        after: That of p^5 d^(n+1).
        direct: F^2 between core and valence, of p^5 d^(n+1).
        exchange: G^1 and G^3 between them.
        core_spin_orbit: zeta of the core.
    """

    ion: str
    shell: str
    core: str
    electrons: int
    before: DShell
    after: DShell
    direct: Mapping[int, float]
    exchange: Mapping[int, float]
    core_spin_orbit: float


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return found


def source() -> str:
    """Where the values come from."""
    return str(_table()["source"])


def ions() -> list[str]:
    """All ions of the table, with every charge for which d^n is there."""
    found = [
        f"{element}{atomic_numbers[element] - CLOSED[key[:2]] - int(key[2:])}+"
        for element, rows in _table()["atoms"].items()
        for key in rows
        if "," not in key
    ]
    return sorted(found, key=lambda ion: (atomic_numbers[ion.rstrip("+0123456789")], ion))


def atomic_parameters(ion: str, core: str = "2p") -> AtomicParameters:
    """Parameters of an ion.

    Integrals that a configuration has too few electrons for, as F^2 of d^1, are those of the next one of the same
    element that has them: charge transfer fills the shell.

    Args:
        ion: Element and charge, as ``Ni2+``.
        core: The p shell with the hole.

    Raises:
        ConfigError: If the table does not have it; the message says what it has.
    """
    parts = re.fullmatch(r"([A-Z][a-z]?)(\d*)\+", ion.strip())
    if parts is None:
        raise ConfigError(f"'{ion}' is not an ion: give element and charge, as Ni2+")
    element, charge = parts.group(1), int(parts.group(2) or 1)
    rows = _table()["atoms"].get(element)
    if rows is None:
        raise ConfigError(
            f"no atomic parameters of {element}: there are {', '.join(sorted(_table()['atoms']))}; leave out ion, and "
            "give shell.electrons, F2_eV, F4_eV, G1_eV, G3_eV and spin_orbit_eV yourself"
        )
    shell = next(key for key in rows if "," not in key)[:2]
    n = atomic_numbers[element] - CLOSED[shell] - charge
    alone, hole = f"{shell}{n}", f"{core}5,{shell}{n + 1}"
    if alone not in rows:
        if n == 10:
            raise ConfigError(f"{ion} has a full d shell (d10): nothing can be excited into it")
        known = [x for x in ions() if re.fullmatch(rf"{element}\d+\+", x)]
        raise ConfigError(f"no atomic parameters of {ion}: of {element} there are {', '.join(known)}")
    if hole not in rows:
        cores = sorted({key[:2] for key in rows if "," in key})
        raise ConfigError(f"no atomic parameters of {ion} with a hole in {core}: there are {', '.join(cores)}")
    f2, f4, zeta = (_value(rows, k, shell, n) for k in range(3))
    g2, g4, eta, f2_core, g1, g3, zeta_core = (_value(rows, k, f"{core}5,{shell}", n + 1) for k in range(7))
    return AtomicParameters(
        f"{element}{charge}+", shell, core, n, DShell({2: f2, 4: f4}, zeta), DShell({2: g2, 4: g4}, eta),
        {2: f2_core}, {1: g1, 3: g3}, zeta_core,
    )  # fmt: skip


def _value(rows: dict[str, list[float]], k: int, family: str, n: int) -> float:
    """Number k of a configuration, or of the first with more electrons that has it (the same core first)."""
    families = [family] if k >= 3 else [family, *sorted({key.rstrip("0123456789") for key in rows} - {family})]
    for name in families:
        for electrons in range(n, 11):
            value = rows.get(f"{name}{electrons}", [0.0] * 7)[k]
            if value:
                return value
    return 0.0


def show_parameters(given: AtomicParameters) -> str:
    """Parameters for reading on a terminal."""
    d, c, n = given.shell, given.core, given.electrons
    rows = [
        (f"F2({d},{d})", given.before.integrals[2], given.after.integrals[2]),
        (f"F4({d},{d})", given.before.integrals[4], given.after.integrals[4]),
        (f"zeta({d})", given.before.spin_orbit, given.after.spin_orbit),
        (f"F2({c},{d})", None, given.direct[2]),
        (f"G1({c},{d})", None, given.exchange[1]),
        (f"G3({c},{d})", None, given.exchange[3]),
        (f"zeta({c})", None, given.core_spin_orbit),
    ]
    lines = [f"{given.ion}, eV, not scaled", "", f"{'':12}{f'{d}{n}':>12}{f'{c}5 {d}{n + 1}':>12}"]
    lines += [f"{name:12}{'' if one is None else f'{one:.4f}':>12}{two:12.4f}" for name, one, two in rows]
    return "\n".join([*lines, "", source()])
