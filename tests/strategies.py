"""Hypothesis strategies for the structures that break codes: one atom, left-handed, skewed, thin, partly periodic.

Import as ``from strategies import periodic_atoms`` (``tests`` is on the path of pytest). Use with
``@settings(derandomize=True, deadline=None, max_examples=...)``.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from hypothesis import strategies as st

CELL_SHAPES = ("cubic", "left_handed", "skewed", "thin", "needle", "general")
"""Cell families that :func:`cells` draws from."""


def cell_of_shape(shape: str, volume: float, rng: np.random.Generator) -> np.ndarray:
    """Cell (3, 3), rows are lattice vectors, of one family of :data:`CELL_SHAPES` and of the given volume (Å^3)."""
    small = 0.05 * rng.uniform(-1.0, 1.0, (3, 3))
    matrix = np.eye(3) + small
    if shape == "cubic":
        matrix = np.eye(3)
    elif shape == "left_handed":
        matrix = (np.eye(3) + small)[[1, 0, 2]]
    elif shape == "skewed":  # past the limit of half a box length that LAMMPS warns of
        matrix[1, 0], matrix[2, 0], matrix[2, 1] = 0.9, -0.7, 0.8
    elif shape == "thin":
        matrix = matrix @ np.diag([1.6, 1.6, 1.0 / 1.6**2])
    elif shape == "needle":
        matrix = matrix @ np.diag([2.6, 1.0 / 2.6**0.5, 1.0 / 2.6**0.5])
    elif shape == "general":
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        matrix = (np.eye(3) + 0.25 * rng.uniform(-1.0, 1.0, (3, 3))) @ rotation
    else:
        raise ValueError(f"unknown shape {shape}")
    return matrix * (volume / abs(np.linalg.det(matrix))) ** (1.0 / 3.0)


@st.composite
def cells(draw: st.DrawFn, volume: float = 100.0, shapes: Sequence[str] = CELL_SHAPES) -> np.ndarray:
    """Cells (3, 3) in Å of all families."""
    shape = draw(st.sampled_from(list(shapes)))
    return cell_of_shape(shape, volume, np.random.default_rng(draw(st.integers(0, 2**20))))


@st.composite
def periodic_atoms(
    draw: st.DrawFn,
    symbols: Sequence[str] = ("Si",),
    min_atoms: int = 1,
    max_atoms: int = 6,
    volume_per_atom: float = 22.0,
    min_distance: float = 1.9,
    shapes: Sequence[str] = CELL_SHAPES,
    all_periodic: bool = True,
) -> Atoms:
    """Structures without overlap, in cells of all families, atoms partly outside of the cell.

    Args:
        draw: Given by hypothesis.
        symbols: Elements to draw from; every structure may hold any of them.
        min_atoms: Fewest atoms; 1 by default, whose neighbours are all its own images.
        max_atoms: Most atoms.
        volume_per_atom: Mean volume per atom in Å^3.
        min_distance: No two atoms, images included, are closer (Å); atoms that do not fit are left out.
        shapes: Families of cells.
        all_periodic: Periodic along all three directions; else the directions are drawn (at least one is periodic).
    """
    n_atoms = draw(st.integers(min_atoms, max_atoms))
    shape = draw(st.sampled_from(list(shapes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    chosen = [draw(st.sampled_from(list(symbols))) for _ in range(n_atoms)]
    pbc = (True, True, True)
    if not all_periodic:
        pbc = draw(
            st.sampled_from([(True, True, False), (False, True, True), (False, False, True), (True, True, True)])
        )
    volume = volume_per_atom * n_atoms
    cell = cell_of_shape(shape, volume, rng)
    while _shortest_vector(cell) < min_distance:  # a thin cell of one atom: give it room
        cell = cell * 1.1
    scaled: list[np.ndarray] = [rng.uniform(size=3)]
    for _ in range(400 * n_atoms):
        if len(scaled) == n_atoms:
            break
        candidate = rng.uniform(size=3)
        _, distances = get_distances(candidate @ cell, np.array(scaled) @ cell, cell=cell, pbc=True)
        if distances.min() > min_distance:
            scaled.append(candidate)
    shifts = rng.integers(-1, 2, (len(scaled), 3)) * np.array(pbc)
    return Atoms(chosen[: len(scaled)], scaled_positions=np.array(scaled) + shifts, cell=cell, pbc=pbc)


def _shortest_vector(cell: np.ndarray) -> float:
    steps = np.array(
        [(i, j, k) for i in range(-3, 4) for j in range(-3, 4) for k in range(-3, 4) if (i, j, k) != (0, 0, 0)]
    )
    return float(np.linalg.norm(steps @ cell, axis=1).min())
