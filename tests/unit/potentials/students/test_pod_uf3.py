"""POD and UF3 together: a potential that needs both parts is recovered, and by neither part alone."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from limbeck.core.progress import FileProgress
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.lammps_calculator import LammpsCalculator
from limbeck.potentials.protocols import PairStyle
from limbeck.potentials.students import pod, pod_uf3, uf3
from limbeck.potentials.students.pod import PodSettings
from limbeck.potentials.students.pod_uf3 import JointPodTerms, PodUf3Settings
from limbeck.potentials.students.uf3 import Uf3Settings, Uf3Terms
from limbeck.potentials.students.uf3_design import make_basis

SILICON = ("Si",)
SHORTEST_A = 1.9
POD = JointPodTerms(
    cutoff_A=4.0, two_body_radial=2, three_body_radial=2, three_body_angular_degree=2, four_body_radial=2,
    four_body_angular_degree=2,
)  # fmt: skip
UF3 = Uf3Terms(two_body_cutoff_A=4.8, two_body_intervals=10, three_body_cutoff_A=3.2, three_body_intervals=5)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> LammpsCalculator:
    """Smooth splines and descriptors of their own space, with a single-atom energy."""
    folder = tmp_path_factory.mktemp("truth")
    basis = make_basis(SILICON, 4.8, 10, 3.2, 5, np.full((1, 1), SHORTEST_A))
    splines = 0.03 * np.cos(0.3 * np.arange(basis.n_columns)) + uf3.core_baseline(basis)
    splines[0] = -150.0
    rows = list(pod.frame_descriptors(POD, SILICON, frames(30, None), stress=False))
    typical = np.std([d.energy for _, d in rows], axis=0)
    descriptors = 0.3 * np.sin(1.0 + np.arange(len(typical))) / np.maximum(typical, 1e-3 * typical.max())
    descriptors[0] = 0.0
    uf3.write_potential(basis, splines, folder)
    pod.write_potential(POD, SILICON, descriptors, folder)
    lines = (
        "pair_style hybrid/overlay uf3 3 eam/alloy pod",
        *uf3.pair_coefficients(SILICON),
        'pair_coeff * * pod "{folder}/param.pod" "{folder}/coefficients.pod" Si',
    )
    return LammpsCalculator(PairStyle(lines=lines, elements=SILICON, files=()), folder)


def frames(n: int, calculator: LammpsCalculator | None, seed: int = 1) -> list[Labelled]:
    """Rattled, strained silicon; labels of zero without a calculator."""
    rng = np.random.default_rng(seed)
    made: list[Labelled] = []
    while len(made) < n:
        atoms = bulk("Si", "diamond", 5.4, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.08 * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.2, (8, 3))
        if (atoms.get_all_distances(mic=True) + 9 * np.eye(8)).min() < SHORTEST_A:
            continue
        values = (0.0, np.zeros((8, 3)), np.zeros(6))
        if calculator:
            copy = atoms.copy()
            copy.calc = calculator
            values = (copy.get_potential_energy(), copy.get_forces(), copy.get_stress())
        made.append(Labelled(atoms, *values, Fingerprint("truth", "1", {}, production=False)))
    return made


def test_a_potential_that_needs_both_is_recovered_by_both_only(truth: LammpsCalculator, tmp_path: Path) -> None:
    train, test = frames(60, truth), frames(8, truth, seed=2)
    errors = {}
    for settings, fit in (
        (PodUf3Settings(pod=POD, uf3=UF3, regularization=1e-10), pod_uf3.fit),
        (Uf3Settings(**UF3.model_dump(), regularization=1e-10), uf3.fit),
        (PodSettings(**POD.model_dump(), regularization=1e-10), pod.fit),
    ):
        student, _ = fit(settings, SILICON, train, [], tmp_path / settings.kind, FileProgress(None, 1))
        found = student.calculator()
        differences, energies = [], []
        for frame in test:
            atoms = frame.atoms.copy()
            atoms.calc = found
            differences.append(atoms.get_forces() - frame.forces)
            energies.append(atoms.get_potential_energy() - frame.energy)
        errors[settings.kind] = float(np.sqrt(np.mean(np.square(differences))))
        if settings.kind == "pod_uf3":
            assert np.abs(energies).max() < 1e-3
    assert errors["pod_uf3"] < 1e-3
    assert errors["uf3"] > 20 * errors["pod_uf3"]
    assert errors["pod"] > 20 * errors["pod_uf3"]


def test_energies_of_single_atoms_stand_in_one_part_only(tmp_path: Path) -> None:
    """Two elements: descriptor columns of single atoms are zero; an atom alone has the energy of the other part."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(12):
        atoms = bulk("NaCl", "rocksalt", 5.0, cubic=True)
        atoms.symbols[:] = rng.choice(["Na", "Cl"], 8)
        atoms.positions += rng.normal(0, 0.2, (8, 3))
        energy = -3.0 * atoms.symbols.count("Na") - 7.0 * atoms.symbols.count("Cl")
        made.append(Labelled(atoms, energy, np.zeros((8, 3)), np.zeros(6), Fingerprint("truth", "1", {})))
    settings = PodUf3Settings(pod=POD, uf3=UF3, regularization=1e-6)
    student, _ = pod_uf3.fit(settings, ("Cl", "Na"), made, [], tmp_path, FileProgress(None, 1))
    coefficients = np.array([float(line) for line in (tmp_path / "coefficients.pod").read_text().splitlines()[1:]])
    assert coefficients[pod.one_body_columns(len(coefficients), ("Cl", "Na"))].tolist() == [0.0, 0.0]
    calculator = student.calculator()
    lines = (tmp_path / "atoms.eam.alloy").read_text().splitlines()
    for symbol, line in (("Cl", lines[6]), ("Na", lines[9])):
        alone = Atoms(symbol, cell=[20, 20, 20], pbc=True, calculator=calculator)
        assert alone.get_potential_energy() == pytest.approx(float(line.split()[0]), rel=1e-12)


def test_a_key_of_its_own_keeps_the_other_defaults() -> None:
    changed = PodUf3Settings.model_validate({"pod": {"cutoff_A": 4.5}}).pod
    assert changed.model_dump() == PodUf3Settings().pod.model_dump() | {"cutoff_A": 4.5}
    assert (changed.four_body_radial, changed.four_body_angular_degree) == (6, 4)
