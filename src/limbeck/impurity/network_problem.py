"""A model made ready for networks: natural orbitals with its symmetries, first configurations, amplitudes of orbits."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt64
from scipy.sparse import csr_array

from limbeck.impurity.network import Transformer, tokens_of
from limbeck.impurity.orbitals import NaturalOrbitals, natural_orbitals
from limbeck.impurity.selected_ci import SECTOR_SIZE, selected_ci
from limbeck.impurity.subspace import Hamiltonian, unpacked
from limbeck.impurity.symmetry import Orbits, Symmetry, averaged, chain_signs, symmetries

FIRST_SET = 300
"""Configurations with which a network begins."""


@dataclass(frozen=True)
class Problem:
    """A model with its symmetries, ready for networks.

    Attributes:
        hamiltonian: Model and tables.
        basis: Natural orbitals.
        group: Symmetries of which the ground state is an eigenstate.
        seeds: Configurations to begin with, closed under them.
    """

    hamiltonian: Hamiltonian
    basis: NaturalOrbitals
    group: tuple[Symmetry, ...]
    seeds: UInt64[np.ndarray, "k words"]


def problem(
    basis: NaturalOrbitals, rounds: int = 1, most: int = 2000, *, first: int = FIRST_SET, use_symmetry: bool = True
) -> Problem:
    """Natural orbitals made anew from correlated density matrices that have the model's symmetries.

    Args:
        basis: Natural orbitals of the mean field.
        rounds: Times.
        most: Configurations of the calculations that give the density matrices.
        first: Configurations to begin with, about.
        use_symmetry: Whether symmetries are looked for.
    """
    for _ in range(rounds):
        state = selected_ci(basis, most)
        group = symmetries(state.hamiltonian, basis, state.rows, state.vector) if use_symmetry else ()
        density = state.density()
        density = averaged(density, group)
        anew = natural_orbitals(basis.model, density)
        basis = replace(anew, orbitals=basis.orbitals @ anew.orbitals)
    state = selected_ci(basis, max(first, SECTOR_SIZE))  # sectors are compared at this size
    group = symmetries(state.hamiltonian, basis, state.rows, state.vector) if use_symmetry else ()
    n = max(first, state.steps[0].n)  # rows stand in the order in which they entered
    return Problem(state.hamiltonian, basis, group, Orbits.of(state.rows[:n], group).rows)


def between_orbits(hamiltonian: Hamiltonian, orbits: Orbits) -> csr_array:
    """H between normalized orbits."""
    isometry = orbits.isometry()
    return csr_array(isometry.T @ hamiltonian.matrix(orbits.rows) @ isometry)


@dataclass(frozen=True)
class Amplitudes:
    """A network with its parameters, for one model.

    Attributes:
        network: The function.
        parameters: Its parameters.
        features: (t, f) what is known of each orbital.
    """

    network: Transformer
    parameters: Float[np.ndarray, " p"]
    features: Float[np.ndarray, "t f"]

    def of(self, problem: Problem, orbits: Orbits) -> "np.ndarray":
        """Amplitudes of normalized orbits, not normalized as a whole."""
        rows = orbits.representatives
        tokens = tokens_of(unpacked(rows, problem.hamiltonian.model.n_spin_orbitals))
        values = self.network.amplitudes(self.parameters, tokens, self.features)
        amplitude = values[:, 0] + 1j * values[:, 1] if self.network.is_complex else values[:, 0]
        return amplitude * chain_signs(problem.basis, rows) * np.sqrt(orbits.sizes)
