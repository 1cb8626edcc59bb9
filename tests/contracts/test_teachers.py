"""What every teacher must hold; a new teacher adds one subclass of :class:`TeacherContract`."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limbeck.core.errors import StructureError, TrainingError, UnsupportedElementError
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.finetune import FineTuneSettings
from limbeck.potentials.teachers import CHGNetSettings, SevenNetSettings, build_teacher, load_teacher
from strategies import cell_of_shape, periodic_atoms

STEP = 1e-4
"""Displacement in Å and strain of central differences; in double precision both errors are then below TOLERANCE."""
TOLERANCE = 2e-5
"""Largest relative mismatch of a directional derivative. Measured: below 3e-6; a scale error of 1 % is 500 times it."""
FLOOR = 1e-6
"""Absolute mismatch (eV/Å or eV) that rounding alone may give."""
SINGLE = 2e-4
"""Force (eV/Å) and energy (eV/atom) that single precision may lose. Measured: below 5e-5."""

HARD = settings(derandomize=True, deadline=None, max_examples=6, database=None, suppress_health_check=list(HealthCheck))
STRUCTURES = periodic_atoms(symbols=("Si", "O"), max_atoms=3, min_distance=1.7)


@cache
def built(teacher_settings: Any) -> Any:
    return build_teacher(teacher_settings)


def energy(teacher: Any, atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = teacher.calculator()
    return atoms.get_potential_energy()


def forces(teacher: Any, atoms: Atoms) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = teacher.calculator()
    return atoms.get_forces()


def stress(teacher: Any, atoms: Atoms) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = teacher.calculator()
    return atoms.get_stress(voigt=False)


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return moved


def displaced(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def assert_forces_match_energy(teacher: Any, atoms: Atoms, seed: int) -> None:
    """-dE along a random displacement of all atoms equals the projection of the forces."""
    direction = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    numerical = -(
        energy(teacher, displaced(atoms, STEP * direction)) - energy(teacher, displaced(atoms, -STEP * direction))
    ) / (2 * STEP)
    found = forces(teacher, atoms)
    scale = float(np.sqrt(np.sum(found**2) * np.sum(direction**2)))
    assert float(np.sum(found * direction)) == pytest.approx(numerical, abs=TOLERANCE * scale + FLOOR)


def assert_stress_matches_energy(teacher: Any, atoms: Atoms, seed: int) -> None:
    """dE/V along a random symmetric strain equals the projection of the stress."""
    matrix = np.random.default_rng(seed).normal(size=(3, 3))
    strain = 0.5 * (matrix + matrix.T)
    step = 0.1 * STEP
    numerical = (energy(teacher, strained(atoms, step * strain)) - energy(teacher, strained(atoms, -step * strain))) / (
        2 * step
    )
    found = stress(teacher, atoms) * abs(np.linalg.det(atoms.cell[:]))
    scale = float(np.sqrt(np.sum(found**2) * np.sum(strain**2)))
    assert float(np.sum(found * strain)) == pytest.approx(numerical, abs=TOLERANCE * scale + 10 * FLOOR)


def stiffer_labels(teacher: Any, factor: float = 1.15) -> list[Labelled]:
    """Labels of an energy surface that is the teacher's own, ``factor`` times as steep and 3 eV/atom higher."""
    frames = []
    for seed in range(3):
        atoms = bulk("Si")
        atoms.rattle(0.12, seed=seed)
        atoms.info["trajectory"] = f"run-{seed}"
        atoms.calc = teacher.calculator()
        frames.append(atoms)
    lowest = min(a.get_potential_energy() for a in frames)
    return [
        Labelled(
            atoms=a.copy(),
            energy=3.0 * len(a) + lowest + factor * (a.get_potential_energy() - lowest),
            forces=factor * a.get_forces(),
            stress=factor * a.get_stress(),
            fingerprint=Fingerprint("stiffer", "1", {"factor": factor}),
        )
        for a in frames
    ]


class TeacherContract:
    """Subclasses name the settings of their family."""

    family: Any

    @pytest.fixture
    def teacher(self) -> Any:
        """As users get it."""
        return built(self.family())

    @pytest.fixture
    def exact(self) -> Any:
        """The same in double precision."""
        return built(self.family(precision="float64"))

    @given(atoms=STRUCTURES, seed=st.integers(0, 1000))
    @HARD
    def test_forces_are_minus_the_gradient(self, exact: Any, atoms: Atoms, seed: int) -> None:
        assert_forces_match_energy(exact, atoms, seed)

    @given(atoms=STRUCTURES, seed=st.integers(0, 1000))
    @HARD
    def test_stress_is_the_strain_derivative(self, exact: Any, atoms: Atoms, seed: int) -> None:
        assert_stress_matches_energy(exact, atoms, seed)

    @pytest.mark.parametrize("shape", ["left_handed", "skewed", "thin"])
    def test_stress_of_one_atom(self, exact: Any, shape: str) -> None:
        cell = cell_of_shape(shape, 22.0, np.random.default_rng(2))
        assert_stress_matches_energy(exact, Atoms("Si", scaled_positions=[[0.2, 1.3, -0.4]], cell=cell, pbc=True), 2)

    def test_forces_of_partly_periodic_structures(self, exact: Any) -> None:
        slab = bulk("Si", cubic=True)
        slab.pbc = (True, True, False)
        slab.rattle(0.1, seed=1)
        assert_forces_match_energy(exact, slab, seed=1)

    def test_single_precision_agrees_with_double(self, teacher: Any, exact: Any) -> None:
        atoms = bulk("SiC", "zincblende", a=4.4)
        atoms.rattle(0.1, seed=3)
        np.testing.assert_allclose(forces(teacher, atoms), forces(exact, atoms), atol=SINGLE)
        assert energy(teacher, atoms) == pytest.approx(energy(exact, atoms), abs=SINGLE * len(atoms))

    def test_molecule_without_cell_has_no_stress(self, teacher: Any) -> None:
        water = molecule("H2O")
        water.calc = teacher.calculator()
        assert np.all(np.isfinite(water.get_forces()))
        with pytest.raises(PropertyNotImplementedError):
            water.get_stress()

    def test_isolated_atom_feels_no_force(self, teacher: Any) -> None:
        atom = Atoms("Si", cell=[30, 30, 30], pbc=True)
        np.testing.assert_array_equal(forces(teacher, atom), np.zeros((1, 3)))

    def test_translation_rotation_permutation_and_handedness(self, exact: Any) -> None:
        atoms = bulk("SiC", "zincblende", a=4.4, cubic=True)
        atoms.rattle(0.1, seed=5)
        expected, expected_stress = forces(exact, atoms), stress(exact, atoms)
        moved = displaced(atoms, np.array([0.3, -5.1, 17.0]))
        np.testing.assert_allclose(forces(exact, moved), expected, atol=1e-9)
        order = np.random.default_rng(0).permutation(len(atoms))
        np.testing.assert_allclose(forces(exact, atoms[order]), expected[order], atol=1e-9)
        rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
        turned = atoms.copy()
        turned.set_cell(atoms.cell[:] @ rotation)
        turned.positions = atoms.positions @ rotation
        np.testing.assert_allclose(forces(exact, turned), expected @ rotation, atol=1e-5)
        np.testing.assert_allclose(stress(exact, turned), rotation.T @ expected_stress @ rotation, atol=1e-6)
        left = atoms.copy()
        left.set_cell(atoms.cell[[1, 0, 2]])
        np.testing.assert_allclose(stress(exact, left), expected_stress, atol=1e-9)
        np.testing.assert_allclose(forces(exact, left), expected, atol=1e-9)

    def test_supercell_is_extensive(self, exact: Any) -> None:
        atoms = bulk("SiC", "zincblende", a=4.4)
        atoms.rattle(0.1, seed=7)
        large = atoms.repeat((2, 1, 2))
        assert energy(exact, large) == pytest.approx(4 * energy(exact, atoms), abs=1e-8)
        np.testing.assert_allclose(stress(exact, large), stress(exact, atoms), atol=1e-9)

    def test_input_is_not_changed(self, teacher: Any) -> None:
        atoms = bulk("Si", cubic=True)
        atoms.positions += 20.0
        atoms.info["trajectory"] = "a"
        before = copy.deepcopy(atoms)
        energy(teacher, atoms)
        assert atoms == before
        assert atoms.info == before.info

    def test_bad_structures_are_named(self, teacher: Any) -> None:
        with pytest.raises(UnsupportedElementError, match="Og"):
            energy(teacher, Atoms("SiOg", positions=[[0, 0, 0], [0, 0, 2.0]], cell=[9, 9, 9], pbc=True))
        broken = bulk("Si")
        broken.positions[0, 0] = np.nan
        with pytest.raises(StructureError, match="NaN"):
            energy(teacher, broken)

    def test_saved_teacher_is_equal_to_the_bit(self, teacher: Any, tmp_path: Path) -> None:
        shifted = teacher.aligned_to(stiffer_labels(teacher))
        shifted.save(tmp_path / "a.pt")
        shifted.save(tmp_path / "b.pt")
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
        loaded = load_teacher(tmp_path / "a.pt")
        assert (loaded.name, loaded.elements) == (teacher.name, teacher.elements)
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=2)
        assert energy(loaded, atoms) == energy(shifted, atoms)
        np.testing.assert_array_equal(forces(loaded, atoms), forces(shifted, atoms))
        np.testing.assert_array_equal(stress(loaded, atoms), stress(shifted, atoms))

    def test_fit_learns_is_reproducible_and_leaves_the_teacher_alone(self, teacher: Any, tmp_path: Path) -> None:
        import torch

        labels = stiffer_labels(teacher)
        recipe = FineTuneSettings(epochs=6, batch_size=2, learning_rate=1e-3, average_decay=0.5)
        atoms = labels[0].atoms
        before = energy(teacher, atoms)
        tuned, history = teacher.fit(labels[:2], labels[2:], recipe, seed=4, progress_path=tmp_path / "p.json")
        force_errors = [row["train_force_RMSE_eV_per_A"] for row in history.rows]
        assert min(force_errors) < 0.9 * force_errors[0]
        assert history.rows[history.best_epoch - 1]["validation_loss"] < history.rows[0]["validation_loss"]
        assert energy(teacher, atoms) == before
        threads = torch.get_num_threads()
        torch.manual_seed(99)
        torch.set_num_threads(2)
        try:
            again, _ = teacher.fit(labels[:2], labels[2:], recipe, seed=4)
        finally:
            torch.set_num_threads(threads)
        tuned.save(tmp_path / "a.pt")
        again.save(tmp_path / "b.pt")
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
        assert abs(energy(tuned, atoms) - energy(teacher, atoms)) > 1.0

    def test_fit_refuses_what_it_cannot_use(self, teacher: Any) -> None:
        recipe = FineTuneSettings(epochs=1)
        with pytest.raises(TrainingError, match="at least one"):
            teacher.fit([], [], recipe, seed=1)
        unknown = Atoms("Og", cell=[4, 4, 4], pbc=True)
        label = Labelled(unknown, 0.0, np.zeros((1, 3)), None, Fingerprint("none", "0", {}))
        with pytest.raises(UnsupportedElementError, match="Og"):
            teacher.fit([label], [], recipe, seed=1)


class TestSevenNet(TeacherContract):
    family = SevenNetSettings


class TestCHGNet(TeacherContract):
    family = CHGNetSettings


class ScaledTeacher:
    """A teacher that is wrong by one percent in forces or stress."""

    def __init__(self, teacher: Any, force: float = 1.0, stress: float = 1.0) -> None:
        self.teacher, self.force, self.stress = teacher, force, stress

    def calculator(self) -> Any:
        outer = self

        class Calculator(type(outer.teacher.calculator())):  # type: ignore[misc]
            def calculate(self, *arguments: Any, **names: Any) -> None:
                super().calculate(*arguments, **names)
                self.results["forces"] = self.results["forces"] * outer.force
                self.results["stress"] = self.results["stress"] * outer.stress

        return Calculator(self.teacher)


class TestContractRejectsWrongTeachers:
    @pytest.fixture
    def exact(self) -> Any:
        return built(CHGNetSettings(precision="float64"))

    @pytest.fixture
    def atoms(self) -> Atoms:
        atoms = bulk("SiC", "zincblende", a=4.4)
        atoms.rattle(0.2, seed=1)
        return atoms

    def test_wrong_forces(self, exact: Any, atoms: Atoms) -> None:
        assert_forces_match_energy(ScaledTeacher(exact), atoms, seed=1)
        with pytest.raises(AssertionError):
            assert_forces_match_energy(ScaledTeacher(exact, force=1.01), atoms, seed=1)

    def test_wrong_stress(self, exact: Any, atoms: Atoms) -> None:
        assert_stress_matches_energy(ScaledTeacher(exact), atoms, seed=1)
        with pytest.raises(AssertionError):
            assert_stress_matches_energy(ScaledTeacher(exact, stress=1.01), atoms, seed=1)

    def test_single_point_results_have_no_gradient(self, atoms: Atoms) -> None:
        """A calculator that returns one stored energy whatever the positions are fails the force test."""

        class Frozen:
            def calculator(self) -> Any:
                calculator = SinglePointCalculator(atoms, energy=1.0, forces=np.ones((len(atoms), 3)))
                calculator.get_property = lambda name, *_, **__: calculator.results[name]
                return calculator

        with pytest.raises(AssertionError):
            assert_forces_match_energy(Frozen(), atoms, seed=1)
