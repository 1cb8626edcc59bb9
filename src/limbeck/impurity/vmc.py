"""The same network trained by variational Monte Carlo: the usual way, here to compare with.

Configurations of the whole sector are drawn from ``|psi|^2`` by a Metropolis walk of many walkers (an electron hops to
an empty orbital of its spin). The energy is the mean of ``E(n) = sum_m <n|H|m> psi(m) / psi(n)``; parameters move by
stochastic reconfiguration in its kernel form, ``delta = -rate O^T (O O^T + damping)^-1 (E - <E>)`` with the centered
logarithmic derivatives O of the samples.

Source: S. Sorella, arXiv:cond-mat/0009149; A. Chen, M. Heyl, arXiv:2302.01941.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt64
from numba import njit
from scipy.linalg import cho_factor, cho_solve

from limbeck.impurity import kernels
from limbeck.impurity.network import Architecture, Transformer, tokens_of
from limbeck.impurity.network_problem import Amplitudes, Problem
from limbeck.impurity.subspace import packed, unpacked
from limbeck.impurity.symmetry import chain_signs

SWEEPS_FIRST, SWEEPS = 40, 2
"""Sweeps (as many tried hops as there are spin orbitals) before the first step, and before each one after it."""
LEAST_AMPLITUDE = 1e-150


@dataclass(frozen=True)
class Walk:
    """What Monte Carlo gave.

    Attributes:
        amplitudes: The network as it ended.
        energies: (steps,) mean local energy of each step's samples.
        errors: (steps,) its standard error, walkers taken as independent.
        acceptance: Share of hops taken.
    """

    amplitudes: Amplitudes
    energies: Float[np.ndarray, " steps"]
    errors: Float[np.ndarray, " steps"]
    acceptance: float


def variational_monte_carlo(
    problem: Problem,
    architecture: Architecture,
    steps: int,
    rng: np.random.Generator,
    *,
    walkers: int = 512,
    rate: float = 0.05,
    damping: float = 1e-3,
    start: "np.ndarray | None" = None,
    tell: "Callable[[int, float, np.ndarray], bool] | None" = None,
) -> Walk:
    """Train a network by samples.

    Args:
        problem: The model; its symmetries are not used.
        architecture: Sizes of the network.
        steps: Steps of the parameters.
        rng: Of start and walk.
        walkers: Samples of each step.
        rate: Length of a step.
        damping: Relative to the mean of the kernel's diagonal.
        start: Parameters to begin with.
        tell: Called after each step with its number, its energy and the new parameters; ends the training by returning
            true.

    Raises:
        ValueError: If the model is complex.
    """
    model = problem.hamiltonian.model
    if model.is_complex:
        raise ValueError("Monte Carlo is there for real models only")
    known = np.zeros((model.n_spin_orbitals // 2, 0))
    network = Transformer(architecture, model.n_spin_orbitals // 2)
    parameters = network.start(rng) if start is None else start
    groups = [(members, count) for members, count in model.groups() if 0 < count < len(members)]
    occupied = unpacked(problem.seeds[rng.integers(len(problem.seeds), size=walkers)], model.n_spin_orbitals)
    energies, errors, taken = [], [], []

    def amplitude(bits: "np.ndarray") -> "np.ndarray":
        return network.amplitudes(parameters, tokens_of(bits), known)[:, 0]

    for step in range(steps):
        hops = (SWEEPS if step else SWEEPS_FIRST) * model.n_spin_orbitals
        taken += [_hop(occupied, amplitude, groups, rng) for _ in range(hops)]
        rows = packed(occupied, problem.hamiltonian.words)
        local = local_energies(problem, rows, amplitude)
        value, gradient = network.amplitudes_and_gradients(parameters, tokens_of(occupied), known)
        size = np.where(np.abs(value[:, 0]) > LEAST_AMPLITUDE, value[:, 0], LEAST_AMPLITUDE)
        derivatives = gradient[:, 0] / size[:, None]
        derivatives = (derivatives - derivatives.mean(0)) / np.sqrt(walkers)
        energies.append(float(local.mean()))
        errors.append(float(local.std(ddof=1) / np.sqrt(walkers)))
        kernel = derivatives @ derivatives.T
        kernel[np.diag_indices(walkers)] += damping * np.trace(kernel) / walkers + 1e-12
        right = (local - local.mean()) / np.sqrt(walkers)
        parameters = parameters - rate * (derivatives.T @ cho_solve(cho_factor(kernel), right))
        if tell is not None and tell(step + 1, energies[-1], parameters):
            break
    found = Amplitudes(network, parameters, known)
    return Walk(found, np.array(energies), np.array(errors), float(np.mean(taken)))


def _hop(
    occupied: "np.ndarray",
    amplitude: "Callable[[np.ndarray], np.ndarray]",
    groups: "list[tuple[np.ndarray, int]]",
    rng: np.random.Generator,
) -> float:
    """One tried hop of every walker; share of those taken."""
    n = len(occupied)
    tried = occupied.copy()
    which = rng.integers(len(groups), size=n)
    for g, (members, count) in enumerate(groups):
        walkers = np.flatnonzero(which == g)
        part = occupied[np.ix_(walkers, members)]
        order = np.argsort(~part, axis=1, kind="stable")
        source = order[np.arange(len(walkers)), rng.integers(count, size=len(walkers))]
        target = order[np.arange(len(walkers)), rng.integers(count, len(members), size=len(walkers))]
        tried[walkers, members[source]], tried[walkers, members[target]] = False, True
    both = amplitude(np.concatenate([occupied, tried])) ** 2
    accepted = rng.random(n) * both[:n] < both[n:]
    occupied[accepted] = tried[accepted]
    return float(accepted.mean())


def local_energies(
    problem: Problem, rows: UInt64[np.ndarray, "n words"], amplitude: "Callable[[np.ndarray], np.ndarray]"
) -> Float[np.ndarray, " n"]:
    """``sum_m <n|H|m> psi(m) / psi(n)`` of each sample.

    Args:
        problem: The model.
        rows: Samples.
        amplitude: psi of occupations, with the signs of the chains taken out.
    """
    hamiltonian, n_bits = problem.hamiltonian, problem.hamiltonian.model.n_spin_orbitals
    starts, made, values = _all_connections(rows, hamiltonian.most, hamiltonian.model.n_impurity, *hamiltonian.arrays)
    unique, back = np.unique(np.concatenate([rows, made]), axis=0, return_inverse=True)
    psi = (amplitude(unpacked(unique, n_bits)) * chain_signs(problem.basis, unique))[back.ravel()]
    here, there = psi[: len(rows)], psi[len(rows) :]
    here = np.where(np.abs(here) > LEAST_AMPLITUDE, here, LEAST_AMPLITUDE)
    sums = np.add.reduceat(np.append(values * there, 0.0), np.minimum(starts[:-1], len(made)))
    sums[np.diff(starts) == 0] = 0.0
    return np.asarray(hamiltonian.diagonal(rows) + sums / here)


@njit(cache=True)
def _all_connections(
    rows: np.ndarray, most: int, local_bits: int, local_starts: np.ndarray, local_to: np.ndarray,
    local_values: np.ndarray, hop_starts: np.ndarray, hop_to: np.ndarray, hop_values: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """What H makes of each row: where each one's begin, the rows, and ``<made|H|row>``."""
    starts = np.zeros(len(rows) + 1, np.int64)
    made, values = np.empty((len(rows) * most, rows.shape[1]), np.uint64), np.empty(len(rows) * most, hop_values.dtype)
    count = 0
    for k in range(len(rows)):
        count += kernels.connections(
            rows[k], local_bits, local_starts, local_to, local_values, hop_starts, hop_to, hop_values, False,
            made[count:], values[count:],
        )  # fmt: skip
        starts[k + 1] = count
    return starts, made[:count], values[:count]
