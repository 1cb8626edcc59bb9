"""Space group and conventional cell, from spglib."""

import warnings
from typing import Any

import numpy as np
from ase import Atoms

SYMMETRY_TOLERANCE = 1e-3
"""Å: relaxed atoms are this close to their symmetric positions."""


def symmetry_of(atoms: Atoms) -> Any | None:
    """Data set of spglib, or ``None`` where it finds no symmetry (atoms on top of each other)."""
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces a change of its error handling at every call
        return spglib.get_symmetry_dataset(_cell_of(atoms), symprec=SYMMETRY_TOLERANCE)


def conventional_cell(atoms: Atoms) -> Atoms:
    """Standardized conventional cell in its standard orientation; a copy of the cell itself where none is found."""
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = spglib.standardize_cell(_cell_of(atoms), symprec=SYMMETRY_TOLERANCE)
    if found is None:
        return atoms.copy()
    cell, scaled, numbers = found
    return Atoms(numbers, scaled_positions=scaled, cell=cell, pbc=True)


def conventional_lattice_constant(atoms: Atoms) -> float:
    """Length in Å of the first lattice vector of the standardized conventional cell."""
    data = symmetry_of(atoms)
    return float(np.linalg.norm(atoms.cell[0] if data is None else data.std_lattice[0]))


def _cell_of(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return atoms.cell[:], atoms.get_scaled_positions(), atoms.get_atomic_numbers()
