"""Symmetries of a model in natural orbitals: spin flip, exchange of equal orbitals, particles and holes.

Each is a relabelling of spin orbitals with signs, ``G c+_i G^-1 = s_i c+_to(i)``, or with ``c_to(i)`` where particles
become holes. Candidates come from the form of h; those that do not commute with H on a set of configurations are left
out, so nothing is taken on trust. Configurations that a symmetry maps to each other (an orbit) have amplitudes that
differ by a known sign, so a state has as many free amplitudes as orbits.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int, UInt64
from numba import njit
from scipy.sparse import csr_array, diags_array

from limbeck.impurity import kernels
from limbeck.impurity.kernels import ONE, is_set, rank
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.impurity.subspace import Hamiltonian, unpacked

COUPLED = 1e-9
"""Elements of h below this, relative to its largest, connect nothing."""
COMMUTES = 1e-8
"""Largest element of ``G H G^-1 - H`` relative to the largest of H."""
N_TEST = 400
"""Configurations on which a candidate is tested."""
N_AVERAGES, AVERAGED = 200, 1e-15
"""Passes over the symmetries until a density matrix has them all, and the change that ends them."""
DEFINITE = 1e-2
"""Deviation of ``<G>`` from +-1 above which the state is no eigenstate of G: sets that are not closed blur it."""


@dataclass(frozen=True)
class Symmetry:
    """A relabelling of spin orbitals.

    Attributes:
        to: (n,) where each goes.
        signs: (n,) its sign.
        turns_holes: Whether particles become holes.
        character: What it multiplies the state by, 1 or -1.
    """

    to: Int[np.ndarray, " n"]
    signs: Float[np.ndarray, " n"]
    turns_holes: bool
    character: float = 1.0

    def images(
        self, rows: UInt64[np.ndarray, "k words"]
    ) -> tuple[UInt64[np.ndarray, "k words"], Float[np.ndarray, " k"]]:
        """``G |row> = sign |image>``: images and signs."""
        return _images(rows, self.to, self.signs, self.turns_holes)

    def of_density(self, density: "np.ndarray") -> "np.ndarray":
        """Density matrix ``P_ij = <c+_j c_i>`` of ``G |state>``."""
        moved = np.empty_like(density)
        moved[np.ix_(self.to, self.to)] = self.signs[:, None] * density * self.signs
        return np.eye(len(density)) - moved.T if self.turns_holes else moved


@njit(cache=True)
def _images(rows: np.ndarray, to: np.ndarray, signs: np.ndarray, turns_holes: bool) -> tuple[np.ndarray, np.ndarray]:
    n = len(to)
    made, sign = np.zeros_like(rows), np.ones(len(rows))
    for k in range(len(rows)):
        if turns_holes:
            for i in range(n):
                made[k, i >> 6] |= ONE << np.uint64(i & 63)
        for i in range(n - 1, -1, -1):
            if not is_set(rows[k], i):
                continue
            j = to[i]
            if rank(made[k], j) & ONE:
                sign[k] = -sign[k]
            made[k, j >> 6] ^= ONE << np.uint64(j & 63)
            sign[k] *= signs[i]
    return made, sign


def symmetries(
    hamiltonian: Hamiltonian, basis: NaturalOrbitals, rows: UInt64[np.ndarray, "k words"], vector: "np.ndarray"
) -> tuple[Symmetry, ...]:
    """Symmetries of a model of which a state is an eigenstate, with its characters.

    Complex models have none here: what is looked for is real.

    Args:
        hamiltonian: The model.
        basis: The same model in natural orbitals.
        rows: Configurations of the state, the most important ones early.
        vector: Amplitudes.
    """
    if hamiltonian.model.is_complex or hamiltonian.model.n_core:
        return ()
    found: list[Symmetry] = []
    for candidate in _candidates(basis):
        test = closed(rows[:N_TEST], (candidate,))
        matrix = hamiltonian.matrix(test)
        if _deviation(candidate, test, matrix) > COMMUTES * max(1.0, float(abs(matrix).max())):
            continue
        images, signs = candidate.images(rows)
        at = kernels.numbers_of(kernels.table_of(rows), rows, images)
        inside = at >= 0
        if not np.any(inside):  # it leads out of the sector
            continue
        mean = float(np.sum(vector[at[inside]] * signs[inside] * vector[inside]) / np.sum(vector[inside] ** 2))
        if abs(abs(mean) - 1.0) < DEFINITE:
            found.append(Symmetry(candidate.to, candidate.signs, candidate.turns_holes, float(np.sign(mean))))
    return tuple(found)


def _deviation(symmetry: Symmetry, rows: UInt64[np.ndarray, "k words"], matrix: csr_array) -> float:
    """Largest element of ``G^-1 H G - H`` on a set that is closed."""
    images, signs = symmetry.images(rows)
    at = kernels.numbers_of(kernels.table_of(rows), rows, images)
    turned = diags_array(signs) @ matrix[at][:, at] @ diags_array(signs)
    return float(abs(turned - matrix).max())


def _candidates(basis: NaturalOrbitals) -> list[Symmetry]:
    """Relabellings that the form of h allows."""
    h, m = basis.model.one_body.real, basis.model.n_impurity
    n, part = len(h), basis.part
    maps: list[tuple[np.ndarray, bool]] = [(np.arange(n) ^ 1, False)]
    for a, b in pairwise(range(0, m, 2)):
        to, fits = np.arange(n), True
        for s in (0, 1):
            one, other = np.flatnonzero(part == part[a + s]), np.flatnonzero(part == part[b + s])
            fits = fits and len(one) == len(other) and part[a + s] != part[b + s]
            if fits:
                to[one], to[other] = other, one
        if fits:
            maps.append((to, False))
    to, fits = np.arange(n), True
    for label in np.unique(part):
        members = np.flatnonzero(part == label)
        filled = members[basis.is_filled[members]]
        empty = members[~basis.is_filled[members] & ~basis.is_active[members]]
        fits = fits and len(filled) == len(empty)
        if fits:
            to[filled], to[empty] = empty, filled
    if fits:
        maps.append((to, True))
    made = [(to, _signs(h, to, turns), turns) for to, turns in maps]
    return [Symmetry(to, signs, turns) for to, signs, turns in made if signs is not None]


def _signs(h: "np.ndarray", to: Int[np.ndarray, " n"], turns_holes: bool) -> Float[np.ndarray, " n"] | None:
    """Signs with which a relabelling leaves the elements of h what they are; ``None`` if it takes one to zero."""
    signs = np.zeros(len(h))
    connected = np.abs(h) > COUPLED * np.abs(h).max()
    for start in range(len(h)):
        if signs[start]:
            continue
        signs[start], todo = 1.0, [start]
        while todo:
            i = todo.pop()
            for j in np.flatnonzero(connected[i]):
                image = -h[to[j], to[i]] if turns_holes else h[to[i], to[j]]
                wanted = np.sign(image * h[i, j])
                if i == j or signs[j]:
                    continue
                if wanted == 0:
                    return None
                signs[j] = signs[i] * wanted
                todo.append(int(j))
    return signs


def averaged(density: "np.ndarray", group: tuple[Symmetry, ...]) -> "np.ndarray":
    """A density matrix that has the symmetries; exchanges do not commute, so one pass is no projection."""
    for _ in range(N_AVERAGES):
        before = density
        for g in group:
            density = 0.5 * (density + g.of_density(density))
        if np.abs(density - before).max(initial=0.0) < AVERAGED:
            break
    return density


def closed(rows: UInt64[np.ndarray, "k words"], group: tuple[Symmetry, ...]) -> UInt64[np.ndarray, "n words"]:
    """The set with all images of its configurations, in the order of their bits."""
    while True:
        more = np.unique(np.concatenate([rows, *(g.images(rows)[0] for g in group)]), axis=0)
        if len(more) == len(rows):
            return np.asarray(more)
        rows = more


@dataclass(frozen=True)
class Orbits:
    """A closed set by what its symmetries map to each other.

    Attributes:
        rows: (n, words) the set.
        orbit: (n,) orbit of each configuration, -1 where symmetry makes the amplitude zero.
        signs: (n,) amplitude of each relative to that of its orbit's first.
        first: (k,) number of the first configuration of each orbit, in the order of bits.
    """

    rows: UInt64[np.ndarray, "n words"]
    orbit: Int[np.ndarray, " n"]
    signs: Float[np.ndarray, " n"]
    first: Int[np.ndarray, " k"]

    @classmethod
    def of(cls, rows: UInt64[np.ndarray, "k words"], group: tuple[Symmetry, ...]) -> "Orbits":
        """Orbits of the closure of a set."""
        rows = closed(rows, group)
        table = kernels.table_of(rows)
        at = np.empty((len(group), len(rows)), np.int64)
        factors = np.empty((len(group), len(rows)))
        for k, g in enumerate(group):
            images, signs = g.images(rows)
            at[k], factors[k] = kernels.numbers_of(table, rows, images), signs * g.character
        orbit, signs, first, alive = _orbits(at, factors)
        renumbered = np.where(alive, np.cumsum(alive) - 1, -1)
        return cls(rows, renumbered[orbit], signs, first[alive])

    @property
    def sizes(self) -> Int[np.ndarray, " k"]:
        """Configurations of each orbit."""
        return np.bincount(self.orbit[self.orbit >= 0], minlength=len(self.first))

    @property
    def representatives(self) -> UInt64[np.ndarray, "k words"]:
        """First configuration of each orbit."""
        return np.asarray(self.rows[self.first])

    def isometry(self) -> csr_array:
        """(n, k) orthonormal columns: one state for each orbit."""
        kept = self.orbit >= 0
        values = self.signs[kept] / np.sqrt(self.sizes[self.orbit[kept]])
        return csr_array((values, (np.flatnonzero(kept), self.orbit[kept])), shape=(len(self.rows), len(self.first)))


@njit(cache=True)
def _orbits(at: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Orbit and relative sign of each configuration, the first of each orbit, and whether its amplitude may be any."""
    n = at.shape[1]
    orbit, signs = np.full(n, -1, np.int64), np.zeros(n)
    first, alive, count = np.empty(n, np.int64), np.ones(n, np.bool_), 0
    stack = np.empty(n, np.int64)
    for k in range(n):
        if orbit[k] >= 0:
            continue
        orbit[k], signs[k], first[count] = count, 1.0, k
        stack[0], height = k, 1
        while height:
            height -= 1
            x = stack[height]
            for g in range(len(at)):
                y, sign = at[g, x], signs[x] * factors[g, x]
                if orbit[y] < 0:
                    orbit[y], signs[y] = count, sign
                    stack[height] = y
                    height += 1
                elif signs[y] != sign:
                    alive[count] = False
        count += 1
    return orbit, signs, first[:count], alive[:count]


def chain_signs(basis: NaturalOrbitals, rows: UInt64[np.ndarray, "k words"]) -> Float[np.ndarray, " k"]:
    """Signs that make hops along each chain negative: filled levels, impurity, partner, empty ones, one spin at a time.

    The order of the creation operators in a configuration's bits alternates spins, which gives amplitudes signs that
    mean nothing. In the order of the chains hops between neighbours have none, and the rest is a sign for each orbital.
    """
    h, n = basis.model.one_body, basis.model.n_spin_orbitals
    pieces: list[np.ndarray] = []
    for s in (0, 1):
        for label in np.unique(basis.part[s::2]):
            members = np.flatnonzero(basis.part == label)
            members = members[members % 2 == s]
            filled, active = basis.is_filled[members], basis.is_active[members]
            pieces += [members[filled][::-1], members[active], members[~filled & ~active]]
    order = np.concatenate(pieces)
    signs = np.ones(n)
    for before, here in pairwise(order):
        hop = h[here, before].real
        signs[here] = -np.sign(hop) * signs[before] if hop != 0 else 1.0
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return np.asarray(_sorted_signs(unpacked(rows, n), place, signs))


@njit(cache=True)
def _sorted_signs(occupied: np.ndarray, place: np.ndarray, signs: np.ndarray) -> np.ndarray:
    found = np.ones(len(occupied))
    for k in range(len(occupied)):
        for i in range(occupied.shape[1]):
            if not occupied[k, i]:
                continue
            found[k] *= signs[i]
            for j in range(i):
                if occupied[k, j] and place[j] > place[i]:
                    found[k] = -found[k]
    return found
