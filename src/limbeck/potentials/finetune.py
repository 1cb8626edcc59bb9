"""Fine-tuning of a teacher on few labels: one loop for every torch network.

Loss of a batch, with the Huber function H_d(x) = x^2/2 for |x| <= d, d (|x| - d/2) beyond:

    L = w_E <H_d((E - E_ref) / n)> + w_F <H_d(F - F_ref)> + w_S <H_d(V (s - s_ref) / n)>

E energy, F force components, s stress components, V volume, n number of atoms; averages run over the frames, the force
components and the stress components of the batch; all residuals are in eV or eV/Å. Frames without stress take no part
in the last term. Adam comes first; damped Gauss-Newton steps on all frames at once end the fit
(:mod:`limbeck.potentials.gauss_newton`), with the quadratic loss of the same weights.
"""

import functools
import operator
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from limbeck.potentials.gauss_newton import Weights, element_shifts, in_threads, refine
from limbeck.potentials.protocols import FitHistory

if TYPE_CHECKING:
    import torch

    from limbeck.potentials.teachers.graph import Graph
    from limbeck.potentials.teachers.network import Network
    from limbeck.potentials.teachers.teacher import TorchTeacher


class FineTuneSettings(Settings):
    """How a teacher is fine-tuned. The defaults are measured: see ``docs/decisions/0003-fine-tuning-recipe.md``."""

    epochs: int = Field(default=20, gt=0)
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
    second_order_steps: int = Field(default=2, ge=0)
    """Damped Gauss-Newton steps after the last epoch, each about as long as ten epochs; 0 leaves them out."""
    jacobian_memory_GB: float = Field(default=4.0, gt=0)
    """Bound on the Jacobian of such a step (SevenNet-0: 0.1 GB for a frame of 8 atoms). If it would be larger, a random
    share of the force components takes part."""
    threads: int = Field(default=0, ge=0)
    """Frames worked on at once; 0: all cores that the process may use. The bits of the result do not depend on it."""


@dataclass(frozen=True)
class Example:
    """One training example: graph and targets, made once.

    Attributes:
        graph: Neighbor graph.
        energy: Reference energy in eV without the teacher's element shifts.
        forces: (n_atoms, 3) in eV/Å.
        stress: (6,) Voigt in eV/Å^3, NaN where there is none.
        trajectory: Name of the trajectory.
    """

    graph: "Graph"
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    trajectory: str


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
        seed: Decides the order of the frames (and which force rows a Gauss-Newton step uses, if not all).
        progress_path: File for :class:`limbeck.core.progress.FileProgress`.

    Returns:
        The new teacher and the history, one row an epoch: ``epoch``, ``learning_rate`` and, for ``train`` (running,
        while weights change) and ``validation``, ``*_loss``, ``*_energy_RMSE_meV_per_atom``,
        ``*_force_RMSE_eV_per_A`` and ``*_stress_RMSE_GPa``. Gauss-Newton steps follow as rows with ``damping`` in
        place of the learning rate.

    Raises:
        TrainingError: If there is no training frame or the loss is not finite.
        StructureError: If a frame cannot be used.
    """
    from limbeck.potentials.teachers.teacher import TorchTeacher

    if not train:
        raise TrainingError("fine-tuning needs at least one training frame, got none; label some structures first")
    started = time.process_time()
    with deterministic_torch(threads=1):
        if settings.align_energies:
            teacher = teacher.aligned_to(train)
        network = teacher.network.copy()
        run = _Run(network, settings, _frames(teacher, train), _frames(teacher, validation))
        total = settings.epochs + settings.second_order_steps * run.epochs_of_a_step()
        progress = FileProgress(progress_path, total, "epoch")
        rows, best_epoch = run.train(stream(seed, "fine-tune"), progress)
        rows += run.refine(stream(seed, "fine-tune", "rows"), progress, len(rows))
        for parameter in network.module.parameters():
            parameter.requires_grad_(False)
        tuned = TorchTeacher(network, teacher.shifts)
        if settings.align_energies:
            tuned = tuned.aligned_to(train)
    note = f"{len(run.weights)} of {len(list(network.module.parameters()))} weight tensors trained"
    if len(rows) < settings.epochs:
        note += f"; stopped after {len(rows)} epochs without a lower validation loss for {settings.patience}"
    return tuned, FitHistory(rows, time.process_time() - started, best_epoch, note)


def _frames(teacher: "TorchTeacher", labelled: Sequence[Labelled]) -> list[Example]:
    """Graphs and targets; the energy target is free of the teacher's element shifts."""
    frames = []
    for item in labelled:
        shift = sum(teacher.shifts.get(symbol, 0.0) for symbol in item.atoms.get_chemical_symbols())
        graph = teacher.network.graph(item.atoms)
        usable = item.stress is not None and np.isfinite(graph.volume)
        stress = item.stress if usable and item.stress is not None else np.full(6, np.nan)
        frames.append(Example(graph, item.energy - shift, item.forces, stress, item.trajectory))
    return frames


def _shifted(frames: Sequence[Example], shifts: dict[int, float]) -> list[Example]:
    """Examples whose reference energies are free of further element shifts (eV by atomic number)."""
    return [
        replace(frame, energy=frame.energy - sum(shifts.get(int(z), 0.0) for z in frame.graph.numbers))
        for frame in frames
    ]


def _sizes(frames: Sequence[Example]) -> tuple[int, int, int]:
    """Numbers of frames, force components and stress components: what the three terms of the loss average over."""
    n_stress = sum(6 for frame in frames if np.isfinite(frame.stress[0]))
    return len(frames), sum(frame.forces.size for frame in frames), n_stress


class _Run:
    """State of one fit: weights, optimizer, moving average."""

    def __init__(
        self, network: "Network", settings: FineTuneSettings, train: list[Example], validation: list[Example]
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
                    row |= self._errors_of(self.validation, f"epoch {epoch}").row("validation")
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
        return rows, best_epoch

    def epochs_of_a_step(self) -> float:
        """Time of a Gauss-Newton step in epochs: about a backward pass of each frame for every row of the Jacobian."""
        n_frames, n_components, n_stress = _sizes(self.frames)
        return 1.0 + (n_components + n_stress) / n_frames

    def refine(self, rng: np.random.Generator, progress: FileProgress, n_epochs: int) -> list[dict[str, float]]:
        """Gauss-Newton steps from the kept weights, until one does not help; history rows."""
        s = self.settings
        n_frames, n_components, n_stress = _sizes(self.frames)
        weights = Weights(
            energy=float(np.sqrt(s.energy_weight / n_frames)),
            force=float(np.sqrt(s.force_weight / n_components)),
            stress=float(np.sqrt(s.stress_weight / max(n_stress, 1))),
        )
        rows: list[dict[str, float]] = []
        effort, note = self.epochs_of_a_step(), "Gauss-Newton steps"
        for number in range(1, s.second_order_steps + 1):

            def advance(share: float, number: int = number, note: str = note) -> None:
                progress.set(s.epochs + effort * (number - 1 + share), note)

            step = refine(
                self.network, self.weights, self.frames, self.validation, weights,
                free_shifts=s.align_energies, threads=s.threads, memory_GB=s.jacobian_memory_GB, rng=rng,
                advance=advance,
            )  # fmt: skip
            if s.align_energies:
                shifts = element_shifts(self.network, self.frames, s.threads)
                self.frames, self.validation = _shifted(self.frames, shifts), _shifted(self.validation, shifts)
            row = {"epoch": float(n_epochs + number), "damping": float(step.damping)}
            row |= self._errors_of(self.frames, f"Gauss-Newton step {number}").row("train")
            if self.validation:
                row |= self._errors_of(self.validation, f"Gauss-Newton step {number}").row("validation")
            rows.append(row)
            note = f"training force error {1000 * row['train_force_RMSE_eV_per_A']:.0f} meV/Å"
            progress.set(s.epochs + effort * number, note)
            if not step.damping:
                break
        return rows

    def _epoch(self, rng: np.random.Generator, epoch: int) -> _Errors:
        import torch

        total = NO_ERRORS
        order = rng.permutation(len(self.frames))
        for start in range(0, len(order), self.settings.batch_size):
            chosen = [self.frames[i] for i in order[start : start + self.settings.batch_size]]
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            self.optimizer.zero_grad(set_to_none=True)
            errors = self._gradient(chosen, f"epoch {epoch}, training")
            torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.settings.gradient_norm)
            self.optimizer.step()
            self.step += 1
            self._update_average()
            total = total + errors
        return total

    def _gradient(self, frames: list[Example], where: str) -> _Errors:
        """Set the gradient of a batch's loss: frame by frame, several at once, summed in order."""
        import torch

        weights, sizes = list(self.weights.values()), _sizes(frames)

        def work(k: int) -> tuple[_Errors, tuple[torch.Tensor, ...]]:
            loss, errors = self._loss(frames[k], sizes, create_graph=True, where=where)
            return errors, torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)

        total = NO_ERRORS
        for errors, gradient in in_threads(work, len(frames), self.settings.threads):
            total = total + errors
            for weight, part in zip(weights, gradient, strict=True):
                weight.grad = part if weight.grad is None else weight.grad + part
        return total

    def _errors_of(self, frames: list[Example], where: str) -> _Errors:
        """Errors of frames with the present weights."""
        sizes = _sizes(frames)

        def work(k: int) -> _Errors:
            return self._loss(frames[k], sizes, create_graph=False, where=where)[1]

        return functools.reduce(operator.add, in_threads(work, len(frames), self.settings.threads), NO_ERRORS)

    def _loss(
        self, frame: Example, sizes: tuple[int, int, int], create_graph: bool, where: str
    ) -> tuple["torch.Tensor", _Errors]:
        """Share of one frame in the loss of a batch of these sizes (see the module's docstring), and its errors."""
        import torch

        from limbeck.potentials.teachers.network import derive

        output = derive(self.network, self.network.collate([frame.graph]), create_graph=create_graph)
        n_frames, n_components, n_stress = sizes
        n_atoms = len(frame.forces)
        energy = (output.energies - frame.energy) / n_atoms
        force = output.forces - torch.from_numpy(frame.forces).to(output.forces.dtype)
        known = np.isfinite(frame.stress[0])
        stress = (output.stress[0] - torch.from_numpy(frame.stress)) if known else torch.zeros(0, dtype=torch.float64)
        loss = self.settings.energy_weight * self._huber(energy) / n_frames
        loss = loss + self.settings.force_weight * self._huber(force) / n_components
        if known:
            virial = stress * (frame.graph.volume / n_atoms)
            loss = loss + self.settings.stress_weight * self._huber(virial) / n_stress
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss became {loss.item()} ({where}); lower 'learning_rate' (now {self.settings.learning_rate:g}) "
                "or look for frames with extreme labels"
            )
        errors = _Errors(
            loss=float(loss.detach()) * n_frames,
            energy=float((energy.detach() ** 2).sum()),
            force=float((force.detach().double() ** 2).sum()),
            stress=float((stress.detach() ** 2).sum()),
            n_frames=1,
            n_components=force.numel(),
            n_stress=stress.numel(),
        )
        return loss, errors

    def _huber(self, residual: "torch.Tensor") -> "torch.Tensor":
        """Sum of the Huber function over the components of a residual."""
        import torch

        zero, delta = torch.zeros_like(residual), self.settings.huber_delta
        return torch.nn.functional.huber_loss(residual, zero, delta=delta, reduction="sum").double()

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
