"""Selected configuration interaction: the ground state on a set of configurations that grows where H asks for it.

Configurations outside the set are ranked by the amplitude that first-order perturbation theory gives them,
``|<j|H|psi>| / |E - H_jj|``; the best enter, with their spin-flipped partners where the model is symmetric, so that the
set stays closed under the flip. Sets are nested: energies fall. What is still outside lowers the energy by about

    PT2 = sum_j |<j|H|psi>|^2 / (E - H_jj)   (Epstein and Nesbet),

which is no bound; a line of E over PT2 is continued to zero. H may leave more alone than electron number and spin
(Kanamori's interaction keeps the parity of the electrons of each orbital with its bath): every such sector that is
found in the active space is grown a little before the lowest is chosen, since growth never leaves a sector.

Source: B. Huron, J. P. Malrieu, P. Rancurel, J. Chem. Phys. 58, 5745 (1973), doi:10.1063/1.1679199; for impurities C.
Mejuto-Zaera, N. M. Tubman, K. B. Whaley, Phys. Rev. B 100, 125165 (2019), arXiv:1711.04771.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from math import comb, prod

import numpy as np
from jaxtyping import Bool, Float, UInt64
from scipy.sparse.csgraph import connected_components

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.impurity import kernels
from limbeck.impurity.orbitals import NaturalOrbitals, natural_orbitals
from limbeck.impurity.subspace import DENSE, WORD, Hamiltonian, distributed, lowest, packed

MOST_SEEDS = 5000
"""Largest active space that is taken whole."""
MOST_PARTS = 20_000
"""Most configurations of one distribution of the electrons over what h connects."""
SECTOR_SIZE = 400
"""Configurations up to which every sector is grown before the lowest is chosen."""
SECTOR_WINDOW = 0.5
"""Sectors whose active space lies higher than this share of the spread of the active space are left out."""
MOST_SECTORS = 6
GROWTH = 2.0
RESIDUAL, ROUGH_RESIDUAL = 1e-10, 1e-6
"""Norm of H psi - E psi of the last set, and of those before: their energies are right to the square of it."""
ROUNDING = 1e-15
"""PT2 below this share of the energy is nothing."""
EVEN = np.uint64(0x5555555555555555)


@dataclass(frozen=True)
class Step:
    """One set of the growth.

    Attributes:
        n: Configurations.
        energy: Lowest energy on the set.
        pt2: Second-order correction for what is outside, at most zero.
    """

    n: int
    energy: float
    pt2: float


@dataclass(frozen=True)
class SelectedState:
    """A ground state on a selected set.

    Attributes:
        hamiltonian: Model and tables, in the orbitals of the configurations.
        orbitals: (n, n) columns: those orbitals in the ones of the model that was given.
        rows: Configurations in the order in which they entered.
        vector: Amplitudes, normalized.
        energy: Lowest energy on the set: an upper bound of the true one.
        pt2: Second-order correction, at most zero.
        variance: ``<H^2> - <H>^2`` of the state: what H leads out of the set.
        extrapolated: Energy continued to PT2 = 0, and its difference to E + PT2 as an error.
        steps: The growth.
    """

    hamiltonian: Hamiltonian
    orbitals: "np.ndarray"
    rows: UInt64[np.ndarray, "n words"]
    vector: "np.ndarray"
    energy: float
    pt2: float
    variance: float
    extrapolated: tuple[float, float]
    steps: tuple[Step, ...]

    def density(self) -> "np.ndarray":
        """One-body density matrix ``P_ij = <c+_j c_i>`` in the orbitals of the configurations."""
        table = kernels.table_of(self.rows)
        n = self.hamiltonian.model.n_spin_orbitals
        return np.asarray(kernels.one_body_density(self.rows, table, self.vector, n).T)

    def given_density(self) -> "np.ndarray":
        """The same in the orbitals of the model that was given."""
        return np.asarray(self.orbitals @ self.density() @ self.orbitals.conj().T)


def selected_ci(
    basis: NaturalOrbitals, most: int = 10_000, *, tolerance: float = 0.0, reporter: Reporter | None = None
) -> SelectedState:
    """Ground state on at most so many configurations.

    Args:
        basis: The model in natural orbitals.
        most: Configurations at which growth ends.
        tolerance: Growth also ends where PT2 is smaller, in units of the energy.
        reporter: Shows the progress.
    """
    hamiltonian = Hamiltonian.of(basis.model)
    say = reporter or SilentReporter()
    found = [
        _grown(hamiltonian, basis.orbitals, rows, min(most, max(SECTOR_SIZE, len(rows))), tolerance)
        for rows in sectors(hamiltonian, basis)
    ]
    best = min(found, key=lambda state: state.energy + state.pt2)
    if best.steps[-1].n >= most or abs(best.pt2) <= max(tolerance, ROUNDING * max(abs(best.energy), 1.0)):
        return best
    with say.bar("configurations", float(most), "") as bar:
        return _grown(
            hamiltonian, basis.orbitals, best.rows, most, tolerance, best.steps[:-1],
            lambda step: bar.set(float(step.n), f"E {step.energy:.8f}"),
        )  # fmt: skip


def iterated(
    basis: NaturalOrbitals, rounds: int = 2, most: int = 2000, final: int = 10_000, reporter: Reporter | None = None
) -> SelectedState:
    """The same in natural orbitals of a correlated density matrix, found by smaller calculations before.

    Args:
        basis: Natural orbitals of the mean field.
        rounds: Times that orbitals are made anew.
        most: Configurations of the smaller calculations.
        final: Configurations of the last one.
        reporter: Shows the progress.
    """
    return selected_ci(correlated_basis(basis, rounds, most), final, reporter=reporter)


def correlated_basis(basis: NaturalOrbitals, rounds: int, most: int) -> NaturalOrbitals:
    """Natural orbitals of correlated density matrices, each from a calculation in those before.

    Args:
        basis: Natural orbitals of the mean field.
        rounds: Times that orbitals are made anew.
        most: Configurations of the calculations.
    """
    for _ in range(rounds):
        density = selected_ci(basis, most).density()
        anew = natural_orbitals(basis.model, density)
        basis = replace(anew, orbitals=basis.orbitals @ anew.orbitals)
    return basis


def active_configurations(basis: NaturalOrbitals, words: int) -> UInt64[np.ndarray, "n words"]:
    """Configurations of impurity and partners, everything else as in the reference.

    All of them, or, where they are more than :data:`MOST_SEEDS`, those in which what h connects holds as many electrons
    as the density says, and those in which one electron has gone from one such part to another.

    Raises:
        ConfigError: If the active electrons do not fit.
    """
    model, active = basis.model, np.flatnonzero(basis.is_active)
    groups, counts = _active_groups(basis)
    if any(not 0 <= c <= len(g) for c, g in zip(counts, groups, strict=True)):
        raise ConfigError(
            f"{counts} electrons do not fit into the active orbitals {[len(g) for g in groups]}: the mean field fills "
            "the bath otherwise than the sector asks for"
        )
    if prod(comb(len(g), c) for g, c in zip(groups, counts, strict=True)) <= MOST_SEEDS:
        return packed(_products(basis, groups, counts), words)
    parts = np.unique(basis.part[active])
    groups = [active[basis.part[active] == p] for p in parts]
    usual = [int(basis.counts[p]) for p in parts]
    spins = [set((g % 2).tolist()) for g in groups]
    found = []
    for i, j in [(0, 0), *permutations(range(len(parts)), 2)]:
        moved = list(usual)
        moved[i], moved[j] = moved[i] - (i != j), moved[j] + (i != j)
        keeps_spin = i == j or model.spin_2z is None or (spins[i] == spins[j] and len(spins[i]) == 1)
        fits = all(0 <= c <= len(g) for c, g in zip(moved, groups, strict=True))
        right = sum(moved) == basis.n_active
        if (
            keeps_spin
            and fits
            and right
            and prod(comb(len(g), c) for g, c in zip(groups, moved, strict=True)) < MOST_PARTS
        ):
            found.append(packed(_products(basis, groups, moved), words))
    if not found:
        return packed(_lowest(basis), words)
    return np.concatenate(found)


def _active_groups(basis: NaturalOrbitals) -> "tuple[list[np.ndarray], list[int]]":
    """Active spin orbitals that share a number of electrons, and that number."""
    parts = basis.model.groups()
    groups = [group[basis.is_active[group]] for group, _ in parts]
    return groups, [count - int(basis.is_filled[group].sum()) for group, count in parts]


def _products(
    basis: NaturalOrbitals, groups: "list[np.ndarray]", counts: list[int]
) -> Bool[np.ndarray, "n n_spin_orbitals"]:
    """Occupations with so many electrons in each group of spin orbitals, in all ways."""
    rows = basis.is_filled[None]
    for group, count in zip(groups, counts, strict=True):
        rows = distributed(rows, group, count)
    return rows


def _lowest(basis: NaturalOrbitals) -> Bool[np.ndarray, "1 n_spin_orbitals"]:
    """One configuration: the active levels filled from below, in each group of spin orbitals by itself."""
    row, levels = basis.is_filled.copy(), np.diag(basis.model.one_body).real
    for group, count in zip(*_active_groups(basis), strict=True):
        row[group[np.argsort(levels[group], kind="stable")[:count]]] = True
    return row[None]


def sectors(hamiltonian: Hamiltonian, basis: NaturalOrbitals) -> list[UInt64[np.ndarray, "n words"]]:
    """Seeds: the active space by what H connects in it, lowest first, without those far above."""
    rows = active_configurations(basis, (basis.model.n_spin_orbitals + WORD - 1) // WORD)
    rows = _closed(hamiltonian, rows)
    matrix = hamiltonian.matrix(rows)
    n_parts, part = connected_components(abs(matrix), directed=False)
    members = [np.flatnonzero(part == label) for label in range(n_parts)]
    energies = np.array([lowest(matrix[m][:, m])[0][0] for m in members])
    order = np.argsort(energies, kind="stable")[:MOST_SECTORS]
    limit = energies[order[0]] + SECTOR_WINDOW * max(np.ptp(hamiltonian.diagonal(rows)), 1e-300)
    return [rows[members[k]] for k in order if energies[k] <= limit]


def _grown(
    hamiltonian: Hamiltonian, orbitals: "np.ndarray", rows: UInt64[np.ndarray, "n words"], most: int, tolerance: float,
    before: tuple[Step, ...] = (), tell: Callable[[Step], None] | None = None,
) -> SelectedState:  # fmt: skip
    """State on a set that grows from ``rows``."""
    steps, vector = list(before), np.zeros(0)
    while True:
        guess = None
        if len(vector):
            guess = np.zeros((len(rows), 1), hamiltonian.dtype)
            guess[: len(vector), 0] = vector
        last, matrix = len(rows) >= most, hamiltonian.matrix(rows)
        is_rough = not last and len(rows) > DENSE  # small matrices are diagonalized
        while True:
            energies, vectors = lowest(matrix, 1, guess, ROUGH_RESIDUAL if is_rough else RESIDUAL)
            energy, vector = float(energies[0]), vectors[:, 0]
            outside, sums = hamiltonian.outside(rows, vector)
            gap = energy - hamiltonian.diagonal(outside)
            gap = np.minimum(gap, -1e-8)  # a configuration below the state would be an intruder: not at a lowest energy
            weights = np.abs(sums) ** 2
            pt2 = float(np.sum(weights / gap))
            last = last or len(outside) == 0 or abs(pt2) <= max(tolerance, ROUNDING * max(abs(energy), 1.0))
            if not (last and is_rough):
                break
            is_rough, guess = False, vector[:, None]
        steps.append(Step(len(rows), energy, pt2))
        if tell is not None:
            tell(steps[-1])
        if last:
            variance = float(np.sum(np.abs(sums) ** 2)) + float(np.linalg.norm(matrix @ vector - energy * vector) ** 2)
            return SelectedState(
                hamiltonian, orbitals, rows, vector, energy, pt2, variance, extrapolated(steps), tuple(steps)
            )
        wanted = min(most, max(int(GROWTH * len(rows)), len(rows) + 1)) - len(rows)
        importance = np.sqrt(weights) / -gap
        if wanted < len(outside):
            kept = np.argpartition(-importance, wanted)[:wanted]
            kept = kept[np.argsort(-importance[kept], kind="stable")]
        else:
            kept = np.argsort(-importance, kind="stable")
        rows = np.concatenate([rows, _closed(hamiltonian, outside[kept])])


def _closed(hamiltonian: Hamiltonian, rows: UInt64[np.ndarray, "n words"]) -> UInt64[np.ndarray, "k words"]:
    """The set with the spin-flipped partner of each configuration, where the model has that symmetry."""
    if not hamiltonian.model.is_spin_symmetric or hamiltonian.model.spin_2z != 0:
        return rows
    both = np.stack([rows, flipped(rows)], axis=1).reshape(-1, rows.shape[1])
    _, first = np.unique(both, axis=0, return_index=True)
    return np.asarray(both[np.sort(first)])


def flipped(rows: UInt64[np.ndarray, "n words"]) -> UInt64[np.ndarray, "n words"]:
    """Configurations with all spins flipped."""
    one = np.uint64(1)
    return np.asarray(((rows & EVEN) << one) | ((rows >> one) & EVEN))


def extrapolated(steps: "list[Step]") -> tuple[float, float]:
    """Energy at PT2 = 0 by a line through the last four sets, and how far it is from E + PT2 of the last."""
    last = steps[-1]
    used = [s for s in steps[-4:] if s.pt2 < 0]
    if len(used) < 3:
        return last.energy + last.pt2, abs(last.pt2)
    x, y = np.array([s.pt2 for s in used]), np.array([s.energy for s in used])
    design: Float[np.ndarray, "k 2"] = np.column_stack([np.ones(len(x)), x]) / np.abs(x)[:, None]
    value = float(np.linalg.lstsq(design, y / np.abs(x), rcond=None)[0][0])
    return value, abs(value - last.energy - last.pt2)
