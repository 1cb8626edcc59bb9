"""One network for a family of models: it is told levels, couplings and interaction of each orbital.

Trained on a few members of the family it gives a start for any other, in a scan of a parameter, from which few steps
are needed. In the loop of a self-consistent bath :class:`Follower` begins with what it found in the iteration before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import ConfigError
from limbeck.impurity.network import Architecture, Transformer
from limbeck.impurity.network_problem import Problem, problem
from limbeck.impurity.network_state import AMPLITUDE_STEPS, HEAD_STEPS, NetworkState, network_state, task_on
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.impurity.selected_ci import SelectedState
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


class Follower:
    """Ground states of one model after another by one network, each begun from the parameters of the one before.

    For ``ground`` of :class:`limbeck.impurity.dmft.Problem`. A model with another number of orbitals begins anew.

    Args:
        architecture: Sizes of the network.
        configurations: Of the set, up to closure under the symmetries.
        rng: Of random starts.
        steps: By the energy, at most, for each model.
        above: Ends where the energy is this close to the set's lowest, relative.
        is_warm: Whether parameters are taken over at all.
    """

    def __init__(
        self, architecture: Architecture, configurations: int, rng: np.random.Generator, *, steps: int = 200,
        above: float = 1e-6, is_warm: bool = True,
    ) -> None:  # fmt: skip
        self._architecture, self._configurations, self._rng = architecture, configurations, rng
        self._steps, self._above, self._is_warm = steps, above, is_warm
        self.states: list[NetworkState] = []
        """What was found, one by one."""

    def __call__(self, basis: NaturalOrbitals) -> SelectedState:
        """Ground state in natural orbitals that are made anew from the mean field's."""
        given = problem(basis, first=self._configurations)
        lowest_energy = task_on(given, np.zeros((basis.model.n_spin_orbitals // 2, 0)))[1]
        last = self.states[-1] if self.states and self._is_warm else None
        fits = last is not None and last.amplitudes.network.n_tokens == basis.model.n_spin_orbitals // 2
        self.states.append(
            network_state(
                given,
                self._architecture,
                self._configurations,
                steps=self._steps,
                rng=self._rng,
                starts=1,
                target=lowest_energy + self._above * abs(lowest_energy),
                start=last.amplitudes.parameters if fits and last is not None else None,
            )
        )
        return self.states[-1].state

    def steps_taken(self) -> list[int]:
        """Steps of fits and by the energy, of each model."""
        return [sum(r.fit_steps + len(r.energies) - 1 for r in state.rounds) for state in self.states]
