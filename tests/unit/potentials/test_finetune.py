"""The loop, on a tiny network with known answer; the real networks are in ``tests/contracts/test_teachers.py``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError

from limbeck.core.errors import TrainingError
from limbeck.core.progress import read_progress
from limbeck.core.units import GPA
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.finetune import FineTuneSettings, deterministic_torch
from limbeck.potentials.teachers.graph import Graph, neighbor_graph
from limbeck.potentials.teachers.network import Batch, batch_of, derive
from limbeck.potentials.teachers.teacher import TorchTeacher


class Pair(torch.nn.Module):
    """Energy of an atom: half the sum over neighbors of exp(depth - decay r)."""

    def __init__(self, depth: float, decay: float) -> None:
        super().__init__()
        self.depth = torch.nn.Parameter(torch.tensor(depth, dtype=torch.float64))
        self.decay = torch.nn.Parameter(torch.tensor(decay, dtype=torch.float64))


class PairNetwork:
    kind, model, precision = "pair", "toy", "float64"
    elements = frozenset({"Si", "C"})

    def __init__(self, depth: float = 3.4, decay: float = 1.0) -> None:
        self.module = Pair(depth, decay)

    def graph(self, atoms: Atoms) -> Graph:
        return neighbor_graph(atoms, 4.0)

    def collate(self, graphs: Sequence[Graph]) -> Batch:
        return batch_of(graphs, self.precision)

    def atomic_energies(self, batch: Batch, vectors: torch.Tensor) -> tuple[torch.Tensor, None]:
        pair = 0.5 * torch.exp(self.module.depth - self.module.decay * torch.linalg.vector_norm(vectors, dim=1))
        return torch.zeros(len(batch.numbers), dtype=torch.float64).index_add(0, batch.senders, pair), None

    def trainable(self, layers: str) -> list[str]:
        return {"all": ["depth", "decay"], "last_blocks": ["depth", "decay"], "readout": ["depth"]}[layers]

    def architecture(self) -> dict[str, Any]:
        return {}

    def copy(self) -> "PairNetwork":
        return PairNetwork(self.module.depth.item(), self.module.decay.item())


class Exploding(PairNetwork):
    def copy(self) -> "Exploding":
        return Exploding(float("inf"), 1.0)


def labels(n: int, depth: float = 3.6, decay: float = 1.05, offset: float = 0.0, stress: bool = True) -> list[Labelled]:
    source = TorchTeacher(PairNetwork(depth, decay))
    frames = []
    for seed in range(n):
        atoms = bulk("SiC", "zincblende", a=4.4)
        atoms.rattle(0.15, seed=seed)
        atoms.info["trajectory"] = str(seed)
        (p,) = source.predict([atoms])
        frames.append(
            Labelled(atoms, p.energy + offset, p.forces, p.stress if stress else None, Fingerprint("toy", "1", {}))
        )
    return frames


RECIPE = FineTuneSettings(
    epochs=40,
    batch_size=2,
    learning_rate=0.05,
    average_decay=0.0,
    align_energies=False,
    energy_weight=1.0,
    huber_delta=0.01,
    second_order_steps=0,
)


def fit(settings: FineTuneSettings = RECIPE, n_validation: int = 2, seed: int = 1, **names: Any) -> Any:
    frames = labels(8, **names)
    return TorchTeacher(PairNetwork()).fit(frames[n_validation:], frames[:n_validation], settings, seed=seed)


def test_the_loop_finds_the_weights_behind_the_labels() -> None:
    settings = RECIPE.model_copy(update={"epochs": 100, "huber_delta": 100.0, "average_decay": 0.9})
    tuned, history = fit(settings)
    assert tuned.network.module.decay.item() == pytest.approx(1.05, abs=0.01)
    assert history.rows[-1]["validation_force_RMSE_eV_per_A"] < 0.02 * history.rows[0]["validation_force_RMSE_eV_per_A"]
    assert len(history.rows) == 100
    assert history.cpu_s > 0


def test_loss_and_history_by_hand() -> None:
    """One step of vanishing length: the row holds the errors of the start."""
    frames = labels(1)
    start = TorchTeacher(PairNetwork())
    settings = FineTuneSettings(
        epochs=1,
        learning_rate=1e-12,
        second_order_steps=0,
        align_energies=False,
        huber_delta=0.01,
        energy_weight=2.0,
        force_weight=3.0,
        stress_weight=5.0,
    )
    row = start.fit(frames, [], settings, seed=1)[1].rows[0]
    (p,) = start.predict([frames[0].atoms])
    energy = (p.energy - frames[0].energy) / 2
    force, stress = p.forces - frames[0].forces, p.stress - frames[0].stress
    virial = stress * frames[0].atoms.get_volume() / 2

    def huber(x: np.ndarray) -> float:
        return float(np.mean(np.where(np.abs(x) <= 0.01, x**2 / 2, 0.01 * (np.abs(x) - 0.005))))

    assert row["train_loss"] == pytest.approx(2 * huber(energy) + 3 * huber(force) + 5 * huber(virial), rel=1e-6)
    assert row["train_energy_RMSE_meV_per_atom"] == pytest.approx(1000 * abs(energy), rel=1e-6)
    assert row["train_force_RMSE_eV_per_A"] == pytest.approx(np.sqrt(np.mean(force**2)), rel=1e-6)
    assert row["train_stress_RMSE_GPa"] == pytest.approx(np.sqrt(np.mean(stress**2)) / GPA, rel=1e-6)


def test_offset_of_the_labels_is_taken_up_by_the_shifts() -> None:
    aligned = RECIPE.model_copy(update={"align_energies": True, "epochs": 5})
    tuned, _ = fit(aligned, offset=-500.0)
    plain, _ = fit(aligned)
    atoms = labels(1)[0].atoms
    difference = tuned.predict([atoms])[0].energy - plain.predict([atoms])[0].energy
    assert difference == pytest.approx(-500.0, abs=1e-4)
    np.testing.assert_allclose(tuned.predict([atoms])[0].forces, plain.predict([atoms])[0].forces, atol=1e-5)


def test_frames_without_stress_are_fitted_to_energy_and_forces() -> None:
    tuned, history = fit(RECIPE.model_copy(update={"epochs": 80}), stress=False)
    assert np.isnan(history.rows[-1]["train_stress_RMSE_GPa"])
    assert history.rows[-1]["train_force_RMSE_eV_per_A"] < 0.5 * history.rows[0]["train_force_RMSE_eV_per_A"]
    assert tuned.name == "pair:toy"


def test_frozen_weights_do_not_move() -> None:
    tuned, history = fit(RECIPE.model_copy(update={"layers": "readout", "weight_decay": 0.1}))
    assert tuned.network.module.decay.item() == 1.0
    assert tuned.network.module.depth.item() != 3.4
    assert history.note.startswith("1 of 2 weight tensors")


def test_best_epoch_is_the_one_that_is_kept() -> None:
    """A learning rate that overshoots: the kept weights have the lowest validation loss, not the last."""
    settings = RECIPE.model_copy(update={"learning_rate": 2.0, "schedule": "constant"})
    tuned, history = fit(settings)
    losses = [row["validation_loss"] for row in history.rows]
    assert history.best_epoch == int(np.argmin(losses)) + 1
    assert losses[-1] > min(losses)
    validation = labels(8)[:2]
    force = np.concatenate([p.forces for p in tuned.predict([f.atoms for f in validation])]) - np.concatenate(
        [f.forces for f in validation]
    )
    kept = history.rows[history.best_epoch - 1]["validation_force_RMSE_eV_per_A"]
    assert np.sqrt(np.mean(force**2)) == pytest.approx(kept, rel=1e-6)


def test_patience_stops_early_and_says_so() -> None:
    settings = RECIPE.model_copy(update={"learning_rate": 2.0, "schedule": "constant", "patience": 3})
    _, history = fit(settings)
    assert len(history.rows) == history.best_epoch + 3 < 40
    assert "stopped after" in history.note


def test_seed_decides_the_order_and_nothing_else_does() -> None:
    first, _ = fit(seed=1)
    np.random.seed(0)  # noqa: NPY002  the fit must not look at the global stream
    second, _ = fit(seed=1)
    other, _ = fit(seed=2)
    assert first.network.module.decay.item() == second.network.module.decay.item()
    assert first.network.module.decay.item() != other.network.module.decay.item()


def test_average_smooths_the_weights() -> None:
    noisy = RECIPE.model_copy(update={"learning_rate": 0.5, "schedule": "constant"})
    last, _ = fit(noisy, n_validation=0)
    averaged, _ = fit(noisy.model_copy(update={"average_decay": 0.99}), n_validation=0)
    assert abs(averaged.network.module.decay.item() - 1.05) < abs(last.network.module.decay.item() - 1.05)


def test_torch_settings_are_restored() -> None:
    before = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())
    with deterministic_torch(threads=2):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 2
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before
    with pytest.raises(TrainingError):
        TorchTeacher(Exploding()).fit(labels(1), [], RECIPE.model_copy(update={"threads": 2}), seed=1)
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before


def test_divergence_is_an_error_that_says_when() -> None:
    with pytest.raises(TrainingError, match=r"epoch 1, training.*learning_rate"):
        TorchTeacher(Exploding()).fit(labels(2), [], RECIPE, seed=1)


def test_progress_is_written(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    frames = labels(3)
    settings = RECIPE.model_copy(update={"epochs": 2})
    TorchTeacher(PairNetwork()).fit(frames[:2], frames[2:], settings, seed=1, progress_path=path)
    state = read_progress(path)
    assert state is not None
    assert (state["done"], state["total"], state["unit"]) == (2, 2, "epoch")
    assert "validation force error" in str(state["note"])


def test_impossible_settings_are_refused() -> None:
    for wrong in ({"epochs": 0}, {"learning_rate": -1.0}, {"layers": "some"}, {"average_decay": 1.0}, {"epoch": 3}):
        with pytest.raises(ValidationError):
            FineTuneSettings(**wrong)


def test_second_derivatives_of_the_shared_code_are_right() -> None:
    """Gradient of a loss on forces and stress with respect to a weight, against central differences."""
    frame = labels(1)[0].atoms

    def loss(depth: float, decay: float) -> tuple[torch.Tensor, PairNetwork]:
        network = PairNetwork(depth, decay)
        output = derive(network, network.collate([network.graph(frame)]), create_graph=True)
        return (output.forces**2).sum() + 10 * (output.stress**2).sum() + output.energies.sum(), network

    value, network = loss(3.4, 1.0)
    value.backward()
    step = 1e-5
    numerical = (loss(3.4, 1.0 + step)[0].item() - loss(3.4, 1.0 - step)[0].item()) / (2 * step)
    assert float(network.module.decay.grad) == pytest.approx(numerical, rel=1e-7)
