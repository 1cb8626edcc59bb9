"""UF3: splines, design matrix against the pair style, exactness inside its own space, repulsive core."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError
from scipy.interpolate import BSpline

from limbeck.core.errors import TrainingError
from limbeck.core.progress import FileProgress
from limbeck.core.record import write_text
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.lammps_calculator import LammpsCalculator
from limbeck.potentials.protocols import PairStyle
from limbeck.potentials.students import uf3
from limbeck.potentials.students.repulsion import shortest_distances
from limbeck.potentials.students.uf3 import Uf3Settings
from limbeck.potentials.students.uf3_design import Uf3Basis, clamped_knots, cubic_splines, design_rows, make_basis
from strategies import CELL_SHAPES, cell_of_shape

ELEMENTS = ("Cl", "Na")
PAIR_CUTOFF, N_PAIR, SIDE_CUTOFF, N_SIDE = 4.8, 12, 3.4, 6


def basis_of(elements: tuple[str, ...], shortest_A: float = 0.0, n_side: int = N_SIDE) -> Uf3Basis:
    shortest = np.full((len(elements),) * 2, shortest_A)
    return make_basis(elements, PAIR_CUTOFF, N_PAIR, SIDE_CUTOFF, n_side, shortest)


def calculator_of(basis: Uf3Basis, coefficients: np.ndarray, folder: Path) -> LammpsCalculator:
    n = len(basis.elements)
    write_text(folder / "model.uf3", uf3.potential_text(basis, coefficients))
    write_text(folder / "atoms.eam.alloy", uf3.single_atom_text(basis.elements, coefficients[:n]))
    symbols = " ".join(basis.elements)
    lines = (
        "pair_style hybrid/overlay uf3 3 eam/alloy",
        f"pair_coeff * * uf3 {{folder}}/model.uf3 {symbols}",
        f"pair_coeff * * eam/alloy {{folder}}/atoms.eam.alloy {symbols}",
    )
    return LammpsCalculator(PairStyle(lines=lines, elements=basis.elements, files=()), folder)


def structures(n: int, elements: tuple[str, ...], seed: int) -> list[Atoms]:
    """Few atoms in all families of cells, dense enough for many triangles."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        count = int(rng.integers(1, 5))
        cell = cell_of_shape(CELL_SHAPES[number % len(CELL_SHAPES)], 16.0 * count, rng)
        atoms = Atoms(rng.choice(elements, count), cell=cell, pbc=True)
        atoms.set_scaled_positions(rng.uniform(size=(count, 3)))
        made.append(atoms)
    return made


def label(atoms: Atoms, calculator: LammpsCalculator, trajectory: str = "a") -> Labelled:
    frame = atoms.copy()
    frame.calc = calculator
    values = (frame.get_potential_energy(), frame.get_forces(), frame.get_stress())
    frame.calc = None
    frame.info["trajectory"] = trajectory
    return Labelled(frame, *values, Fingerprint("spline", "1", {}, production=False))


def smooth_coefficients(basis: Uf3Basis, seed: int) -> np.ndarray:
    """Random but smooth functions: a few waves over the coefficients' places."""
    rng = np.random.default_rng(seed)
    coefficients = np.zeros(basis.n_columns + 1)
    coefficients[: len(basis.elements)] = [-1.3, -2.6][: len(basis.elements)]
    for a, b in basis.pairs:
        grid = np.arange(basis.pair_columns.shape[-1])
        coefficients[basis.pair_columns[a, b]] = 3.0 * np.exp(-grid / 3.0) + 0.3 * np.sin(grid + rng.normal())
    for center, b, c in basis.triplets:
        block = basis.triplet_columns[center, b, c]
        i, j, k = np.meshgrid(*[np.arange(n) for n in block.shape], indexing="ij")
        phase = rng.normal()
        wave = 0.05 * np.cos(0.7 * (i + j) + phase) * np.sin(0.5 * k + phase)
        if b != c:
            wave = wave * (1 + 0.1 * i)
        coefficients[block] = wave
    return coefficients[:-1]


@pytest.mark.parametrize("n_intervals", [4, 9])
def test_splines_are_those_of_scipy(n_intervals: int) -> None:
    knots = clamped_knots(3.0, n_intervals)
    values, slopes = np.zeros(4), np.zeros(4)
    n = len(knots) - 4
    functions = [BSpline(knots, np.eye(n)[i], 3) for i in range(n)]
    for r in [0.0, 1e-9, 0.4, 1.0, 1.5, 2.2, 3.0 - 1e-9]:
        start = cubic_splines(knots, r, values, slopes)
        ours = np.zeros((2, n))
        ours[0, start : start + 4], ours[1, start : start + 4] = values, slopes
        np.testing.assert_allclose(ours[0], [f(r) for f in functions], atol=1e-12)
        np.testing.assert_allclose(ours[1], [f.derivative()(r) for f in functions], atol=1e-9)


@pytest.mark.parametrize("elements", [("Si",), ELEMENTS])
def test_design_matrix_is_what_lammps_computes(elements: tuple[str, ...], tmp_path: Path) -> None:
    """Random coefficients: a wrong order of sides, elements or signs shows in every cell family."""
    basis = basis_of(elements)
    coefficients = np.random.default_rng(2).normal(size=basis.n_columns)
    calculator = calculator_of(basis, coefficients, tmp_path)
    for atoms in structures(18, elements, 3):
        frame = label(atoms, calculator)
        energy, forces, virial = design_rows(basis, atoms)
        scale = 1 + np.abs(frame.forces).max()
        assert energy @ coefficients == pytest.approx(frame.energy, rel=1e-10, abs=1e-8)
        np.testing.assert_allclose(forces @ coefficients, frame.forces.ravel(), atol=1e-9 * scale)
        assert frame.stress is not None
        np.testing.assert_allclose(
            virial @ coefficients, atoms.get_volume() * frame.stress, rtol=1e-7, atol=1e-8 * scale
        )  # fmt: skip


def test_potential_of_its_own_space_is_recovered(tmp_path: Path) -> None:
    """Labels of a known pair and three-body spline potential of two elements: predictions agree to 1e-4 eV/Å."""
    basis = basis_of(ELEMENTS, shortest_A=1.6, n_side=4)
    calculator = calculator_of(basis, smooth_coefficients(basis, 5), tmp_path)
    rng = np.random.default_rng(7)
    frames = []
    while len(frames) < 90:
        atoms = bulk("NaCl", "rocksalt", 4.9, cubic=True)
        atoms.symbols[:] = rng.choice(ELEMENTS, 8)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.08 * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.3, (8, 3))
        if (atoms.get_all_distances(mic=True) + 9 * np.eye(8)).min() > 1.6:
            frames.append(label(atoms, calculator))
    settings = Uf3Settings(
        two_body_cutoff_A=PAIR_CUTOFF, two_body_intervals=N_PAIR, three_body_cutoff_A=SIDE_CUTOFF,
        three_body_intervals=4, regularization=1e-12,
    )  # fmt: skip
    student, _ = uf3.fit(settings, ELEMENTS, frames[:75], [], tmp_path / "fit", FileProgress(None, 1))
    found = student.calculator()
    for frame in frames[75:]:
        again = label(frame.atoms, found)
        assert again.energy == pytest.approx(frame.energy, abs=1e-5)
        np.testing.assert_allclose(again.forces, frame.forces, atol=1e-4)


def test_core_without_data_is_repulsive(tmp_path: Path) -> None:
    """Labels of harmonic-like cells only; two atoms pushed together must feel a rising wall down to 0.4 Å."""
    basis = basis_of(("Si",), shortest_A=2.0)
    calculator = calculator_of(basis, smooth_coefficients(basis, 6), tmp_path)
    rng = np.random.default_rng(8)
    frames = []
    for number in range(24):
        atoms = bulk("Si", "diamond", 5.4, cubic=True)
        atoms.rattle(0.06, rng=rng)
        frames.append(label(atoms, calculator, "fit" if number < 18 else "held out"))
    settings = Uf3Settings(two_body_cutoff_A=4.8, three_body_cutoff_A=3.4, three_body_intervals=6)
    student, _ = uf3.fit(settings, ("Si",), frames[:18], frames[18:], tmp_path / "fit", FileProgress(None, 1))
    found = student.calculator()
    shortest = shortest_distances(("Si",), frames[:18], 4.8)[0, 0]
    assert shortest > 2.0
    distances = np.arange(0.4, shortest - 0.3, 0.05)
    energies = [
        label(Atoms("Si2", [[0, 0, 0], [d, 0, 0]], cell=[12, 12, 12], pbc=True), found).energy for d in distances
    ]
    assert np.all(np.diff(energies) < 0)
    assert energies[0] - energies[-1] > 50.0


def test_too_many_coefficients_are_refused(tmp_path: Path) -> None:
    frames = [
        Labelled(atoms, 0.0, np.zeros((len(atoms), 3)), None, Fingerprint("none", "1", {}))
        for atoms in structures(6, ("Al", "Cl", "Na", "O"), 1)
    ]
    settings = Uf3Settings(three_body_intervals=14, regularization=1e-6)
    with pytest.raises(TrainingError, match="three_body_intervals"):
        uf3.fit(settings, ("Al", "Cl", "Na", "O"), frames, [], tmp_path, FileProgress(None, 1))


def test_triangles_beyond_pairs_are_refused() -> None:
    with pytest.raises(ValidationError, match="three_body_cutoff_A"):
        Uf3Settings(two_body_cutoff_A=4.0, three_body_cutoff_A=4.5)


def test_the_defaults_fit_up_to_four_elements() -> None:
    terms = Uf3Settings()
    for elements in (("Si",), ("Mg", "O"), ("Li", "P", "S"), ("Li", "P", "S", "Cl")):
        atoms = Atoms(elements, np.arange(len(elements))[:, None] * [1.9, 0.3, 0.2], cell=[9, 9, 9], pbc=True)
        frame = Labelled(atoms, 0.0, np.zeros((len(elements), 3)), None, Fingerprint("none", "1", {}))
        assert 0 < uf3.basis_of(terms, elements, [frame]).n_columns < 6000
