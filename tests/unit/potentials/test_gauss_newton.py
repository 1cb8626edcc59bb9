"""Gauss-Newton steps against linear algebra, on a network that is linear in its weights, and on one that is not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from limbeck.core.errors import TrainingError
from limbeck.core.rng import stream
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials import gauss_newton
from limbeck.potentials.finetune import Example, FineTuneSettings
from limbeck.potentials.gauss_newton import Step, Weights, refine
from limbeck.potentials.teachers.graph import Graph, neighbor_graph
from limbeck.potentials.teachers.network import Batch, batch_of, derive
from limbeck.potentials.teachers.teacher import TorchTeacher

TRUE = (0.8, -1.3, 0.5, 2.0, -0.7)
START = (0.0, 0.1, 0.0, 1.0, 0.0)
WEIGHTS = Weights(energy=10.0, force=1.0, stress=0.3)


class Basis(torch.nn.Module):
    """Pair energy: sum over k of w_k exp(-(r - c_k)^2), linear in w; with ``power`` 3, of w_k^3."""

    def __init__(self, values: Sequence[float], power: int) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
        self.power = power


class BasisNetwork:
    kind, model, precision = "basis", "toy", "float64"
    elements = frozenset({"Si", "C"})

    def __init__(self, values: Sequence[float], power: int = 1) -> None:
        self.module = Basis(values, power)

    def graph(self, atoms: Atoms) -> Graph:
        return neighbor_graph(atoms, 4.0)

    def collate(self, graphs: Sequence[Graph]) -> Batch:
        return batch_of(graphs, self.precision)

    def atomic_energies(self, batch: Batch, vectors: torch.Tensor) -> tuple[torch.Tensor, None]:
        r = torch.linalg.vector_norm(vectors, dim=1)
        centers = torch.linspace(1.5, 3.5, len(self.module.values), dtype=torch.float64)
        pair = torch.exp(-((r[:, None] - centers) ** 2)) @ self.module.values**self.module.power
        return torch.zeros(len(batch.numbers), dtype=torch.float64).index_add(0, batch.senders, pair), None

    def trainable(self, layers: str) -> list[str]:
        return ["values"]

    def architecture(self) -> dict[str, Any]:
        return {}

    def copy(self) -> "BasisNetwork":
        return BasisNetwork(self.module.values.tolist(), self.module.power)


def structures(n: int, seed: int = 0) -> list[Atoms]:
    frames = []
    for k in range(n):
        atoms = bulk("SiC", "zincblende", a=4.4)
        rng = stream(seed, "structure", k)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.1, (2, 3))
        frames.append(atoms)
    return frames


def examples(n: int = 6, power: int = 1, noise: float = 0.0, offset: float = 0.0, seed: int = 0) -> list[Example]:
    source, found = BasisNetwork(TRUE, power), []
    rng = stream(seed, "noise")
    for k, atoms in enumerate(structures(n, seed)):
        output = derive(source, source.collate([source.graph(atoms)]))
        found.append(
            Example(
                source.graph(atoms),
                output.energies[0].item() + offset + noise * rng.normal(),
                output.forces.detach().numpy() + noise * rng.normal(size=(2, 3)),
                output.stress[0].detach().numpy() + 0.01 * noise * rng.normal(size=6),
                trajectory=str(k // 2),
            )
        )
    return found


def step(network: BasisNetwork, train: Sequence[Example], validation: Sequence[Example] = (), **other: Any) -> Step:
    settings = {"free_shifts": True, "threads": 1, "memory_GB": 1.0, "rng": stream(1, "rows")} | other
    return refine(network, {"values": network.module.values}, train, validation, WEIGHTS, **settings)


def rows_of(values: Sequence[float], frames: Sequence[Example]) -> np.ndarray:
    """Weighted predictions of a linear network, written down independently of the code under test."""
    network, found = BasisNetwork(values), []
    for e in frames:
        output = derive(network, network.collate([e.graph]))
        found += [10.0 * output.energies.detach().numpy() / 2, output.forces.detach().numpy().ravel()]
        found.append(0.3 * output.stress[0].detach().numpy() * e.graph.volume / 2)
    return np.concatenate(found)


def targets_of(frames: Sequence[Example]) -> np.ndarray:
    parts = [[[10.0 * e.energy / 2], e.forces.ravel(), 0.3 * e.stress * e.graph.volume / 2] for e in frames]
    return np.concatenate([np.concatenate(p) for p in parts])


def test_a_linear_network_is_solved_whatever_the_energy_zero() -> None:
    network = BasisNetwork(START)
    done = step(network, examples(offset=-300.0), examples(2, seed=5, offset=-300.0))
    np.testing.assert_allclose(network.module.values.detach().numpy(), TRUE, atol=1e-2)
    assert done.after < 1e-4 * done.before
    assert done.n_rows == 6 * 13
    step(network, examples(offset=-300.0), examples(2, seed=5, offset=-300.0))
    np.testing.assert_allclose(network.module.values.detach().numpy(), TRUE, atol=1e-4)


def test_the_step_is_the_damped_least_squares_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damped well above what single precision of the Jacobian resolves."""
    monkeypatch.setattr(gauss_newton, "DAMPINGS", (1e-3, 1e-4))
    frames = examples(noise=0.2)
    network = BasisNetwork(START)
    done = step(network, frames)
    jacobian = np.stack([rows_of(np.eye(5)[k], frames) for k in range(5)], axis=1)
    residual = targets_of(frames) - jacobian @ np.array(START)
    energies = np.arange(0, len(jacobian), 13)  # one composition: shifts explain the mean energy
    jacobian[energies] -= jacobian[energies].mean(axis=0)
    residual[energies] -= residual[energies].mean()
    strength = done.damping * np.linalg.eigvalsh(jacobian.T @ jacobian)[-1]
    expected = np.linalg.solve(jacobian.T @ jacobian + strength * np.eye(5), jacobian.T @ residual)
    np.testing.assert_allclose(network.module.values.detach().numpy() - START, expected, atol=2e-4)


def test_progress_rises_from_frame_to_frame_and_ends_below_one() -> None:
    seen: list[float] = []
    step(BasisNetwork(START, power=3), examples(power=3), threads=2, advance=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 6
    assert 0 < seen[0] < 0.2
    assert seen[-1] < 1


def test_shifts_that_are_not_free_have_to_be_explained_by_the_network() -> None:
    frames = examples(offset=1.0)
    network = BasisNetwork(TRUE)
    done = step(network, frames, free_shifts=False)
    assert done.before == pytest.approx(6 * 5.0**2, rel=1e-6)
    assert 0 < done.after < done.before
    assert step(BasisNetwork(TRUE), frames).before < 1e-20


def test_held_out_losses_are_those_of_fits_without_the_group() -> None:
    rng = stream(3, "held-out")
    matrix, residual = rng.normal(size=(12, 30)), rng.normal(size=12)
    groups = [np.arange(0, 5), np.arange(5, 8), np.arange(8, 12)]
    gram = matrix @ matrix.T
    values, vectors = np.linalg.eigh(gram)
    found = gauss_newton._held_out(values, vectors, residual, groups)
    for relative, loss in zip(gauss_newton.DAMPINGS, found, strict=True):
        expected = 0.0
        for group in groups:
            others = np.setdiff1d(np.arange(12), group)
            inside = gram[np.ix_(others, others)] + relative * values[-1] * np.eye(len(others))
            weights = matrix[others].T @ np.linalg.solve(inside, residual[others])
            expected += float(np.sum((residual[group] - matrix[group] @ weights) ** 2))
        assert loss == pytest.approx(expected, rel=1e-9)


def test_a_network_that_is_not_linear_improves_at_every_step_or_stays() -> None:
    frames = examples(power=3)
    network = BasisNetwork([0.5, -0.5, 0.5, 0.5, -0.5], power=3)
    losses = []
    for _ in range(30):
        before = network.module.values.detach().clone()
        done = step(network, frames)
        assert done.after <= done.before
        if done.damping == 0:
            assert torch.equal(before, network.module.values)
        losses.append(done.after)
    assert losses[-1] < 1e-3 * losses[0]


def test_weights_at_their_best_stay_as_they_are() -> None:
    network = BasisNetwork(TRUE)
    done = step(network, examples(), examples(2, seed=5))
    np.testing.assert_allclose(network.module.values.detach().numpy(), TRUE, atol=1e-6)
    assert done.after <= done.before < 1e-20


def test_too_little_memory_leaves_out_force_rows_and_far_too_little_is_an_error() -> None:
    frames = examples()
    network = BasisNetwork(START)
    done = step(network, frames, memory_GB=60 * 5 * 4 / 1e9)
    assert 42 < done.n_rows <= 60
    assert done.after < 0.1 * done.before
    with pytest.raises(TrainingError, match="jacobian_memory_GB"):
        step(BasisNetwork(START), frames, memory_GB=30 * 5 * 4 / 1e9)


def test_the_number_of_threads_does_not_change_the_bits() -> None:
    results = []
    for threads in (1, 3):
        network = BasisNetwork(START)
        step(network, examples(noise=0.1), threads=threads)
        results.append(network.module.values.detach().clone())
    assert torch.equal(*results)


def test_frames_without_stress_and_a_single_trajectory() -> None:
    frames = [Example(e.graph, e.energy, e.forces, np.full(6, np.nan), "one") for e in examples(noise=0.05, offset=5.0)]
    network = BasisNetwork(START)
    done = step(network, frames)
    assert done.n_rows == 6 * 7
    assert done.after < 0.05 * done.before


def test_fine_tuning_ends_with_these_steps_and_records_them() -> None:
    source = TorchTeacher(BasisNetwork(TRUE, power=3))
    frames = []
    for k, atoms in enumerate(structures(6)):
        atoms.info["trajectory"] = str(k)
        (p,) = source.predict([atoms])
        frames.append(Labelled(atoms, p.energy - 50.0, p.forces, p.stress, Fingerprint("toy", "1", {})))
    settings = FineTuneSettings(epochs=3, learning_rate=0.01, average_decay=0.0)
    start = TorchTeacher(BasisNetwork([0.8, -1.0, 0.7, 1.2, -0.8], power=3))
    tuned, history = start.fit(frames[:4], frames[4:], settings, seed=1)
    first, *steps = history.rows[2:]
    assert [row["damping"] > 0 for row in steps] == [True, True]
    assert [row["epoch"] for row in steps] == [4.0, 5.0]
    assert steps[-1]["validation_force_RMSE_eV_per_A"] < 0.5 * first["validation_force_RMSE_eV_per_A"]
    assert np.isfinite(steps[-1]["train_stress_RMSE_GPa"])
    predicted = tuned.predict([f.atoms for f in frames[4:]])
    energies = [1000 * (p.energy - f.energy) / 2 for p, f in zip(predicted, frames[4:], strict=True)]
    assert steps[-1]["validation_energy_RMSE_meV_per_atom"] == pytest.approx(np.sqrt(np.mean(np.square(energies))))
    assert not any(w.requires_grad for w in tuned.network.module.parameters())
