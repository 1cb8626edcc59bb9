"""Radial distribution function and coordination numbers, streamed over a trajectory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import StructureError
from limbeck.core.estimate import Estimate
from limbeck.structures.chunks import Trajectory

N_BLOCKS = 10
"""Blocks of consecutive frames whose scatter gives the errors."""


@dataclass(frozen=True)
class RadialDistribution:
    """Radial distribution function g(r).

    Attributes:
        edges: Edges of the bins, Å, (n_bins + 1,).
        g: Mean in each bin, dimensionless; 1 without correlation.
        standard_error: One standard error of ``g`` from blocks of consecutive frames; NaN with fewer than 2 frames.
        coordination: Mean number of neighbors up to the upper edge of each bin.
        pair: Species at the center and around it, or ``None`` for all atoms.
        n_frames: Frames behind it.
        n_blocks: Blocks behind the errors.
    """

    edges: Float[np.ndarray, " n_edges"]
    g: Float[np.ndarray, " n_bins"]
    standard_error: Float[np.ndarray, " n_bins"]
    coordination: Float[np.ndarray, " n_bins"]
    pair: tuple[str, str] | None
    n_frames: int
    n_blocks: int

    @property
    def r(self) -> Float[np.ndarray, " n_bins"]:
        """Centers of the bins, Å."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2.0)

    def estimates(self) -> tuple[Estimate, ...]:
        """One estimate per bin."""
        method = f"mean of {self.n_blocks} blocks"
        return tuple(
            Estimate(float(value), float(error), float(self.n_blocks), "1", method)
            for value, error in zip(self.g, self.standard_error, strict=True)
        )


def radial_distribution(
    trajectory: Trajectory,
    *,
    cutoff: float = 8.0,
    bin_width: float = 0.05,
    pair: tuple[str, str] | None = None,
    stride: int = 1,
) -> RadialDistribution:
    """Radial distribution function of a periodic system.

    g_AB(r) = < n_AB(r, r + dr) > V / (N_A N_B 4 pi r^2 dr)

    | symbol | meaning |
    |---|---|
    | n_AB(r, r + dr) | ordered pairs of an A and a B atom whose distance is in the bin |
    | N_A, N_B, V | atoms of either species; volume of the frame |

    All periodic images count, an atom's own too, so counts are right also beyond half the cell, or beyond the cell.
    There they belong to the repeated cell, though: an atom and its image move as one, which gives peaks that a liquid
    or a crystal at temperature does not have. Keep the cutoff below :func:`largest_distance` for those. The volume of
    a bin's shell is exact, not 4 pi r^2 dr.

    Args:
        trajectory: The run.
        cutoff: Largest distance, Å.
        bin_width: Å; the last bin ends at or above the cutoff.
        pair: Species at the center and around it; ``None`` for all atoms.
        stride: Use every n-th frame.

    Returns:
        g(r), its errors, and the running coordination number.

    Raises:
        StructureError: If a frame is not periodic along all directions, or a species does not occur.
        ValueError: If cutoff, bin width or stride is not positive.
    """
    if cutoff <= 0 or bin_width <= 0 or stride < 1:
        raise ValueError(f"cutoff, bin_width and stride must be positive, got {cutoff}, {bin_width}, {stride}")
    edges = np.arange(int(np.ceil(cutoff / bin_width - 1e-9)) + 1) * bin_width
    centers, around = _members(trajectory, pair)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    g, neighbors = [], []
    for frame in _frames(trajectory, stride):
        first, second, distance = _pairs(frame, float(edges[-1]))
        chosen = centers[first] & around[second]
        counts = np.histogram(distance[chosen], bins=edges)[0] / centers.sum()
        g.append(counts * frame.get_volume() / (shells * around.sum()))
        neighbors.append(np.cumsum(counts))
    values = np.array(g)
    n_blocks = min(N_BLOCKS, len(values))
    error = np.full(len(shells), np.nan)
    if n_blocks > 1:
        blocks = np.array([block.mean(axis=0) for block in np.array_split(values, n_blocks)])
        error = blocks.std(axis=0, ddof=1) / np.sqrt(n_blocks)
    return RadialDistribution(
        edges=edges,
        g=values.mean(axis=0),
        standard_error=error,
        coordination=np.mean(neighbors, axis=0),
        pair=pair,
        n_frames=len(values),
        n_blocks=n_blocks,
    )


def largest_distance(trajectory: Trajectory) -> float:
    """Half the smallest width of the cell in any frame, Å: below it no atom meets an image of itself or a pair twice.

    The widths are the distances between opposite faces.
    """
    return min(
        0.5 / float(np.linalg.norm(np.linalg.inv(cell), axis=0).max())
        for chunk in trajectory.chunks()
        for cell in chunk.cells
    )


def coordination_number(
    trajectory: Trajectory, cutoff: float, *, pair: tuple[str, str] | None = None, stride: int = 1
) -> Estimate:
    """Mean number of neighbors within a cutoff, periodic images counted.

    Args:
        trajectory: The run.
        cutoff: Å.
        pair: Species at the center and around it; ``None`` for all atoms.
        stride: Use every n-th frame.

    Returns:
        Mean with its standard error from blocks of consecutive frames (NaN with one frame).

    Raises:
        StructureError: If a frame is not periodic along all directions, or a species does not occur.
    """
    centers, around = _members(trajectory, pair)
    means = []
    for frame in _frames(trajectory, stride):
        first, second, _ = _pairs(frame, cutoff)
        means.append(float(np.sum(centers[first] & around[second]) / centers.sum()))
    n_blocks = min(N_BLOCKS, len(means))
    error = float("nan")
    if n_blocks > 1:
        blocks = [float(np.mean(block)) for block in np.array_split(means, n_blocks)]
        error = float(np.std(blocks, ddof=1) / np.sqrt(n_blocks))
    return Estimate(float(np.mean(means)), error, float(n_blocks), "1", f"neighbors within {cutoff:g} Å, block means")


def _members(trajectory: Trajectory, pair: tuple[str, str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Which atoms are centers, and which are counted around them."""
    species = np.array(trajectory.species)
    if pair is None:
        everything = np.ones(len(species), dtype=bool)
        return everything, everything
    for symbol in pair:
        if symbol not in species:
            raise StructureError(f"no {symbol} in the trajectory; it holds {', '.join(sorted(set(species)))}.")
    return species == pair[0], species == pair[1]


def _frames(trajectory: Trajectory, stride: int) -> Iterator[Atoms]:
    """Every n-th frame, as bare points."""
    if not all(trajectory.pbc):
        raise StructureError(f"g(r) needs periodicity along all directions for its density, got {trajectory.pbc}.")
    index = 0
    for chunk in trajectory.chunks():
        for positions, cell in zip(chunk.positions, chunk.cells, strict=True):
            if index % stride == 0:
                yield Atoms(numbers=np.ones(len(positions), dtype=int), positions=positions, cell=cell, pbc=True)
            index += 1


def _pairs(frame: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordered pairs within the cutoff, all images."""
    from ase.neighborlist import neighbor_list

    first, second, distance = neighbor_list("ijd", frame, cutoff)
    return first, second, distance
