"""What is refused, and what odd but legal structures pass."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings

from limbeck.core.errors import StructureError
from limbeck.structures.check import check_structure, closest_pair
from strategies import periodic_atoms


@settings(derandomize=True, deadline=None, max_examples=40)
@given(periodic_atoms(all_periodic=False))
def test_legal_structures_pass(atoms):
    check_structure(atoms)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(periodic_atoms(min_atoms=2))
def test_an_overlap_is_found_across_any_boundary(atoms):
    crowded = atoms.copy()
    crowded.positions[-1] = atoms.positions[0] + atoms.cell[0] - 2 * atoms.cell[2] + np.array([0.3, 0.0, 0.0])
    with pytest.raises(StructureError, match="overlap"):
        check_structure(crowded)


def test_an_atom_on_its_own_image_is_named():
    with pytest.raises(StructureError, match="its own image"):
        check_structure(Atoms("Si", cell=[0.8, 6, 6], pbc=True))


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "without atoms"),
        (Atoms("Si", positions=[[np.nan, 0, 0]], cell=[5, 5, 5], pbc=True), "NaN"),
        (Atoms("Si", cell=[[5, 0, 0], [0, np.inf, 0], [0, 0, 5]], pbc=True), "cell holds NaN"),
        (Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True), "no volume"),
        (Atoms("Si", pbc=True), "no volume"),
        (Atoms("X", cell=[5, 5, 5], pbc=True), "without an element"),
    ],
)
def test_each_defect_has_its_message(atoms, message):
    with pytest.raises(StructureError, match=message):
        check_structure(atoms)


def test_a_slab_needs_no_third_vector():
    slab = Atoms("C2", positions=[[0, 0, 0], [1.42, 0, 0]], cell=[[2.13, 1.23, 0], [2.13, -1.23, 0], [0, 0, 0]])
    slab.pbc = (True, True, False)
    check_structure(slab)


def test_worst_pair_is_reported_with_its_limit():
    atoms = bulk("Si", a=5.43, cubic=True)
    assert closest_pair(atoms) is None
    atoms.positions[3] = atoms.positions[0] + [0.4, 0.0, 0.0]
    first, second, distance, limit = closest_pair(atoms)
    assert {first, second} == {0, 3}
    assert distance == pytest.approx(0.4)
    assert limit == pytest.approx(1.11)
