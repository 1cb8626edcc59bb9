"""Descriptors of atomic environments that tell elements apart: what selection measures distances between.

For a central atom, neighbors are sorted into one channel an element. With ``w(r) = (1 - (r / cutoff)^2)^2``,

- the radial part of element *a* is ``w(r_j) / r_j`` over its neighbors, in falling order;
- the angular part of elements *a*, *b* is ``sqrt(w(r_j) w(r_l)) / r_jl`` over neighbors *j* of *a* and *l* of *b*, each
  row sorted in falling order, summed over all *j* and divided by a fixed number.

Only the largest entries are kept. All are in 1/Å, continuous (no neighbor is dropped while it has weight), invariant
to rotation, translation, the order of atoms and the choice of cell. Following Schwalbe-Koda et al., arXiv 2404.12367,
which has one channel for all elements; here environments of different central elements are never compared, and
exchanging two elements among the neighbors changes the descriptor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int
from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.labels.neighbors import neighbor_pairs

_CHUNK = 4096
_NEAREST_A = 1e-3


class EnvironmentSettings(Settings):
    """What of an atom's surroundings is compared."""

    cutoff_A: float = Field(default=5.0, gt=1, le=15)
    """Radius of the radial part."""
    angular_cutoff_A: float = Field(default=4.0, gt=1, le=15)
    """Radius of the angular part, at most that of the radial part: first and second neighbors of most solids."""
    radial_entries: int = Field(default=32, ge=1, le=256)
    """Entries of each element in the radial part."""
    angular_entries: int = Field(default=16, ge=1, le=64)
    """Entries of each pair of elements in the angular part."""

    @model_validator(mode="after")
    def _angular_inside_radial(self) -> Self:
        if self.angular_cutoff_A > self.cutoff_A:
            raise ValueError(f"angular_cutoff_A is larger than cutoff_A = {self.cutoff_A:g}")
        return self


@dataclass(frozen=True)
class Environments:
    """Environments of all atoms of a list of frames.

    Attributes:
        values: (n_environments, n_features) in 1/Å.
        frame_index: (n_environments,) frame that each belongs to.
        numbers: (n_environments,) atomic number of the central atom.
    """

    values: Float[np.ndarray, "n_environments n_features"]
    frame_index: Int[np.ndarray, " n_environments"]
    numbers: Int[np.ndarray, " n_environments"]


def environments(frames: Sequence[Atoms], elements: Sequence[int], settings: EnvironmentSettings) -> Environments:
    """Descriptors of every atom of every frame.

    Args:
        frames: Structures of any size and periodicity.
        elements: Atomic numbers that get a channel, sorted; must cover the frames (and what they are compared with).
        settings: Cutoff and numbers of neighbors.

    Returns:
        The environments, frame by frame, in the order of atoms.
    """
    sizes = [len(atoms) for atoms in frames]
    numbers = np.concatenate([atoms.numbers for atoms in frames]) if frames else np.zeros(0, dtype=int)
    center, element, distance, vector = _neighbors(frames, settings.cutoff_A)
    channels = [_Channel(center, distance, vector, element == number, len(numbers)) for number in elements]
    parts = [channel.radial(settings.cutoff_A, settings.radial_entries) for channel in channels]
    inner = [channel.within(settings.angular_cutoff_A) for channel in channels]
    parts += [
        _angular(inner[first], inner[second], settings.angular_entries)
        for first in range(len(inner))
        for second in range(first, len(inner))
    ]
    values = np.hstack(parts) if parts else np.zeros((len(numbers), 0))
    return Environments(values, np.repeat(np.arange(len(frames)), sizes), np.asarray(numbers))


def _neighbors(frames: Sequence[Atoms], cutoff_A: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Central atom (counted over all frames), neighbor's atomic number, distance and vector of every pair."""
    centers, elements, distances, vectors = [], [], [], []
    offset = 0
    for atoms in frames:
        i, j, d, v = neighbor_pairs(atoms, cutoff_A)
        centers.append(i + offset)
        elements.append(atoms.numbers[j])
        distances.append(d)
        vectors.append(v)
        offset += len(atoms)
    if not frames:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0), np.zeros((0, 3))
    return np.concatenate(centers), np.concatenate(elements), np.concatenate(distances), np.concatenate(vectors)


class _Channel:
    """Neighbors of one element around every atom, nearest first, padded to the largest number of them.

    Attributes:
        radii: (n_atoms, k) in Å; infinite where there is no neighbor.
        vectors: (n_atoms, k, 3) in Å.
    """

    def __init__(
        self, center: np.ndarray, distance: np.ndarray, vector: np.ndarray, mask: np.ndarray, n_atoms: int
    ) -> None:
        chosen = np.flatnonzero(mask)
        chosen = chosen[np.lexsort((distance[chosen], center[chosen]))]
        owner = center[chosen]
        rank = np.arange(len(chosen)) - np.searchsorted(owner, owner)
        k = int(rank.max()) + 1 if len(rank) else 1
        self.radii = np.full((n_atoms, k), np.inf)
        self.vectors = np.zeros((n_atoms, k, 3))
        self.radii[owner, rank] = np.maximum(distance[chosen], _NEAREST_A)
        self.vectors[owner, rank] = vector[chosen]

    def within(self, cutoff_A: float) -> tuple[np.ndarray, np.ndarray]:
        """Square roots of the weights (n_atoms, m) and vectors (n_atoms, m, 3) of the neighbors inside a cutoff."""
        m = max(1, int((self.radii < cutoff_A).sum(axis=1).max(initial=0)))
        return np.sqrt(_weight(self.radii[:, :m], cutoff_A)), self.vectors[:, :m]

    def radial(self, cutoff_A: float, entries: int) -> np.ndarray:
        """Radial part (n_atoms, entries)."""
        return _padded(_weight(self.radii, cutoff_A) / self.radii, entries)


def _weight(radii: np.ndarray, cutoff_A: float) -> np.ndarray:
    return np.asarray((1 - np.minimum(radii / cutoff_A, 1.0) ** 2) ** 2)


def _padded(values: np.ndarray, entries: int) -> np.ndarray:
    """First entries of every row, zeros behind."""
    out = np.zeros((len(values), entries))
    kept = min(entries, values.shape[1])
    out[:, :kept] = values[:, :kept]
    return out


def _angular(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], entries: int) -> np.ndarray:
    """Angular part (n_atoms, entries) of one pair of channels."""
    out = np.empty((len(first[0]), entries))
    for start in range(0, len(out), _CHUNK):
        part = slice(start, start + _CHUNK)
        (root_j, v_j), (root_l, v_l) = ((root[part], vectors[part]) for root, vectors in (first, second))
        # |v_j - v_l|^2 = v_j^2 + v_l^2 - 2 v_j.v_l, without an array of all differences
        squares = (v_j**2).sum(-1)[:, :, None] + (v_l**2).sum(-1)[:, None, :] - 2 * v_j @ np.swapaxes(v_l, 1, 2)
        rows = root_j[:, :, None] * root_l[:, None, :] / np.sqrt(np.maximum(squares, _NEAREST_A**2))
        rows[squares < _NEAREST_A**2] = 0.0  # the neighbor and itself
        rows.sort(axis=2)
        out[part] = _padded(rows[:, :, ::-1].sum(axis=1) / entries, entries)
    return out
