"""Space group and conventional cell, from spglib."""

import warnings
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell

SYMMETRY_TOLERANCE = 1e-3
"""Å: relaxed atoms are this close to their symmetric positions."""


SYSTEMS = (
    (195, "cubic"), (168, "hexagonal"), (143, "trigonal"), (75, "tetragonal"), (16, "orthorhombic"), (3, "monoclinic"),
    (1, "triclinic"),
)  # fmt: skip
"""Least number of a space group -> crystal system."""


def crystal_system(number: int) -> str:
    """Crystal system of a space group by its number; trigonal ones are described in hexagonal axes."""
    return next(name for least, name in SYSTEMS if number >= least)


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


def lattice_parameters(atoms: Atoms) -> dict[str, float]:
    """Lengths (``a``, ``b``, ``c``, Å) and angles (``alpha``, ``beta``, ``gamma``, degrees) that symmetry leaves free.

    They are those of the standardized conventional cell.
    """
    data = symmetry_of(atoms)
    cell = atoms.cell if data is None else Cell(data.std_lattice)
    system = "triclinic" if data is None else crystal_system(data.number)
    free = {
        "cubic": ("a",), "hexagonal": ("a", "c"), "trigonal": ("a", "c"), "tetragonal": ("a", "c"),
        "orthorhombic": ("a", "b", "c"), "monoclinic": ("a", "b", "c", "beta"),
    }.get(system, ("a", "b", "c", "alpha", "beta", "gamma"))  # fmt: skip
    values = dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), cell.cellpar(), strict=True))
    return {name: float(values[name]) for name in free}


def point_group(atoms: Atoms) -> tuple[str, np.ndarray, np.ndarray]:
    """Crystal system, rotation from the atoms' axes into the crystal's standard ones, and the point group in those.

    Returns:
        The system; the rotation (3, 3); orthogonal matrices (n, 3, 3). The standard axes are those of the conventional
        cell: a along x, b in the xy plane.
    """
    import spglib

    data = symmetry_of(atoms)
    if data is None:
        return "triclinic", np.eye(3), np.eye(3)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rotations = np.unique(spglib.get_symmetry_from_database(data.hall_number)["rotations"], axis=0)
    columns = np.asarray(data.std_lattice).T
    group = columns @ rotations @ np.linalg.inv(columns)
    return crystal_system(data.number), np.asarray(data.std_rotation_matrix), group


def _cell_of(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return atoms.cell[:], atoms.get_scaled_positions(), atoms.get_atomic_numbers()
