"""One network for a family of models: it is told levels, couplings and interaction of each orbital.

Trained on a few members of the family it gives a start for any other, in a scan of a parameter or the loop of a
self-consistent bath, from which few steps are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import ConfigError
from limbeck.impurity.network import Architecture, Transformer
from limbeck.impurity.network_problem import Problem
from limbeck.impurity.network_state import AMPLITUDE_STEPS, HEAD_STEPS, NetworkState, network_state, task_on
from limbeck.impurity.training import fit_amplitudes, fit_heads, lower_energy

N_FEATURES = 4
"""Level, strongest coupling, repulsion within an orbital, mean repulsion between orbitals."""


def features_of(problem: Problem) -> Float[np.ndarray, "t f"]:
    """What a network is told of each natural orbital (of its spin up), in the unit of the model's energies."""
    model = problem.basis.model
    h, m = model.one_body[0::2, 0::2].real, model.n_impurity // 2
    couplings = np.abs(h - np.diag(np.diag(h))).max(axis=1)
    u = np.array([[model.interaction[2 * a, 2 * b + 1, 2 * a, 2 * b + 1].real for b in range(m)] for a in range(m)])
    within, between = float(np.mean(np.diag(u))), float(np.sum(u - np.diag(np.diag(u))) / max(m * (m - 1), 1))
    rest = np.full(len(h), 1.0)
    return np.column_stack([np.diag(h), couplings, within * rest, between * rest])


@dataclass(frozen=True)
class Conditioned:
    """A network for a family of models.

    Attributes:
        network: The function.
        parameters: Trained.
        mean: (f,) of the features over the family it was trained on.
        spread: (f,) their standard deviation, 1 for those that are always the same.
        energies: (m,) of the network for those models.
        subspace_energies: (m,) lowest on the same sets.
    """

    network: Transformer
    parameters: Float[np.ndarray, " p"]
    mean: Float[np.ndarray, " f"]
    spread: Float[np.ndarray, " f"]
    energies: Float[np.ndarray, " m"]
    subspace_energies: Float[np.ndarray, " m"]

    def features(self, problem: Problem) -> Float[np.ndarray, "t f"]:
        """Features of another model of the family."""
        return (features_of(problem) - self.mean) / self.spread

    def state(self, problem: Problem, most: int, steps: int = 50, target: float | None = None) -> NetworkState:
        """Ground state of a model of the family, from these parameters.

        Args:
            problem: The model.
            most: Configurations.
            steps: By the energy, at most.
            target: Ends where the energy is no higher.
        """
        return network_state(
            problem, self.network.architecture, most, steps=steps, target=target, features=self.features(problem),
            start=self.parameters,
        )  # fmt: skip


def train_conditioned(
    problems: Sequence[Problem], architecture: Architecture, rng: np.random.Generator, steps: int = 60
) -> Conditioned:
    """Train one network on several models at once, on the configurations with which each begins.

    Args:
        problems: Members of the family with the same numbers of orbitals; ``first`` of
            :func:`limbeck.impurity.network_state.problem` is the size of their sets.
        architecture: Sizes of the network.
        rng: Of the random start.
        steps: By the sum of the energies, at most.

    Raises:
        ConfigError: If the models have different numbers of orbitals, or some are real and some complex.
    """
    sizes = {p.hamiltonian.model.n_spin_orbitals // 2 for p in problems}
    if len(sizes) != 1:
        raise ConfigError(f"one network needs models with as many orbitals each, got {sorted(sizes)}")
    known = np.array([features_of(p) for p in problems])
    mean, spread = known.mean(axis=(0, 1)), known.std(axis=(0, 1))
    spread = np.where(spread > 1e-9, spread, 1.0)
    found = [task_on(p, (f - mean) / spread) for p, f in zip(problems, known, strict=True)]
    tasks, lowest_energies = [task for task, _ in found], [energy for _, energy in found]
    kinds = {p.hamiltonian.model.is_complex for p in problems}
    if len(kinds) != 1:
        raise ConfigError("one network needs models that are all real or all complex")
    network = Transformer(architecture, sizes.pop(), N_FEATURES, kinds.pop())
    parameters = fit_heads(network, network.start(rng), tasks, HEAD_STEPS).parameters
    parameters = fit_amplitudes(network, parameters, tasks, AMPLITUDE_STEPS).parameters
    descent = lower_energy(network, parameters, tasks, steps)
    return Conditioned(network, descent.parameters, mean, spread, descent.energies[-1], np.array(lowest_energies))
