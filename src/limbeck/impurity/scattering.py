"""Resonant inelastic X-ray scattering by the formula of Kramers and Heisenberg.

    A_ab(f, i; w) = <f| T_a+ (w + i Gamma - H + E_i)^-1 T_b |i>
    I(w, loss) = sum_i p_i sum_f |sum_ab conj(e'_a) A_ab e_b|^2 L(loss - E_f + E_i)

b belongs to the incident photon, a to the emitted one; w is the incident energy, Gamma the half width of the core hole.
All of A is kept, so that any polarization, and the average over all orientations of a powder, is made afterwards. The
elastic line is the final states f that are initial ones. The vector (w + i Gamma - H + E_i)^-1 T_b|i> comes for all w
from one Lanczos run (or all eigenstates where they are few), final states from a second one.

Source: H. A. Kramers, W. Heisenberg, Z. Phys. 31, 681 (1925), doi:10.1007/BF02980624; L. J. P. Ament et al., Rev. Mod.
Phys. 83, 705 (2011), doi:10.1103/RevModPhys.83.705. Averages of fourth-rank tensors over rotations: D. L. Andrews, T.
Thirunamachandran, J. Chem. Phys. 67, 5026 (1977), doi:10.1063/1.434725.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, UInt64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from limbeck.core.errors import ConfigError
from limbeck.impurity.absorption import CARTESIAN
from limbeck.impurity.excitations import Poles
from limbeck.impurity.multiplets import Multiplets
from limbeck.impurity.operators import Operator, entries, starts_of
from limbeck.impurity.recurrence import Recurrence
from limbeck.impurity.subspace import numbers
from limbeck.impurity.transitions import RANK, converged_recurrence, final_space

DENSE, MOST_DENSE = 1200, 5000
"""Parts of the spaces below this are diagonalized whole; larger final ones, too, where they serve many Lanczos runs."""
STEPS, MOST_STEPS = 60, 3000
SOLVED = 1e-7
"""Norm of the residual of the intermediate vector over that of T|i>."""
FAINT = 1e-13
"""Share of the total intensity of one incident energy below which a final state is left out."""


@dataclass(frozen=True)
class Scattering:
    """Scattering of thermal multiplets.

    Attributes:
        incident: (w,) photon energies, eV.
        poles: Of each initial state and each incident energy: energy losses, and amplitudes A_ab as (k, 9), a first.
        weights: Boltzmann weight of each initial state.
        n_intermediate: Configurations with a core hole.
        n_final: Configurations without.
        rough: The same from a smaller set of configurations with a core hole; ``None`` where nothing was left out.
    """

    incident: Float[np.ndarray, " w"]
    poles: tuple[tuple[Poles, ...], ...]
    weights: Float[np.ndarray, " k"]
    n_intermediate: int
    n_final: int
    rough: "Scattering | None" = None

    def spectrum(
        self, losses: Float[np.ndarray, " n"], half_width: float, incoming: "np.ndarray", outgoing: "np.ndarray"
    ) -> Float[np.ndarray, "w n"]:
        """Intensity for two polarizations.

        Args:
            losses: Energy losses, eV.
            half_width: Half width of the final states, eV.
            incoming: (3,) polarization e of the incident photon, complex for circular, normalized.
            outgoing: (3,) polarization e' of the emitted one.
        """
        both = np.outer(np.conj(outgoing), incoming).ravel()
        return self._summed(losses, half_width, lambda a: np.abs(a @ both) ** 2)

    def tensor(
        self, number: int, losses: Float[np.ndarray, " n"], half_width: float
    ) -> Complex[np.ndarray, "n 3 3 3 3"]:
        """``sum A*_ab A_cd`` at one incident energy, indices a, b, c, d: intensity is this with e'_a e*_b e'*_c e_d."""
        found = np.zeros((len(losses), 81), complex)
        for each, weight in zip(self.poles, self.weights, strict=True):
            poles, a = each[number], each[number].amplitudes
            found += weight * (_shape(losses, poles, half_width) @ (a.conj()[:, :, None] * a[:, None]).reshape(-1, 81))
        return found.reshape(-1, 3, 3, 3, 3)

    def powder(
        self, losses: Float[np.ndarray, " n"], half_width: float, along: float = 1.0, conjugate: float | None = None
    ) -> Float[np.ndarray, "w n"]:
        """Average over all orientations of the sample.

        Args:
            losses: Energy losses, eV.
            half_width: Half width of the final states, eV.
            along: ``|e'* . e|^2`` of the two polarizations: 1 for parallel, 0 for crossed linear ones.
            conjugate: ``|e' . e|^2``; the same where left out, as for linear polarizations.
        """
        factors = np.array([along, 1.0, along if conjugate is None else conjugate])
        weights = factors @ np.array([[4.0, -1.0, -1.0], [-1.0, 4.0, -1.0], [-1.0, -1.0, 4.0]]) / 30.0
        return self._summed(losses, half_width, lambda a: weights @ _invariants(a))

    def powder_in_geometry(
        self, losses: Float[np.ndarray, " n"], half_width: float, angle_deg: float = 90.0, in_plane: float = 0.5
    ) -> Float[np.ndarray, "w n"]:
        """Powder spectrum whose emitted polarization is not looked at.

        Args:
            losses: Energy losses, eV.
            half_width: Half width of the final states, eV.
            angle_deg: Angle between incident and emitted light.
            in_plane: Share of the incident light that is polarized in the plane of scattering (pi): 0 for sigma, 1/2
                for unpolarized light. At 90 degrees pi light is scattered without a polarized (parallel) part.
        """
        crossed = self.powder(losses, half_width, 0.0)
        excess = self.powder(losses, half_width, 1.0) - crossed
        along = in_plane * np.cos(np.deg2rad(angle_deg)) ** 2 + (1.0 - in_plane)
        return np.asarray(2.0 * crossed + along * excess)

    def error(self, losses: Float[np.ndarray, " n"], half_width: float) -> Float[np.ndarray, "w n"]:
        """What the last growth of the intermediate set changed in the unpolarized powder spectrum at 90 degrees."""
        if self.rough is None:
            return np.zeros((len(self.incident), len(losses)))
        after, before = (x.powder_in_geometry(losses, half_width) for x in (self, self.rough))
        return np.asarray(np.abs(after - before))

    def _summed(
        self, losses: Float[np.ndarray, " n"], half_width: float, strength: "Callable[[np.ndarray], np.ndarray]"
    ) -> Float[np.ndarray, "w n"]:
        found = np.zeros((len(self.incident), len(losses)))
        for each, weight in zip(self.poles, self.weights, strict=True):
            for number, poles in enumerate(each):
                found[number] += weight * (_shape(losses, poles, half_width) @ strength(poles.amplitudes))
        return found


def _shape(losses: "np.ndarray", poles: Poles, half_width: float) -> "np.ndarray":
    """Lorentzian of unit area of each final state, (losses, states)."""
    return np.asarray(half_width / np.pi / ((losses[:, None] - poles.energies) ** 2 + half_width**2))


def _invariants(amplitudes: "np.ndarray") -> "np.ndarray":
    """What rotations leave alone in ``A_ab A*_cd``: |trace|^2, sum |A_ab|^2, sum A_ab A*_ba; (3, states)."""
    a = amplitudes.reshape(-1, 3, 3)
    traces = np.abs(np.trace(a, axis1=1, axis2=2)) ** 2
    squares, crossed = (np.einsum("kab,kab->k", a, b.conj()).real for b in (a, a.transpose(0, 2, 1)))
    return np.stack([traces, squares, crossed])


def scattering(
    states: Multiplets, operators: Sequence[Operator], incident: Float[np.ndarray, " w"], temperature_K: float, *,
    core_half_width: float, final_half_width: float = 0.05, most_loss: float = 15.0, most: int | None = None,
    tell: Callable[[int], None] | None = None, tell_energies: Callable[[int], None] | None = None,
) -> Scattering:  # fmt: skip
    """Scattering at some incident energies.

    Args:
        states: Initial states.
        operators: T_q for q = -1, 0, 1.
        incident: Photon energies, eV.
        temperature_K: Temperature.
        core_half_width: Gamma, eV.
        final_half_width: Narrowest half width with which losses will be looked at, eV, where final states are many.
        most_loss: Final states higher than this above the initial one are left out, eV.
        most: Most configurations with a core hole.
        tell: Called with the number of configurations after each growth of a selected set.
        tell_energies: Called with the number of pairs of initial state and incident energy that are done.

    Raises:
        ConfigError: If nothing can be excited, there are more configurations, or Gamma is not positive.
    """
    if core_half_width <= 0 or final_half_width <= 0:
        raise ConfigError("the half widths of the core hole and of the final states must be positive")
    space = final_space(states, operators, core_half_width, most, tell)
    final = _final_rows(states, space.rows)
    matrix, lowered = states.hamiltonian_on(space.rows).matrix(space.rows), states.hamiltonian_on(final).matrix(final)
    moves = [_operator_matrix(states, operator, final, space.rows) for operator in operators]
    n_runs = len(states.energies) * len(incident)
    ends = _Ends(lowered, final_half_width, float(states.energies[-1]) + most_loss, n_runs)
    z = np.asarray(incident) + 1j * core_half_width

    def solved(n: int, rough: Scattering | None) -> Scattering:
        some = matrix if n == len(space.rows) else csr_array(matrix[:n, :n])
        back = [csr_array(move[:n].conj().T) for move in moves]
        vectors = _intermediate(some, space.block[:n], len(operators), states.energies, z)
        found, done = [], 0
        for energy, of_state in zip(states.energies, vectors, strict=True):
            row = []
            for x in of_state:
                made = np.stack([t @ x for t in back], axis=1).reshape(len(final), -1)
                row.append(_turned(ends.poles(made, float(energy), most_loss)))
                done += 1
                if tell_energies is not None:
                    tell_energies(done)
            found.append(tuple(row))
        return Scattering(
            np.asarray(incident), tuple(found), states.weights(temperature_K), n, len(final), rough
        )  # fmt: skip

    rough = solved(space.n_rough, None) if space.n_rough < len(space.rows) else None
    return solved(len(space.rows), rough)


def _final_rows(states: Multiplets, rows: UInt64[np.ndarray, "n words"]) -> UInt64[np.ndarray, "k words"]:
    """Configurations to which the emission leads: the whole sector, or the classes into which the hole decays."""
    if states.is_whole:
        return states.rows
    shells = states.shells
    counts = shells.classes(rows)[0]
    counts[:, 0] -= 1
    counts[:, 1] += 1
    both = np.unique(np.concatenate([counts, shells.classes(states.rows)[0]]), axis=0)
    return np.concatenate([shells.configurations([int(n) for n in c]) for c in both])


def _operator_matrix(
    states: Multiplets, operator: Operator, source: UInt64[np.ndarray, "k words"], target: UInt64[np.ndarray, "n words"]
) -> csr_array:
    """``<target|O|source>`` as a sparse matrix (n, k)."""
    model = states.hamiltonian.model
    m = model.n_impurity
    begin, to, value = entries(m, operator, model.patterns())
    starts = starts_of(m, begin)
    mask = np.uint64((1 << m) - 1)
    pattern = (source[:, 0] & mask).astype(np.int64)
    many = starts[pattern + 1] - starts[pattern]
    column = np.repeat(np.arange(len(source)), many)
    first = np.repeat(np.cumsum(many) - many, many)
    entry = starts[pattern[column]] + np.arange(len(column)) - first
    made = source[column].copy()
    made[:, 0] = (made[:, 0] & ~mask) | to[entry].astype(np.uint64)
    row = numbers(target, made)
    inside = row >= 0
    values = value[entry[inside]]
    data = values if np.any(values.imag) else values.real
    return csr_array((data, (row[inside], column[inside])), shape=(len(target), len(source)))


def _turned(poles: Poles) -> Poles:
    """Amplitudes over x, y, z of those over spherical components."""
    a = poles.amplitudes.reshape(-1, 3, 3)
    return Poles(
        poles.energies, np.einsum("qa,kqp,pb->kab", CARTESIAN.conj(), a, CARTESIAN, optimize=True).reshape(-1, 9)
    )


def _intermediate(
    matrix: csr_array, block: "np.ndarray", p: int, energies: Float[np.ndarray, " k"], z: Complex[np.ndarray, " w"]
) -> "Iterator[Iterator[np.ndarray]]":
    """For each state, for each z: ``(z + E_i - matrix)^-1`` on the p columns of the state."""
    n_parts, part = connected_components(abs(matrix), directed=False)
    parts = []
    for label in range(n_parts):
        members = np.flatnonzero(part == label)
        if np.abs(block[members]).max() < RANK:
            continue
        small = csr_array(matrix if n_parts == 1 else matrix[members][:, members])
        parts.append((members, small, np.linalg.eigh(small.toarray()) if len(members) <= DENSE else None))
    for i, energy in enumerate(energies):
        columns, solutions = block[:, p * i : p * i + p], []
        for members, small, whole in parts:
            some = columns[members]
            if np.abs(some).max() < RANK:
                continue
            if whole is not None:
                solutions.append((members, whole[1], whole[0], whole[1].conj().T @ some))
            else:
                solutions.append((members, *_krylov(small, some, z + energy)))
        yield (_at(len(block), p, solutions, w + energy) for w in z)


def _at(n: int, p: int, solutions: "Sequence[tuple[np.ndarray, ...]]", z: complex) -> Complex[np.ndarray, "n p"]:
    found = np.zeros((n, p), complex)
    for members, basis, energies, weights in solutions:
        found[members] = basis @ (weights / (z - energies)[:, None])
    return found


def _krylov(
    matrix: csr_array, columns: "np.ndarray", z: Complex[np.ndarray, " w"]
) -> tuple["np.ndarray", Float[np.ndarray, " k"], "np.ndarray"]:
    """Vectors, energies and weights of a Lanczos run in which the resolvent has converged at every z.

    The recurrence alone, without orthogonalization: for solutions at complex z its rounding costs steps, not accuracy.
    """
    walk, vectors = Recurrence(matrix, columns), list[np.ndarray]()
    size = float(np.linalg.norm(columns))
    while True:
        for _ in range(STEPS):
            if walk.is_complete:
                break
            vectors.append(walk.following)
            walk.extend(1)
        energies, rotation = walk.eigenvectors()
        weights = walk.poles()[1]
        last = rotation[-vectors[-1].shape[1] :]
        worst = max(float(np.linalg.norm(walk.closing @ last @ (weights / (w - energies)[:, None]))) for w in z)
        if walk.is_complete or worst < SOLVED * size:
            return np.concatenate(vectors, axis=1) @ rotation, energies, weights
        if len(vectors) >= MOST_STEPS:
            raise ConfigError(
                f"the intermediate states have not converged after {MOST_STEPS} Lanczos steps (residual "
                f"{worst / size:.1e}); is the half width of the core hole, {z[0].imag:g} eV, too small?"
            )


class _Ends:
    """Final states: eigenvectors of the parts that are small, Lanczos in the others."""

    def __init__(self, matrix: csr_array, half_width: float, highest: float, n_runs: int) -> None:
        limit = min(MOST_DENSE, DENSE * n_runs**0.5)
        n_parts, part = connected_components(abs(matrix), directed=False)
        self._half_width = half_width
        self._parts = []
        for label in range(n_parts):
            members = np.flatnonzero(part == label)
            small = csr_array(matrix if n_parts == 1 else matrix[members][:, members])
            whole = None
            if len(members) <= limit:
                energies, vectors = np.linalg.eigh(small.toarray())
                low = energies <= highest
                whole = (energies[low], np.ascontiguousarray(vectors[:, low].conj().T))
            self._parts.append((members, small, whole))

    def poles(self, block: "np.ndarray", ground: float, most_loss: float) -> Poles:
        """Losses and amplitudes of the columns of a block."""
        energies, amplitudes = [np.zeros(0)], [np.zeros((0, block.shape[1]), complex)]
        for members, small, whole in self._parts:
            some = block[members]
            if np.abs(some).max() < RANK:
                continue
            if whole is not None:
                values, found = whole[0], whole[1] @ some
            else:
                values, found = converged_recurrence(small, some, self._half_width).poles()
            energies.append(values - ground)
            amplitudes.append(found)
        losses, a = np.concatenate(energies), np.concatenate(amplitudes)
        strength = np.sum(np.abs(a) ** 2, axis=1)
        kept = (losses <= most_loss) & (strength > FAINT * strength.sum())
        return Poles(losses[kept], a[kept])
