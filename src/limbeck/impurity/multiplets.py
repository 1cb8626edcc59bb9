"""Lowest states of a model, whole levels with Boltzmann weights: on every configuration, or on chosen classes of them.

Where a sector is too large, its classes (:mod:`limbeck.impurity.shells`) enter in the order in which the states of the
multiplet ask for them, ``sum |<j|H|psi>|^2 / (E - H_jj)^2`` for each configuration of the class, until so many
configurations are there. What the last growth changed is known: the energies fall, and PT2 says what is still missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from limbeck.core.errors import ConfigError
from limbeck.core.units import KB
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.selected_ci import Step
from limbeck.impurity.shells import MOST_OF_A_CLASS, Shells, shells_of
from limbeck.impurity.subspace import Hamiltonian, all_configurations, lowest, sector_size

SAME_LEVEL = 1e-6
"""States this close, eV, are one level."""
LEAST_WEIGHT = 1e-5
"""Boltzmann weight below which the next level is left out."""
RESIDUAL = 1e-8
"""Norm of H psi - E psi of the states, eV."""
ROUGH_RESIDUAL = 1e-4
"""The same while the set still grows."""
GROWTH = 2.0
LEAST_GAP = 0.5
"""Distance, eV, below which first-order amplitudes are cut: near the states they say nothing."""
WORTHWHILE = 0.1
"""Importance of a class, relative to that of a better one which does not fit, below which it does not enter."""
NOTHING_MISSING = 1e-12
"""PT2, eV, at which growth ends."""


@dataclass(frozen=True)
class Multiplets:
    """Lowest states of a model, whole levels only.

    Attributes:
        hamiltonian: The model.
        rows: Configurations.
        energies: (k,) increasing.
        vectors: (n, k).
        steps: How the set grew: configurations, lowest energy, PT2 of the lowest state; empty on a whole sector.
        with_hole: Hamiltonian of configurations with a core hole, where it is another one.
    """

    hamiltonian: Hamiltonian
    rows: UInt64[np.ndarray, "n words"]
    energies: Float[np.ndarray, " k"]
    vectors: "np.ndarray"
    steps: tuple[Step, ...] = ()
    with_hole: Hamiltonian | None = None

    def hamiltonian_on(self, rows: UInt64[np.ndarray, "n words"]) -> Hamiltonian:
        """Hamiltonian of configurations that all have a full core, or all a hole."""
        if self.with_hole is None or len(rows) == 0:
            return self.hamiltonian
        has_hole = self.shells.counts(rows[:1])[0, 1] < self.hamiltonian.model.n_core
        return self.with_hole if has_hole else self.hamiltonian

    @property
    def is_whole(self) -> bool:
        """Whether every configuration of the sector is there."""
        return not self.steps

    @property
    def shells(self) -> Shells:
        """Shells of the model."""
        return shells_of(self.hamiltonian.model)

    def weights(self, temperature_K: float) -> Float[np.ndarray, " k"]:
        """Boltzmann weights; the lowest level alone at 0 K."""
        gap = self.energies - self.energies[0]
        cold = temperature_K <= 0
        weights = (gap < SAME_LEVEL).astype(float) if cold else np.exp(-gap / (KB * temperature_K))
        return np.asarray(weights / weights.sum())


def multiplets(
    model: ImpurityModel, temperature_K: float, most: int = 200_000, n_first: int = 12,
    with_hole: ImpurityModel | None = None,
) -> Multiplets:  # fmt: skip
    """All levels that count at a temperature, on every configuration of the sector.

    Args:
        model: The model, with a full core.
        temperature_K: Temperature; 0 for the lowest level.
        most: Largest sector that is taken; :func:`selected_multiplets` is for larger ones.
        n_first: States that are looked for at first; more where levels above may count.
        with_hole: The model while there is a core hole, whose shells may be tighter; left out: the same.

    Raises:
        ConfigError: If the sector is larger, or the two models do not fit.
    """
    size = sector_size(model)
    if size > most:
        raise ConfigError(f"the sector has {size} configurations, more than {most}; take selected ones")
    hamiltonian, rows = Hamiltonian.of(model), all_configurations(model)
    energies, vectors = _levels(hamiltonian.matrix(rows), temperature_K, n_first, RESIDUAL)
    return Multiplets(hamiltonian, rows, energies, vectors, with_hole=_with_hole(model, with_hole))


def _with_hole(model: ImpurityModel, with_hole: ImpurityModel | None) -> Hamiltonian | None:
    """Tables of the second model.

    Raises:
        ConfigError: If it is not of the same shells.
    """
    if with_hole is None:
        return None

    def shape(m: ImpurityModel) -> tuple[int | None, ...]:
        return m.n_spin_orbitals, m.n_impurity, m.n_core, m.n_electrons, m.spin_2z

    if shape(model) != shape(with_hole) or model.n_core == 0:
        raise ConfigError("the models with and without a core hole must have the same shells and electrons, and a core")
    return Hamiltonian.of(with_hole)


def selected_multiplets(
    model: ImpurityModel, temperature_K: float, reference: Sequence[int], most: int = 20_000, n_first: int = 12,
    tell: Callable[[int], None] | None = None, with_hole: ImpurityModel | None = None,
) -> Multiplets:  # fmt: skip
    """The same on at most so many configurations, whole classes of them.

    Args:
        model: The model, best with a bath in chains (:func:`limbeck.impurity.shells.chained`).
        temperature_K: Temperature; 0 for the lowest level.
        reference: Electrons in each shell of the class to begin from, see :func:`limbeck.impurity.shells.ionic`.
        most: Configurations at most.
        n_first: States that are looked for at first.
        tell: Called with the number of configurations after each growth.
        with_hole: The model while there is a core hole, in the same orbitals; left out: the same.

    Raises:
        ConfigError: If the first class does not fit, or none of those that it is connected to does, or the two models
            are not of one kind.
    """
    hamiltonian, shells, steps = Hamiltonian.of(model), shells_of(model), list[Step]()
    rows = shells.configurations(reference)
    while True:
        matrix = hamiltonian.matrix(rows)
        energies, vectors = _levels(matrix, temperature_K, n_first, ROUGH_RESIDUAL)
        outside, sums = hamiltonian.outside(rows, vectors)
        gap = np.minimum(energies[0] - hamiltonian.diagonal(outside), -LEAST_GAP)
        pt2 = float(np.sum(np.abs(sums[:, 0]) ** 2 / gap))
        steps.append(Step(len(rows), float(energies[0]), pt2))
        if tell is not None:
            tell(len(rows))
        importance = np.sum(np.abs(sums) ** 2, axis=1) / gap**2
        room = min(most, int(GROWTH * len(rows))) - len(rows)
        new = chosen_classes(shells, outside, importance, room, most - len(rows)) if -pt2 > NOTHING_MISSING else []
        if not new:
            break
        rows = np.concatenate([rows, *(shells.configurations(counts) for counts in new)])
    if len(steps) == 1 and len(outside):
        raise ConfigError(f"{most} configurations hold nothing but the reference {list(reference)}; allow more")
    energies, vectors = _levels(matrix, temperature_K, n_first, RESIDUAL)
    return Multiplets(hamiltonian, rows, energies, vectors, tuple(steps), _with_hole(model, with_hole))


def chosen_classes(
    shells: Shells, outside: UInt64[np.ndarray, "n words"], importance: Float[np.ndarray, " n"], wanted: int, room: int
) -> list[tuple[int, ...]]:
    """Classes that enter next: those with the most importance a configuration, until enough are there.

    Args:
        shells: The shells.
        outside: Configurations outside the set.
        importance: Of each.
        wanted: Configurations after which no more class is taken; one enters in any case.
        room: Configurations that fit in all.
    """
    if len(outside) == 0:
        return []
    classes, number = shells.classes(outside)
    sizes = np.array([float(shells.size(counts)) for counts in classes])
    mean = np.bincount(number, weights=importance, minlength=len(classes)) / sizes
    found: list[tuple[int, ...]] = []
    taken, least = 0, 0.0
    for k in np.argsort(-mean, kind="stable"):
        if mean[k] <= least or (found and taken >= wanted):
            break
        if taken + sizes[k] <= min(room, MOST_OF_A_CLASS):
            found.append(tuple(int(n) for n in classes[k]))
            taken += int(sizes[k])
        else:  # those that are much less than one that does not fit are left out, too: they would help nothing
            least = max(least, WORTHWHILE * float(mean[k]))
    return found


def _levels(
    matrix: csr_array, temperature_K: float, n_first: int, tolerance: float
) -> tuple[Float[np.ndarray, " k"], "np.ndarray"]:
    """The levels that count, whole."""
    total, n = matrix.shape[0], min(n_first, matrix.shape[0])
    limit = SAME_LEVEL if temperature_K <= 0 else -KB * temperature_K * np.log(LEAST_WEIGHT)
    while True:
        energies, vectors = lowest_of_blocks(matrix, n, tolerance)
        gap = energies - energies[0]
        if n == total or gap[-1] > limit + SAME_LEVEL:
            kept = gap <= max(limit, SAME_LEVEL)
            if not np.all(kept):  # whole levels only
                kept = gap < gap[~kept][0] - SAME_LEVEL
            return energies[kept], vectors[:, kept]
        n = min(2 * n, total)


def lowest_of_blocks(
    matrix: csr_array, n_states: int, tolerance: float = RESIDUAL
) -> tuple[Float[np.ndarray, " k"], "np.ndarray"]:
    """Lowest eigenvectors of a matrix that may fall into blocks which nothing connects."""
    n_parts, part = connected_components(abs(matrix), directed=False)
    energies, columns = [], []
    for label in range(n_parts):
        members = np.flatnonzero(part == label)
        block = matrix if n_parts == 1 else matrix[members][:, members]
        values, vectors = lowest(csr_array(block), n_states, tolerance=tolerance)
        energies.append(values)
        wide = np.zeros((matrix.shape[0], len(values)), vectors.dtype)
        wide[members] = vectors
        columns.append(wide)
    everything = np.concatenate(energies)
    order = np.argsort(everything, kind="stable")[:n_states]
    return everything[order], np.concatenate(columns, axis=1)[:, order]
