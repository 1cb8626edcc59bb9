"""CHGNet teachers (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3).

All models come with the ``chgnet`` wheel. The network is CHGNet's own; neighbor lists, batching, forces and stress are
limbeck's, so that left-handed cells, structures that are not periodic, and second derivatives work.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Int

from limbeck.core.config import Settings
from limbeck.core.errors import MissingDependencyError
from limbeck.potentials.teachers.graph import Graph, neighbor_graph
from limbeck.potentials.teachers.network import Batch, batch_of, with_extras

if TYPE_CHECKING:
    import torch

_UNTRAINED = {"Po", "At", "Rn", "Fr", "Ra"}
"""Embedded by CHGNet but absent from its training set (MPtrj has 89 elements)."""


class CHGNetSettings(Settings):
    """A CHGNet model."""

    kind: Literal["chgnet"] = "chgnet"
    model: Literal["0.3.0", "0.2.0", "r2scan"] = "0.3.0"
    """Version in the wheel: ``0.3.0`` and ``0.2.0`` are trained on PBE(+U), ``r2scan`` on r2SCAN."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of the weights and of all arithmetic; ``float64`` costs about twice the time."""


@contextlib.contextmanager
def _quiet_chgnet() -> Iterator[None]:
    """CHGNet prints and warns when it is imported and built; neither reaches the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            import chgnet.model.model  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                f"the CHGNet teacher needs the package chgnet ({error}). Install it: pip install 'limbeck[chgnet]'"
            ) from error
        yield


@dataclass(frozen=True)
class AngleGraph(Graph):
    """Graph with CHGNet's bonds and angles.

    Attributes:
        undirected: Index of the undirected bond that a directed edge belongs to, (n_edges,).
        representative: One directed edge of every undirected bond, (n_edges / 2,).
        angles: Two different short edges that start at one atom, as pairs of directed edges, (n_angles, 2).
    """

    undirected: Int[np.ndarray, " n_edges"]
    representative: Int[np.ndarray, " n_bonds"]
    angles: Int[np.ndarray, "n_angles 2"]


def angle_graph(graph: Graph, bond_cutoff: float) -> AngleGraph:
    """Add undirected bonds, and the angles between bonds shorter than ``bond_cutoff`` (Å)."""
    ends = np.stack([graph.senders, graph.receivers], axis=1)
    forward = np.concatenate([ends, graph.shifts], axis=1)
    backward = np.concatenate([ends[:, ::-1], -graph.shifts], axis=1)
    difference = forward - backward
    first = np.argmax(difference != 0, axis=1) if len(forward) else np.zeros(0, dtype=int)
    flip = difference[np.arange(len(forward)), first] > 0
    canonical = np.where(flip[:, None], backward, forward)
    _, representative, undirected = np.unique(canonical, axis=0, return_index=True, return_inverse=True)
    short = np.flatnonzero(np.linalg.norm(graph.vectors, axis=1) < bond_cutoff)
    counts = np.bincount(graph.senders[short], minlength=len(graph.numbers))
    starts = np.concatenate([[0], np.cumsum(counts)])
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for count, start in zip(counts, starts, strict=False):
        if count > 1:
            i, j = np.nonzero(~np.eye(count, dtype=bool))
            pairs.append(np.stack([short[start + i], short[start + j]], axis=1))
    values = {f.name: getattr(graph, f.name) for f in fields(Graph)}
    return AngleGraph(
        **values, undirected=undirected.reshape(-1), representative=representative, angles=np.concatenate(pairs)
    )


def build(settings: CHGNetSettings) -> "CHGNet":
    """Network of a model in the wheel.

    Raises:
        MissingDependencyError: If ``chgnet`` is not installed.
    """
    with _quiet_chgnet():
        from chgnet.model.model import CHGNet as Upstream

        module = Upstream.load(model_name=settings.model, use_device="cpu", verbose=False)
    architecture = {key: _plain(value) for key, value in module.model_args.items()}
    return from_state(settings.model, settings.precision, architecture, module.state_dict())


def from_state(model: str, precision: str, architecture: dict[str, Any], weights: dict[str, Any]) -> "CHGNet":
    """Network from plain values and weights, as :meth:`CHGNet.architecture` gave them."""
    import torch

    with _quiet_chgnet():
        from chgnet.model.model import CHGNet as Upstream

        module = Upstream(**architecture)
    module.to(getattr(torch, precision))
    module.load_state_dict(weights, strict=True)
    module.eval()
    return CHGNet(model, precision, architecture, module)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class CHGNet:
    """CHGNet behind the :class:`~limbeck.potentials.teachers.network.Network` protocol."""

    kind = "chgnet"
    elements = frozenset(chemical_symbols[1:95]) - _UNTRAINED

    def __init__(self, model: str, precision: str, architecture: dict[str, Any], module: Any) -> None:
        self.model, self.precision, self.module = model, precision, module
        self._architecture = architecture

    def graph(self, atoms: Atoms) -> AngleGraph:
        """Neighbors within 6 Å and angles between bonds within 3 Å (CHGNet 0.3.0)."""
        graph = neighbor_graph(atoms, float(self._architecture["atom_graph_cutoff"]))
        return angle_graph(graph, float(self._architecture["bond_graph_cutoff"]))

    def collate(self, graphs: Sequence[Graph]) -> Batch:
        """Graphs side by side, with bonds and angles."""
        import torch

        parts: dict[str, list[np.ndarray]] = {"undirected": [], "representative": [], "angles": []}
        edges = bonds = 0
        for graph in graphs:
            assert isinstance(graph, AngleGraph)
            parts["undirected"].append(graph.undirected + bonds)
            parts["representative"].append(graph.representative + edges)
            parts["angles"].append(graph.angles + edges)
            edges, bonds = edges + len(graph.senders), bonds + len(graph.representative)
        extras = {name: torch.from_numpy(np.concatenate(arrays)) for name, arrays in parts.items()}
        return with_extras(batch_of(graphs, self.precision), extras)

    def atomic_energies(self, batch: Batch, vectors: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """Energies of the atoms in eV with CHGNet's element references, and magnetic moments in Bohr magnetons."""
        import torch
        from chgnet.model.model import BatchedGraph

        undirected, representative, angles = (batch.extras[name] for name in ("undirected", "representative", "angles"))
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        bond_lengths = lengths[representative]
        encoder = self.module.bond_basis_expansion
        directions = -vectors / lengths[:, None]
        angle_bases = self.module.angle_basis_expansion(directions[angles[:, 0]], directions[angles[:, 1]])
        prediction = self.module._compute(
            BatchedGraph(
                atomic_numbers=batch.numbers,
                bond_bases_ag=encoder.rbf_expansion_ag(bond_lengths),
                bond_bases_bg=encoder.rbf_expansion_bg(bond_lengths),
                angle_bases=angle_bases,
                batched_atom_graph=torch.stack([batch.senders, batch.receivers], dim=1),
                batched_bond_graph=torch.stack(
                    [batch.senders[angles[:, 0]], undirected[angles[:, 0]], undirected[angles[:, 1]]], dim=1
                ),
                atom_owners=batch.frame_of_atom,
                directed2undirected=undirected,
                atom_positions=[],
                strains=[],
                volumes=batch.volumes,
            ),
            compute_magmom=True,
            return_site_energies=True,
        )
        reference = self.module.composition_model.fc.weight[0, batch.numbers - 1]
        return torch.cat(list(prediction["site_energies"])) + reference, torch.cat(list(prediction["m"]))

    def trainable(self, layers: str) -> list[str]:
        """Parameters of the whole network, of the last interaction blocks and the readout, or of the readout."""
        excluded = ("composition_model", "site_wise")
        names = [n for n, _ in self.module.named_parameters() if not n.startswith(excluded)]
        count = len(self.module.atom_conv_layers)
        readout = ("readout_norm", "mlp")
        blocks = (
            f"atom_conv_layers.{count - 1}.", f"atom_conv_layers.{count - 2}.", f"bond_conv_layers.{count - 2}.",
            f"angle_layers.{count - 2}.",
        )  # fmt: skip
        starts = {"all": ("",), "last_blocks": (*readout, *blocks), "readout": readout}[layers]
        return [n for n in names if n.startswith(starts)]

    def architecture(self) -> dict[str, Any]:
        """CHGNet's constructor arguments as plain values."""
        return self._architecture

    def copy(self) -> "CHGNet":
        """Independent network with equal weights."""
        return from_state(self.model, self.precision, self._architecture, self.module.state_dict())
