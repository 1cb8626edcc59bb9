"""X-ray absorption: from thermal multiplets through dipole operators to polarization tensors.

    I_ab(w) = sum_i p_i sum_f <i|T_a+|f> <f|T_b|i> L(w - E_f + E_i)

p_i Boltzmann weights, L a Lorentzian of unit area. States below and above the excitation are on all configurations that
H connects, where these are few enough, else on those that the state and the response need.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, UInt64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from limbeck.core.errors import ConfigError
from limbeck.core.units import KB
from limbeck.impurity import kernels
from limbeck.impurity.excitations import Poles, Recurrence
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.operators import Operator, entries, starts_of
from limbeck.impurity.subspace import Hamiltonian, all_configurations, lowest, sector_size

DENSE = 600
"""Final states below this are found all; more by Lanczos."""
SAME_LEVEL = 1e-6
"""States this close, eV, are one level."""
LEAST_WEIGHT = 1e-5
"""Boltzmann weight below which the next level is left out."""
FIRST_STEPS, MORE_STEPS, MOST_EXTENSIONS = 200, 100, 40
CONVERGED = 1e-5
"""Change of a spectrum over its peak by the last quarter of the Lanczos steps."""
N_GRID = 500
RESIDUAL = 1e-8
"""Norm of H psi - E psi of the initial states, eV."""
RANK = 1e-12
CARTESIAN = np.array([[1, 1j, 0], [0, 0, np.sqrt(2)], [-1, 1j, 0]]) / np.sqrt(2)
"""Columns: x, y, z in the components -1, 0, 1: ``C_x = (C_-1 - C_1) / sqrt 2``, ``C_y = i (C_-1 + C_1) / sqrt 2``."""


@dataclass(frozen=True)
class Multiplets:
    """Lowest states of a model, whole levels only.

    Attributes:
        hamiltonian: The model.
        rows: Configurations.
        energies: (k,) increasing.
        vectors: (n, k).
    """

    hamiltonian: Hamiltonian
    rows: UInt64[np.ndarray, "n words"]
    energies: Float[np.ndarray, " k"]
    vectors: "np.ndarray"

    def weights(self, temperature_K: float) -> Float[np.ndarray, " k"]:
        """Boltzmann weights; the lowest level alone at 0 K."""
        gap = self.energies - self.energies[0]
        cold = temperature_K <= 0
        weights = (gap < SAME_LEVEL).astype(float) if cold else np.exp(-gap / (KB * temperature_K))
        return np.asarray(weights / weights.sum())


def multiplets(model: ImpurityModel, temperature_K: float, most: int = 200_000, n_first: int = 12) -> Multiplets:
    """All levels that count at a temperature, on every configuration of the sector.

    Args:
        model: The model, with a full core.
        temperature_K: Temperature; 0 for the lowest level.
        most: Largest sector that is taken.
        n_first: States that are looked for at first; more where levels above may count.

    Raises:
        ConfigError: If the sector is larger.
    """
    size = sector_size(model)
    if size > most:
        raise ConfigError(f"the sector has {size} configurations, more than {most}")
    hamiltonian = Hamiltonian.of(model)
    rows = all_configurations(model)
    matrix = hamiltonian.matrix(rows)
    n = min(n_first, len(rows))
    while True:
        energies, vectors = lowest_of_blocks(matrix, n)
        gap = energies - energies[0]
        limit = SAME_LEVEL if temperature_K <= 0 else -KB * temperature_K * np.log(LEAST_WEIGHT)
        if n == len(rows) or gap[-1] > limit + SAME_LEVEL:
            kept = gap <= max(limit, SAME_LEVEL)
            if not np.all(kept):  # whole levels only
                kept = gap < gap[~kept][0] - SAME_LEVEL
            return Multiplets(hamiltonian, rows, energies[kept], vectors[:, kept])
        n = min(2 * n, len(rows))


def lowest_of_blocks(matrix: csr_array, n_states: int) -> tuple[Float[np.ndarray, " k"], "np.ndarray"]:
    """Lowest eigenvectors of a matrix that may fall into blocks which nothing connects."""
    n_parts, part = connected_components(abs(matrix), directed=False)
    energies, columns = [], []
    for label in range(n_parts):
        members = np.flatnonzero(part == label)
        block = matrix if n_parts == 1 else matrix[members][:, members]
        values, vectors = lowest(csr_array(block), n_states, tolerance=RESIDUAL)
        energies.append(values)
        wide = np.zeros((matrix.shape[0], len(values)), vectors.dtype)
        wide[members] = vectors
        columns.append(wide)
    everything = np.concatenate(energies)
    order = np.argsort(everything, kind="stable")[:n_states]
    return everything[order], np.concatenate(columns, axis=1)[:, order]


@dataclass(frozen=True)
class Absorption:
    """Absorption of thermal multiplets.

    Attributes:
        poles: Of each initial state: energies of the final states above it, amplitudes of T_x, T_y, T_z.
        weights: Boltzmann weight of each initial state.
        n_final: Configurations of the final states.
    """

    poles: tuple[Poles, ...]
    weights: Float[np.ndarray, " k"]
    n_final: int

    def tensor(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray"
    ) -> Complex[np.ndarray, "n 3 3"]:
        """The polarization tensor: Hermitian; absorption of the polarization e is ``e+ . tensor . e``.

        Args:
            energies: Photon energies, eV.
            half_width: Half width at half maximum, eV, one or one at each energy.
        """
        found = np.zeros((len(energies), 3, 3), complex)
        width = np.broadcast_to(half_width, np.shape(energies))
        for poles, weight in zip(self.poles, self.weights, strict=True):
            shape = width[:, None] / np.pi / ((energies[:, None] - poles.energies) ** 2 + width[:, None] ** 2)
            a = poles.amplitudes
            found += weight * (shape @ (a.conj()[:, :, None] * a[:, None, :]).reshape(len(a), 9)).reshape(-1, 3, 3)
        return found

    def isotropic(self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray") -> Float[np.ndarray, " n"]:
        """Absorption averaged over all directions: a third of the trace."""
        return np.asarray(np.trace(self.tensor(energies, half_width), axis1=1, axis2=2).real / 3)

    def circular_dichroism(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray"
    ) -> Float[np.ndarray, " n"]:
        """Left less right circular polarization along z: ``i (I_yx - I_xy)``, left being (x + i y) / sqrt 2."""
        tensor = self.tensor(energies, half_width)
        left, right = (np.array([1, 1j, 0]) / np.sqrt(2), np.array([1, -1j, 0]) / np.sqrt(2))
        return np.asarray(
            sum(s * np.einsum("a,nab,b->n", e.conj(), tensor, e).real for s, e in ((1, left), (-1, right)))
        )


def absorption(
    states: Multiplets, operators: tuple[Operator, Operator, Operator], temperature_K: float, *,
    half_width: float = 0.1, most: int = 2_000_000,
) -> Absorption:  # fmt: skip
    """Absorption on every final configuration that H connects.

    Args:
        states: Initial states.
        operators: T_q for q = -1, 0, 1.
        temperature_K: Temperature.
        half_width: Narrowest half width with which the spectrum will be looked at, eV; Lanczos goes on until it shows
            no more than :data:`CONVERGED` of the peak.
        most: Most final configurations.

    Raises:
        ConfigError: If nothing can be excited, or there are more final configurations.
    """
    hamiltonian = states.hamiltonian
    rows, block = _excited(states, operators)
    if len(rows) == 0:
        raise ConfigError("nothing can be excited: the valence shell is full (d10), or the core is empty")
    seeds = len(rows)
    while True:
        new, _ = hamiltonian.outside(rows, np.ones(len(rows)))
        if len(new) == 0:
            break
        if len(rows) + len(new) > most:
            raise ConfigError(f"more than {most} final configurations")
        rows = np.concatenate([rows, new])
    block = np.concatenate([block, np.zeros((len(rows) - seeds, block.shape[1]), block.dtype)])
    poles = _final_states(hamiltonian.matrix(rows), block, half_width)
    moved = tuple(Poles(p.energies - e, p.amplitudes @ CARTESIAN) for p, e in zip(poles, states.energies, strict=True))
    return Absorption(moved, states.weights(temperature_K), len(rows))


def _excited(
    states: Multiplets, operators: tuple[Operator, Operator, Operator]
) -> tuple[UInt64[np.ndarray, "n words"], "np.ndarray"]:
    """All operators on every state: configurations, and three columns a state."""
    model = states.hamiltonian.model
    m, k = model.n_impurity, states.vectors.shape[1]
    parts = []
    for operator in operators:
        source, target, value = entries(m, operator, model.patterns())
        starts = starts_of(m, source)
        for i in range(k):
            vector = states.vectors[:, i]
            values = value if np.iscomplexobj(vector) else value.real
            parts.append(kernels.applied_locally(states.rows, vector, m, starts, target, values))
    rows = np.unique(np.concatenate([p[0] for p in parts]), axis=0)
    table = kernels.table_of(rows) if len(rows) else np.zeros(1, np.int64)
    block = np.zeros((len(rows), 3 * k), states.vectors.dtype)
    for number, (some, vector) in enumerate(parts):
        a, i = divmod(number, k)
        if len(some):
            block[kernels.numbers_of(table, rows, some), 3 * i + a] = vector
    return rows, block


def _final_states(matrix: csr_array, block: "np.ndarray", half_width: float) -> list[Poles]:
    """Energies of final states and their amplitudes in the three columns of every state.

    What H does not connect is treated apart. Small parts are diagonalized once for all; in large ones each state has
    poles of its own.
    """
    n_parts, part = connected_components(abs(matrix), directed=False)
    n_states = block.shape[1] // 3
    energies: list[list[np.ndarray]] = [[] for _ in range(n_states)]
    amplitudes: list[list[np.ndarray]] = [[] for _ in range(n_states)]
    for label in range(n_parts):
        members = np.flatnonzero(part == label)
        some = block[members]
        if np.abs(some).max() < RANK:
            continue
        small = csr_array(matrix if n_parts == 1 else matrix[members][:, members])
        whole = np.linalg.eigh(small.toarray()) if len(members) <= DENSE else None
        for i in range(n_states):
            columns = some[:, 3 * i : 3 * i + 3]
            if np.abs(columns).max() < RANK:
                continue
            if whole is not None:
                values, found = whole[0], whole[1].conj().T @ columns
            else:
                values, found = _by_lanczos(small, columns, half_width)
            energies[i].append(values)
            amplitudes[i].append(found)
    return [Poles(np.concatenate(e), np.concatenate(a)) for e, a in zip(energies, amplitudes, strict=True)]


def _by_lanczos(
    matrix: csr_array, columns: "np.ndarray", half_width: float
) -> tuple[Float[np.ndarray, " n"], "np.ndarray"]:
    """Poles and amplitudes with as many Lanczos steps as the half width asks for."""
    walk = Recurrence(matrix, columns)
    walk.extend(FIRST_STEPS)
    center, reach = walk.band()
    z = np.linspace(center - reach, center + reach, N_GRID) + 1j * half_width
    for _ in range(MOST_EXTENSIONS):
        before, after = walk.trace(z, 0.75).imag, walk.trace(z).imag
        if walk.is_complete or np.abs(after - before).max() < CONVERGED * np.abs(after).max():
            break
        walk.extend(MORE_STEPS)
    return walk.poles()
