"""The strategies give what they promise: legal but awkward structures."""

import numpy as np
from ase.neighborlist import neighbor_list
from hypothesis import given, settings

from strategies import CELL_SHAPES, cell_of_shape, periodic_atoms


@settings(derandomize=True, deadline=None, max_examples=40)
@given(periodic_atoms(symbols=("Si", "O"), all_periodic=False))
def test_structures_have_volume_and_no_overlap(atoms):
    assert 1 <= len(atoms) <= 6
    assert atoms.pbc.any()
    assert abs(np.linalg.det(atoms.cell[:])) > 10.0
    distances = neighbor_list("d", atoms, 3.0)
    assert distances.size == 0 or distances.min() > 1.85


def test_families_are_what_their_names_say():
    rng = np.random.default_rng(0)
    shaped = {name: cell_of_shape(name, 50.0, rng) for name in CELL_SHAPES}
    for cell in shaped.values():
        assert np.isclose(abs(np.linalg.det(cell)), 50.0)
    assert np.linalg.det(shaped["left_handed"]) < 0
    assert abs(shaped["skewed"][1, 0]) > 0.5 * shaped["skewed"][0, 0]
    widths = 50.0 / np.linalg.norm(np.cross(shaped["thin"][[1, 2, 0]], shaped["thin"][[2, 0, 1]]), axis=1)
    assert widths.min() < 0.5 * widths.max()
