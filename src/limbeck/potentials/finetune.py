"""Fine-tuning of a teacher on few labels: one loop for every torch network.

Loss of a batch, with the Huber function H_d(x) = x^2/2 for |x| <= d, d (|x| - d/2) beyond:

    L = w_E <H_d((E - E_ref) / n)> + w_F <H_d(F - F_ref)> + w_S <H_d(V (s - s_ref) / n)>

E energy, F force components, s stress components, V volume, n number of atoms; averages run over the frames, the force
components and the stress components of the batch; all residuals are in eV or eV/Å. Frames without stress take no part
in the last term.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import TrainingError
from limbeck.core.progress import FileProgress
from limbeck.core.rng import stream
from limbeck.core.units import ev_per_a3_to_gpa
from limbeck.labels.labelled import Labelled
from limbeck.potentials.protocols import FitHistory

if TYPE_CHECKING:
    import torch

    from limbeck.potentials.teachers.graph import Graph
    from limbeck.potentials.teachers.network import Network
    from limbeck.potentials.teachers.teacher import TorchTeacher


class FineTuneSettings(Settings):
    """How a teacher is fine-tuned. The defaults are measured: see ``docs/decisions/0003-fine-tuning-recipe.md``."""

    epochs: int = Field(default=25, gt=0)
    """Passes over the training frames."""
    batch_size: int = Field(default=2, gt=0)
    """Frames per step of the optimizer."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Largest learning rate of Adam; see ``schedule``."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over time: five percent linear warm-up, then half a cosine down to 1 % (or constant)."""
    energy_weight: float = Field(default=100.0, ge=0)
    """Weight of the energy per atom (eV) in the loss."""
    force_weight: float = Field(default=1.0, ge=0)
    """Weight of the force components (eV/Å) in the loss."""
    stress_weight: float = Field(default=0.1, ge=0)
    """Weight of the stress components, as virial per atom (eV), in the loss."""
    huber_delta: float = Field(default=1.0, gt=0)
    """Residual (eV or eV/Å) beyond which the loss grows linearly, so that one bad label cannot rule the fit."""
    layers: Literal["all", "last_blocks", "readout"] = "all"
    """Weights that change: all, the last two interaction blocks and the readout, or the readout."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    gradient_norm: float = Field(default=10.0, gt=0)
    """Largest norm of the gradient; longer ones are scaled down."""
    average_decay: float = Field(default=0.95, ge=0, lt=1)
    """Decay per step of the exponential moving average of the weights, which is what is kept; 0 keeps the last."""
    patience: int | None = Field(default=None, gt=0)
    """Stop after this many epochs without a lower validation loss; none: run all epochs."""
    align_energies: bool = True
    """Fit the energy of each element to the training labels before and after training."""
    threads: int = Field(default=1, gt=0)
    """Threads of torch; part of the settings since the bits of the result depend on it."""


@dataclass(frozen=True)
class _Frame:
    """One training example: graph and targets, made once."""

    graph: "Graph"
    energy: float
    forces: np.ndarray
    stress: np.ndarray


@dataclass(frozen=True)
class _Errors:
    """Squared errors summed over frames, and the loss weighted by frames."""

    loss: float
    energy: float
    force: float
    stress: float
    n_frames: int
    n_components: int
    n_stress: int

    def __add__(self, other: "_Errors") -> "_Errors":
        return _Errors(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))

    def row(self, prefix: str) -> dict[str, float]:
        """RMSEs with units in their names."""
        stress = ev_per_a3_to_gpa(float(np.sqrt(self.stress / self.n_stress))) if self.n_stress else float("nan")
        return {
            f"{prefix}_loss": self.loss / self.n_frames,
            f"{prefix}_energy_RMSE_meV_per_atom": 1000 * float(np.sqrt(self.energy / self.n_frames)),
            f"{prefix}_force_RMSE_eV_per_A": float(np.sqrt(self.force / self.n_components)),
            f"{prefix}_stress_RMSE_GPa": stress,
        }


NO_ERRORS = _Errors(0.0, 0.0, 0.0, 0.0, 0, 0, 0)


@contextmanager
def deterministic_torch(threads: int) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of threads inside the block; both restored after it."""
    import torch

    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_num_threads(),
    )
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.set_num_threads(before[2])


def fine_tune(
    teacher: "TorchTeacher",
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    settings: FineTuneSettings,
    *,
    seed: int,
    progress_path: Path | None = None,
) -> tuple["TorchTeacher", FitHistory]:
    """Fine-tune a copy of a teacher.

    The averaged weights (``average_decay``) of the epoch with the lowest validation loss are kept; without validation
    frames, those of the last epoch. Equal arguments give equal bits on one machine, whatever ran before.

    Args:
        teacher: Where to start; it stays as it is.
        train: Labelled frames to fit.
        validation: Labelled frames of other trajectories, to choose the epoch; may be empty.
        settings: The recipe.
        seed: Decides the order of the frames, the only random choice.
        progress_path: File for :class:`limbeck.core.progress.FileProgress`.

    Returns:
        The new teacher and the history, one row an epoch: ``epoch``, ``learning_rate`` and, for ``train`` (running,
        while weights change) and ``validation``, ``*_loss``, ``*_energy_RMSE_meV_per_atom``,
        ``*_force_RMSE_eV_per_A`` and ``*_stress_RMSE_GPa``.

    Raises:
        TrainingError: If there is no training frame or the loss is not finite.
        StructureError: If a frame cannot be used.
    """
    from limbeck.potentials.teachers.teacher import TorchTeacher

    if not train:
        raise TrainingError("fine-tuning needs at least one training frame, got none; label some structures first")
    started = time.process_time()
    with deterministic_torch(settings.threads):
        if settings.align_energies:
            teacher = teacher.aligned_to(train)
        network = teacher.network.copy()
        run = _Run(network, settings, _frames(teacher, train), _frames(teacher, validation))
        rows, best_epoch = run.train(stream(seed, "fine-tune"), FileProgress(progress_path, settings.epochs, "epoch"))
        tuned = TorchTeacher(network, teacher.shifts)
        if settings.align_energies:
            tuned = tuned.aligned_to(train)
    note = f"{len(run.weights)} of {len(list(network.module.parameters()))} weight tensors trained"
    if len(rows) < settings.epochs:
        note += f"; stopped after {len(rows)} epochs without a lower validation loss for {settings.patience}"
    return tuned, FitHistory(rows, time.process_time() - started, best_epoch, note)


def _frames(teacher: "TorchTeacher", labelled: Sequence[Labelled]) -> list[_Frame]:
    """Graphs and targets; the energy target is free of the teacher's element shifts."""
    frames = []
    for item in labelled:
        shift = sum(teacher.shifts.get(symbol, 0.0) for symbol in item.atoms.get_chemical_symbols())
        graph = teacher.network.graph(item.atoms)
        usable = item.stress is not None and np.isfinite(graph.volume)
        stress = item.stress if usable and item.stress is not None else np.full(6, np.nan)
        frames.append(_Frame(graph, item.energy - shift, item.forces, stress))
    return frames


class _Run:
    """State of one fit: weights, optimizer, moving average."""

    def __init__(
        self, network: "Network", settings: FineTuneSettings, train: list[_Frame], validation: list[_Frame]
    ) -> None:
        import torch

        self.network, self.settings = network, settings
        self.frames, self.validation = train, validation
        chosen = set(network.trainable(settings.layers))
        self.weights: dict[str, torch.Tensor] = {}
        for name, parameter in network.module.named_parameters():
            parameter.requires_grad_(name in chosen)
            if name in chosen:
                self.weights[name] = parameter
        self.optimizer = torch.optim.AdamW(
            list(self.weights.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
        self.average = {name: w.detach().clone() for name, w in self.weights.items()}
        self.step = 0
        self.steps_per_epoch = -(-len(train) // settings.batch_size)

    def train(self, rng: np.random.Generator, progress: FileProgress) -> tuple[list[dict[str, float]], int]:
        """Run the epochs; leaves the kept weights in the network. Returns history rows and the kept epoch."""
        rows: list[dict[str, float]] = []
        best_loss, best_epoch, best = float("inf"), 0, dict(self.average)
        for epoch in range(1, self.settings.epochs + 1):
            errors = self._epoch(rng, epoch)
            row = {"epoch": float(epoch), "learning_rate": self._learning_rate(), **errors.row("train")}
            note = f"training force error {1000 * row['train_force_RMSE_eV_per_A']:.0f} meV/Å"
            if self.validation:
                with self._averaged():
                    row |= self._validate(epoch).row("validation")
                note = f"validation force error {1000 * row['validation_force_RMSE_eV_per_A']:.0f} meV/Å"
            loss = row.get("validation_loss", -float(epoch))
            if loss < best_loss:
                best_loss, best_epoch = loss, epoch
                best = {name: value.clone() for name, value in self.average.items()}
            rows.append(row)
            progress.set(epoch, note)
            if self.validation and self.settings.patience and epoch - best_epoch >= self.settings.patience:
                break
        self._load(best)
        for parameter in self.network.module.parameters():
            parameter.requires_grad_(False)
        return rows, best_epoch

    def _epoch(self, rng: np.random.Generator, epoch: int) -> _Errors:
        import torch

        total = NO_ERRORS
        order = rng.permutation(len(self.frames))
        for start in range(0, len(order), self.settings.batch_size):
            chosen = [self.frames[i] for i in order[start : start + self.settings.batch_size]]
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            self.optimizer.zero_grad(set_to_none=True)
            loss, errors = self._loss(chosen, create_graph=True, where=f"epoch {epoch}, training")
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.settings.gradient_norm)
            self.optimizer.step()
            self.step += 1
            self._update_average()
            total = total + errors
        return total

    def _validate(self, epoch: int) -> _Errors:
        total = NO_ERRORS
        for start in range(0, len(self.validation), self.settings.batch_size):
            chosen = self.validation[start : start + self.settings.batch_size]
            total = total + self._loss(chosen, create_graph=False, where=f"epoch {epoch}, validation")[1]
        return total

    def _loss(self, frames: list[_Frame], create_graph: bool, where: str) -> tuple["torch.Tensor", _Errors]:
        """Loss of a batch and its errors; see the module's docstring for the equation."""
        import torch

        from limbeck.potentials.teachers.network import derive

        batch = self.network.collate([frame.graph for frame in frames])
        output = derive(self.network, batch, create_graph=create_graph)
        counts = torch.tensor(batch.atom_counts, dtype=torch.float64)
        energy = (output.energies - torch.tensor([f.energy for f in frames], dtype=torch.float64)) / counts
        force = output.forces - torch.from_numpy(np.concatenate([f.forces for f in frames])).to(output.forces.dtype)
        target = torch.from_numpy(np.stack([f.stress for f in frames]))
        known = torch.isfinite(target[:, 0])
        stress = (output.stress - target)[known]
        virial = stress * (batch.volumes / counts)[known][:, None]
        loss = self.settings.energy_weight * self._huber(energy) + self.settings.force_weight * self._huber(force)
        if len(virial):
            loss = loss + self.settings.stress_weight * self._huber(virial)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss became {loss.item()} ({where}); lower 'learning_rate' (now {self.settings.learning_rate:g}) "
                "or look for frames with extreme labels"
            )
        errors = _Errors(
            loss=float(loss.detach()) * len(frames),
            energy=float((energy.detach() ** 2).sum()),
            force=float((force.detach().double() ** 2).sum()),
            stress=float((stress.detach() ** 2).sum()),
            n_frames=len(frames),
            n_components=force.numel(),
            n_stress=stress.numel(),
        )
        return loss, errors

    def _huber(self, residual: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.nn.functional.huber_loss(
            residual, torch.zeros_like(residual), delta=self.settings.huber_delta
        ).double()

    def _learning_rate(self) -> float:
        """Learning rate of the present step."""
        total = self.steps_per_epoch * self.settings.epochs
        warm_up = max(1, round(0.05 * total))
        if self.step < warm_up:
            return self.settings.learning_rate * (self.step + 1) / warm_up
        if self.settings.schedule == "constant":
            return self.settings.learning_rate
        done = min(1.0, (self.step - warm_up) / max(1, total - warm_up))
        return self.settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * done))))

    def _update_average(self) -> None:
        """Moving average; its decay starts small, so that the first steps do not weigh for ever."""
        decay = min(self.settings.average_decay, (1 + self.step) / (10 + self.step))
        if self.settings.average_decay == 0:
            decay = 0.0
        for name, weight in self.weights.items():
            self.average[name].mul_(decay).add_(weight.detach(), alpha=1 - decay)

    def _load(self, values: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(values[name])

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the network inside the block."""
        present = {name: w.detach().clone() for name, w in self.weights.items()}
        self._load(self.average)
        try:
            yield
        finally:
            self._load(present)
