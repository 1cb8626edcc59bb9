"""What a network is worth on configurations that it was not trained on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from limbeck.impurity.network_problem import Amplitudes, Problem, between_orbits
from limbeck.impurity.subspace import lowest, numbers
from limbeck.impurity.symmetry import Orbits


@dataclass(frozen=True)
class Beyond:
    """How the network does outside what it was trained on.

    Attributes:
        n: Configurations outside that it has never seen.
        size_correlation: Of logarithms of its amplitudes with those of perturbation theory.
        right_signs: Share of the perturbative weight with the right sign (real models).
        missing: 1 - overlap^2 of its amplitudes there with the perturbative ones, whatever their common scale.
        energy: Of the network as it stands on the set and all that H reaches from it.
        exact_energy: Lowest on that larger set by Davidson's method.
    """

    n: int
    size_correlation: float
    right_signs: float
    missing: float
    energy: float
    exact_energy: float


def beyond_the_set(
    problem: Problem, found: Amplitudes, orbits: Orbits, whole: "np.ndarray", trained: UInt64[np.ndarray, "k words"],
    outside: UInt64[np.ndarray, "m words"], perturbative: "np.ndarray",
) -> Beyond | None:  # fmt: skip
    """Network and perturbation theory on configurations that were never seen.

    Args:
        problem: The model.
        found: The network.
        orbits: Of the set.
        whole: The network's amplitudes of the set, normalized.
        trained: Configurations that it was trained on, where they are more than the set.
        outside: Configurations outside the set that H reaches from it.
        perturbative: Their amplitudes in first order.

    Returns:
        What was found, or ``None`` if nothing unseen is left.
    """
    larger = Orbits.of(np.concatenate([orbits.rows, outside]), problem.group)
    amplitudes = found.of(problem, larger)
    spread = larger.isometry() @ amplitudes
    at = numbers(larger.rows, orbits.rows)
    scale = np.vdot(spread[at], whole) / np.vdot(spread[at], spread[at]).real
    unseen = numbers(trained, outside) < 0 if len(trained) else np.ones(len(outside), bool)
    here, there = scale * spread[numbers(larger.rows, outside[unseen])], perturbative[unseen]
    size = np.abs(there) > 1e-14
    if not np.any(size):
        return None
    here, there = here[size], there[size]
    overlap = np.abs(np.vdot(here, there)) ** 2 / max(
        float(np.sum(np.abs(here) ** 2) * np.sum(np.abs(there) ** 2)), 1e-300
    )
    correlation = 0.0
    if len(here) > 2 and np.ptp(np.abs(there)) > 0:
        logs = np.log(np.maximum(np.abs(here), 1e-300)), np.log(np.abs(there))
        correlation = float(np.corrcoef(*logs)[0, 1])
    matrix = between_orbits(problem.hamiltonian, larger)
    weights = np.abs(there) ** 2
    return Beyond(
        int(np.sum(unseen)), correlation,
        float(np.sum(weights[(here * there.conj()).real > 0]) / max(float(np.sum(weights)), 1e-300)),
        float(1.0 - overlap),
        float((np.vdot(amplitudes, matrix @ amplitudes) / np.vdot(amplitudes, amplitudes)).real),
        float(lowest(matrix)[0][0]),
    )  # fmt: skip
