"""Ground state on every configuration of the sector: exact diagonalization, for small models and as a check."""

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.impurity.multiplets import lowest_of_blocks
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.impurity.selected_ci import SelectedState, Step
from limbeck.impurity.subspace import Hamiltonian, all_configurations, sector_size

MOST = 1_000_000
"""Largest sector that is diagonalized."""


def exact_ground(basis: NaturalOrbitals, most: int = MOST) -> SelectedState:
    """Ground state of the whole sector, in the same form as that of a selected set.

    What H does not connect is diagonalized apart, so no conserved quantity can hide the lowest state.

    Args:
        basis: The model; the orbitals do not matter for the result.
        most: Largest sector that is taken.

    Raises:
        ConfigError: If the sector is larger.
    """
    size = sector_size(basis.model)
    if size > most:
        raise ConfigError(
            f"exact diagonalization: the sector has {size} configurations, more than {most}; take "
            "'method: selected', or a smaller bath"
        )
    hamiltonian = Hamiltonian.of(basis.model)
    rows = all_configurations(basis.model)
    matrix = hamiltonian.matrix(rows)
    energies, vectors = lowest_of_blocks(matrix, 1)
    energy, vector = float(energies[0]), vectors[:, 0]
    variance = float(np.sum(np.abs(matrix @ vector - energy * vector) ** 2))
    return SelectedState(
        hamiltonian, basis.orbitals, rows, vector, energy, 0.0, variance, (energy, 0.0), (Step(size, energy, 0.0),)
    )
