"""Descriptors of atomic environments that tell elements apart: what selection measures distances between.

For a central atom, neighbors within the cutoff are sorted into one channel an element. With
``w(r) = (1 - (r / cutoff)^2)^2``,

- the radial part of element *a* is ``w(r_j) / r_j`` of its nearest neighbors, in falling order;
- the angular part of elements *a*, *b* is ``sqrt(w(r_j) w(r_l)) / r_jl`` over neighbors *j* of *a* and *l* of *b*, each
  row sorted in falling order, averaged over *j*.

All entries are in 1/Å, invariant to rotation, translation and the order of atoms, and fade to zero at the cutoff.
Following Schwalbe-Koda et al., arXiv 2404.12367, which has one channel for all elements; here environments of
different central elements are never compared, and exchanging two elements among the neighbors changes the descriptor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from jaxtyping import Float, Int
from pydantic import Field

from limbeck.core.config import Settings

_CHUNK = 4096


class EnvironmentSettings(Settings):
    """What of an atom's surroundings is compared."""

    cutoff_A: float = Field(default=5.0, gt=1, le=15)
    """Radius of an environment."""
    radial_neighbors: int = Field(default=32, ge=1, le=256)
    """Nearest neighbors of each element in the radial part."""
    angular_neighbors: int = Field(default=16, ge=1, le=64)
    """Nearest neighbors of each element in the angular part."""


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
    channels = [_nearest(center, distance, vector, element == number, len(numbers), settings) for number in elements]
    radial = [r[:, : settings.radial_neighbors] for r, _ in channels]
    parts = [_weight(r, settings.cutoff_A) / r for r in radial]
    k = settings.angular_neighbors
    for first in range(len(channels)):
        for second in range(first, len(channels)):
            r_j, v_j = channels[first][0][:, :k], channels[first][1][:, :k]
            r_l, v_l = channels[second][0][:, :k], channels[second][1][:, :k]
            parts.append(_angular(r_j, v_j, r_l, v_l, settings.cutoff_A))
    values = np.hstack(parts) if parts else np.zeros((len(numbers), 0))
    return Environments(values, np.repeat(np.arange(len(frames)), sizes), np.asarray(numbers))


def _neighbors(frames: Sequence[Atoms], cutoff_A: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Central atom (counted over all frames), neighbor's atomic number, distance and vector of every pair."""
    centers, elements, distances, vectors = [], [], [], []
    offset = 0
    for atoms in frames:
        i, j, d, v = neighbor_list("ijdD", atoms, cutoff_A)
        centers.append(i + offset)
        elements.append(atoms.numbers[j])
        distances.append(d)
        vectors.append(v)
        offset += len(atoms)
    if not frames:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0), np.zeros((0, 3))
    return np.concatenate(centers), np.concatenate(elements), np.concatenate(distances), np.concatenate(vectors)


def _nearest(
    center: np.ndarray,
    distance: np.ndarray,
    vector: np.ndarray,
    mask: np.ndarray,
    n_atoms: int,
    settings: EnvironmentSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (n_atoms, k) and vectors (n_atoms, k, 3) of the nearest masked neighbors, padded at the cutoff."""
    k = max(settings.radial_neighbors, settings.angular_neighbors)
    chosen = np.flatnonzero(mask)
    chosen = chosen[np.lexsort((distance[chosen], center[chosen]))]
    owner = center[chosen]
    rank = np.arange(len(chosen)) - np.searchsorted(owner, owner)
    chosen, owner, rank = (values[rank < k] for values in (chosen, owner, rank))
    radii = np.full((n_atoms, k), settings.cutoff_A)
    directions = np.zeros((n_atoms, k, 3))
    radii[owner, rank] = np.maximum(distance[chosen], 1e-3)
    directions[owner, rank] = vector[chosen]
    return radii, directions


def _weight(radii: np.ndarray, cutoff_A: float) -> np.ndarray:
    return np.asarray((1 - np.minimum(radii / cutoff_A, 1.0) ** 2) ** 2)


def _angular(r_j: np.ndarray, v_j: np.ndarray, r_l: np.ndarray, v_l: np.ndarray, cutoff_A: float) -> np.ndarray:
    """Angular part (n_atoms, k) of one pair of channels."""
    out = np.empty((len(r_j), r_l.shape[1]))
    for start in range(0, len(r_j), _CHUNK):
        part = slice(start, start + _CHUNK)
        root_j, root_l = np.sqrt(_weight(r_j[part], cutoff_A)), np.sqrt(_weight(r_l[part], cutoff_A))
        # |v_j - v_l|^2 = r_j^2 + r_l^2 - 2 v_j.v_l, without a (n, k, k, 3) array
        dots = v_j[part] @ np.swapaxes(v_l[part], 1, 2)
        squares = (v_j[part] ** 2).sum(-1)[:, :, None] + (v_l[part] ** 2).sum(-1)[:, None, :] - 2 * dots
        apart = np.sqrt(np.maximum(squares, 1e-6))
        rows = root_j[:, :, None] * root_l[:, None, :] / apart
        rows[squares < 1e-6] = 0.0  # the neighbor and itself
        rows.sort(axis=2)
        out[part] = rows[:, :, ::-1].mean(axis=1)
    return out
