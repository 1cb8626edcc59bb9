"""Design matrix of the ultra-fast potential: cubic B-splines of pair distances and of triangles' sides, compiled.

The energy is E = sum_i e(Z_i) + sum_{i != j} V(r_ij) + sum_i sum_{j < k} W(r_ij, r_ik, r_jk), both sums over ordered
neighbors as in ``pair_style uf3`` of LAMMPS; V and W are linear in their B-spline coefficients. W is symmetric in its
first two sides where the two neighbors are of one element.

Source: S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023), arXiv:2110.00624.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from jaxtyping import Float, Int
from numba import njit

N_TRAILING = 3
"""Last coefficients that are zero, so that value, slope and curvature vanish at the cutoff."""


def clamped_knots(cutoff_A: float, n_intervals: int) -> Float[np.ndarray, " knots"]:
    """Uniform knots on [0, cutoff], both ends repeated four times; n_intervals + 3 cubic B-splines."""
    inner = cutoff_A / n_intervals * np.arange(n_intervals + 1)
    inner[-1] = cutoff_A
    return np.concatenate([np.zeros(3), inner, np.full(3, cutoff_A)])


@dataclass(frozen=True)
class Uf3Basis:
    """Splines and the numbering of their coefficients.

    Attributes:
        elements: Chemical symbols, sorted.
        pair_knots: Knots of every pair function V.
        side_knots: Knots of the sides r_ij and r_ik of W.
        base_knots: Knots of the side r_jk of W, on twice the range.
        pairs: Element index pairs (a <= b), in the order of their columns.
        triplets: Element index triplets (center, b <= c), in the order of their columns.
        pair_columns: (n_elements, n_elements, n_splines) column of each coefficient of V, -1 for fixed zeros.
        triplet_columns: (n_elements, n_elements, n_elements, n_sides, n_sides, n_bases) the same for W.
        n_columns: Number of unknowns; the first n_elements are the energies of single atoms.
    """

    elements: tuple[str, ...]
    pair_knots: Float[np.ndarray, " p"]
    side_knots: Float[np.ndarray, " s"]
    base_knots: Float[np.ndarray, " b"]
    pairs: tuple[tuple[int, int], ...]
    triplets: tuple[tuple[int, int, int], ...]
    pair_columns: Int[np.ndarray, "e e n"]
    triplet_columns: Int[np.ndarray, "e e e s s b"]
    n_columns: int

    @property
    def pair_cutoff(self) -> float:
        """Range of V in Å."""
        return float(self.pair_knots[-1])

    @property
    def triplet_cutoff(self) -> float:
        """Range of the sides of W in Å."""
        return float(self.side_knots[-1])


def make_basis(
    elements: tuple[str, ...],
    pair_cutoff_A: float,
    n_pair: int,
    triplet_cutoff_A: float,
    n_side: int,
    shortest_A: Float[np.ndarray, "e e"],
) -> Uf3Basis:
    """Basis with ``n_pair`` and ``n_side`` intervals on [0, cutoff]; side r_jk has ``2 n_side`` on twice the range.

    Three-body splines that end below the shortest distance of their two elements in the data are left out (fixed
    zeros): W fades smoothly towards the core, which belongs to V.

    Args:
        elements: Chemical symbols, sorted.
        pair_cutoff_A: Range of V.
        n_pair: Its intervals.
        triplet_cutoff_A: Range of the sides r_ij and r_ik of W.
        n_side: Their intervals.
        shortest_A: Shortest distance of each pair of elements.
    """
    n_elements = len(elements)
    pair_knots = clamped_knots(pair_cutoff_A, n_pair)
    side_knots = clamped_knots(triplet_cutoff_A, n_side)
    base_knots = clamped_knots(2 * triplet_cutoff_A, 2 * n_side)
    column = n_elements
    pairs = tuple(combinations_with_replacement(range(n_elements), 2))
    pair_columns = np.full((n_elements, n_elements, n_pair + 3), -1, dtype=np.int64)
    for a, b in pairs:
        used = np.arange(n_pair)
        pair_columns[a, b, used] = pair_columns[b, a, used] = column + used
        column += n_pair
    sides, bases = n_side + 3, 2 * n_side + 3
    triplet_columns = np.full((n_elements,) * 3 + (sides, sides, bases), -1, dtype=np.int64)
    triplets = tuple((center, b, c) for center in range(n_elements) for b, c in pairs)
    for center, b, c in triplets:
        block = triplet_columns[center, b, c]
        across = np.flatnonzero(base_knots[4:] > shortest_A[b, c])
        for left in _sides(side_knots, shortest_A[center, b]):
            for right in _sides(side_knots, shortest_A[center, c]):
                if b == c and right < left:
                    continue
                block[left, right, across] = column + np.arange(len(across))
                column += len(across)
                if b == c:
                    block[right, left] = block[left, right]
        triplet_columns[center, c, b] = block.transpose(1, 0, 2)
    return Uf3Basis(
        elements, pair_knots, side_knots, base_knots, pairs, triplets, pair_columns, triplet_columns, column
    )


def _sides(knots: Float[np.ndarray, " s"], shortest_A: float) -> Int[np.ndarray, " n"]:
    """Splines with a free coefficient: they reach beyond the shortest distance and are none of the last three."""
    return np.flatnonzero(knots[4 : len(knots) - N_TRAILING] > shortest_A)


@njit(cache=True)
def cubic_splines(knots: np.ndarray, r: float, values: np.ndarray, slopes: np.ndarray) -> int:
    """Four B-splines that are not zero at r and their derivatives; returns the index of the first (Cox-de Boor)."""
    n = len(knots) - 4
    m = 3 + int((r - knots[3]) / (knots[4] - knots[3]))
    m = min(max(m, 3), n - 1)
    while m > 3 and r < knots[m]:
        m -= 1
    while m < n - 1 and r >= knots[m + 1]:
        m += 1
    low = np.zeros(4)
    values[:] = 0.0
    values[0] = 1.0
    for degree in range(1, 4):
        low[:] = values
        values[:] = 0.0
        for a in range(degree):
            right, left = knots[m + 1 + a], knots[m + 1 + a - degree]
            share = low[a] / (right - left)
            values[a] += (right - r) * share
            values[a + 1] += (r - left) * share
    slopes[:] = 0.0
    for a in range(3):
        share = 3.0 * low[a] / (knots[m + 1 + a] - knots[m - 2 + a])
        slopes[a] -= share
        slopes[a + 1] += share
    return m - 3


@njit(cache=True)
def _pair_rows(
    first: np.ndarray,
    second: np.ndarray,
    vectors: np.ndarray,
    lengths: np.ndarray,
    kinds: np.ndarray,
    knots: np.ndarray,
    columns: np.ndarray,
    energy: np.ndarray,
    forces: np.ndarray,
    virial: np.ndarray,
) -> None:
    values, slopes = np.zeros(4), np.zeros(4)
    for p in range(len(first)):
        i, j, d = first[p], second[p], lengths[p]
        start = cubic_splines(knots, d, values, slopes)
        unit = vectors[p] / d
        for a in range(4):
            column = columns[kinds[i], kinds[j], start + a]
            if column < 0:
                continue
            energy[column] += values[a]
            for x in range(3):
                forces[i, x, column] += slopes[a] * unit[x]
                forces[j, x, column] -= slopes[a] * unit[x]
            _add_virial(virial, column, slopes[a] * d, unit)


@njit(cache=True)
def _add_virial(virial: np.ndarray, column: int, factor: float, unit: np.ndarray) -> None:
    virial[0, column] += factor * unit[0] * unit[0]
    virial[1, column] += factor * unit[1] * unit[1]
    virial[2, column] += factor * unit[2] * unit[2]
    virial[3, column] += factor * unit[1] * unit[2]
    virial[4, column] += factor * unit[0] * unit[2]
    virial[5, column] += factor * unit[0] * unit[1]


@njit(cache=True)
def _triplet_rows(
    starts: np.ndarray,
    second: np.ndarray,
    vectors: np.ndarray,
    lengths: np.ndarray,
    kinds: np.ndarray,
    side_knots: np.ndarray,
    base_knots: np.ndarray,
    columns: np.ndarray,
    energy: np.ndarray,
    forces: np.ndarray,
    virial: np.ndarray,
) -> None:
    vij, sij, vik, sik, vjk, sjk = (
        np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4)
    )  # fmt: skip
    for i in range(len(starts) - 1):
        for p in range(starts[i], starts[i + 1]):
            j, dij = second[p], lengths[p]
            uij = vectors[p] / dij
            first_ij = cubic_splines(side_knots, dij, vij, sij)
            for q in range(p + 1, starts[i + 1]):
                k, dik = second[q], lengths[q]
                across = vectors[q] - vectors[p]
                djk = np.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2)
                uik, ujk = vectors[q] / dik, across / djk
                first_ik = cubic_splines(side_knots, dik, vik, sik)
                first_jk = cubic_splines(base_knots, djk, vjk, sjk)
                block = columns[kinds[i], kinds[j], kinds[k]]
                for a in range(4):
                    for b in range(4):
                        for c in range(4):
                            column = block[first_ij + a, first_ik + b, first_jk + c]
                            if column < 0:
                                continue
                            energy[column] += vij[a] * vik[b] * vjk[c]
                            gij = sij[a] * vik[b] * vjk[c]
                            gik = vij[a] * sik[b] * vjk[c]
                            gjk = vij[a] * vik[b] * sjk[c]
                            for x in range(3):
                                forces[i, x, column] += gij * uij[x] + gik * uik[x]
                                forces[j, x, column] += gjk * ujk[x] - gij * uij[x]
                                forces[k, x, column] -= gik * uik[x] + gjk * ujk[x]
                            _add_virial(virial, column, gij * dij, uij)
                            _add_virial(virial, column, gik * dik, uik)
                            _add_virial(virial, column, gjk * djk, ujk)


def design_rows(
    basis: Uf3Basis, atoms: Atoms
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, "coordinates columns"], Float[np.ndarray, "6 columns"]]:
    """Rows of one structure: energy, forces (3 n_atoms rows) and derivative with respect to Voigt strain."""
    n = len(atoms)
    kinds = np.array([basis.elements.index(s) for s in atoms.get_chemical_symbols()], dtype=np.int64)
    cutoff = max(basis.pair_cutoff, basis.triplet_cutoff)
    i, j, vectors, lengths = primitive_neighbor_list(
        "ijDd", atoms.pbc, atoms.cell.complete().array, atoms.positions, cutoff, self_interaction=False
    )
    energy = np.zeros(basis.n_columns)
    forces = np.zeros((n, 3, basis.n_columns))
    virial = np.zeros((6, basis.n_columns))
    energy[: len(basis.elements)] = np.bincount(kinds, minlength=len(basis.elements))
    near = lengths < basis.pair_cutoff
    _pair_rows(
        i[near], j[near], vectors[near], lengths[near], kinds, basis.pair_knots, basis.pair_columns, energy, forces,
        virial,
    )  # fmt: skip
    close = lengths < basis.triplet_cutoff
    starts = np.concatenate([[0], np.cumsum(np.bincount(i[close], minlength=n))]).astype(np.int64)
    _triplet_rows(
        starts, j[close], vectors[close], lengths[close], kinds, basis.side_knots, basis.base_knots,
        basis.triplet_columns, energy, forces, virial,
    )  # fmt: skip
    return energy, forces.reshape(3 * n, -1), virial
