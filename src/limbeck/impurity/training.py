"""Training of a network on sets of configurations, with exact sums: first on a known vector, then by the energy.

1. Logarithms of sizes, and signs, of the vector that Davidson's method finds on the same set (:func:`fit_heads`).
2. Amplitudes themselves, weighted so that small ones count too (:func:`fit_amplitudes`).
3. The energy (:func:`lower_energy`). With f the normalized amplitudes, J their derivatives (tangent to f) and E the
   energy, a step is

       delta = -(J^T (H - E + s) J + lambda)^-1 J^T (H - E) f.

   Large s is the natural gradient (imaginary time seen through the network), s = 0 Newton's method without the
   network's own curvature (the linear method); a small s is used. lambda, a trust region for the parameters, falls with
   each step that lowers the energy and rises with each that does not: the first step to be tried is the boldest, and
   the energy never rises.

Where there are more parameters than amplitudes the same step is found from a matrix of the amplitudes' size (kernel
form): with ``H - E + s = L L^T``, ``delta = -J^T L (L^T J J^T L + lambda)^-1 L^-1 (H - E) f``.

Source: K. Levenberg, doi:10.1090/qam/10666; S. Sorella, arXiv:cond-mat/0009149 (natural gradient); J. Toulouse, C. J.
Umrigar, arXiv:physics/0701039 (linear method); A. Chen, M. Heyl, arXiv:2302.01941 (kernel form).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import block_diag, cho_factor, cho_solve, solve_triangular
from scipy.sparse import block_array, csr_array

from limbeck.impurity.network import Transformer

SHIFT = 0.1
"""s relative to the median of H - E on the diagonal: small beside excitations that matter."""
FIRST_DAMPING = 1e-3
FALL, RISE = 0.25, 3.0
"""Factors of the damping after a step that is taken, and one that is not."""
LEAST_DAMPING, MOST_DAMPING = 1e-14, 1e6
ROUNDING = 1e-15
"""Damping below this, times size and largest element of a Gram matrix, is lost in rounding."""
POWER = 0.5
"""Weight of an amplitude in the fits: its size to this power."""
STALLED = 1e-4
"""A fit ends where a step gains less than this share of what is left."""


@dataclass(frozen=True)
class Task:
    """What a network is to hold for one model.

    Attributes:
        tokens: (k, t) letters of the configurations that stand for the orbits.
        features: (t, f) what is known of each orbital.
        sizes: (k,) configurations of each orbit.
        matrix: (k, k) H between normalized orbits.
        target: (k,) amplitudes of orbits to begin with, normalized.
    """

    tokens: Int[np.ndarray, "k t"]
    features: Float[np.ndarray, "t f"]
    sizes: Int[np.ndarray, " k"]
    matrix: csr_array
    target: "np.ndarray"


class _Joined:
    """Several tasks as one long vector, real and imaginary parts one after the other for each."""

    def __init__(self, network: Transformer, tasks: Sequence[Task]) -> None:
        self.network, self.tasks = network, tasks
        self.n_parts = network.n_outputs - 1
        counts = [len(task.tokens) for task in tasks]
        self.tokens = np.concatenate([task.tokens for task in tasks])
        if len(tasks) == 1:
            self.features = tasks[0].features
        else:
            self.features = np.concatenate(
                [np.broadcast_to(task.features, (len(task.tokens), *task.features.shape)) for task in tasks]
            )
        ends = np.cumsum([0, *counts])
        self.members = [slice(ends[k], ends[k + 1]) for k in range(len(tasks))]
        self.blocks = [slice(self.n_parts * ends[k], self.n_parts * ends[k + 1]) for k in range(len(tasks))]
        self.matrices = [_real(task.matrix) if self.n_parts == 2 else task.matrix for task in tasks]
        self.roots = [np.tile(np.sqrt(task.sizes), self.n_parts) for task in tasks]

    def vectors(self, parameters: "np.ndarray") -> "list[np.ndarray]":
        """Amplitudes of orbits of each task, not normalized."""
        values = self.network.amplitudes(parameters, self.tokens, self.features)
        return [values[m].T.ravel() * root for m, root in zip(self.members, self.roots, strict=True)]

    def vectors_and_gradients(self, parameters: "np.ndarray") -> "tuple[list[np.ndarray], np.ndarray]":
        """The same, and derivatives, all tasks below each other."""
        values, gradients = self.network.amplitudes_and_gradients(parameters, self.tokens, self.features)
        vectors, pieces = [], []
        for m, root in zip(self.members, self.roots, strict=True):
            vectors.append(values[m].T.ravel() * root)
            part = gradients[m].transpose(1, 0, 2).reshape(len(root), -1)
            pieces.append(part * root[:, None])
        return vectors, pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def energies(self, vectors: "list[np.ndarray]") -> Float[np.ndarray, " m"]:
        """Energy of each task."""
        return np.array([f @ (h @ f) / (f @ f) for f, h in zip(vectors, self.matrices, strict=True)])

    def reaches(self, target: float | None) -> "Callable[[np.ndarray], bool]":
        """Whether the sum of energies at some parameters is as low as a target; never without one."""
        if target is None:
            return lambda parameters: False
        return lambda parameters: float(np.sum(self.energies(self.vectors(parameters)))) <= target

    def targets(self) -> "list[np.ndarray]":
        """Vectors to be fitted."""
        if self.n_parts == 1:
            return [task.target.real for task in self.tasks]
        return [np.concatenate([task.target.real, task.target.imag]) for task in self.tasks]


def _real(matrix: csr_array) -> csr_array:
    """A Hermitian matrix as a real one of twice the size."""
    return csr_array(block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]))


def amplitudes(network: Transformer, parameters: Float[np.ndarray, " p"], task: Task) -> "np.ndarray":
    """Normalized amplitudes of the orbits of a task."""
    vector = _Joined(network, [task]).vectors(parameters)[0]
    vector = vector / np.linalg.norm(vector)
    return vector if not network.is_complex else vector[: len(task.tokens)] + 1j * vector[len(task.tokens) :]


@dataclass(frozen=True)
class Fit:
    """Least squares.

    Attributes:
        parameters: Of the network.
        steps: That were taken.
    """

    parameters: Float[np.ndarray, " p"]
    steps: int


def fit_heads(
    network: Transformer, parameters: Float[np.ndarray, " p"], tasks: Sequence[Task], steps: int = 20,
    target: float | None = None,
) -> Fit:  # fmt: skip
    """Parameters that give logarithms of sizes and signs (phases) of the targets, by least squares.

    Args:
        network: The network.
        parameters: To begin with.
        tasks: Sets with their targets.
        steps: At most.
        target: Ends where the sum of the energies is no higher.
    """
    joined = _Joined(network, tasks)
    wanted, weights = [], []
    for task in tasks:
        size, root = np.abs(task.target), np.sqrt(task.sizes)
        floor = np.finfo(float).tiny
        phase = np.where(size > 0, task.target / np.maximum(size, floor), 1.0)
        each = size / root
        columns = [np.log(np.maximum(each, 1e-12 * each.max()) / each.max()), phase.real]
        wanted.append(np.column_stack([*columns, phase.imag] if network.is_complex else columns))
        weights.append(size**POWER)
    targets, weight = np.concatenate(wanted), np.concatenate(weights)
    weight /= np.linalg.norm(weight)

    def residual(p: "np.ndarray") -> "np.ndarray":
        values = network.heads(p, joined.tokens, joined.features)
        return np.asarray(((values - targets) * weight[:, None]).T.ravel())

    def gradients(p: "np.ndarray") -> "np.ndarray":
        _, j = network.heads_and_gradients(p, joined.tokens, joined.features)
        return np.asarray((j * weight[:, None, None]).transpose(1, 0, 2).reshape(-1, len(p)))

    return _least_squares(parameters, residual, gradients, steps, joined.reaches(target))


def fit_amplitudes(
    network: Transformer,
    parameters: Float[np.ndarray, " p"],
    tasks: Sequence[Task],
    steps: int = 40,
    target: float | None = None,
) -> Fit:
    """Parameters that give the targets' amplitudes; an error counts by ``|c|^(p - 1)``, p = 1/2; as above."""
    joined = _Joined(network, tasks)
    scales, vectors = [], []
    for task, vector, root in zip(tasks, joined.targets(), joined.roots, strict=True):
        size = np.tile(np.maximum(np.abs(task.target), 1e-12 * np.abs(task.target).max()), joined.n_parts)
        scales.append(size ** (POWER - 1.0))
        vectors.append(vector / np.max(size / root))
    scale, wanted = np.concatenate(scales), np.concatenate(vectors)
    scale /= np.linalg.norm(scale * wanted)

    def residual(p: "np.ndarray") -> "np.ndarray":
        return np.asarray(scale * (np.concatenate(joined.vectors(p)) - wanted))

    def gradients(p: "np.ndarray") -> "np.ndarray":
        return np.asarray(scale[:, None] * joined.vectors_and_gradients(p)[1])

    return _least_squares(parameters, residual, gradients, steps, joined.reaches(target))


def _least_squares(
    parameters: "np.ndarray",
    residual: "Callable[[np.ndarray], np.ndarray]",
    gradients: "Callable[[np.ndarray], np.ndarray]",
    steps: int,
    is_done: "Callable[[np.ndarray], bool]",
) -> Fit:
    """Levenberg's method."""
    damping, r = FIRST_DAMPING, residual(parameters)
    cost, taken = r @ r, 0
    for _ in range(steps):
        j = gradients(parameters)
        wide = j.shape[0] < j.shape[1]
        gram = j @ j.T if wide else j.T @ j
        right = r if wide else j.T @ r
        while damping < MOST_DAMPING:
            least = ROUNDING * len(gram) * float(gram.diagonal().max())
            shifted = gram + max(damping, least) * np.eye(len(gram))
            solved = cho_solve(cho_factor(shifted, check_finite=False), right, check_finite=False)
            tried = parameters - (j.T @ solved if wide else solved)
            r = residual(tried)
            new = r @ r
            if new < cost:
                break
            damping *= RISE
        if damping >= MOST_DAMPING:
            break
        damping = max(damping * FALL, LEAST_DAMPING)
        gain, cost, parameters, taken = cost - new, new, tried, taken + 1
        if gain < STALLED * cost or is_done(parameters):
            break
    return Fit(parameters, taken)


@dataclass(frozen=True)
class Descent:
    """What the training by the energy gave.

    Attributes:
        parameters: Of the network.
        energies: (steps + 1, m) energy of each task, beginning with that before the first step.
        damping: Of the step that would come next.
    """

    parameters: Float[np.ndarray, " p"]
    energies: Float[np.ndarray, "steps m"]
    damping: float = FIRST_DAMPING


def lower_energy(
    network: Transformer,
    parameters: Float[np.ndarray, " p"],
    tasks: Sequence[Task],
    steps: int = 60,
    tolerance: float = 1e-11,
    target: float | None = None,
    tell: Callable[[Descent], None] | None = None,
    begun: Descent | None = None,
) -> Descent:
    """Parameters of lower energy; of several tasks the sum of their energies counts.

    Args:
        network: The network.
        parameters: To begin with.
        tasks: Sets with their Hamiltonians.
        steps: At most.
        tolerance: Ends where a step gains less than this, in units of the energy.
        target: Ends where the sum of energies is no higher than this.
        tell: Called before the first step and after each with what there is so far.
        begun: What an interrupted descent of the same tasks told last; it goes on there as if nothing had happened.
    """
    joined, damping = _Joined(network, tasks), FIRST_DAMPING
    if begun is not None:
        parameters, damping = begun.parameters, begun.damping
    history = [joined.energies(joined.vectors(parameters))] if begun is None else list(begun.energies)
    if tell is not None:
        tell(Descent(parameters, np.array(history), damping))
    while len(history) <= steps:
        energies = history[-1]
        total = float(np.sum(energies))
        if target is not None and total <= target:
            break
        if len(history) > 1 and float(np.sum(history[-2])) - total < tolerance * max(abs(total), 1e-300):
            break
        vectors, j = joined.vectors_and_gradients(parameters)
        move = _steps(joined, vectors, j, energies)
        while damping < MOST_DAMPING:
            tried = parameters + move(damping)
            energies = joined.energies(joined.vectors(tried))
            if np.sum(energies) < total:
                break
            damping *= RISE
        if damping >= MOST_DAMPING:
            break
        damping, parameters = max(damping * FALL, LEAST_DAMPING), tried
        history.append(energies)
        if tell is not None:
            tell(Descent(parameters, np.array(history), damping))
    return Descent(parameters, np.array(history), damping)


def _steps(
    joined: _Joined, vectors: "list[np.ndarray]", j: "np.ndarray", energies: "np.ndarray"
) -> "Callable[[float], np.ndarray]":
    """Step of the parameters as a function of the damping; ``j`` is overwritten."""
    residuals, shifted = [], []
    for vector, matrix, energy, block in zip(vectors, joined.matrices, energies, joined.blocks, strict=True):
        size = np.linalg.norm(vector)
        f = vector / size
        part = j[block]
        part /= size
        part -= np.outer(f, f @ part)
        residuals.append(matrix @ f - energy * f)
        diagonal = matrix.diagonal().real - energy
        shift = SHIFT * max(float(np.median(diagonal)), 1e-300)
        shifted.append((matrix, shift - energy))
    residual = np.concatenate(residuals)
    if len(j) < j.shape[1]:
        lower = block_diag(*(_root(matrix, shift) for matrix, shift in shifted))
        gram = lower.T @ (j @ j.T) @ lower
        right = solve_triangular(lower, residual, lower=True)

        def move(damping: float) -> "np.ndarray":
            damping = max(damping, ROUNDING * len(gram) * float(gram.diagonal().max()))
            factor = cho_factor(gram + damping * np.eye(len(gram)), check_finite=False)
            return np.asarray(-j.T @ (lower @ cho_solve(factor, right, check_finite=False)))

        return move
    product = np.concatenate(
        [matrix @ j[block] + shift * j[block] for (matrix, shift), block in zip(shifted, joined.blocks, strict=True)]
    )
    curvature, slope = j.T @ product, j.T @ residual

    def move_small(damping: float) -> "np.ndarray":
        scale = damping
        while True:
            try:
                factor = cho_factor(curvature + scale * np.eye(len(curvature)), check_finite=False)
            except np.linalg.LinAlgError:
                scale *= RISE
                continue
            return np.asarray(-cho_solve(factor, slope, check_finite=False))

    return move_small


def _root(matrix: csr_array, shift: float) -> "np.ndarray":
    """Cholesky factor of ``matrix + shift``, with more shift where that is not positive."""
    dense = matrix.toarray()
    step = abs(shift) * 1e-3 + 1e-12
    while True:
        try:
            return np.asarray(np.linalg.cholesky(dense + shift * np.eye(len(dense))))
        except np.linalg.LinAlgError:
            shift, step = shift + step, 2 * step
