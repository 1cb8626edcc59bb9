"""Green's functions and other spectra on a restricted excitation space.

An operator O makes an excited state of the ground state's configurations. H spreads it over more: the space grows,
round by round, by the configurations that

    importance_j = |<j|H|x>| / |w + i eta - H_jj|

names, x the state that responds at the frequencies of a window, from few Lanczos steps. Without these rounds a spectrum
is useless whatever the quality of the ground state. On the final space block Lanczos gives poles and their amplitudes,

    <0| A (z - H + E0)^-1 B |0> = sum_n A_n B_n / (z - e_n),

so that the first moments are exact on the space and sum rules hold by construction. What the second half of
the space changed is the error that is stated.

Source: M. W. Haverkort et al., EPL 108, 57004 (2014), arXiv:1411.2340; self-energy from the equation of motion: R.
Bulla, A. C. Hewson, T. Pruschke, J. Phys. Condens. Matter 10, 8365 (1998), doi:10.1088/0953-8984/10/37/021.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, UInt64
from scipy.sparse import csr_array

from limbeck.impurity import kernels
from limbeck.impurity.operators import Operator, commutator, entries, product, starts_of
from limbeck.impurity.recurrence import RANK, Recurrence
from limbeck.impurity.selected_ci import SelectedState
from limbeck.impurity.subspace import Hamiltonian

N_PROBES, MORE_PROBES = 5, 33
"""Frequencies at which the response is looked at while the space grows; more while it is small."""
N_ROUGH, WHOLE = 40, 600
"""Lanczos steps of that look; on smaller spaces it is complete, so that a long chain is followed to its end."""
GROWTH, LEAST_ADDED, LEAST_GROWTH = 1.4, 200, 3
LEAST_SHARE = 1e-2
"""Importance below this share of the largest waits for a later round."""
NEGLIGIBLE = 1e-24
"""Importance of a configuration, over the norm of the response, that is rounding."""


@dataclass(frozen=True)
class Poles:
    """``sum_n a_n b_n* / (z - e_n)`` of several operators on one state.

    Attributes:
        energies: (k,) excitation energies, above the ground state.
        amplitudes: (k, p) overlap of each excitation with each operator's state, ``<n|O_p|0>``.
    """

    energies: Float[np.ndarray, " k"]
    amplitudes: "np.ndarray"

    def matrix(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "n p p"]:
        """``<0|O_p+ (z - H + E0)^-1 O_q|0>``."""
        inverse = 1.0 / (np.asarray(z)[:, None] - self.energies)
        return np.asarray(np.einsum("kp,zk,kq->zpq", self.amplitudes.conj(), inverse, self.amplitudes, optimize=True))

    def moment(self, n: int) -> "np.ndarray":
        """``<0|O_p+ (H - E0)^n O_q|0>``."""
        return np.asarray(np.einsum("kp,k,kq->pq", self.amplitudes.conj(), self.energies**n, self.amplitudes))


@dataclass(frozen=True)
class Response:
    """Poles on the final space, and on the one before: their difference is the stated error.

    Attributes:
        poles: On the final space.
        rough: On the largest space of the growth that was not above half of what is allowed; the same as the final one
            where nothing was left out.
        n: Configurations of the final space.
    """

    poles: Poles
    rough: Poles
    n: int


@dataclass(frozen=True)
class Space:
    """Excited states of some operators on the configurations that their response needs.

    Attributes:
        matrix: (n, n) H.
        block: (n, p) ``O_p |0>``.
        ground: E0.
        rough: Poles on the space of the growth that :class:`Response` tells of, if there was one.
    """

    matrix: csr_array
    block: "np.ndarray"
    ground: float
    rough: Poles | None = None


def operator_on(state: SelectedState, operator: Operator) -> tuple[UInt64[np.ndarray, "n words"], "np.ndarray"]:
    """An operator of the impurity's spin orbitals on the ground state."""
    m = state.hamiltonian.model.n_impurity
    source, target, value = entries(m, operator, state.hamiltonian.model.patterns())
    starts = starts_of(m, source)
    is_real = not np.iscomplexobj(state.vector) and not np.any(value.imag)
    dtype = np.float64 if is_real else np.complex128
    return kernels.applied_locally(
        state.rows, state.vector.astype(dtype), m, starts, target, value.real if is_real else value
    )


def response(
    state: SelectedState,
    operators: Sequence[Operator],
    window: tuple[float, float],
    broadening: float,
    most: int = 20_000,
    n_lanczos: int = 120,
    tell: Callable[[int], None] | None = None,
    growth: float = GROWTH,
    least_share: float = LEAST_SHARE,
) -> Response:
    """Response of the ground state to some operators that lead into one sector.

    Args:
        state: Ground state.
        operators: Operators of the impurity's spin orbitals.
        window: Excitation energies that matter.
        broadening: Half width with which the spectrum will be looked at.
        most: Configurations of the space; at least :data:`LEAST_GROWTH` times as many as the operators make at once,
            since without growth a spectrum means nothing, nor its error.
        n_lanczos: Poles for each operator, at most.
        tell: Called with the number of configurations after each round.
        growth: How many times larger a space is than the one before, at most.
        least_share: Importance, relative to the largest, below which a configuration waits for a later round.
    """
    space = excitation_space(state, operators, window, broadening, most, n_lanczos, tell, growth, least_share)
    if len(space.block) == 0:
        empty = Poles(np.zeros(0), np.zeros((0, len(operators))))
        return Response(empty, empty, 0)
    poles = poles_of(space.matrix, space.block, space.ground, n_lanczos)
    return Response(poles, space.rough or poles, len(space.block))


def excitation_space(
    state: SelectedState,
    operators: Sequence[Operator],
    window: tuple[float, float],
    broadening: float,
    most: int = 20_000,
    n_lanczos: int = 120,
    tell: Callable[[int], None] | None = None,
    growth: float = GROWTH,
    least_share: float = LEAST_SHARE,
) -> Space:
    """The space of :func:`response`, whose arguments these are, for any solver."""
    hamiltonian = state.hamiltonian
    rows, block = _united([operator_on(state, operator) for operator in operators], hamiltonian)
    if len(rows) == 0:
        return Space(csr_array((0, 0)), block, state.energy)
    most = max(most, LEAST_GROWTH * len(rows))
    rough = None
    while True:
        matrix = hamiltonian.matrix(rows)
        if tell is not None:
            tell(len(rows))
        if len(rows) >= most:
            break
        wanted = min(most, max(int(growth * len(rows)), len(rows) + LEAST_ADDED)) - len(rows)
        probes = np.linspace(*window, N_PROBES if len(rows) > WHOLE else MORE_PROBES) + 1j * broadening
        new = _important(hamiltonian, rows, matrix, block, state.energy, probes, wanted, least_share)
        if len(new) == 0:
            break
        if rough is None and 2 * (len(rows) + len(new)) > most:
            rough = poles_of(matrix, block, state.energy, n_lanczos)
        rows = np.concatenate([rows, new])
        block = np.concatenate([block, np.zeros((len(new), block.shape[1]), block.dtype)])
    return Space(matrix, block, state.energy, rough)


def _united(
    parts: "list[tuple[np.ndarray, np.ndarray]]", hamiltonian: Hamiltonian
) -> tuple[UInt64[np.ndarray, "n words"], "np.ndarray"]:
    """States on the union of their configurations, as columns."""
    everything = np.concatenate([rows for rows, _ in parts])
    rows = np.unique(everything, axis=0)
    table = kernels.table_of(rows)
    dtype = np.result_type(hamiltonian.dtype, *(vector.dtype for _, vector in parts))
    block = np.zeros((len(rows), len(parts)), dtype)
    for column, (some, vector) in enumerate(parts):
        block[kernels.numbers_of(table, rows, some), column] = vector
    return rows, block


def _important(
    hamiltonian: Hamiltonian, rows: UInt64[np.ndarray, "n words"], matrix: csr_array, block: "np.ndarray",
    ground: float, probes: Complex[np.ndarray, " n_probes"], wanted: int, least_share: float = LEAST_SHARE,
) -> UInt64[np.ndarray, "k words"]:  # fmt: skip
    """The configurations outside that the response needs most."""
    basis, small, first = lanczos(matrix, block, N_ROUGH if len(rows) > WHOLE else len(rows))
    energies, rotation = np.linalg.eigh(small)
    weights = rotation.conj().T[:, : len(first)] @ first  # of each rough pole in each operator's state
    answers = np.concatenate(
        [basis @ (rotation @ (weights / (z - (energies - ground))[:, None])) for z in probes], axis=1
    )
    at = np.repeat(probes, weights.shape[1])
    if not np.iscomplexobj(matrix.data):
        answers, at = np.concatenate([answers.real, answers.imag], axis=1), np.tile(at, 2)
    outside, sums = hamiltonian.outside(rows, answers)
    gap = hamiltonian.diagonal(outside) - ground
    importance = np.zeros(len(outside))
    for amplitude, z in zip(sums.T, at, strict=True):
        importance += np.abs(amplitude) ** 2 / ((z.real - gap) ** 2 + z.imag**2)
    least = max(NEGLIGIBLE * float(np.sum(np.abs(answers) ** 2)), least_share * float(importance.max(initial=0.0)))
    felt = np.flatnonzero(importance > least)
    order = felt[np.argsort(-importance[felt], kind="stable")]
    return np.asarray(outside[order[:wanted]])


def lanczos(matrix: csr_array, block: "np.ndarray", n_steps: int) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    """Block Lanczos with full orthogonalization.

    Args:
        matrix: (n, n) Hermitian.
        block: (n, p) vectors to begin with; linearly dependent ones are allowed.
        n_steps: Blocks.

    Returns:
        Basis (n, k), the matrix in it (k, k), and the first block in its first vectors (r, p).
    """
    scale = float(np.linalg.norm(block)) or 1.0
    q, s, vh = np.linalg.svd(block, full_matrices=False)
    rank = int(np.sum(s > RANK * scale))
    first = s[:rank, None] * vh[:rank]
    width = np.linalg.norm(first) or 1.0
    capacity = min(len(block), rank * n_steps)
    basis = np.empty((len(block), capacity), np.result_type(matrix.dtype, block.dtype), order="F")
    small = np.zeros((capacity, capacity), basis.dtype)
    new, count = q[:, :rank], 0
    while new.shape[1] and count < capacity:
        new = new[:, : capacity - count]
        end = count + new.shape[1]
        basis[:, count:end] = new
        product = matrix @ new
        projected = basis[:, :end].conj().T @ product
        small[:end, count:end] = projected
        small[count:end, :end] = projected.conj().T
        product -= basis[:, :end] @ projected
        product -= basis[:, :end] @ (basis[:, :end].conj().T @ product)
        u, s, _ = np.linalg.svd(product, full_matrices=False)
        new, count = u[:, s > RANK * max(width, 1.0)], end
    return basis[:, :count], small[:count, :count], first


def poles_of(matrix: csr_array, block: "np.ndarray", ground: float, n_lanczos: int) -> Poles:
    """Poles and amplitudes by block Lanczos; all of them on small spaces."""
    n = matrix.shape[0]
    if n > WHOLE:  # without orthogonalization a pole may come several times, with weights that add up
        walk = Recurrence(matrix, block)
        if walk.is_complete:
            return Poles(np.zeros(0), np.zeros((0, block.shape[1])))
        walk.extend(min(n_lanczos, -(-n // walk.following.shape[1])))
        energies, amplitudes = walk.poles()
        return Poles(energies - ground, amplitudes)
    _, small, first = lanczos(matrix, block, n)
    energies, rotation = np.linalg.eigh(small)
    return Poles(energies - ground, rotation.conj().T[:, : len(first)] @ first)


@dataclass(frozen=True)
class GreensFunction:
    """Local Green's function of some spin orbitals of the impurity, with what the self-energy needs.

    Attributes:
        spin_orbitals: Which.
        added: Response to ``c+_a`` and ``[c_a, H_U]+``.
        removed: Response to ``c_a`` and ``[c_a, H_U]``.
    """

    spin_orbitals: tuple[int, ...]
    added: Response
    removed: Response

    def __call__(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "n p p"]:
        """G_ab(z) = <<c_a; c+_b>>."""
        return self._block(z)[0]

    def correlator(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "n p p"]:
        """F_ab(z) = <<[c_a, H_U]; c+_b>>."""
        return self._block(z)[1]

    def self_energy(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "n p p"]:
        """``F G^-1``."""
        g, f = self._block(z)
        return np.asarray(f @ np.linalg.inv(g))

    def spectral_function(
        self, frequencies: Float[np.ndarray, " n"], broadening: float
    ) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n p"]]:
        """``-Im G_aa(w + i eta) / pi`` and its error: what the last round of growth changed."""
        z = np.asarray(frequencies) + 1j * broadening
        final, before = self._block(z)[0], self._block(z, rough=True)[0]
        a, b = (-np.diagonal(g, axis1=1, axis2=2).imag / np.pi for g in (final, before))
        return a, np.abs(a - b)

    def moment(self, n: int) -> "np.ndarray":
        """``integral w^n A_ab(w) dw``: 1 for n = 0, h plus Hartree and Fock for n = 1."""
        p = len(self.spin_orbitals)
        added, removed = self.added.poles.moment(n)[:p, :p], self.removed.poles.moment(n)[:p, :p]
        return np.asarray(added + (-1) ** n * removed.T)

    def _block(self, z: "np.ndarray", *, rough: bool = False) -> tuple["np.ndarray", "np.ndarray"]:
        p = len(self.spin_orbitals)
        added, removed = (r.rough if rough else r.poles for r in (self.added, self.removed))
        plus, minus = added.matrix(z), -removed.matrix(-np.asarray(z)).transpose(0, 2, 1)
        return plus[:, :p, :p] + minus[:, :p, :p], plus[:, p:, :p] + minus[:, p:, :p]


def greens_function(
    state: SelectedState,
    spin_orbitals: Sequence[int],
    window: tuple[float, float],
    broadening: float,
    most: int = 20_000,
    n_lanczos: int = 120,
    tell: Callable[[int], None] | None = None,
    growth: float = GROWTH,
    least_share: float = LEAST_SHARE,
) -> GreensFunction:
    """Local Green's function of spin orbitals whose operators lead into one sector (one spin, where it is conserved).

    Args:
        state: Ground state.
        spin_orbitals: Of the impurity.
        window: Frequencies that matter, relative to the Fermi level.
        broadening: Half width with which spectra will be looked at.
        most: Configurations of each of the two excited spaces.
        n_lanczos: Poles for each operator, at most.
        tell: Called with the number of configurations after each round, of both spaces together.
        growth: How many times larger a space is than the one before, at most.
        least_share: Importance, relative to the largest, below which a configuration waits for a later round.
    """
    u = state.hamiltonian.model.interaction
    mixed = [commutator(u, a) for a in spin_orbitals]
    add = [*(product(1.0, (a, True)) for a in spin_orbitals), *(operator.adjoint() for operator in mixed)]
    remove = [*(product(1.0, (a, False)) for a in spin_orbitals), *mixed]
    low, high = window
    added = response(state, add, (0.0, max(high, broadening)), broadening, most, n_lanczos, tell, growth, least_share)

    def second(n: int) -> None:
        if tell is not None:
            tell(added.n + n)

    removed = response(
        state, remove, (0.0, max(-low, broadening)), broadening, most, n_lanczos, second, growth, least_share
    )
    return GreensFunction(tuple(spin_orbitals), added, removed)
