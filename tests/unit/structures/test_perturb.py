"""Perturbed copies: as strong as asked for, never overlapping, the same for the same seed."""

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limbeck.core.errors import StructureError
from limbeck.core.rng import stream
from limbeck.structures.check import check_structure
from limbeck.structures.perturb import (
    PerturbSettings,
    limit_displacements,
    perturb,
    random_deformation,
    random_displacements,
)
from strategies import periodic_atoms


def test_copies_are_reproducible_and_named():
    atoms = bulk("Si", a=5.43, cubic=True)
    atoms.info["trajectory"] = "si-conv"
    settings = PerturbSettings(copies=3, keep_original=True)
    first, second = (perturb(atoms, settings, stream(4, "perturb")) for _ in range(2))
    assert [a.info["trajectory"] for a in first] == ["si-conv/000", "si-conv/001", "si-conv/002", "si-conv/003"]
    assert all(a == b for a, b in zip(first, second, strict=True))
    assert np.array_equal(first[0].positions, atoms.positions)
    other = perturb(atoms, settings, stream(5, "perturb"))
    assert not np.allclose(first[1].positions, other[1].positions)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(periodic_atoms(), st.floats(0.0, 2.0), st.integers(0, 100))
def test_rattling_never_brings_atoms_closer_than_allowed(atoms, rattle, seed):
    moved = atoms.copy()
    steps = random_displacements(len(atoms), rattle, np.random.default_rng(seed))
    moved.positions += limit_displacements(atoms, steps, closest=0.75)
    i, j, vector, shift = neighbor_list("ijDS", atoms, 4.0)
    after = moved.positions[j] - moved.positions[i] + shift @ atoms.cell[:]
    assert np.all(np.linalg.norm(after, axis=1) > 0.75 * np.linalg.norm(vector, axis=1) - 1e-9)


def test_unlimited_rattling_would_overlap():
    """The limit is what keeps the property above: without it the same displacements break it."""
    atoms = bulk("Si", a=5.43, cubic=True)
    moved = atoms.copy()
    moved.positions += random_displacements(len(atoms), 1.5, np.random.default_rng(0))
    with pytest.raises(StructureError):
        check_structure(moved, overlap_factor=0.75)


def test_small_displacements_have_the_standard_deviation_asked_for():
    steps = random_displacements(4000, 0.05, np.random.default_rng(1))
    assert steps.std() == pytest.approx(0.05, rel=0.03)  # the cut at 3 sigma removes 3 % of the lengths
    assert np.allclose(steps.mean(axis=0), 0.0, atol=1e-4)
    assert np.linalg.norm(steps, axis=1).max() <= 0.15 + 1e-12


@pytest.mark.parametrize(
    ("mode", "moving"),
    [("full", [1] * 6), ("shear", [0, 0, 0, 1, 1, 1]), ("axes", [1, 1, 1, 0, 0, 0]), ("none", [0] * 6)],
)
def test_strain_modes_move_their_components_only(mode, moving):
    settings = PerturbSettings(strain=0.05, strain_mode=mode)
    drawn = np.array([random_deformation(settings, np.random.default_rng(seed)) for seed in range(50)]) - np.eye(3)
    assert np.allclose(drawn, np.swapaxes(drawn, 1, 2))
    components = drawn[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    assert np.array_equal(np.abs(components).max(axis=0) > 1e-9, np.array(moving, dtype=bool))
    assert np.abs(components).max() <= 0.05


def test_volume_range_is_reached_and_kept():
    settings = PerturbSettings(copies=60, strain_mode="none", rattle_A=0.0, volume_scale_min=0.9, volume_scale_max=1.2)
    atoms = bulk("Si", a=5.43)
    ratios = np.array([a.get_volume() / atoms.get_volume() for a in perturb(atoms, settings, np.random.default_rng(3))])
    assert ratios.min() >= 0.9 - 1e-12
    assert ratios.max() <= 1.2 + 1e-12
    assert ratios.min() < 0.93
    assert ratios.max() > 1.17


def test_too_much_compression_says_which_copy():
    settings = PerturbSettings(copies=1, volume_scale_min=0.21, volume_scale_max=0.22)
    atoms = bulk("Cu", a=2.6)
    with pytest.raises(StructureError, match="perturbed copy 0"):
        perturb(atoms, settings, np.random.default_rng(0))


def test_inverted_volume_range_is_refused():
    with pytest.raises(ValidationError, match="volume_scale_min"):
        PerturbSettings(volume_scale_min=1.1, volume_scale_max=1.0)
