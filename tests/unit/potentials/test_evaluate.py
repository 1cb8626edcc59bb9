from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from limbeck.core.errors import ConfigError, MissingFileError, TrainingError
from limbeck.core.units import GPA
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.evaluate import Evaluation, error_table, evaluate, force_error_ratio

FINGERPRINT = Fingerprint("emt", "1", {})


def emt_labels(trajectories: list[str], symbols: str = "Cu") -> list[Labelled]:
    frames = []
    for seed, name in enumerate(trajectories):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols = symbols * 4 if len(symbols) == 2 else symbols
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        bare = atoms.copy()
        bare.info["trajectory"] = name
        frames.append(Labelled(bare, energy, forces, stress, FINGERPRINT))
    return frames


def evaluation(
    energy_errors: list[float], trajectories: list[str], force_error: np.ndarray, stress: bool = True
) -> Evaluation:
    """Two atoms a frame, Na and Cl; energy errors in eV/atom."""
    n = len(energy_errors)
    zeros, nothing = np.zeros((n, 6)), np.full((n, 6), np.nan)
    return Evaluation(
        trajectories=np.array(trajectories),
        atom_counts=np.full(n, 2),
        numbers=np.tile([11, 17], n),
        energies=np.array(energy_errors) - 3.0,
        reference_energies=np.full(n, -3.0),
        forces=force_error,
        reference_forces=np.zeros((2 * n, 3)),
        stress=zeros + 0.5 * GPA if stress else nothing,
        reference_stress=zeros,
    )


def test_a_potential_has_no_error_against_its_own_labels() -> None:
    frames = emt_labels(["a", "a", "b"])
    before = [frame.atoms.positions.copy() for frame in frames]
    table = error_table(evaluate(EMT(), frames))
    assert table["energy_RMSE_meV_per_atom"].value == pytest.approx(0, abs=1e-9)
    assert table["force_RMSE_eV_per_A"].value == pytest.approx(0, abs=1e-12)
    assert table["stress_RMSE_GPa"].value == pytest.approx(0, abs=1e-9)
    for frame, positions in zip(frames, before, strict=True):
        np.testing.assert_array_equal(frame.atoms.positions, positions)
        assert frame.atoms.calc is None


def test_rows_by_hand() -> None:
    force = np.zeros((8, 3))
    force[0] = [3.0, 4.0, 0.0]  # a sodium atom
    force[3] = [0.0, 0.0, 1.0]  # a chlorine atom
    table = error_table(evaluation([0.001, 0.003, 0.001, 0.003], ["a", "b", "c", "c"], force))
    assert table["energy_RMSE_meV_per_atom"].value == pytest.approx(np.sqrt(5.0))
    assert table["energy_RMSE_meV_per_atom"].unit == "meV/atom"
    assert table["energy_RMSE_without_offset_meV_per_atom"].value == pytest.approx(1.0)
    assert table["force_RMSE_eV_per_A"].value == pytest.approx(np.sqrt(26 / 24))
    assert table["force_RMSE_Na_eV_per_A"].value == pytest.approx(np.sqrt(25 / 12))
    assert table["force_RMSE_Cl_eV_per_A"].value == pytest.approx(np.sqrt(1 / 12))
    assert table["stress_RMSE_GPa"].value == pytest.approx(0.5)
    assert table["worst_force_error_eV_per_A"].value == pytest.approx(5.0)
    assert table["energy_RMSE_meV_per_atom[b]"].value == pytest.approx(3.0)
    assert table["energy_RMSE_meV_per_atom[c]"].value == pytest.approx(np.sqrt(5.0))
    assert table["force_RMSE_eV_per_A[a]"].value == pytest.approx(np.sqrt(25 / 6))


def test_jackknife_by_hand_and_what_it_runs_over() -> None:
    force = np.zeros((6, 3))
    table = error_table(evaluation([0.0, 0.001, 0.002], ["a", "b", "c"], force))
    energy = table["energy_RMSE_meV_per_atom"]
    left = np.array([np.sqrt(2.5), np.sqrt(2.0), np.sqrt(0.5)])
    assert energy.standard_error == pytest.approx(np.sqrt(2 / 3 * np.sum((left - left.mean()) ** 2)))
    assert energy.method == "RMS, jackknife over trajectories"
    offset_free = table["energy_RMSE_without_offset_meV_per_atom"]
    spread = np.array([0.5, 1.0, 0.5])
    assert offset_free.standard_error == pytest.approx(np.sqrt(2 / 3 * np.sum((spread - spread.mean()) ** 2)))
    few = error_table(evaluation([0.0, 0.001, 0.002], ["a", "a", "b"], force))
    assert few["energy_RMSE_meV_per_atom"].method == "RMS, jackknife over frames"
    assert few["energy_RMSE_meV_per_atom"].n_effective == 3
    alone = error_table(evaluation([0.002], ["a"], np.zeros((2, 3))))
    assert np.isnan(alone["energy_RMSE_meV_per_atom"].standard_error)
    assert not any("[" in key for key in alone)


def test_standard_error_covers_correlated_frames() -> None:
    """Ten equal frames a trajectory: the error bar is that of the trajectories, not sqrt(10) too small."""
    rng = np.random.default_rng(0)
    each = rng.normal(size=6) * 0.001
    names = [f"t{i}" for i in range(6) for _ in range(10)]
    many = error_table(evaluation(np.repeat(each, 10).tolist(), names, np.zeros((120, 3))))
    one = error_table(evaluation(each.tolist(), names[::10], np.zeros((12, 3))))
    key = "energy_RMSE_meV_per_atom"
    assert many[key].standard_error == pytest.approx(one[key].standard_error)


def test_frames_without_stress_take_no_part() -> None:
    assert "stress_RMSE_GPa" not in error_table(evaluation([0.0, 0.0], ["a", "b"], np.zeros((4, 3)), stress=False))
    frames = emt_labels(["a", "b"])
    frames[1] = Labelled(frames[1].atoms, frames[1].energy, frames[1].forces, None, FINGERPRINT)
    found = evaluate(EMT(), frames)
    assert np.isfinite(found.stress[0]).all()
    assert np.isnan(found.reference_stress[1]).all()
    assert error_table(found)["stress_RMSE_GPa"].value == pytest.approx(0, abs=1e-9)


def test_saved_evaluation_is_equal(tmp_path: Path) -> None:
    found = evaluate(EMT(), emt_labels(["a", "b"]))
    found.save(tmp_path / "e.npz")
    loaded = Evaluation.load(tmp_path / "e.npz")
    for name in Evaluation.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))


def test_unusable_files_and_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such evaluation"):
        Evaluation.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"not a zip file")
    with pytest.raises(ConfigError, match=r"Evaluation\.save"):
        Evaluation.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "newer.npz", format_version=np.array(99))
    with pytest.raises(ConfigError, match="format 99"):
        Evaluation.load(tmp_path / "newer.npz")
    with pytest.raises(TrainingError, match="no labelled frames"):
        evaluate(EMT(), [])


def test_a_potential_that_gives_nan_is_refused() -> None:
    class Broken:
        def predict(self, frames: list[Atoms]) -> list[object]:
            class Prediction:
                energy, forces, stress = float("nan"), np.zeros((4, 3)), None

            return [Prediction() for _ in frames]

    with pytest.raises(TrainingError, match="NaN"):
        evaluate(Broken(), emt_labels(["a"]))


def test_batch_path_and_calculator_path_agree() -> None:
    from limbeck.potentials.teachers import CHGNetSettings, build_teacher

    teacher = build_teacher(CHGNetSettings())
    frames = emt_labels(["a", "b"])
    batch, single = evaluate(teacher, frames), evaluate(teacher.calculator(), frames)
    np.testing.assert_allclose(batch.energies, single.energies, atol=1e-5)
    np.testing.assert_allclose(batch.forces, single.forces, atol=1e-4)
    np.testing.assert_allclose(batch.stress, single.stress, atol=1e-5)


def test_ratio_of_force_errors_leaves_the_same_trajectory_out_of_both():
    hardness = np.array([1.0, 2.0, 4.0, 8.0])  # what is hard for one is as hard for the other: no error of the ratio
    force_error = np.repeat(hardness, 2)[:, None] * np.ones(3)
    names = ["a", "b", "c", "d"]
    teacher = evaluation([0.0] * 4, names, force_error)
    ratio = force_error_ratio(evaluation([0.0] * 4, names, 1.5 * force_error), teacher)
    assert ratio.value == pytest.approx(1.5)
    assert ratio.standard_error == pytest.approx(0.0, abs=1e-12)
    assert ratio.n_effective == 4
    assert "paired jackknife over trajectories" in ratio.method
    uneven = force_error_ratio(evaluation([0.0] * 4, names, _normal(1)), teacher)
    kept = [[np.delete(e, [2 * i, 2 * i + 1], axis=0) for e in (_normal(1), force_error)] for i in range(4)]
    left = [np.sqrt(np.sum(mine**2) / np.sum(teachers**2)) for mine, teachers in kept]
    assert uneven.standard_error == pytest.approx(np.sqrt(3 / 4 * np.sum((left - np.mean(left)) ** 2)))


def _normal(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(8, 3))


def test_ratio_of_errors_on_different_labels_is_refused():
    teacher = evaluation([0.0] * 4, ["a", "b", "c", "d"], np.ones((8, 3)))
    with pytest.raises(ConfigError, match="same labelled frames"):
        force_error_ratio(evaluation([0.0] * 3, ["a", "b", "c"], np.ones((6, 3))), teacher)
    with pytest.raises(TrainingError, match="no force error"):
        force_error_ratio(teacher, evaluation([0.0] * 4, ["a", "b", "c", "d"], np.zeros((8, 3))))
