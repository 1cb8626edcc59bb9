"""Ground state as a network on a set of configurations that grows.

Each round: Davidson's method gives the vector on the set (kept as the yardstick); the network is fitted to it and then
lowers the energy itself; H applied to the *network's* state ranks what is outside, and the best enter. Of what is
outside a part is trained along, with its elements of H to the set and its diagonal, but not among itself: its best
amplitudes there are those of perturbation theory. The rest of what is outside is never seen, and tells how far the
network can be trusted beyond its set.

Symmetries of the model (:mod:`limbeck.impurity.symmetry`) make one amplitude of all that they connect; the network is
asked for one configuration of each orbit, with the signs of the chains taken out.

Source of the idea: X. Cao, Z. Zhong, Y. Lu, arXiv:2408.13050; here with exact sums throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, UInt64
from scipy.sparse import csr_array, diags_array

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Bar, Reporter, SilentReporter
from limbeck.impurity.beyond import Beyond, beyond_the_set
from limbeck.impurity.network import Architecture, Transformer, tokens_of
from limbeck.impurity.network_problem import Amplitudes, Problem, between_orbits
from limbeck.impurity.selected_ci import SelectedState, Step
from limbeck.impurity.subspace import lowest, numbers, unpacked
from limbeck.impurity.symmetry import Orbits, Symmetry, chain_signs
from limbeck.impurity.training import Descent, Task, amplitudes, fit_amplitudes, fit_heads, lower_energy

HEAD_STEPS, AMPLITUDE_STEPS = 20, 40
"""Steps of the two fits at most."""
GROWTH = 2.0


@dataclass(frozen=True)
class Round:
    """One set of the growth.

    Attributes:
        n: Configurations.
        n_orbits: Amplitudes that symmetry leaves free.
        energy: Of the network.
        pt2: Second-order correction for what is outside, from the network's state.
        subspace_energy: Lowest on the set.
        fit_steps: Steps of the fits to the vector.
        energies: Of the network after each step, boundary included.
        lowest: Lowest of what is trained: set and boundary.
    """

    n: int
    n_orbits: int
    energy: float
    pt2: float
    subspace_energy: float
    fit_steps: int
    energies: tuple[float, ...]
    lowest: float


@dataclass(frozen=True)
class Progress:
    """Where a training stands: enough to go on as if it had not been interrupted.

    Attributes:
        rows: Configurations of the set.
        parameters: Of the network; ``None`` before the first fit.
        rounds: Sets that are done.
        fit_steps: Steps of the fits to the vector of this set.
        descent: Steps by the energy so far; ``None`` before the fits of this set.
        random: State of the random generator.
    """

    rows: UInt64[np.ndarray, "n words"]
    parameters: Float[np.ndarray, " p"] | None
    rounds: tuple[Round, ...]
    fit_steps: int
    descent: Descent | None
    random: dict[str, Any]


@dataclass(frozen=True)
class NetworkState:
    """Ground state as a network.

    Attributes:
        state: Configurations and the network's amplitudes, as any other ground state; energy an upper bound.
        amplitudes: The network.
        problem: The model.
        subspace_energy: Lowest on the same set by Davidson's method.
        variance_inside: ``|(H - E) psi|^2`` within the set, a part of ``state.variance``.
        rounds: The growth.
        beyond: How far amplitudes outside can be trusted; ``None`` if nothing unseen is left.
    """

    state: SelectedState
    amplitudes: Amplitudes
    problem: Problem
    subspace_energy: float
    variance_inside: float
    rounds: tuple[Round, ...]
    beyond: Beyond | None

    @property
    def n_parameters(self) -> int:
        """Real numbers that were trained."""
        return self.amplitudes.network.n_parameters


def network_state(
    problem: Problem,
    architecture: Architecture,
    most: int = 2000,
    *,
    steps: int = 100,
    boundary: float = 0.0,
    tolerance: float = 1e-11,
    target: float | None = None,
    features: "np.ndarray | None" = None,
    start: "np.ndarray | None" = None,
    starts: int = 3,
    rng: np.random.Generator | None = None,
    reporter: Reporter | None = None,
    keep: Callable[[Progress], None] | None = None,
    begun: Progress | None = None,
) -> NetworkState:
    """Train a network on growing sets.

    Args:
        problem: See :func:`problem`.
        architecture: Sizes of the network.
        most: Configurations of the last set, up to closure under the symmetries.
        steps: Steps by the energy on the last set, at most; a quarter of it on those before.
        boundary: Orbits outside that are trained along, relative to those of the set.
        tolerance: Ends where a step gains less than this, in units of the energy.
        target: Ends where the energy is no higher; with a boundary looked at between sets only.
        features: (t, f) what is known of each orbital, for networks of several models.
        start: Parameters to begin with; they are not fitted again, only their energy is lowered.
        starts: Random starts that are fitted to the first set; the best goes on.
        rng: Of the random starts.
        reporter: Shows the progress.
        keep: Called at each set and after each step with where the training stands.
        begun: What an interrupted training of the same problem and arguments kept last; it gives the same result as one
            without interruption.

    Raises:
        ConfigError: If the parameters to begin with are those of another network.
    """
    model, say = problem.hamiltonian.model, reporter or SilentReporter()
    known = np.zeros((model.n_spin_orbitals // 2, 0)) if features is None else features
    network = Transformer(architecture, model.n_spin_orbitals // 2, known.shape[1], model.is_complex)
    rng = np.random.default_rng(0) if rng is None else rng
    if start is not None and len(start) != network.n_parameters:
        raise ConfigError(
            f"{len(start)} parameters do not fit a network of {network.n_parameters}: other sizes, another number of "
            "orbitals, or real parameters for a complex model"
        )
    parameters, early = start, target if boundary <= 0 else None
    rows, rounds = problem.seeds, list[Round]()
    if begun is not None:
        rows, parameters, rounds = begun.rows, begun.parameters, list(begun.rounds)
        rng.bit_generator.state = begun.random

    def kept(fit_steps: int, descent: Descent | None) -> None:
        if keep is not None:
            now = parameters if descent is None else descent.parameters
            keep(Progress(rows, now, tuple(rounds), fit_steps, descent, dict(rng.bit_generator.state)))

    while True:
        if begun is None:
            kept(0, None)
        orbits = Orbits.of(rows, problem.group)
        last = len(orbits.rows) >= most
        matrix = between_orbits(problem.hamiltonian, orbits)
        energies, vectors = lowest(matrix)
        task = _task(problem, orbits, matrix, vectors[:, 0], known)
        trained, extended = _with_boundary(problem, orbits, task, float(energies[0]), boundary)
        fitted, descent = (0, None) if begun is None else (begun.fit_steps, begun.descent)
        begun = None
        if descent is not None:
            parameters = descent.parameters
            say.message(f"going on after step {len(descent.energies) - 1} with {len(orbits.rows)} configurations")
        elif parameters is None:
            parameters, fitted = _best_start(network, extended, starts, rng, early)
        elif start is None:
            parameters, fitted = _fitted(network, parameters, extended, early)
            if _energy(network, parameters, task) > rounds[-1].energy:  # stuck: the larger set must not be worse
                anew, more = _best_start(network, extended, starts, rng, early)
                fitted += more
                parameters = min((parameters, anew), key=lambda p: _energy(network, p, task))
        budget = steps if last else max(steps // 4, 1)
        with say.bar(f"network, {len(orbits.rows)} configurations", float(budget), "") as bar:
            telling = _telling(bar, partial(kept, fitted))
            descent = lower_energy(network, parameters, [extended], budget, tolerance, early, telling, descent)
        parameters = descent.parameters
        vector, energy = amplitudes(network, parameters, task), _energy(network, parameters, task)
        whole = orbits.isometry() @ (vector * chain_signs(problem.basis, orbits.representatives))
        outside, sums = problem.hamiltonian.outside(orbits.rows, whole)
        gap = np.maximum(problem.hamiltonian.diagonal(outside) - energy, 1e-8)
        pt2 = -float(np.sum(np.abs(sums) ** 2 / gap))
        rounds.append(
            Round(
                len(orbits.rows), len(orbits.first), energy, pt2, float(energies[0]), fitted,
                tuple(descent.energies[:, 0]), float(lowest(extended.matrix)[0][0] if boundary > 0 else energies[0]),
            )
        )  # fmt: skip
        reached = target is not None and energy <= target
        if last or reached or len(outside) == 0:
            found = Amplitudes(network, parameters, known)
            return _finished(problem, found, orbits, whole, task, vector, rounds, trained, outside, sums)
        wanted = min(most, int(GROWTH * len(orbits.rows))) - len(orbits.rows)
        order = np.argsort(-np.abs(sums) / gap, kind="stable")
        rows = _grown(orbits.rows, outside[order], problem.group, wanted)


def _telling(bar: Bar, kept: Callable[[Descent], None]) -> Callable[[Descent], None]:
    """What shows a step on a bar and keeps it."""

    def tell(descent: Descent) -> None:
        bar.set(float(len(descent.energies) - 1), f"E {descent.energies[-1].sum():.8f}")
        kept(descent)

    return tell


def _fitted(
    network: Transformer, parameters: Float[np.ndarray, " p"], task: Task, target: float | None
) -> tuple[Float[np.ndarray, " p"], int]:
    """Parameters fitted to the vector of the set, and the steps that it took.

    Sizes are fitted before amplitudes in every round: what the network says of new configurations may be very large.
    """
    sizes = fit_heads(network, parameters, [task], HEAD_STEPS, target)
    if target is not None and _energy(network, sizes.parameters, task) <= target:
        return sizes.parameters, sizes.steps
    fit = fit_amplitudes(network, sizes.parameters, [task], AMPLITUDE_STEPS, target)
    return fit.parameters, sizes.steps + fit.steps


def _energy(network: Transformer, parameters: Float[np.ndarray, " p"], task: Task) -> float:
    vector = amplitudes(network, parameters, task)
    return float(np.vdot(vector, task.matrix @ vector).real)


def _best_start(
    network: Transformer, task: Task, starts: int, rng: np.random.Generator, target: float | None
) -> tuple[Float[np.ndarray, " p"], int]:
    """Parameters of the random start whose fit has the lowest energy, and the steps of all: some starts get stuck."""
    taken, found = 0, list[tuple[float, int, np.ndarray]]()
    for k in range(max(starts, 1)):
        parameters, steps = _fitted(network, network.start(rng), task, target)
        found.append((_energy(network, parameters, task), k, parameters))
        taken += steps
        if target is not None and found[-1][0] <= target:
            break
    return min(found)[2], taken


def _grown(
    rows: UInt64[np.ndarray, "n words"],
    ranked: UInt64[np.ndarray, "k words"],
    group: tuple[Symmetry, ...],
    wanted: int,
) -> UInt64[np.ndarray, "m words"]:
    """The set with the best of the ranked ones and their images: at least one more."""
    return Orbits.of(np.concatenate([rows, ranked[: max(wanted, 1)]]), group).rows


def _task(problem: Problem, orbits: Orbits, matrix: csr_array, vector: "np.ndarray", known: "np.ndarray") -> Task:
    """What the network is to hold, with the signs of the chains taken out and the largest amplitude positive."""
    rows = orbits.representatives
    signs = chain_signs(problem.basis, rows)
    target = vector * signs
    largest = target[np.argmax(np.abs(target))]
    target = target * (np.abs(largest) / largest)
    turned = csr_array(diags_array(signs) @ matrix @ diags_array(signs))
    tokens = tokens_of(unpacked(rows, problem.hamiltonian.model.n_spin_orbitals))
    return Task(tokens, known, orbits.sizes, turned, target)


def task_on(problem: Problem, features: Float[np.ndarray, "t f"]) -> tuple[Task, float]:
    """What a network is to hold on the configurations with which a problem begins, and the lowest energy there."""
    orbits = Orbits.of(problem.seeds, problem.group)
    matrix = between_orbits(problem.hamiltonian, orbits)
    energies, vectors = lowest(matrix)
    return _task(problem, orbits, matrix, vectors[:, 0], features), float(energies[0])


def _with_boundary(
    problem: Problem, orbits: Orbits, task: Task, energy: float, share: float
) -> tuple[UInt64[np.ndarray, "k words"], Task]:
    """Rows of the part of the outside that is trained along, and the task with it."""
    if share <= 0:
        return orbits.rows[:0], task
    signs = chain_signs(problem.basis, orbits.representatives)
    whole = orbits.isometry() @ (task.target * signs)
    outside, sums = problem.hamiltonian.outside(orbits.rows, whole)
    gap = np.maximum(problem.hamiltonian.diagonal(outside) - energy, 1e-8)
    order = np.argsort(-np.abs(sums) / gap, kind="stable")
    count = int(share * len(orbits.rows))
    larger = Orbits.of(np.concatenate([orbits.rows, outside[order][:count]]), problem.group)
    inside = numbers(orbits.representatives, larger.representatives)
    matrix = between_orbits(problem.hamiltonian, larger).tocoo()
    i, j = matrix.coords
    kept = (inside[i] >= 0) | (inside[j] >= 0) | (i == j)
    cut = csr_array((matrix.data[kept], (i[kept], j[kept])), shape=matrix.shape)
    target = np.zeros(len(larger.first), task.target.dtype)
    target[inside >= 0] = (task.target * signs)[inside[inside >= 0]]
    new = inside < 0
    target[new] = (cut @ target)[new] / np.minimum(energy - cut.diagonal()[new].real, -1e-8)
    rows = np.concatenate([orbits.rows, larger.rows])
    return rows, _task(problem, larger, cut, target / np.linalg.norm(target), task.features)


def _finished(
    problem: Problem, found: Amplitudes, orbits: Orbits, whole: "np.ndarray", task: Task, vector: "np.ndarray",
    rounds: list[Round], trained: UInt64[np.ndarray, "k words"], outside: UInt64[np.ndarray, "m words"],
    sums: "np.ndarray",
) -> NetworkState:  # fmt: skip
    """The result, with what is to be said of the outside."""
    energy, pt2 = rounds[-1].energy, rounds[-1].pt2
    gap = np.minimum(energy - problem.hamiltonian.diagonal(outside), -1e-8)
    order, lowest_energy = np.argsort(-np.abs(whole), kind="stable"), rounds[-1].subspace_energy
    inside = float(np.linalg.norm(task.matrix @ vector - energy * vector) ** 2)
    state = SelectedState(
        problem.hamiltonian, problem.basis.orbitals, orbits.rows[order], whole[order], energy, pt2,
        float(np.sum(np.abs(sums) ** 2)) + inside,
        (lowest_energy + pt2, abs(pt2) + energy - lowest_energy), tuple(Step(r.n, r.energy, r.pt2) for r in rounds),
    )  # fmt: skip
    beyond = None
    if len(outside):
        beyond = beyond_the_set(problem, found, orbits, whole, trained, outside, sums / gap)
    return NetworkState(state, found, problem, rounds[-1].subspace_energy, inside, tuple(rounds), beyond)
