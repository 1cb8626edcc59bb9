"""What every structure must fulfil before anything is computed with it."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from limbeck.core.errors import StructureError

OVERLAP_FACTOR = 0.5
"""Two atoms overlap if they are closer than this times the sum of their covalent radii."""


def check_structure(atoms: Atoms, overlap_factor: float = OVERLAP_FACTOR) -> None:
    """Raise if a structure cannot be computed with; left-handed, skewed and thin cells are fine.

    Args:
        atoms: The structure.
        overlap_factor: Closest distance allowed, in units of the sum of the two covalent radii.

    Raises:
        StructureError: No atoms, NaN, a periodic cell without volume, or two atoms (or images) that overlap. The
            message names the atoms.
    """
    if len(atoms) == 0:
        raise StructureError("a structure without atoms; expected at least one. Check the file or the filter before.")
    positions, cell = atoms.get_positions(), atoms.cell[:]
    if not np.all(np.isfinite(positions)):
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))[:5].tolist()
        raise StructureError(f"positions of atoms {bad} are NaN or infinite; the run or file they came from is broken.")
    if not np.all(np.isfinite(cell)):
        raise StructureError("the cell holds NaN or infinity; the run or file it came from is broken.")
    if np.any(atoms.get_atomic_numbers() < 1):
        raise StructureError("the structure holds atoms without an element (atomic number 0).")
    if atoms.pbc.any():
        _check_cell(cell, atoms.pbc)
    pair = closest_pair(atoms, overlap_factor)
    if pair is not None:
        first, second, distance, limit = pair
        symbols = atoms.get_chemical_symbols()
        other = "its own image" if first == second else f"atom {second} ({symbols[second]})"
        raise StructureError(
            f"atom {first} ({symbols[first]}) overlaps {other}: {distance:.3f} Å apart, expected at least "
            f"{limit:.3f} Å ({overlap_factor:g} x the sum of covalent radii). Check lattice constant and periodicity."
        )


def closest_pair(atoms: Atoms, overlap_factor: float = OVERLAP_FACTOR) -> tuple[int, int, float, float] | None:
    """Worst overlap: two atom indices, their distance and the least distance allowed (Å); ``None`` if all is well."""
    from ase.neighborlist import neighbor_list

    radii = covalent_radii[atoms.get_atomic_numbers()] * overlap_factor
    first, second, distance = neighbor_list("ijd", atoms, 2.0 * float(radii.max()))
    ratio = distance / (radii[first] + radii[second])
    if ratio.size == 0 or ratio.min() >= 1.0:
        return None
    worst = int(np.argmin(ratio))
    i, j = int(first[worst]), int(second[worst])
    return i, j, float(distance[worst]), float(radii[i] + radii[j])


def _check_cell(cell: np.ndarray, pbc: np.ndarray) -> None:
    vectors = cell[np.asarray(pbc, dtype=bool)]
    lengths = np.linalg.norm(vectors, axis=1)
    measure = float(np.sqrt(max(np.linalg.det(vectors @ vectors.T), 0.0)))
    if np.any(lengths < 1e-6) or measure < 1e-3 * float(np.prod(lengths)):
        raise StructureError(
            f"the periodic cell has no volume: vectors {np.round(vectors, 4).tolist()} Å are (nearly) in one plane. "
            "Check the cell, or switch periodicity off along the missing direction."
        )
