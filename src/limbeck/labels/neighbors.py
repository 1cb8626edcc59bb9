"""Neighbor pairs of one frame, for every kind of cell."""

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int


def neighbor_pairs(
    atoms: Atoms, cutoff_A: float
) -> tuple[
    Int[np.ndarray, " n_pairs"],
    Int[np.ndarray, " n_pairs"],
    Float[np.ndarray, " n_pairs"],
    Float[np.ndarray, "n_pairs 3"],
]:
    """All ordered pairs of atoms and periodic images closer than a cutoff, an atom and its own images included.

    Cell vectors along directions that are not periodic do not matter, whatever they are.

    Returns:
        Indices of first and second atom, distance and vector from first to second in Å.
    """
    from ase.neighborlist import primitive_neighbor_list  # brings half of SciPy with it

    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    first, second, distance, vector = primitive_neighbor_list("ijdD", atoms.pbc, cell, atoms.positions, cutoff_A)
    return first, second, distance, vector
