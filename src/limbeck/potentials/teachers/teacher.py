"""The teacher that users hold: one class for every torch network, its ASE calculator and its file."""

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float

from limbeck.core.errors import ConfigError, MissingFileError, TrainingError, UnsupportedElementError
from limbeck.core.record import write_bytes
from limbeck.labels.labelled import Labelled
from limbeck.potentials.protocols import FitHistory
from limbeck.potentials.teachers.network import Network, derive

if TYPE_CHECKING:
    from limbeck.potentials.finetune import FineTuneSettings

FORMAT = "limbeck teacher"
FORMAT_VERSION = 1
EDGES_PER_BATCH = 3000
"""Graphs are put together up to this number of edges: larger batches are no faster on a CPU core, and need memory."""


@dataclass(frozen=True)
class Prediction:
    """What a teacher says about one structure.

    Attributes:
        energy: Total energy in eV, element shifts included.
        forces: (n_atoms, 3) in eV/Å.
        stress: (6,) Voigt in eV/Å^3, ASE's sign; ``None`` where the cell does not span space.
        magnetic_moments: (n_atoms,) in Bohr magnetons, or ``None`` if the model has none.
        atomic_energies: (n_atoms,) in eV, element shifts included.
    """

    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    stress: Float[np.ndarray, " 6"] | None
    magnetic_moments: Float[np.ndarray, " n_atoms"] | None
    atomic_energies: Float[np.ndarray, " n_atoms"]


@dataclass(frozen=True)
class TorchTeacher:
    """A pretrained network with element shifts: a :class:`limbeck.potentials.protocols.Teacher`.

    Attributes:
        network: Weights and architecture; never changed by the teacher.
        shifts: Energy in eV added per atom of an element, from :meth:`aligned_to`; elements that are not named get 0.
    """

    network: Network
    shifts: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Kind and upstream model, for example ``sevennet:7net-0``."""
        return f"{self.network.kind}:{self.network.model}"

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that the model was trained on."""
        return self.network.elements

    def calculator(self) -> "TeacherCalculator":
        """A fresh ASE calculator: energy (eV), forces (eV/Å), stress (eV/Å^3), and magnetic moments where known."""
        return TeacherCalculator(self)

    def predict(self, frames: Sequence[Atoms]) -> list[Prediction]:
        """Energies, forces and stresses of many structures, in batches.

        Args:
            frames: Structures; they are not changed.

        Returns:
            One prediction a structure, in order.

        Raises:
            UnsupportedElementError: If a structure holds an element that the model does not know.
            StructureError: If a structure is empty or not finite.
        """
        self._check_elements(frames)
        table = _shift_table(self.shifts)
        found: list[Prediction] = []
        waiting: list[Any] = []
        for position, frame in enumerate(frames):
            waiting.append(self.network.graph(frame))
            if sum(len(g.senders) for g in waiting) >= EDGES_PER_BATCH or position == len(frames) - 1:
                found += _predict_batch(self.network, waiting, table)
                waiting = []
        return found

    def aligned_to(self, frames: Sequence[Labelled]) -> "TorchTeacher":
        """Teacher whose energies have the same reference as the labels.

        Total energies of two codes differ by a constant per element (pseudopotentials, atomic references), which says
        nothing about the quality of a force field. The shifts are added to the present ones and solve, frame by frame,
        sum_el n_el shift_el / n = (E_label - E_teacher) / n in the least-squares sense; of all solutions (one
        composition only, elements that never occur) the one with the smallest norm is taken. Forces and stress do not
        change.

        Args:
            frames: Labelled structures, at least one.

        Returns:
            A new teacher; this one stays as it is.

        Raises:
            TrainingError: If there are no frames.
            UnsupportedElementError: If a frame holds an element that the model does not know.
        """
        if not frames:
            raise TrainingError("energies cannot be aligned without labelled frames; give at least one")
        predicted = self.predict([frame.atoms for frame in frames])
        differences = [frame.energy - p.energy for frame, p in zip(frames, predicted, strict=True)]
        fitted = fit_shifts([frame.atoms for frame in frames], differences)
        symbols = sorted({*self.shifts, *fitted})
        return TorchTeacher(self.network, {s: self.shifts.get(s, 0.0) + fitted.get(s, 0.0) for s in symbols})

    def fit(
        self,
        train: Sequence[Labelled],
        validation: Sequence[Labelled],
        settings: "FineTuneSettings",
        *,
        seed: int,
        progress_path: Path | None = None,
    ) -> tuple["TorchTeacher", FitHistory]:
        """Fine-tuned copy and its history; see :func:`limbeck.potentials.finetune.fine_tune`.

        Raises:
            TrainingError: If there is no data or the loss is not finite.
            UnsupportedElementError: If a frame holds an element that the model does not know.
        """
        from limbeck.potentials.finetune import fine_tune

        self._check_elements([frame.atoms for frame in (*train, *validation)])
        return fine_tune(self, train, validation, settings, seed=seed, progress_path=progress_path)

    def save(self, path: Path) -> None:
        """Write one self-contained file (format version, upstream model, architecture, weights, element shifts).

        The file holds tensors and plain values only; :func:`limbeck.potentials.teachers.load_teacher` reads it without
        running any code from it and without network.
        """
        import torch

        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": self.network.kind,
            "model": self.network.model,
            "precision": self.network.precision,
            "architecture": self.network.architecture(),
            "weights": dict(self.network.module.state_dict()),
            "shifts_eV": dict(self.shifts),
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        write_bytes(Path(path), stream.getvalue())

    def _check_elements(self, frames: Sequence[Atoms]) -> None:
        for position, frame in enumerate(frames):
            unknown = sorted(set(frame.get_chemical_symbols()) - self.elements)
            if unknown:
                raise UnsupportedElementError(
                    f"frame {position} ({frame.get_chemical_formula()}) holds {', '.join(unknown)}, which {self.name} "
                    f"was not trained on; it knows {len(self.elements)} elements. Choose another teacher."
                )


class TeacherCalculator(Calculator):
    """ASE calculator of a teacher."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress", "magmoms"]

    def __init__(self, teacher: TorchTeacher) -> None:
        super().__init__()
        self.teacher = teacher

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Fill ``results``; ASE calls this. Stress is left out where the cell does not span space."""
        super().calculate(atoms, properties, system_changes)
        (prediction,) = self.teacher.predict([self.atoms])
        self.results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": prediction.atomic_energies,
            "forces": prediction.forces,
        }
        if prediction.stress is not None:
            self.results["stress"] = prediction.stress
        if prediction.magnetic_moments is not None:
            self.results["magmoms"] = prediction.magnetic_moments


def fit_shifts(frames: Sequence[Atoms], differences: Sequence[float]) -> dict[str, float]:
    """Energy per atom of each element (eV) that best explains energy differences (eV); see ``aligned_to``."""
    symbols = sorted({s for frame in frames for s in frame.get_chemical_symbols()})
    counts = np.array([[frame.get_chemical_symbols().count(s) for s in symbols] for frame in frames], dtype=float)
    sizes = counts.sum(axis=1)
    solution = np.linalg.lstsq(counts / sizes[:, None], np.asarray(differences) / sizes, rcond=1e-10)[0]
    return {s: float(x) for s, x in zip(symbols, solution, strict=True)}


def load_file(path: Path) -> dict[str, Any]:
    """Content of a teacher file, checked.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If it is no teacher file, or of a newer format version.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such teacher file. Check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"{path}: not a file that TorchTeacher.save wrote ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(f"{path}: not a teacher file of limbeck; a SevenNet checkpoint is given as 'model' instead")
    if content["format_version"] > FORMAT_VERSION:
        raise ConfigError(
            f"{path}: teacher format {content['format_version']}; this limbeck reads up to {FORMAT_VERSION}. Update it."
        )
    return dict(content)


def _shift_table(shifts: Mapping[str, float]) -> Float[np.ndarray, " n_elements"]:
    table = np.zeros(len(chemical_symbols))
    for symbol, shift in shifts.items():
        table[atomic_numbers[symbol]] = shift
    return table


def _predict_batch(network: Network, graphs: Sequence[Any], table: np.ndarray) -> list[Prediction]:
    batch = network.collate(graphs)
    output = derive(network, batch)
    atomic = output.atomic_energies.detach().double().numpy() + table[batch.numbers.numpy()]
    forces = output.forces.detach().double().numpy()
    stress = output.stress.detach().numpy()
    moments = None if output.magnetic_moments is None else output.magnetic_moments.detach().double().numpy()
    spans = np.isfinite(batch.volumes.numpy())
    found, start = [], 0
    for frame, count in enumerate(batch.atom_counts):
        part = slice(start, start + count)
        start += count
        found.append(
            Prediction(
                energy=float(atomic[part].sum()),
                forces=forces[part].copy(),
                stress=stress[frame].copy() if spans[frame] else None,
                magnetic_moments=None if moments is None else moments[part].copy(),
                atomic_energies=atomic[part].copy(),
            )
        )
    return found
