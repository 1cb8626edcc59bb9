"""Phonons against dispersion on paper, and against elasticity."""

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa, fs

from limbeck.potentials.validate import elastic_constants, phonons
from springs import NeighborSprings

SPRING, REST, MASS = 2.0, 2.55, 63.546
LATTICE = REST * np.sqrt(2.0)
THZ = 1e-3 / fs  # one THz in inverse ASE time
NEIGHBORS = np.array(
    [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if abs(i) + abs(j) + abs(k) == 2]
)


def exact_frequencies(q_cartesian):
    """D(q) = k/m sum over 12 neighbors of n n^T (1 - cos q R); frequencies in THz, ascending."""
    directions = NEIGHBORS / np.sqrt(2.0)
    phases = 1.0 - np.cos(2 * np.pi * q_cartesian @ (NEIGHBORS * LATTICE / 2.0).T)
    matrix = SPRING / MASS * np.einsum("n,ni,nj->ij", phases, directions, directions)
    return np.sqrt(np.clip(np.linalg.eigvalsh(matrix), 0.0, None)) / (2 * np.pi) / THZ


@pytest.fixture(scope="module")
def crystal():
    atoms = bulk("Cu", a=LATTICE)
    atoms.set_masses([MASS])
    return atoms, NeighborSprings((SPRING, REST))


@pytest.fixture(scope="module")
def found(crystal):
    return phonons(*crystal, supercell=(3, 3, 3), n_points=40, dos_mesh=(8, 8, 8))


def test_dispersion_is_exact_along_the_whole_path(found):
    """The springs end at the first shell, so the supercell holds all force constants and no q is special."""
    reciprocal = np.linalg.inv(bulk("Cu", a=LATTICE).cell[:]).T
    expected = np.array([exact_frequencies(q @ reciprocal) for q in found.q_points])
    assert np.allclose(found.frequencies_THz, expected, atol=5e-3)
    assert found.frequencies_THz.max() > 5.0


def test_special_points_and_counts(found):
    unit = np.sqrt(SPRING / MASS) / (2 * np.pi) / THZ
    assert np.allclose(found.special_points["G"], 0.0, atol=1e-3)
    assert np.allclose(found.special_points["X"], unit * np.sqrt([4, 4, 8]), rtol=1e-3)
    assert np.allclose(found.special_points["L"], unit * np.sqrt([2, 2, 8]), rtol=1e-3)
    assert [name for _, name in found.labels][:2] == ["G", "X"]
    assert not found.imaginary
    assert found.acoustic_sum_THz < 1e-3
    assert found.displacements == 1
    assert found.supercell_atoms == 108
    assert np.trapezoid(found.dos, found.dos_frequencies_THz) == pytest.approx(3.0, rel=0.02)


def test_sound_velocities_are_those_of_the_elastic_constants(crystal):
    """Along [100]: v_L = sqrt(C11 / rho), v_T = sqrt(C44 / rho), from the first few percent of the branch."""
    atoms, calculator = crystal
    fine = phonons(atoms, calculator, supercell=(3, 3, 3), n_points=400)
    index = 6
    assert np.allclose(fine.q_points[index], fine.q_points[index][0] * np.array([1, 0, 1]), atol=1e-9)
    velocities = 2 * np.pi * fine.frequencies_THz[index] * THZ / fine.distances[index]
    c11, _, c44 = elastic_constants(atoms, calculator).independent_GPa.values()
    density = MASS / (LATTICE**3 / 4)
    expected = np.sqrt(np.array([c44, c44, c11]) * GPa / density)
    assert np.allclose(velocities, expected, rtol=5e-3)


def test_an_unstable_crystal_is_flagged():
    """First-shell springs leave simple cubic without shear stiffness; negative second-shell ones make it unstable."""
    a = 2.6
    calculator = NeighborSprings((3.0, a), (-0.4, a * np.sqrt(2.0)), reach=1.1)
    assert phonons(bulk("Po", "sc", a=a), calculator, supercell=(4, 4, 4), n_points=40).imaginary
