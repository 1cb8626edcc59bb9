"""Shells of a model with a core: valence, core, ligands; and sets of configurations that rotations leave alone.

A class of configurations is all those with the same number of electrons in each shell. A set of whole classes goes into
itself under every rotation of space and spin and under every one-body operator within shells, so that a truncated set
splits no level that symmetry keeps together: what the restricted active spaces of quantum chemistry do. Classes are
also what d^n L^m means.

A bath of many shells is first turned into a chain: the filled shells among themselves, the empty ones among themselves,
so that the valence shell couples to the first of each alone, and the ionic configuration stays one class (M. W.
Haverkort et al., EPL 108, 57004 (2014), arXiv:1411.2340; Y. Lu et al., arXiv:1402.0807).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np
from jaxtyping import Int, UInt64

from limbeck.core.errors import ConfigError
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.subspace import WORD, distributed, packed

MOST_OF_A_CLASS = 400_000
"""Larger classes are never listed."""


@dataclass(frozen=True)
class Shells:
    """Which spin orbitals are one shell.

    Attributes:
        members: Spin orbitals of each: valence, core, then the bath's.
        n_spin_orbitals: Of the model.
    """

    members: "tuple[np.ndarray, ...]"
    n_spin_orbitals: int

    @property
    def words(self) -> int:
        """64-bit words of a configuration."""
        return (self.n_spin_orbitals + WORD - 1) // WORD

    def counts(self, rows: UInt64[np.ndarray, "n words"]) -> Int[np.ndarray, "n shells"]:
        """Electrons of each configuration in each shell."""
        masks = np.zeros((len(self.members), self.n_spin_orbitals), bool)
        for k, group in enumerate(self.members):
            masks[k, group] = True
        bits = packed(masks, self.words)
        return np.stack([np.bitwise_count(rows & mask).sum(axis=1, dtype=np.int64) for mask in bits], axis=1)

    def size(self, counts: Sequence[int]) -> int:
        """Configurations of a class; zero where the electrons do not fit."""
        return prod(comb(len(group), int(n)) if n >= 0 else 0 for group, n in zip(self.members, counts, strict=True))

    def configurations(self, counts: Sequence[int]) -> UInt64[np.ndarray, "n words"]:
        """All configurations of a class.

        Raises:
            ConfigError: If the electrons do not fit into the shells.
        """
        sizes = [len(group) for group in self.members]
        if len(counts) != len(sizes) or self.size(counts) == 0:
            raise ConfigError(f"{[int(n) for n in counts]} electrons do not fit into shells of {sizes} spin orbitals")
        rows = np.zeros((1, self.n_spin_orbitals), bool)
        for group, n in zip(self.members, counts, strict=True):
            rows = distributed(rows, group, int(n))
        return packed(rows, self.words)

    def classes(self, rows: UInt64[np.ndarray, "n words"]) -> tuple[Int[np.ndarray, "k shells"], Int[np.ndarray, " n"]]:
        """The distinct classes of some configurations, and the number of each one's class."""
        counts, number = np.unique(self.counts(rows), axis=0, return_inverse=True)
        return counts, number.reshape(-1)


def shells_of(model: ImpurityModel) -> Shells:
    """Valence, core, and the bath in shells as large as the valence shell (one shell where it does not divide)."""
    m, n, v = model.n_impurity, model.n_spin_orbitals, model.n_impurity - model.n_core
    size = v if v and (n - m) % v == 0 else max(n - m, 1)
    bath = tuple(np.arange(k, k + size) for k in range(m, n, size))
    return Shells((np.arange(v), np.arange(v, m), *bath), n)


def ionic(model: ImpurityModel, electrons: int) -> tuple[int, ...]:
    """Electrons in each shell of the configuration d^n: the shells of the bath that come first are full, others empty.

    Args:
        model: With the filled shells of the bath before the empty ones.
        electrons: n, of the valence shell.

    Raises:
        ConfigError: If the rest does not fill whole shells.
    """
    shells, left = shells_of(model), model.n_electrons - model.n_core - electrons
    counts = [electrons, model.n_core]
    for group in shells.members[2:]:
        counts.append(min(len(group), max(left, 0)))
        left -= counts[-1]
    if left != 0 or any(0 < n < len(g) for n, g in zip(counts[2:], shells.members[2:], strict=True)):
        raise ConfigError(
            f"{model.n_electrons - model.n_core} electrons are not {electrons} in the valence shell and full shells of "
            f"{len(shells.members[0])} beside it"
        )
    return tuple(counts)


def chained(model: ImpurityModel, electrons: int) -> ImpurityModel:
    """The model with the full shells of the bath in one chain that begins at the valence shell, the empty in another.

    Args:
        model: With the filled shells of the bath before the empty ones.
        electrons: Of the valence shell in the ionic configuration.
    """
    shells, counts = shells_of(model), ionic(model, electrons)
    v, h = len(shells.members[0]), model.one_body
    orbitals = np.eye(len(h), dtype=h.dtype)
    for is_full in (True, False):
        groups = [g for g, n in zip(shells.members[2:], counts[2:], strict=True) if (n > 0) == is_full]
        if not groups or len(groups[0]) != v:
            continue
        bath = np.concatenate(groups)
        orbitals[np.ix_(bath, bath)] = _chain(h[np.ix_(bath, bath)], h[np.ix_(bath, np.arange(v))])
    turned = model.in_orbitals(orbitals)
    small = np.abs(turned.one_body) < 1e-13 * np.abs(h).max()
    turned.one_body[small] = 0.0
    return turned


def _chain(h: "np.ndarray", coupling: "np.ndarray") -> "np.ndarray":
    """Orthonormal shells, each of which turns under rotations as the one before: polar decompositions, one by one."""
    n = len(coupling)
    found = np.zeros((n, 0), np.result_type(h, coupling))
    start = coupling
    while found.shape[1] < n:
        rest = np.linalg.svd(found, full_matrices=True)[0][:, found.shape[1] :] if found.shape[1] else np.eye(n)
        u, _, vh = np.linalg.svd(rest.conj().T @ start, full_matrices=False)
        shell = rest @ u @ vh
        found = np.concatenate([found, shell], axis=1)
        start = h @ shell
    return found
