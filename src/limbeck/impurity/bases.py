"""Other orbitals of the bath, to compare natural ones with: levels (star) and one chain.

Both come as :class:`limbeck.impurity.orbitals.NaturalOrbitals`, so that everything works with them. Impurity and as
many bath orbitals as it has are the active space here too; the others are filled or empty in the first configurations.
In a star the lowest levels are filled and those at the Fermi level active. A chain, which begins at the impurity, has
no filled and empty orbitals of its own: every other one is filled, which is a poor beginning, as it must be.
"""

from typing import Literal

import numpy as np
from jaxtyping import Int

from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.orbitals import NaturalOrbitals, block_chain, natural_orbitals

Basis = Literal["natural", "star", "chain"]


def orbitals_of(model: ImpurityModel, basis: Basis = "natural", density: "np.ndarray | None" = None) -> NaturalOrbitals:
    """The model in one of the three kinds of orbitals.

    Args:
        model: Any basis of the bath.
        basis: Kind.
        density: One-body density matrix, see :func:`limbeck.impurity.orbitals.natural_orbitals`.
    """
    if basis == "natural":
        return natural_orbitals(model, density)
    return natural_orbitals(model, density, of_part=_star if basis == "star" else _chain)


def _filled(h: "np.ndarray", density: "np.ndarray", local: Int[np.ndarray, " a"], bath: Int[np.ndarray, " b"]) -> int:
    """Filled bath orbitals of a part: those that natural orbitals would have."""
    occupations = np.linalg.eigvalsh(density[np.ix_(bath, bath)])
    rest = np.sort(np.abs(occupations - 0.5))[len(local) :]
    least = rest[0] if len(rest) else 1.0
    return int(np.sum((occupations > 0.5) & (np.abs(occupations - 0.5) >= least)))


def _star(
    h: "np.ndarray", density: "np.ndarray", local: Int[np.ndarray, " a"], bath: Int[np.ndarray, " b"]
) -> tuple["np.ndarray", Int[np.ndarray, " b"]]:
    """Eigenstates of the bath of one part, active ones first, and their kinds."""
    _, columns = np.linalg.eigh(h[np.ix_(bath, bath)])
    n_filled, n_active = _filled(h, density, local, bath), min(len(local), len(bath))
    kinds = np.full(len(bath), 2)
    kinds[:n_filled] = 1
    kinds[n_filled : n_filled + n_active] = 0
    return columns, kinds


def _chain(
    h: "np.ndarray", density: "np.ndarray", local: Int[np.ndarray, " a"], bath: Int[np.ndarray, " b"]
) -> tuple["np.ndarray", Int[np.ndarray, " b"]]:
    """Orbitals in which the bath of one part is (block-)tridiagonal from the impurity on, and their kinds."""
    columns = block_chain(h[np.ix_(bath, bath)], h[np.ix_(bath, local)])
    n_filled, n_active = _filled(h, density, local, bath), min(len(local), len(bath))
    kinds = np.full(len(bath), 2)
    kinds[:n_active] = 0
    rest = np.arange(n_active, len(bath))
    kinds[np.concatenate([rest[0::2], rest[1::2]])[:n_filled]] = 1
    return columns, kinds
