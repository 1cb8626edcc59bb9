"""Neighbor graph of a structure: the input that every torch teacher shares."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from jaxtyping import Float, Int

from limbeck.core.errors import StructureError


@dataclass(frozen=True)
class Graph:
    """Directed edges between atoms closer than a cutoff, with periodic images.

    Attributes:
        numbers: Atomic numbers, (n_atoms,).
        senders: Atom that an edge starts at, (n_edges,).
        receivers: Atom that it ends at, (n_edges,).
        shifts: Lattice translations of the receiver, (n_edges, 3).
        vectors: From sender to receiver, (n_edges, 3) in Å.
        volume: Cell volume in Å^3 (positive for either handedness); NaN where the cell does not span space.
    """

    numbers: Int[np.ndarray, " n_atoms"]
    senders: Int[np.ndarray, " n_edges"]
    receivers: Int[np.ndarray, " n_edges"]
    shifts: Int[np.ndarray, "n_edges 3"]
    vectors: Float[np.ndarray, "n_edges 3"]
    volume: float


def neighbor_graph(atoms: Atoms, cutoff: float) -> Graph:
    """Graph of all pairs closer than ``cutoff``, each in both directions.

    Edges are sorted by sender, receiver and image, so equal structures give equal arrays. An atom is a neighbor of its
    own periodic images; directions that are not periodic have no images.

    Args:
        atoms: The structure; it is not changed.
        cutoff: Largest distance in Å.

    Raises:
        StructureError: If there is no atom, a coordinate is not finite, or a periodic direction has no cell vector.
    """
    if len(atoms) == 0:
        raise StructureError("a structure without atoms was given to a teacher; expected at least one atom")
    if not (np.all(np.isfinite(atoms.positions)) and np.all(np.isfinite(atoms.cell[:]))):
        raise StructureError("positions or cell hold NaN or infinity; check the run that produced this structure")
    cell = atoms.cell.complete()
    if np.linalg.matrix_rank(atoms.cell[atoms.pbc]) < int(atoms.pbc.sum()):
        raise StructureError(f"pbc is {atoms.pbc.tolist()} but the cell is {atoms.cell[:].tolist()}; give a full cell")
    senders, receivers, shifts = primitive_neighbor_list("ijS", atoms.pbc, cell[:], atoms.positions, cutoff)
    order = np.lexsort((*shifts.T[::-1], receivers, senders))
    senders, receivers, shifts = senders[order], receivers[order], shifts[order]
    vectors = atoms.positions[receivers] - atoms.positions[senders] + shifts @ cell[:]
    spans = atoms.cell.rank == 3 and abs(np.linalg.det(atoms.cell[:])) > 0
    return Graph(
        numbers=atoms.numbers.astype(np.int64),
        senders=senders.astype(np.int64),
        receivers=receivers.astype(np.int64),
        shifts=shifts.astype(np.int64),
        vectors=vectors,
        volume=float(abs(np.linalg.det(atoms.cell[:]))) if spans else float("nan"),
    )
