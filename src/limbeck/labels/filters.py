"""Which frames of a trajectory are worth the attention of a label engine: no overlaps, no collapsed cells, no NaN."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field, field_validator

from limbeck.core.config import Settings
from limbeck.labels.neighbors import neighbor_pairs

FLAT_HEIGHT_A = 0.5
"""Height in Å of a periodic cell below which it is flat: no crystal has it, and neighbor search would never end."""


class FrameFilter(Settings):
    """Limits that a frame must keep to be labelled."""

    minimum_distance_ratio: float = Field(default=0.65, gt=0, lt=1)
    """Smallest distance between two atoms, as a part of the sum of their covalent radii."""
    minimum_distance_A: dict[str, float] = Field(default_factory=dict)
    """Smallest distance of a pair of elements in place of the ratio, for example ``{Si-O: 1.3}``."""
    minimum_cell_angle_degrees: float = Field(default=25.0, gt=0, lt=90)
    """Angles between periodic cell vectors lie between this and 180 minus this."""
    maximum_cell_aspect_ratio: float = Field(default=15.0, gt=1)
    """Longest periodic cell vector over smallest height of the cell."""
    minimum_volume_ratio: float = Field(default=0.65, gt=0, lt=1)
    """Volume per atom over that of the start, at least (fully periodic frames)."""
    maximum_volume_ratio: float = Field(default=1.6, gt=1)
    """Volume per atom over that of the start, at most."""
    maximum_force_eV_per_A: float | None = Field(default=None, gt=0)
    """Largest force on an atom, where forces are known; none for no limit."""

    @field_validator("minimum_distance_A")
    @classmethod
    def _known_pairs(cls, pairs: dict[str, float]) -> dict[str, float]:
        for name, distance in pairs.items():
            symbols = name.split("-")
            if len(symbols) != 2 or any(symbol not in atomic_numbers for symbol in symbols):
                raise ValueError(f"'{name}' is not a pair of elements such as Si-O")
            if not 0 < distance < 10:
                raise ValueError(f"{name}: {distance} Å is not a distance between 0 and 10 Å")
        return pairs


@dataclass(frozen=True)
class Filtered:
    """Which frames passed.

    Attributes:
        kept: Indices of frames that passed, in order.
        rejected: Index and reason of the others; the reason starts with its kind (``overlap: ...``).
    """

    kept: tuple[int, ...]
    rejected: tuple[tuple[int, str], ...]


def filter_frames(
    frames: Sequence[Atoms],
    settings: FrameFilter,
    *,
    start: Atoms | None = None,
    forces: Sequence[np.ndarray | None] | None = None,
) -> Filtered:
    """Sort frames into those worth a label and those that are not.

    Args:
        frames: Candidates; not changed.
        settings: The limits.
        start: Structure whose volume per atom is the reference; without it, the median of the fully periodic
            candidates of the same composition.
        forces: (n_atoms, 3) in eV/Å for each frame, where known.

    Returns:
        Indices kept, and indices rejected, each with a reason that starts with ``not finite``, ``cell``, ``volume``,
        ``overlap`` or ``force``.
    """
    volumes = _reference_volumes(frames) if start is None else {}
    kept, rejected = [], []
    for index, atoms in enumerate(frames):
        if start is not None:
            reference: float | None = start.get_volume() / len(start)
        else:
            reference = volumes.get(_composition(atoms))
        known = forces[index] if forces is not None else None
        reason = reject_reason(atoms, settings, reference, known)
        if reason:
            rejected.append((index, reason))
        else:
            kept.append(index)
    return Filtered(tuple(kept), tuple(rejected))


def reject_reason(
    atoms: Atoms, settings: FrameFilter, reference_volume: float | None = None, forces: np.ndarray | None = None
) -> str:
    """Why a frame is rejected, or an empty text if it is not.

    Args:
        atoms: The frame.
        settings: The limits.
        reference_volume: Volume per atom of the start in Å^3, or ``None`` to leave that check out.
        forces: (n_atoms, 3) in eV/Å, or ``None``.
    """
    if len(atoms) == 0:
        return "not finite: the frame has no atoms"
    if not (np.all(np.isfinite(atoms.positions)) and np.all(np.isfinite(atoms.cell.array))):
        return "not finite: NaN or infinity in positions or cell"
    return (
        _cell_reason(atoms, settings)
        or _volume_reason(atoms, settings, reference_volume)
        or _overlap_reason(atoms, settings)
        or _force_reason(forces, settings)
    )


def _cell_reason(atoms: Atoms, settings: FrameFilter) -> str:
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) == 0:
        return ""
    heights = _heights(atoms)
    if heights.min() < FLAT_HEIGHT_A:
        return f"cell: flat, its smallest height is {heights.min():.3g} Å"
    lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
    for axis, (a, b) in enumerate(((1, 2), (0, 2), (0, 1))):
        sharpest = min(angles[axis], 180 - angles[axis])
        if atoms.pbc[a] and atoms.pbc[b] and sharpest < settings.minimum_cell_angle_degrees:
            return f"cell: angle {('alpha', 'beta', 'gamma')[axis]} is {angles[axis]:.1f} degrees"
    ratio = lengths[periodic].max() / heights.min()
    if ratio > settings.maximum_cell_aspect_ratio:
        return f"cell: aspect ratio is {ratio:.1f}, at most {settings.maximum_cell_aspect_ratio:g} is allowed"
    return ""


def _heights(atoms: Atoms) -> np.ndarray:
    """Height of the cell over each periodic direction's opposite face, in Å; zero for a flat cell.

    Directions that are not periodic count as unit vectors normal to the periodic ones.
    """
    vectors = atoms.cell.array[atoms.pbc]
    gram = vectors @ vectors.T
    content = np.sqrt(max(float(np.linalg.det(gram)), 0.0))
    heights = []
    for row in range(len(vectors)):
        others = np.delete(vectors, row, axis=0)
        face = np.sqrt(max(float(np.linalg.det(others @ others.T)), 0.0)) if len(others) else 1.0
        heights.append(content / face if face > 0 else 0.0)
    return np.array(heights)


def _volume_reason(atoms: Atoms, settings: FrameFilter, reference: float | None) -> str:
    if reference is None or not all(atoms.pbc):
        return ""
    ratio = atoms.get_volume() / len(atoms) / reference
    if settings.minimum_volume_ratio <= ratio <= settings.maximum_volume_ratio:
        return ""
    low, high = settings.minimum_volume_ratio, settings.maximum_volume_ratio
    return f"volume: {ratio:.2f} times that of the start, {low:g} to {high:g} is allowed"


def _overlap_reason(atoms: Atoms, settings: FrameFilter) -> str:
    overrides = tuple(sorted(settings.minimum_distance_A.items()))
    limits = _pair_limits(tuple(sorted(set(atoms.numbers.tolist()))), settings.minimum_distance_ratio, overrides)
    first, second, distances, _ = neighbor_pairs(atoms, max(limits.values()))
    allowed = np.array([limits[a, b] for a, b in zip(atoms.numbers[first], atoms.numbers[second], strict=True)])
    if len(distances) == 0 or not np.any(distances < allowed):
        return ""
    worst = int(np.argmin(distances / allowed))
    a, b = first[worst], second[worst]
    return (
        f"overlap: {atoms.symbols[a]}{a} and {atoms.symbols[b]}{b} are {distances[worst]:.3f} Å apart, "
        f"at least {allowed[worst]:.3f} Å is allowed"
    )


@functools.lru_cache(maxsize=256)
def _pair_limits(
    numbers: tuple[int, ...], ratio: float, overrides: tuple[tuple[str, float], ...]
) -> dict[tuple[int, int], float]:
    """Smallest allowed distance in Å for every ordered pair of atomic numbers."""
    limits = {(a, b): ratio * (covalent_radii[a] + covalent_radii[b]) for a in numbers for b in numbers}
    for name, distance in overrides:
        a, b = (atomic_numbers[symbol] for symbol in name.split("-"))
        for pair in ((a, b), (b, a)):
            if pair in limits:
                limits[pair] = distance
    return limits


def _force_reason(forces: np.ndarray | None, settings: FrameFilter) -> str:
    if forces is None or settings.maximum_force_eV_per_A is None:
        return ""
    largest = float(np.linalg.norm(forces, axis=1).max())
    if np.isfinite(largest) and largest <= settings.maximum_force_eV_per_A:
        return ""
    return f"force: the largest is {largest:.2f} eV/Å, at most {settings.maximum_force_eV_per_A:g} eV/Å is allowed"


def _composition(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    divisor = int(np.gcd.reduce(counts)) if len(counts) else 1
    return tuple((int(n), int(c) // divisor) for n, c in zip(numbers, counts, strict=True))


def _reference_volumes(frames: Sequence[Atoms]) -> dict[tuple[tuple[int, int], ...], float]:
    """Median volume per atom in Å^3 of the fully periodic frames of each composition."""
    volumes: dict[tuple[tuple[int, int], ...], list[float]] = defaultdict(list)
    for atoms in frames:
        if len(atoms) and all(atoms.pbc) and np.all(np.isfinite(atoms.cell.array)) and atoms.cell.volume > 0:
            volumes[_composition(atoms)].append(atoms.get_volume() / len(atoms))
    return {composition: float(np.median(values)) for composition, values in volumes.items()}
