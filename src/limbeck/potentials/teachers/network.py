"""What a torch teacher must bring: a :class:`Network`. Forces and stress are derived from its energy here, once.

The energy is a function of the edge vectors r_ij = x_j + S h - x_i of a neighbor graph, so

    F_k = sum_{e starts at k} dE/dr_e - sum_{e ends at k} dE/dr_e
    sigma_ab = 1/(2V) sum_e (r_a dE/dr_b + r_b dE/dr_a),   V = abs(det h)

which is exact for any cell, left-handed ones included, and gives the stress in ASE's sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase import Atoms

from limbeck.potentials.teachers.graph import Graph

if TYPE_CHECKING:
    import torch

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Row and column of the six Voigt components: xx, yy, zz, yz, xz, xy."""


@dataclass(frozen=True)
class Batch:
    """Several graphs side by side, as tensors.

    Attributes:
        numbers: Atomic numbers, (n_atoms,).
        senders: First atom of each edge, (n_edges,).
        receivers: Second atom of each edge, (n_edges,).
        frame_of_atom: Index of the graph that an atom belongs to, (n_atoms,).
        vectors: Edge vectors, (n_edges, 3) in Å, in the network's precision.
        volumes: Cell volumes, (n_frames,) in Å^3, double precision, NaN where there is none.
        atom_counts: Number of atoms of each graph.
        extras: Further index tensors that one family of networks needs.
    """

    numbers: "torch.Tensor"
    senders: "torch.Tensor"
    receivers: "torch.Tensor"
    frame_of_atom: "torch.Tensor"
    vectors: "torch.Tensor"
    volumes: "torch.Tensor"
    atom_counts: tuple[int, ...]
    extras: dict[str, "torch.Tensor"] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """What a network says about a batch; tensors that may carry a graph for a second derivative.

    Attributes:
        atomic_energies: (n_atoms,) in eV.
        energies: (n_frames,) in eV, summed in double precision.
        forces: (n_atoms, 3) in eV/Å.
        stress: (n_frames, 6), Voigt, eV/Å^3; NaN for a frame without a volume.
        magnetic_moments: (n_atoms,) in Bohr magnetons, or ``None``.
    """

    atomic_energies: "torch.Tensor"
    energies: "torch.Tensor"
    forces: "torch.Tensor"
    stress: "torch.Tensor"
    magnetic_moments: "torch.Tensor | None"


class Network(Protocol):
    """The part that differs between families of torch teachers.

    A network is owned by one teacher. ``module`` holds the weights; only :func:`limbeck.potentials.finetune.fine_tune`
    changes weights, and it works on a :meth:`copy`.
    """

    kind: str
    """Family: ``sevennet``, ``chgnet``."""
    model: str
    """Upstream name of the pretrained model."""
    elements: frozenset[str]
    """Chemical symbols that it was trained on."""
    precision: str
    """``float32`` or ``float64``."""
    module: Any
    """The ``torch.nn.Module``."""

    def graph(self, atoms: Atoms) -> Graph:
        """Neighbor graph with what this family needs; plain NumPy, made once per structure."""
        ...

    def collate(self, graphs: Sequence[Graph]) -> Batch:
        """Batch of graphs; see :func:`batch_of`."""
        ...

    def atomic_energies(self, batch: Batch, vectors: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor | None]":
        """Energy of every atom (n_atoms,) in eV as a differentiable function of ``vectors``, and magnetic moments."""
        ...

    def trainable(self, layers: str) -> list[str]:
        """Names of the parameters that a fit may change, for ``all``, ``last_blocks`` or ``readout``."""
        ...

    def architecture(self) -> dict[str, Any]:
        """Plain values from which, with the weights, :meth:`copy` or a loader rebuilds the network."""
        ...

    def copy(self) -> "Network":
        """Independent network with equal weights."""
        ...


def batch_of(graphs: Sequence[Graph], precision: str) -> Batch:
    """Graphs side by side with shifted indices; the common part of :meth:`Network.collate`."""
    import torch

    counts = tuple(len(graph.numbers) for graph in graphs)
    offsets = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return Batch(
        numbers=torch.from_numpy(np.concatenate([g.numbers for g in graphs])),
        senders=torch.from_numpy(np.concatenate([g.senders + o for g, o in zip(graphs, offsets, strict=True)])),
        receivers=torch.from_numpy(np.concatenate([g.receivers + o for g, o in zip(graphs, offsets, strict=True)])),
        frame_of_atom=torch.from_numpy(np.repeat(np.arange(len(graphs)), counts)),
        vectors=torch.from_numpy(np.concatenate([g.vectors for g in graphs])).to(getattr(torch, precision)),
        volumes=torch.tensor([g.volume for g in graphs], dtype=torch.float64),
        atom_counts=counts,
    )


def with_extras(batch: Batch, extras: dict[str, "torch.Tensor"]) -> Batch:
    """The batch with further index tensors."""
    return replace(batch, extras={**batch.extras, **extras})


def derive(network: Network, batch: Batch, create_graph: bool = False) -> Output:
    """Energies, forces and stress of a batch.

    Args:
        network: The network.
        batch: Output of its ``collate``.
        create_graph: Keep the graph of the derivatives, for a loss on forces and stress.

    Returns:
        Energies without element shifts; see :class:`Output` for shapes and units.
    """
    import torch

    vectors = batch.vectors.detach().clone().requires_grad_(True)
    atomic, moments = network.atomic_energies(batch, vectors)
    (gradient,) = torch.autograd.grad(
        [atomic.sum()], [vectors], create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    n_atoms, n_frames = len(batch.numbers), len(batch.atom_counts)
    energies = torch.zeros(n_frames, dtype=torch.float64).index_add(0, batch.frame_of_atom, atomic.double())
    forces = torch.zeros((n_atoms, 3), dtype=gradient.dtype).index_add(0, batch.senders, gradient)
    forces = forces.index_add(0, batch.receivers, gradient, alpha=-1)
    products = torch.stack(
        [0.5 * (vectors[:, a] * gradient[:, b] + vectors[:, b] * gradient[:, a]) for a, b in VOIGT], dim=1
    )
    virial = torch.zeros((n_frames, 6), dtype=torch.float64).index_add(
        0, batch.frame_of_atom[batch.senders], products.double()
    )
    return Output(
        atomic_energies=atomic,
        energies=energies,
        forces=forces,
        stress=virial / batch.volumes[:, None],
        magnetic_moments=moments,
    )
