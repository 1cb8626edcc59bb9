"""The region of short distances, where there are no data and a fitted potential must still be a wall.

Source of the repulsion: J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii
from jaxtyping import Float

from limbeck.labels.labelled import Labelled

MEETING = 2.0
"""Two elements meet in the data if they come closer than this times the sum of their covalent radii."""
_COULOMB_EV_A = 14.399645


def zbl_energy(z_a: int, z_b: int, r_A: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Universal screened repulsion of two nuclei in eV (Ziegler, Biersack, Littmark 1985)."""
    x = r_A / (0.46850 / (z_a**0.23 + z_b**0.23))
    factors, rates = (0.18175, 0.50986, 0.28022, 0.02817), (3.19980, 0.94229, 0.40290, 0.20162)
    screening = sum(f * np.exp(-rate * x) for f, rate in zip(factors, rates, strict=True))
    return _COULOMB_EV_A * z_a * z_b / r_A * screening


def shortest_distances(
    elements: Sequence[str], frames: Sequence[Labelled], cutoff_A: float
) -> Float[np.ndarray, "e e"]:
    """Shortest distance (Å) in the data for every pair of elements, the cutoff where there is none."""
    shortest = np.full((len(elements),) * 2, cutoff_A)
    for frame in frames:
        i, j, d, _ = _pairs(frame.atoms, cutoff_A)
        kinds = np.array([elements.index(s) for s in frame.atoms.get_chemical_symbols()])
        np.minimum.at(shortest, (kinds[i], kinds[j]), d)
    return shortest


@dataclass(frozen=True)
class PushedPair:
    """A frame in which two atoms were pushed into each other.

    Attributes:
        frame: Number of the frame.
        atoms: The changed structure.
        rise_eV: ZBL energy that the two atoms gain.
    """

    frame: int
    atoms: Atoms
    rise_eV: float


def pushed_pairs(
    elements: Sequence[str],
    frames: Sequence[Labelled],
    shortest_A: Float[np.ndarray, "e e"],
    fractions: Sequence[float],
    n_frames: int,
) -> list[PushedPair]:
    """Frames with the closest pair of each two elements pushed to fractions of the shortest distance of the data.

    Args:
        elements: Chemical symbols, as in ``shortest_A``.
        frames: Training frames.
        shortest_A: From :func:`shortest_distances`.
        fractions: Distances in units of the shortest one.
        n_frames: Frames for each pair of elements, evenly chosen among those that hold one.

    Returns:
        In the order of frames; pairs of an atom with its own image are left out, and elements that never come near
        each other in the data (:data:`MEETING`): what stands between them would be run over.
    """
    radii = np.array([covalent_radii[atomic_numbers[e]] for e in elements])
    meets = shortest_A < MEETING * (radii[:, None] + radii[None, :])
    cutoff = float(shortest_A.max()) + 1.0
    found: dict[tuple[int, int], list[tuple[int, int, int, np.ndarray]]] = {}
    for number, frame in enumerate(frames):
        i, j, d, vectors = _pairs(frame.atoms, cutoff)
        kinds = np.array([elements.index(s) for s in frame.atoms.get_chemical_symbols()])
        for a, b in (pair for pair in combinations_with_replacement(range(len(elements)), 2) if meets[pair]):
            mine = np.flatnonzero((kinds[i] == a) & (kinds[j] == b) & (i != j))
            if len(mine):
                closest = mine[np.argmin(d[mine])]
                found.setdefault((a, b), []).append((number, int(i[closest]), int(j[closest]), vectors[closest]))
    pushed = []
    for (a, b), places in sorted(found.items()):
        z_a, z_b = atomic_numbers[elements[a]], atomic_numbers[elements[b]]
        chosen = np.unique(np.linspace(0, len(places) - 1, n_frames).round().astype(int))
        for number, first, second, vector in (places[c] for c in chosen):
            distance = float(np.linalg.norm(vector))
            for fraction in fractions:
                target = fraction * float(shortest_A[a, b])
                step = 0.5 * (1 - target / distance) * vector
                atoms = frames[number].atoms.copy()
                atoms.positions[first] += step
                atoms.positions[second] -= step
                rise = zbl_energy(z_a, z_b, np.array([target, distance]))
                pushed.append(PushedPair(number, atoms, float(rise[0] - rise[1])))
    return pushed


def core_rise_eV(calculator: Calculator, elements: Sequence[str], frames: Sequence[Labelled]) -> float | None:
    """Least energy (eV) that pushing two atoms together costs, below the distances of the data.

    The closest pair of each two elements is pushed to 0.9, 0.8 ... 0.5 of the shortest distance, in four frames each.
    Each step must cost energy; the least cost of any step is returned, so a negative value is a hole. ``None`` where
    no frame holds a pair.
    """
    shortest = shortest_distances(elements, frames, 6.0)
    fractions = (0.9, 0.8, 0.7, 0.6, 0.5)
    pushed = pushed_pairs(elements, frames, shortest, fractions, 4)
    energies = []
    for pair in pushed:
        atoms = pair.atoms.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    if not energies:
        return None
    return float(np.diff(np.reshape(energies, (-1, len(fractions))), axis=1).min())


def _pairs(atoms: Atoms, cutoff_A: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First and second atom, distance and vector of all pairs within the cutoff."""
    from ase.neighborlist import primitive_neighbor_list

    i, j, d, vectors = primitive_neighbor_list(
        "ijdD", atoms.pbc, atoms.cell.complete().array, atoms.positions, cutoff_A, self_interaction=False
    )
    return i, j, d, vectors
