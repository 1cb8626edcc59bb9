"""The Hamiltonian on a set of configurations: sparse matrix, ground state, what lies outside.

:class:`Hamiltonian` holds a model in the form that :mod:`limbeck.impurity.kernels` works with.
"""

from dataclasses import dataclass, field
from itertools import combinations
from math import comb, prod

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from scipy.linalg import eigh
from scipy.sparse import csr_array

from limbeck.core.errors import ConfigError
from limbeck.core.rng import stream
from limbeck.impurity import kernels
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.operators import local_table, one_body, two_body

WORD = 64
DENSE = 450
"""Largest set whose matrix is diagonalized whole."""
MANY_STATES = 4
"""States from which on H leads out of a set by a product with a matrix."""
MOST_WHOLE = 10_000_000
"""Largest sector whose configurations are all listed."""
N_DAVIDSON = 200
MOST_VECTORS = 24
"""Vectors after which Davidson's method begins anew from its best ones."""


INDEPENDENT = 1e-8
"""Norm of what a vector of length one must add to a basis."""
TAIL = 0.3
"""Norm of what is mixed into the configurations with which Davidson's method begins."""


@dataclass(frozen=True)
class Hamiltonian:
    """A model ready to be applied to configurations.

    Attributes:
        model: The model.
        words: 64-bit words of a configuration.
        arrays: Arguments of the kernels.
        local_diagonal: Diagonal energy of each occupation pattern of the impurity.
        levels: Diagonal of h; zero for the impurity, whose levels are in ``local_diagonal``.
        most: Most configurations that one is connected to.
    """

    model: ImpurityModel
    words: int
    arrays: tuple[np.ndarray, ...] = field(repr=False)
    local_diagonal: Float[np.ndarray, " n_patterns"] = field(repr=False)
    levels: Float[np.ndarray, " n"] = field(repr=False)
    most: int

    @classmethod
    def of(cls, model: ImpurityModel) -> "Hamiltonian":
        """Tables of a model."""
        h, m, n = model.one_body, model.n_impurity, model.n_spin_orbitals
        dtype = np.complex128 if model.is_complex else np.float64
        convert = (lambda x: np.asarray(x, dtype)) if model.is_complex else (lambda x: np.asarray(np.real(x), dtype))
        operator = one_body(convert(h[:m, :m])) + two_body(convert(model.interaction))
        diagonal, starts, to, values = local_table(m, operator, model.patterns())
        hops = np.array(h, copy=True)
        hops[:m, :m] = 0.0
        hops[np.arange(n), np.arange(n)] = 0.0
        i, j = np.nonzero(hops)
        order = np.lexsort((i, j))
        i, j = i[order], j[order]
        hop_starts = np.searchsorted(j, np.arange(n + 1)).astype(np.int64)
        levels = np.diag(h).real.astype(float)
        levels[:m] = 0.0
        most = int(np.diff(starts).max(initial=0)) + len(i) + 1
        arrays = (starts, to, convert(values), hop_starts, i.astype(np.int64), convert(hops[i, j]))
        return cls(model, (n + WORD - 1) // WORD, arrays, diagonal, levels, most)

    @property
    def dtype(self) -> np.dtype:
        """Real or complex."""
        return self.arrays[-1].dtype

    def diagonal(self, rows: UInt64[np.ndarray, "n words"]) -> Float[np.ndarray, " n"]:
        """Energy of each configuration."""
        return kernels.diagonal(rows, self.model.n_impurity, self.local_diagonal, self.levels)

    def matrix(self, rows: UInt64[np.ndarray, "n words"]) -> csr_array:
        """H on a set of distinct configurations, both triangles."""
        table = kernels.table_of(rows)
        a, b, values = kernels.pairs_within(rows, table, self.most, self.model.n_impurity, *self.arrays)
        data, columns, starts = kernels.compressed(len(rows), a, b, values, self.diagonal(rows))
        return csr_array((data, columns, starts), shape=(len(rows), len(rows)))

    def outside(
        self, rows: UInt64[np.ndarray, "n words"], states: "np.ndarray"
    ) -> tuple[UInt64[np.ndarray, "n_out words"], "np.ndarray"]:
        """Configurations outside a set that H reaches from it, and the amplitudes of H times the states there.

        Args:
            rows: The set.
            states: (n,) amplitudes, or (n, k) of several states.

        Returns:
            The configurations, and (n_out,) or (n_out, k) amplitudes.
        """
        columns = np.ascontiguousarray(states.reshape(len(rows), -1), dtype=self.dtype)
        table, m = kernels.table_of(rows), self.model.n_impurity
        if columns.shape[1] >= MANY_STATES:
            found, to, source, values = kernels.reached(rows, table, self.most, m, *self.arrays)
            return found, csr_array((values, (to, source)), shape=(len(found), len(rows))) @ columns
        found, sums = kernels.applied(rows, columns, table, self.most, m, *self.arrays)
        return found, sums[:, 0] if states.ndim == 1 else sums


def packed(occupied: "np.ndarray", words: int) -> UInt64[np.ndarray, "n words"]:
    """Rows of bits of occupations (n, n_spin_orbitals), true where occupied."""
    occupied = np.atleast_2d(occupied)
    padded = np.zeros((len(occupied), words * WORD), np.uint8)
    padded[:, : occupied.shape[1]] = occupied
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64).reshape(len(occupied), words)


def unpacked(rows: UInt64[np.ndarray, "n words"], n_spin_orbitals: int) -> "np.ndarray":
    """Occupations (n, n_spin_orbitals) of rows of bits."""
    bits = np.unpackbits(np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")
    return np.asarray(bits[:, :n_spin_orbitals].astype(bool))


def all_configurations(model: ImpurityModel) -> UInt64[np.ndarray, "n words"]:
    """Every configuration of the sector, with a full core.

    Raises:
        ConfigError: If there are more than ten millions.
    """
    total = sector_size(model)
    if total > MOST_WHOLE:
        raise ConfigError(f"the sector has {total} configurations; too many to take all")
    rows = np.zeros((1, model.n_spin_orbitals), bool)
    rows[:, model.core] = True
    for group, count in model.groups():
        rows = distributed(rows, group, count)
    return packed(rows, (model.n_spin_orbitals + WORD - 1) // WORD)


def distributed(
    rows: Bool[np.ndarray, "n n_spin_orbitals"], group: Int[np.ndarray, " k"], count: int
) -> Bool[np.ndarray, "m n_spin_orbitals"]:
    """Each of the occupations with so many electrons more in a group of empty spin orbitals, in all ways."""
    chosen = np.array(list(combinations(range(len(group)), count)), dtype=int)
    chosen = chosen.reshape(comb(len(group), count), count)
    occupied = np.zeros((len(chosen), rows.shape[1]), bool)
    occupied[np.arange(len(chosen))[:, None], group[chosen]] = True
    return np.asarray((rows[:, None] | occupied[None]).reshape(-1, rows.shape[1]))


def sector_size(model: ImpurityModel) -> int:
    """Number of configurations of the sector with a full core."""
    return prod(comb(len(group), count) for group, count in model.groups())


def lowest(
    matrix: csr_array, n_states: int = 1, guess: "np.ndarray | None" = None, tolerance: float = 1e-10
) -> tuple[Float[np.ndarray, " n_states"], "np.ndarray"]:
    """Lowest eigenvalues and eigenvectors of a Hermitian sparse matrix (Davidson, diagonal preconditioner).

    Args:
        matrix: (n, n).
        n_states: States wanted, at most n.
        guess: (n, k) vectors to begin with.
        tolerance: Norm of the residual.

    Raises:
        RuntimeError: If it does not converge.
    """
    n = matrix.shape[0]
    n_states = min(n_states, n)
    if n <= DENSE:
        values, vectors = eigh(matrix.toarray(), subset_by_index=[0, n_states - 1], check_finite=False)
        return values, vectors
    diagonal = matrix.diagonal().real
    basis = np.zeros((n, 0), matrix.dtype)
    first = np.argsort(diagonal, kind="stable")[: 2 * n_states]
    extra = np.zeros((n, len(first)), matrix.dtype)
    extra[first, np.arange(len(first))] = 1.0
    if guess is None:  # single configurations may all be of one symmetry, which no step would ever leave
        near = 1.0 / (1.0 + (diagonal - diagonal[first[0]]) / max(float(np.std(diagonal)), 1e-300))
        tail = stream(0, "davidson").normal(size=extra.shape) * near[:, None]
        extra += TAIL * tail / np.linalg.norm(tail, axis=0)
    new = extra if guess is None else np.concatenate([guess, extra[:, : max(1, n_states)]], axis=1)
    products = np.zeros((n, 0), matrix.dtype)
    for _ in range(N_DAVIDSON):
        new = _orthonormal(new, basis)
        if new.shape[1]:
            basis = np.concatenate([basis, new], axis=1)
            products = np.concatenate([products, matrix @ new], axis=1)
        values, rotation = np.linalg.eigh(basis.conj().T @ products)
        vectors, images = basis @ rotation[:, :n_states], products @ rotation[:, :n_states]
        residual = images - vectors * values[:n_states]
        norms = np.linalg.norm(residual, axis=0)
        if np.all(norms < tolerance):
            return values[:n_states], vectors
        if basis.shape[1] + n_states > max(MOST_VECTORS, 8 * n_states):
            kept = rotation[:, : 3 * n_states]
            basis, products = basis @ kept, products @ kept
        gap = diagonal[:, None] - values[:n_states]
        gap = np.where(np.abs(gap) < 1e-2, np.copysign(1e-2, gap), gap)
        new = (residual / gap)[:, norms >= tolerance]
    raise RuntimeError(f"no eigenvectors after {N_DAVIDSON} steps: residuals {norms.tolist()}")


def _orthonormal(new: "np.ndarray", basis: "np.ndarray") -> "np.ndarray":
    """What the columns add to an orthonormal basis, orthonormal; those that add nothing are left out."""
    sizes = np.linalg.norm(new, axis=0)
    new = new[:, sizes > 0] / sizes[sizes > 0]
    for _ in range(2):
        new, upper = np.linalg.qr(new - basis @ (basis.conj().T @ new))
        new = new[:, np.abs(np.diag(upper)) > INDEPENDENT]
    return new


def numbers(rows: UInt64[np.ndarray, "n words"], wanted: UInt64[np.ndarray, "k words"]) -> Int[np.ndarray, " k"]:
    """Number of each wanted configuration in a set, -1 where it is not there."""
    return np.asarray(kernels.numbers_of(kernels.table_of(rows), rows, wanted))
