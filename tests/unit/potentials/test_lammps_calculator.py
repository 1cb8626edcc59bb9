"""LAMMPS in this process, against ASE's own Lennard-Jones on the structures that break codes."""

import io
import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from hypothesis import given, settings

from limbeck.core.errors import DynamicsError, StructureError, UnsupportedElementError
from limbeck.potentials.lammps_calculator import (
    LammpsCalculator,
    data_file,
    lammps_box,
    lammps_command,
    lammps_process,
    pair_lines,
)
from limbeck.potentials.protocols import PairStyle
from strategies import periodic_atoms

EPSILON, SIGMA, CUTOFF = 0.05, 2.1, 5.0
LJ = PairStyle(
    lines=(f"pair_style lj/cut {CUTOFF}", f"pair_coeff * * {EPSILON} {SIGMA}", "pair_modify shift yes"),
    elements=("Cu", "Si"),
    files=(),
)


def reference() -> LennardJones:
    return LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, smooth=False)


def assert_same(atoms: Atoms, calculator: LammpsCalculator) -> None:
    ours, theirs = atoms.copy(), atoms.copy()
    ours.calc, theirs.calc = calculator, reference()
    scale = 1 + np.abs(theirs.get_forces()).max()
    np.testing.assert_allclose(ours.get_potential_energy(), theirs.get_potential_energy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=1e-8, atol=1e-10 * scale)


@pytest.fixture(scope="module")
def shared() -> LammpsCalculator:
    """One instance for many structures: its state must never show."""
    return LammpsCalculator(LJ, Path())


@given(atoms=periodic_atoms(symbols=("Si", "Cu"), all_periodic=False))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_energy_forces_and_stress_agree_with_ase(shared: LammpsCalculator, atoms: Atoms) -> None:
    assert_same(atoms, shared)


@given(atoms=periodic_atoms())
@settings(derandomize=True, deadline=None, max_examples=25)
def test_box_holds_the_same_distances(atoms: Atoms) -> None:
    box = lammps_box(atoms)
    assert np.all(np.triu(box.cell, 1) == 0)
    assert np.all(np.diag(box.cell) > 0)
    np.testing.assert_allclose(box.rotation @ box.rotation.T, np.eye(3), atol=1e-12)
    assert box.volume == pytest.approx(atoms.get_volume())
    again = Atoms(atoms.symbols, positions=box.positions, cell=box.cell, pbc=True)
    np.testing.assert_allclose(
        again.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-9
    )  # fmt: skip
    for row, column in ((1, 0), (2, 0), (2, 1)):
        assert abs(box.cell[row, column]) <= 0.5 * box.cell[column, column] + 1e-9


def test_one_instance_follows_every_change(shared: LammpsCalculator) -> None:
    atoms = bulk("Cu", "fcc", 3.6)
    steps = [
        atoms,
        atoms.repeat((2, 1, 1)),
        Atoms("Cu2Si", positions=[[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0]], cell=[6, 7, 8], pbc=True),
        Atoms("Si2Cu", positions=[[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0]], cell=[6, 7, 8], pbc=True),
        Atoms("Si2Cu", positions=[[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0]], cell=[6, 7, 8], pbc=(True, False, True)),
        Atoms("Si2Cu", positions=[[0, 0, 0], [2.4, 0, 0], [0, 2.6, 0]], cell=[6, 7, 9], pbc=(True, False, True)),
        atoms,
    ]
    for step in steps:
        assert_same(step, shared)


def test_molecule_without_cell_has_forces_and_no_stress(shared: LammpsCalculator) -> None:
    atoms = molecule("Si2H6")[:2]
    atoms.calc = shared
    other = atoms.copy()
    other.calc = reference()
    np.testing.assert_allclose(atoms.get_forces(), other.get_forces(), atol=1e-10)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_leaves_no_file_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", "fcc", 3.6)
    atoms.calc = LammpsCalculator(LJ, tmp_path)
    atoms.get_potential_energy()
    atoms.calc.close()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_unknown_element_is_named(shared: LammpsCalculator) -> None:
    atoms = bulk("Ge", "diamond", 5.6)
    atoms.calc = shared
    with pytest.raises(UnsupportedElementError, match=r"knows Cu, Si.*holds Ge"):
        atoms.get_potential_energy()


def test_error_of_lammps_is_passed_on_and_the_calculator_recovers() -> None:
    broken = PairStyle(lines=("pair_style lj/cut 5.0", "pair_coeff 1 1 nonsense 2.0"), elements=("Cu",), files=())
    atoms = bulk("Cu", "fcc", 3.6)
    atoms.calc = LammpsCalculator(broken, Path())
    for _ in range(2):
        with pytest.raises(DynamicsError, match="nonsense"):
            atoms.get_potential_energy()


def test_structures_without_meaning_are_refused(shared: LammpsCalculator) -> None:
    exploded = bulk("Cu", "fcc", 3.6)
    exploded.positions[0, 0] = np.nan
    exploded.calc = shared
    with pytest.raises(StructureError, match="NaN"):
        exploded.get_potential_energy()
    flat = Atoms("Cu", cell=[[3, 0, 0], [6, 0, 0], [0, 0, 3]], pbc=True)
    flat.calc = shared
    with pytest.raises(StructureError, match="dependent"):
        flat.get_potential_energy()


def test_two_atoms_on_one_place_are_refused(shared: LammpsCalculator) -> None:
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0]], cell=[8, 8, 8], pbc=True)
    atoms.calc = shared
    with pytest.raises(DynamicsError):
        atoms.get_potential_energy()


def test_program_and_lines() -> None:
    assert Path(lammps_command()[0]).name == "lmp"
    assert lammps_command(2)[1:3] == ["-n", "2"]
    assert lammps_command(1, 3)[1:] == ["-sf", "omp", "-pk", "omp", "3"]
    pair = PairStyle(lines=("pair_coeff * * {folder}/a",), elements=("Si",), files=("a",), settings=("newton on",))
    assert pair_lines(pair, Path("/x y")) == ["newton on", "pair_coeff * * /x y/a"]


def test_data_file_gives_types_in_the_order_of_the_elements() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6)
    text = data_file(atoms, ("Cl", "Na"))
    lines = text.splitlines()
    rows = [line.split() for line in lines[lines.index("Atoms # atomic") + 2 :]]
    assert [row[1] for row in rows] == ["2", "1"]
    back = ase.io.read(io.StringIO(text), format="lammps-data", atom_style="atomic")
    assert back.get_chemical_symbols() == ["Na", "Cl"]
    assert back.get_distance(0, 1, mic=True) == pytest.approx(2.8)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_watched_process_is_lammps_itself(ranks: int) -> None:
    command, environment = lammps_process(ranks)
    program = Path(command[-1])
    assert program.read_bytes()[:2] != b"#!"  # no script in between that would take the signals
    run = subprocess.run([*command, "-help"], env=environment, capture_output=True, text=True, check=True)
    assert "Large-scale Atomic/Molecular" in run.stdout
