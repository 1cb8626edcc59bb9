"""SevenNet teachers (Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190).

SevenNet-0 (11 July 2024) and 7net-l3i5 come with the ``sevenn`` wheel, so nothing is downloaded.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ase import Atoms
from ase.data import chemical_symbols

from limbeck.core.config import Settings
from limbeck.core.errors import ConfigError, MissingDependencyError, MissingFileError
from limbeck.potentials.teachers.graph import Graph, neighbor_graph
from limbeck.potentials.teachers.network import Batch, batch_of

if TYPE_CHECKING:
    import torch

SHIPPED = {"7net-0": "SEVENNET_0_11Jul2024", "7net-l3i5": "SEVENNET_l3i5", "7net-mf-0": "SEVENNET_MF_0"}
"""Models inside the wheel -> constant of ``sevenn._const`` that holds the file's path."""

_NOT_TRAINED = ("rescale_atomic_energy", "denominator")
_AFTER_ATOMIC_ENERGY = ("reduce_total_enegy", "force_output")
_ONE_HOT = ("onehot_idx_to_onehot", "one_hot_modality")  # these layers make single precision whatever the weights are


class SevenNetSettings(Settings):
    """A SevenNet model."""

    kind: Literal["sevennet"] = "sevennet"
    model: str = "7net-0"
    """``7net-0``, ``7net-l3i5`` or ``7net-mf-0`` (in the wheel), or the path of a SevenNet checkpoint (``.pth``).

    A checkpoint is a Python pickle and can run code when it is read: only use files that you trust."""
    modality: str | None = None
    """Level of theory of a multi-fidelity model, for example ``PBE`` of ``7net-mf-0``; none for the others."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of the weights and of all arithmetic; ``float64`` costs about twice the time."""


@contextmanager
def _quiet_sevenn() -> Iterator[None]:
    """Code generation of e3nn in plain Python (bits do not depend on what ran before), without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import e3nn
            import sevenn.model_build  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                f"the SevenNet teacher needs the package sevenn ({error}). Install it: pip install 'limbeck[sevennet]'"
            ) from error
        before = e3nn.get_optimization_defaults()["jit_mode"]
        e3nn.set_optimization_defaults(jit_mode="eager")
        try:
            yield
        finally:
            e3nn.set_optimization_defaults(jit_mode=before)


def build(settings: SevenNetSettings) -> "SevenNet":
    """Network of a shipped model or of a user's checkpoint.

    Raises:
        MissingDependencyError: If ``sevenn`` is not installed.
        MissingFileError: If the model is neither shipped nor a file.
        ConfigError: If the modality does not fit the model.
    """
    import torch

    with _quiet_sevenn():
        import sevenn._const as constants
        from sevenn.checkpoint import SevenNetCheckpoint

        path = Path(getattr(constants, SHIPPED[settings.model]) if settings.model in SHIPPED else settings.model)
        if not path.is_file():
            raise MissingFileError(
                f"'{settings.model}' is no SevenNet model: no such file, and the models that need no file are "
                f"{', '.join(SHIPPED)}. Check the path."
            )
        checkpoint = SevenNetCheckpoint(path)
        architecture = _plain_architecture(checkpoint.config)
        module = checkpoint.build_model()
    modalities = list(architecture.get("_modal_map") or {})
    if modalities and settings.modality not in modalities:
        raise ConfigError(
            f"the SevenNet model '{settings.model}' needs a modality, one of {', '.join(modalities)}; "
            f"seen: {settings.modality}. Set 'modality' beside 'model'."
        )
    if settings.modality is not None and not modalities:
        raise ConfigError(f"the SevenNet model '{settings.model}' has no modalities. Leave 'modality' out.")
    name = settings.model if settings.model in SHIPPED else path.stem
    module.to(getattr(torch, settings.precision)).eval()
    return SevenNet(name, settings.precision, {"config": architecture, "modality": settings.modality}, module)


def from_state(model: str, precision: str, architecture: dict[str, Any], weights: dict[str, Any]) -> "SevenNet":
    """Network from plain values and weights, as :meth:`SevenNet.architecture` gave them."""
    import torch

    with _quiet_sevenn():
        from sevenn.model_build import build_E3_equivariant_model

        module = build_E3_equivariant_model(dict(architecture["config"]))
        module.to(getattr(torch, precision))
        module.load_state_dict(weights, strict=True)
    module.eval()
    return SevenNet(model, precision, architecture, module)


def _plain_architecture(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a checkpoint's configuration that decide the network, as plain Python values."""
    import sevenn._const as constants

    keep = {
        *constants.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG, "cutoff", "shift", "scale", "conv_denominator", "version",
        "_type_map", "_number_of_species", "_chemical_species_by_atomic_number", "_modal_map", "_number_of_modalities",
        "use_modality", "use_modal_wise_shift", "use_modal_wise_scale", "use_species_wise_shift_scale",
        "train_shift_scale", "_model_type",
    }  # fmt: skip
    plain = {key: _plain(value) for key, value in config.items() if key in keep}
    plain["cuequivariance_config"] = {}
    plain["use_flash_tp"] = plain["use_oeq"] = False
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


class SevenNet:
    """SevenNet behind the :class:`~limbeck.potentials.teachers.network.Network` protocol."""

    kind = "sevennet"

    def __init__(self, model: str, precision: str, architecture: dict[str, Any], module: Any) -> None:
        self.model, self.precision, self.module = model, precision, module
        self._architecture = architecture
        self._cutoff = float(module.cutoff)
        self.elements = frozenset(chemical_symbols[z] for z in module.type_map)

    def graph(self, atoms: Atoms) -> Graph:
        """Neighbors within the model's cutoff (5 Å for SevenNet-0)."""
        return neighbor_graph(atoms, self._cutoff)

    def collate(self, graphs: Sequence[Graph]) -> Batch:
        """Graphs side by side."""
        return batch_of(graphs, self.precision)

    def atomic_energies(self, batch: Batch, vectors: "torch.Tensor") -> "tuple[torch.Tensor, None]":
        """Energies of the atoms in eV; SevenNet has no magnetic moments."""
        import sevenn._keys as keys
        import torch

        data: dict[str, Any] = {
            keys.NODE_FEATURE: self.module._atomic_numbers_to_onehot(batch.numbers),
            keys.EDGE_VEC: vectors,
            keys.EDGE_IDX: torch.stack([batch.senders, batch.receivers]),
            keys.BATCH: batch.frame_of_atom,
        }
        modality = self._architecture["modality"]
        if modality is not None:
            index = self.module.modal_map[modality]
            data[keys.MODAL_TYPE] = torch.full((len(batch.atom_counts),), index, dtype=torch.int64)
        for name, layer in self.module._modules.items():
            if name in _AFTER_ATOMIC_ENERGY:
                break
            data = layer(data)
            if name in _ONE_HOT:
                data = {k: v.to(vectors.dtype) if v.is_floating_point() else v for k, v in data.items()}
        return data[keys.ATOMIC_ENERGY].reshape(-1), None

    def trainable(self, layers: str) -> list[str]:
        """Parameters of the whole network, of the last two interaction blocks and the readout, or of the readout."""
        names = [n for n, _ in self.module.named_parameters() if not any(part in n for part in _NOT_TRAINED)]
        blocks = sorted({int(n.split("_")[0]) for n in names if n.split("_")[0].isdigit()})
        starts = {
            "all": ("",),
            "last_blocks": ("reduce_", *(f"{block}_" for block in blocks[-2:])),
            "readout": ("reduce_",),
        }[layers]
        return [n for n in names if n.startswith(starts)]

    def architecture(self) -> dict[str, Any]:
        """Configuration of the network as plain values."""
        return self._architecture

    def copy(self) -> "SevenNet":
        """Independent network with equal weights."""
        return from_state(self.model, self.precision, self._architecture, self.module.state_dict())
