"""g(r): normalized, right beyond half the cell and beyond the cell, in any cell."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings

from limbeck.core.errors import StructureError
from limbeck.observables.rdf import coordination_number, largest_distance, radial_distribution
from limbeck.structures.trajectory import MemoryTrajectory
from strategies import periodic_atoms


def still(atoms, copies=1):
    return MemoryTrajectory([atoms.copy() for _ in range(copies)], interval_fs=1.0)


def count_by_hand(atoms, cutoff):
    """Distances of all ordered pairs within the cutoff, by explicit images."""
    reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(atoms.cell[:]), axis=0)).astype(int) + 4
    axes = [np.arange(-n, n + 1) for n in reach]
    shifts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ atoms.cell[:]
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
    distances = np.linalg.norm(vectors, axis=-1).ravel()
    return distances[(distances > 1e-8) & (distances < cutoff)]


@settings(derandomize=True, deadline=None, max_examples=25)
@given(periodic_atoms(max_atoms=3))
def test_every_image_is_counted_once_in_any_cell(atoms):
    cutoff = 6.0
    found = radial_distribution(still(atoms), cutoff=cutoff, bin_width=0.5)
    expected = np.histogram(count_by_hand(atoms, cutoff), bins=found.edges)[0] / len(atoms)
    assert np.allclose(np.diff(found.coordination, prepend=0.0), expected, atol=1e-9)
    shells = 4 / 3 * np.pi * np.diff(found.edges**3)
    assert np.allclose(found.g, expected * atoms.get_volume() / shells / len(atoms))


@pytest.mark.parametrize(
    ("formula", "lattice", "a", "shells"),
    [
        ("Cu", "fcc", 3.6, [(3.6 / np.sqrt(2), 12), (3.6, 6), (3.6 * np.sqrt(1.5), 24)]),
        ("Si", "diamond", 5.43, [(5.43 * np.sqrt(3) / 4, 4), (5.43 / np.sqrt(2), 12)]),
        ("Fe", "bcc", 2.87, [(2.87 * np.sqrt(3) / 2, 8), (2.87, 6)]),
    ],
)
def test_shells_of_crystals_are_whole_numbers(formula, lattice, a, shells):
    """From the one- or two-atom cell, whose neighbors are all images."""
    trajectory = still(bulk(formula, lattice, a=a))
    found = radial_distribution(trajectory, cutoff=6.0, bin_width=0.02)
    total = 0
    for radius, members in shells:
        total += members
        index = int(np.searchsorted(found.edges, radius + 0.03))
        assert found.coordination[index] == pytest.approx(total)
        assert coordination_number(trajectory, radius + 0.01).value == pytest.approx(total)
    assert np.isnan(found.standard_error).all()


def test_partial_functions_of_rock_salt():
    trajectory = still(bulk("MgO", "rocksalt", a=4.21))
    assert coordination_number(trajectory, 2.2, pair=("Mg", "O")).value == pytest.approx(6)
    assert coordination_number(trajectory, 3.1, pair=("Mg", "Mg")).value == pytest.approx(12)
    assert coordination_number(trajectory, 2.2, pair=("O", "O")).value == 0
    partial = {p: radial_distribution(trajectory, cutoff=5.0, pair=p) for p in [("Mg", "O"), ("O", "Mg"), ("O", "O")]}
    assert np.allclose(partial["Mg", "O"].g, partial["O", "Mg"].g)
    magnesium = radial_distribution(trajectory, cutoff=5.0, pair=("Mg", "Mg")).g
    total = radial_distribution(trajectory, cutoff=5.0).g
    assert np.allclose(total, 0.25 * (magnesium + partial["O", "O"].g + 2 * partial["Mg", "O"].g))


@pytest.fixture(scope="module")
def gas():
    rng = np.random.default_rng(5)
    cell = np.array([[7.0, 0.0, 0.0], [2.0, 6.5, 0.0], [-1.0, 2.0, 8.0]])
    frames = [Atoms("H40", scaled_positions=rng.random((40, 3)), cell=cell, pbc=True) for _ in range(40)]
    return MemoryTrajectory(frames, interval_fs=1.0)


def test_ideal_gas_is_flat_beyond_the_cell(gas):
    """Other atoms give (N - 1) / N in every bin, own images whole numbers; chi^2 over 20 bins.

    The 10 block means of a bin are independent, so z follows Student's t with 9 degrees: variance 9/7. The mean of 20
    squares is below 4 with a false-alarm rate of about 0.1 % (estimated by simulation of t values).
    """
    found = radial_distribution(gas, cutoff=9.2, bin_width=0.4)
    lone = Atoms("H", cell=gas.frames[0].cell, pbc=True)
    own = np.histogram(count_by_hand(lone, 9.2), bins=found.edges)[0]
    shells = 4 / 3 * np.pi * np.diff(found.edges**3)
    expected = 39 / 40 + own * lone.get_volume() / shells / 40
    used = shells > 5.0
    z = (found.g - expected)[used] / found.standard_error[used]
    assert found.n_blocks == 10
    assert np.mean(z**2) < 4.0
    assert np.abs(found.g - expected)[used].max() < 0.2
    assert np.abs(found.g[-8:] - expected[-8:]).max() < 0.03


def test_minimum_image_would_be_wrong_here(gas):
    """What the test above excludes: counting one image per pair loses most pairs beyond half the cell."""
    frame = gas.frames[0]
    distances = frame.get_all_distances(mic=True)[~np.eye(40, dtype=bool)]
    one_image = np.histogram(distances, bins=[10.0, 12.0])[0][0]
    found = radial_distribution(MemoryTrajectory([frame], interval_fs=1.0), cutoff=12.0, bin_width=2.0)
    assert one_image < 0.2 * 40 * np.diff(found.coordination)[-1]


def test_errors_are_per_bin_and_shrink_with_more_frames(gas):
    few = radial_distribution(MemoryTrajectory(gas.frames[:10], 1.0), cutoff=6.0, bin_width=0.5)
    many = radial_distribution(gas, cutoff=6.0, bin_width=0.5)
    ratio = np.nanmean(few.standard_error[4:] / many.standard_error[4:])
    assert 1.4 < ratio < 3.0  # sqrt(4) expected
    estimate = many.estimates()[6]
    assert estimate.value == many.g[6]
    assert estimate.standard_error == many.standard_error[6]
    assert len(many.r) == len(many.g) == 12


def test_stride_uses_every_nth_frame(gas):
    assert radial_distribution(gas, cutoff=4.0, stride=7).n_frames == 6


def test_wrong_requests_are_refused(gas):
    with pytest.raises(StructureError, match="no He"):
        radial_distribution(gas, pair=("H", "He"))
    with pytest.raises(ValueError, match="positive"):
        radial_distribution(gas, bin_width=0.0)
    slab = gas.frames[0].copy()
    slab.pbc = (True, True, False)
    with pytest.raises(StructureError, match="periodicity"):
        radial_distribution(still(slab))


def test_largest_distance_is_half_the_smallest_width_of_any_frame():
    atoms = bulk("Si", a=5.43, cubic=True).repeat((2, 1, 1))
    assert largest_distance(still(atoms)) == pytest.approx(5.43 / 2)
    assert largest_distance(still(bulk("Si", a=5.43))) == pytest.approx(5.43 / np.sqrt(3) / 2)
    smaller = atoms.copy()
    smaller.set_cell(atoms.cell[:] * 0.9)
    assert largest_distance(MemoryTrajectory([atoms, smaller], interval_fs=1.0)) == pytest.approx(0.45 * 5.43)


def test_an_own_image_is_a_peak_beyond_the_largest_distance_only():
    """Atoms that shake independently: the image alone stays at exactly one lattice vector."""
    rng = np.random.default_rng(5)
    perfect = bulk("Cu", a=4.0, cubic=True)
    frames = [perfect.copy() for _ in range(60)]
    for frame in frames:
        frame.positions += rng.normal(0, 0.3, frame.positions.shape)
    trajectory = MemoryTrajectory(frames, interval_fs=1.0)
    found = radial_distribution(trajectory, cutoff=4.5, bin_width=0.05)
    artefact = np.abs(found.r - 4.0) < 0.05
    assert found.g[artefact].max() > 5 * np.median(found.g[np.abs(found.r - 4.0) < 0.4])
    assert largest_distance(trajectory) < found.r[artefact][0]
