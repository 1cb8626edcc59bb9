"""Spectra of operators on thermal multiplets: which final configurations, which poles.

    I_ab(w) = sum_i p_i sum_f <i|O_a+|f> <f|O_b|i> L(w - E_f + E_i)

p_i Boltzmann weights, L a Lorentzian of unit area. Multiplets on a whole sector lead to every final configuration that
H connects. Those on selected classes lead to selected classes: the ones in which the residual of the response,

    r = O|i> + H|x> - z|x>,   x(z) = (z - H + E_i)^-1 O|i> on the classes so far,

has the largest first-order amplitude ``r_j / (z - H_jj + E_i)``, so that the operator's own weight and what H makes of
it are judged alike. The change by the last growth is the error that is stated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, UInt64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from limbeck.core.errors import ConfigError
from limbeck.impurity import kernels
from limbeck.impurity.excitations import Poles, lanczos
from limbeck.impurity.multiplets import Multiplets, chosen_classes
from limbeck.impurity.operators import Operator, entries, starts_of
from limbeck.impurity.recurrence import Recurrence
from limbeck.impurity.subspace import Hamiltonian, numbers

DENSE = 600
"""Final states below this are found all; more by Lanczos."""
MOST_WHOLE, MOST_SELECTED = 2_000_000, 40_000
"""Final configurations at most, where all are taken and where classes are chosen."""
FIRST_STEPS, MORE_STEPS, MOST_EXTENSIONS = 200, 100, 40
CONVERGED = 1e-5
"""Change of a spectrum over its peak by the last quarter of the Lanczos steps."""
N_GRID = 500
RANK = 1e-12
GROWTH, FIRST_SHARE, ROUGH_SHARE = 1.6, 0.1, 0.65
N_PROBES, N_ROUGH = 9, 40
"""Frequencies at which the response is looked at while the space grows, and Lanczos steps of that look."""
NEGLIGIBLE = 1e-12
"""Importance of all that is outside, over the norm of the response, at which growth ends."""


@dataclass(frozen=True)
class FinalSpace:
    """Configurations of the final states, and the operators on the initial ones.

    Attributes:
        rows: Configurations, in the order in which they entered.
        block: (n, p k): operator a on state i is column ``p i + a``.
        n_rough: Configurations of an earlier set: the error is what came after; n where nothing is left out.
        missed: Share of the operators' weight that lies on configurations which were left out.
    """

    rows: UInt64[np.ndarray, "n words"]
    block: "np.ndarray"
    n_rough: int
    missed: float


@dataclass(frozen=True)
class Transitions:
    """Poles of some operators on thermal multiplets.

    Attributes:
        poles: Of each initial state: energies of the final states above it, amplitudes of the operators.
        weights: Boltzmann weight of each initial state.
        n_final: Configurations of the final states.
        rough: Poles on an earlier, smaller set; ``None`` where nothing was left out.
        missed: Share of the operators' weight on configurations which were left out.
    """

    poles: tuple[Poles, ...]
    weights: Float[np.ndarray, " k"]
    n_final: int
    rough: tuple[Poles, ...] | None = None
    missed: float = 0.0

    def matrix(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray", *, rough: bool = False
    ) -> Complex[np.ndarray, "n p p"]:
        """Spectrum of every pair of operators, ``I_ab``: Hermitian, positive.

        Args:
            energies: Energies of the final states above the initial ones, eV.
            half_width: Half width at half maximum, eV, one or one at each energy.
            rough: From the earlier, smaller set.
        """
        width = np.broadcast_to(half_width, np.shape(energies))
        given = self.rough if rough and self.rough is not None else self.poles
        p = given[0].amplitudes.shape[1]
        found = np.zeros((len(energies), p * p), complex)
        for poles, weight in zip(given, self.weights, strict=True):
            shape = width[:, None] / np.pi / ((energies[:, None] - poles.energies) ** 2 + width[:, None] ** 2)
            a = poles.amplitudes
            found += weight * (shape @ (a.conj()[:, :, None] * a[:, None, :]).reshape(len(a), p * p))
        return found.reshape(-1, p, p)

    def trace(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray", *, rough: bool = False
    ) -> Float[np.ndarray, " n"]:
        """Sum over the operators."""
        return np.asarray(np.trace(self.matrix(energies, half_width, rough=rough), axis1=1, axis2=2).real)

    def error(self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray") -> Float[np.ndarray, " n"]:
        """What the last growth changed in :meth:`trace`; zero where nothing was left out."""
        if self.rough is None:
            return np.zeros(len(energies))
        return np.asarray(np.abs(self.trace(energies, half_width) - self.trace(energies, half_width, rough=True)))

    def moment(self, n: int) -> "np.ndarray":
        """``integral w^n I_ab(w) dw``."""
        return np.asarray(sum(w * poles.moment(n) for w, poles in zip(self.weights, self.poles, strict=True)))


def transitions(
    states: Multiplets, operators: Sequence[Operator], temperature_K: float, *, half_width: float = 0.1,
    most: int | None = None, tell: Callable[[int], None] | None = None,
) -> Transitions:  # fmt: skip
    """Spectra of operators of the impurity's spin orbitals, all of which lead into one sector.

    Args:
        states: Initial states.
        operators: The operators.
        temperature_K: Temperature.
        half_width: Narrowest half width with which the spectrum will be looked at, eV; Lanczos goes on until it shows
            no more than :data:`CONVERGED` of the peak.
        most: Most final configurations.
        tell: Called with the number of configurations after each growth of a selected set.

    Raises:
        ConfigError: If the operators annihilate every state, or there are more final configurations.
    """
    space, p = final_space(states, operators, half_width, most, tell), len(operators)
    matrix = states.hamiltonian_on(space.rows).matrix(space.rows)

    def poles(n: int) -> tuple[Poles, ...]:
        some = matrix if n == len(space.rows) else csr_array(matrix[:n, :n])
        found = _final_states(some, space.block[:n], p, half_width)
        return tuple(Poles(x.energies - e, x.amplitudes) for x, e in zip(found, states.energies, strict=True))

    rough = poles(space.n_rough) if space.n_rough < len(space.rows) else None
    return Transitions(poles(len(space.rows)), states.weights(temperature_K), len(space.rows), rough, space.missed)


def final_space(
    states: Multiplets, operators: Sequence[Operator], half_width: float, most: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> FinalSpace:  # fmt: skip
    """Final configurations: all, or selected where the states are on selected ones."""
    rows, block = _excited(states, operators)
    if len(rows) == 0:
        raise ConfigError(
            "nothing can be excited: the valence shell is full (d10), or there is no electron where one is taken from"
        )
    if not states.is_whole:
        return _selected_space(states, rows, block, len(operators), half_width, most or MOST_SELECTED, tell)
    hamiltonian, most, seeds = states.hamiltonian_on(rows), most or MOST_WHOLE, len(rows)
    while True:
        new, _ = hamiltonian.outside(rows, np.ones(len(rows)))
        if len(new) == 0:
            break
        if len(rows) + len(new) > most:
            raise ConfigError(f"more than {most} final configurations")
        rows = np.concatenate([rows, new])
    block = np.concatenate([block, np.zeros((len(rows) - seeds, block.shape[1]), block.dtype)])
    return FinalSpace(rows, block, len(rows), 0.0)


def _excited(states: Multiplets, operators: Sequence[Operator]) -> tuple[UInt64[np.ndarray, "n words"], "np.ndarray"]:
    """All operators on every state: configurations, and p columns a state."""
    model = states.hamiltonian.model
    m, k, p = model.n_impurity, states.vectors.shape[1], len(operators)
    parts = []
    for operator in operators:
        source, target, value = entries(m, operator, model.patterns())
        starts = starts_of(m, source)
        is_complex = np.iscomplexobj(states.vectors) or bool(np.any(value.imag))
        values = value if is_complex else value.real
        for i in range(k):
            vector = np.ascontiguousarray(states.vectors[:, i], complex if is_complex else float)
            parts.append(kernels.applied_locally(states.rows, vector, m, starts, target, values))
    rows = np.unique(np.concatenate([part[0] for part in parts]), axis=0)
    table = kernels.table_of(rows) if len(rows) else np.zeros(1, np.int64)
    block = np.zeros((len(rows), p * k), np.result_type(*(vector.dtype for _, vector in parts)))
    for number, (some, vector) in enumerate(parts):
        a, i = divmod(number, k)
        if len(some):
            block[kernels.numbers_of(table, rows, some), p * i + a] = vector
    return rows, block


def _selected_space(
    states: Multiplets, made: UInt64[np.ndarray, "n words"], block: "np.ndarray", p: int, half_width: float, most: int,
    tell: Callable[[int], None] | None,
) -> FinalSpace:  # fmt: skip
    """Classes that the response needs."""
    hamiltonian, shells = states.hamiltonian_on(made), states.shells
    weight = np.sum(np.abs(block) ** 2, axis=1)
    first = chosen_classes(shells, made, weight, int(FIRST_SHARE * most), most)
    if not first:
        raise ConfigError(f"{most} configurations hold no class of the final states; allow more")
    rows = np.concatenate([shells.configurations(counts) for counts in first])
    # one combination of the initial states with random signs stands for all
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(states.energies)) / np.sqrt(len(states.energies))
    mixed = np.einsum("nip,i->np", block.reshape(len(made), -1, p), signs)
    sizes = [len(rows)]
    while True:
        outside, importance = _residual(hamiltonian, rows, made, mixed, float(states.energies[0]), half_width)
        if tell is not None:
            tell(len(rows))
        wanted = min(most, int(GROWTH * len(rows))) - len(rows)
        new = chosen_classes(shells, outside, importance, wanted, most - len(rows))
        if not new:
            break
        rows = np.concatenate([rows, *(shells.configurations(counts) for counts in new)])
        sizes.append(len(rows))
    if len(sizes) == 1 and len(outside):
        raise ConfigError(f"{most} configurations do not let the final states grow; allow more")
    found = numbers(rows, made)
    wide = np.zeros((len(rows), block.shape[1]), block.dtype)
    wide[found[found >= 0]] = block[found >= 0]
    missed = float(weight[found < 0].sum() / weight.sum())
    is_whole = len(outside) == 0
    before = [n for n in sizes[:-1] if n <= ROUGH_SHARE * sizes[-1]] or sizes[:1]
    return FinalSpace(rows, wide, len(rows) if is_whole else before[-1], missed)


def _residual(
    hamiltonian: Hamiltonian, rows: UInt64[np.ndarray, "n words"], made: UInt64[np.ndarray, "k words"],
    mixed: "np.ndarray", ground: float, half_width: float,
) -> tuple[UInt64[np.ndarray, "m words"], Float[np.ndarray, " m"]]:  # fmt: skip
    """Configurations outside on which the residual of the response lies, and their squared first-order amplitudes."""
    matrix, found = hamiltonian.matrix(rows), numbers(rows, made)
    inside = np.zeros((len(rows), mixed.shape[1]), mixed.dtype)
    inside[found[found >= 0]] = mixed[found >= 0]
    basis, small, first = lanczos(matrix, inside, N_ROUGH)
    energies, rotation = np.linalg.eigh(small)
    weights = rotation.conj().T[:, : len(first)] @ first
    strength = np.sum(np.abs(weights) ** 2, axis=1)
    center = float(strength @ energies / strength.sum())
    reach = 2.0 * float(np.sqrt(strength @ (energies - center) ** 2 / strength.sum()))
    probes = np.linspace(center - reach, center + reach, N_PROBES)
    eta = max(half_width, reach / N_PROBES, 1e-3)
    answers = np.concatenate(
        [basis @ (rotation @ (weights / (w + 1j * eta - energies)[:, None])) for w in probes], axis=1
    )
    is_real = not np.iscomplexobj(matrix.data)
    parts = np.concatenate([answers.real, answers.imag], axis=1) if is_real else answers
    outside, sums = hamiltonian.outside(rows, parts)
    if is_real:
        sums = sums[:, : answers.shape[1]] + 1j * sums[:, answers.shape[1] :]
    absent = found < 0
    place = numbers(outside, made[absent]) if len(outside) else np.full(int(absent.sum()), -1)
    lone = place < 0
    place[lone] = len(outside) + np.arange(int(lone.sum()))
    outside = np.concatenate([outside, made[absent][lone]])
    sums = np.concatenate([sums, np.zeros((int(lone.sum()), sums.shape[1]), sums.dtype)])
    sums[place] += np.tile(mixed[absent], (1, N_PROBES))
    distance = np.abs(np.repeat(probes, mixed.shape[1]) + 1j * eta - hamiltonian.diagonal(outside)[:, None]) ** 2
    importance = np.sum(np.abs(sums) ** 2 / distance, axis=1)
    if importance.sum() <= NEGLIGIBLE * float(np.sum(np.abs(answers) ** 2)):
        return outside[:0], importance[:0]
    return outside, importance


def _final_states(matrix: csr_array, block: "np.ndarray", p: int, half_width: float) -> list[Poles]:
    """Energies of final states and their amplitudes in the p columns of every state.

    What H does not connect is treated apart. Small parts are diagonalized once for all; in large ones each state has
    poles of its own.
    """
    n_parts, part = connected_components(abs(matrix), directed=False)
    n_states = block.shape[1] // p
    energies: list[list[np.ndarray]] = [[np.zeros(0)] for _ in range(n_states)]
    amplitudes: list[list[np.ndarray]] = [[np.zeros((0, p), block.dtype)] for _ in range(n_states)]
    for label in range(n_parts):
        members = np.flatnonzero(part == label)
        some = block[members]
        if np.abs(some).max() < RANK:
            continue
        small = csr_array(matrix if n_parts == 1 else matrix[members][:, members])
        whole = np.linalg.eigh(small.toarray()) if len(members) <= DENSE else None
        for i in range(n_states):
            columns = some[:, p * i : p * i + p]
            if np.abs(columns).max() < RANK:
                continue
            if whole is not None:
                values, found = whole[0], whole[1].conj().T @ columns
            else:
                values, found = converged_recurrence(small, columns, half_width).poles()
            energies[i].append(values)
            amplitudes[i].append(found)
    return [Poles(np.concatenate(e), np.concatenate(a)) for e, a in zip(energies, amplitudes, strict=True)]


def converged_recurrence(matrix: csr_array, columns: "np.ndarray", half_width: float) -> Recurrence:
    """As many Lanczos steps as the half width asks for."""
    walk = Recurrence(matrix, columns)
    walk.extend(FIRST_STEPS)
    center, reach = walk.band()
    z = np.linspace(center - reach, center + reach, N_GRID) + 1j * half_width
    for _ in range(MOST_EXTENSIONS):
        before, after = walk.trace(z, 0.75).imag, walk.trace(z).imag
        if walk.is_complete or np.abs(after - before).max() < CONVERGED * np.abs(after).max():
            break
        walk.extend(MORE_STEPS)
    return walk
