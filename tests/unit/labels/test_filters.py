import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limbeck.labels.filters import FrameFilter, filter_frames, reject_reason

FILTER = FrameFilter()


def test_ordinary_frames_pass():
    frames = [bulk("Si"), bulk("Si", cubic=True), bulk("MgO", "rocksalt", a=4.2), bulk("Na"), molecule("H2O")]
    for atoms in frames:
        atoms.rattle(0.05, seed=1)
    left_handed = bulk("Si", cubic=True)
    left_handed.set_cell(left_handed.cell.array[[1, 0, 2]], scale_atoms=True)
    assert filter_frames([*frames, left_handed], FILTER).kept == tuple(range(6))


def test_each_fault_has_its_reason():
    good = bulk("Si", cubic=True)
    overlapping, same_place, nan, infinite, flat, sharp, long, dense, thin = (good.copy() for _ in range(9))
    overlapping.positions[0] = overlapping.positions[1] + [0.5, 0, 0]
    same_place.positions[0] = same_place.positions[1]
    nan.positions[3, 1] = np.nan
    infinite.cell[0, 0] = np.inf
    flat.set_cell(np.diag([5.43, 5.43, 0.0]))
    sharp.set_cell([[5.43, 0, 0], [20.0, 5.43, 0], [0, 0, 5.43]])
    long = bulk("Si", cubic=True) * (16, 1, 1)
    dense.set_cell(good.cell.array * 0.85, scale_atoms=True)
    thin.set_cell(good.cell.array * 1.2, scale_atoms=True)
    frames = [good, overlapping, same_place, nan, infinite, flat, sharp, long, dense, thin, Atoms()]
    result = filter_frames(frames, FILTER, start=good)
    assert result.kept == (0,)
    kinds = [reason.split(":")[0] for _, reason in result.rejected]
    expected = [
        "overlap",
        "overlap",
        "not finite",
        "not finite",
        "cell",
        "cell",
        "cell",
        "volume",
        "volume",
        "not finite",
    ]
    assert kinds == expected
    assert [index for index, _ in result.rejected] == list(range(1, 11))
    assert "Si0 and Si1 are 0.500 Å apart" in result.rejected[0][1]


def test_atom_meets_its_own_image():
    atoms = Atoms("Si", cell=np.diag([1.2, 6, 6]), pbc=True)
    assert reject_reason(atoms, FILTER).startswith("overlap: Si0 and Si0 are 1.200 Å apart")


def test_non_periodic_directions_are_left_alone():
    atoms = molecule("H2O")
    assert atoms.cell.volume == 0
    assert reject_reason(atoms, FILTER) == ""
    slab = Atoms("C2", positions=[[0, 0, 0], [1.23, 0.71, 0]], cell=[[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, 0]])
    slab.pbc = (True, True, False)
    assert reject_reason(slab, FILTER) == ""


def test_pair_override_holds_in_both_orders():
    atoms = Atoms("SiO", positions=[[0, 0, 0], [1.6, 0, 0]])
    assert reject_reason(atoms, FILTER) == ""
    for name in ("Si-O", "O-Si"):
        assert "at least 1.700 Å" in reject_reason(atoms, FrameFilter(minimum_distance_A={name: 1.7}))
    assert reject_reason(atoms, FrameFilter(minimum_distance_A={"Si-Si": 2.5, "Fe-O": 2.5})) == ""


@pytest.mark.parametrize("name", ["SiO", "Si-Xy", "Si-O-Si"])
def test_pair_that_is_none(name):
    with pytest.raises(ValidationError, match="not a pair of elements"):
        FrameFilter(minimum_distance_A={name: 1.0})


def test_median_volume_stands_in_for_the_start():
    frames = [bulk("Si", cubic=True) for _ in range(5)]
    frames[2].set_cell(frames[2].cell.array * 1.3, scale_atoms=True)
    ((index, reason),) = filter_frames(frames, FILTER).rejected
    assert index == 2
    assert reason.startswith("volume: 2.20 times")


def test_forces():
    atoms = bulk("Si")
    limit = FrameFilter(maximum_force_eV_per_A=5.0)
    fine, large, nan = np.full((2, 3), 1.0), np.full((2, 3), 4.0), np.full((2, 3), np.nan)
    result = filter_frames([atoms] * 4, limit, forces=[fine, large, nan, None])
    assert result.kept == (0, 3)
    assert "6.93 eV/Å" in result.rejected[0][1]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    cell=st.lists(st.floats(-8, 8), min_size=9, max_size=9),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    n=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_shortest_distance_agrees_with_brute_force(cell, pbc, n, seed):
    """Any cell (left-handed, skewed, thin, flat): a frame that passes has no two atoms too close, image by image."""
    vectors = np.array(cell).reshape(3, 3)
    atoms = Atoms(f"Si{n}", cell=vectors, pbc=pbc, positions=np.random.default_rng(seed).uniform(-5, 5, (n, 3)))
    reason = reject_reason(atoms, FILTER)
    if reason.startswith("cell"):
        return
    grid = np.array(np.meshgrid(*[np.arange(-6, 7) if periodic else [0] for periodic in pbc])).reshape(3, -1).T
    images = grid @ vectors
    apart = atoms.positions[None, :, None] + images[None, None] - atoms.positions[:, None, None]
    distances = np.linalg.norm(apart, axis=-1)
    distances[np.arange(n), np.arange(n), np.all(grid == 0, axis=1).argmax()] = np.inf
    allowed = 0.65 * 2 * 1.11
    assert reason.startswith("overlap") == bool(distances.min() < allowed)
