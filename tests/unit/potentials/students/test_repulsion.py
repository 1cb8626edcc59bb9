"""The region below the distances of the data: the reference repulsion, pushed pairs, and the check for holes."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.students.repulsion import core_rise_eV, pushed_pairs, shortest_distances, zbl_energy


def frame(atoms: Atoms) -> Labelled:
    return Labelled(atoms, 0.0, np.zeros((len(atoms), 3)), None, Fingerprint("none", "1", {}))


def salt(seed: int) -> Labelled:
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return frame(atoms)


def test_zbl_has_the_coulomb_limit_and_decays() -> None:
    r = np.array([1e-4, 0.5, 1.0, 2.0, 3.0])
    energy = zbl_energy(14, 8, r)
    assert energy[0] * r[0] == pytest.approx(14.399645 * 14 * 8, rel=1e-2)
    assert np.all(np.diff(energy) < 0)
    assert 0 < energy[-1] < 0.5


def test_shortest_distances_are_those_of_the_images_too() -> None:
    frames = [salt(1), salt(2)]
    expected = np.full((2, 2), 6.0)
    for f in frames:
        large = f.atoms.repeat(2)
        d = large.get_all_distances(mic=True) + 99 * np.eye(len(large))
        kinds = np.array([("Cl", "Na").index(s) for s in large.symbols])
        for a in range(2):
            for b in range(2):
                expected[a, b] = min(expected[a, b], d[np.ix_(kinds == a, kinds == b)].min())
    np.testing.assert_allclose(shortest_distances(("Cl", "Na"), frames, 6.0), expected)
    only_chlorine = shortest_distances(("Cl", "Na"), [frame(Atoms("Cl", cell=[3, 9, 9], pbc=True))], 5.0)
    np.testing.assert_allclose(only_chlorine, [[3.0, 5.0], [5.0, 5.0]])


def test_pushed_pairs_have_the_distance_asked_for_and_nothing_else_moves() -> None:
    frames = [salt(3), salt(4), salt(5)]
    shortest = shortest_distances(("Cl", "Na"), frames, 6.0)
    pushed = pushed_pairs(("Cl", "Na"), frames, shortest, (0.8, 0.5), 2)
    assert len(pushed) == 3 * 2 * 2
    assert len({p.frame for p in pushed}) == 2
    seen = set()
    for number, pair in enumerate(pushed):
        moved = np.flatnonzero(np.linalg.norm(pair.atoms.positions - frames[pair.frame].atoms.positions, axis=1) > 1e-9)
        assert len(moved) == 2
        kinds = tuple(sorted(("Cl", "Na").index(pair.atoms.symbols[m]) for m in moved))
        distance = pair.atoms.get_distance(*moved, mic=True)
        assert distance == pytest.approx((0.8, 0.5)[number % 2] * shortest[kinds])
        assert pair.rise_eV > 0
        seen.add(kinds)
    assert seen == {(0, 0), (0, 1), (1, 1)}


def test_a_wall_is_told_from_a_hole() -> None:
    frames = [salt(6)]
    wall = core_rise_eV(LennardJones(sigma=2.2, epsilon=0.1, rc=6.0), ("Cl", "Na"), frames)
    assert wall is not None
    assert wall > 0
    hole = core_rise_eV(MorsePotential(epsilon=1.0, r0=1.5, rho0=3.0, rcut1=5, rcut2=6), ("Cl", "Na"), frames)
    assert hole is not None
    assert hole < 0


def test_single_atoms_have_no_pair_to_push() -> None:
    alone = frame(Atoms("Na", cell=[4, 4, 4], pbc=True))
    assert core_rise_eV(LennardJones(), ("Na",), [alone]) is None


def test_elements_that_never_meet_are_not_pushed_through_what_is_between() -> None:
    """Phosphorus in its tetrahedra of sulfur: two of them are 6 Å apart."""
    symbols, positions = ["P", "S", "S", "P"], [[0.0, 0, 0], [2.0, 0, 0], [4.0, 0, 0], [6.0, 0, 0]]
    atoms = Atoms(symbols, positions, cell=[20, 20, 20], pbc=True)
    frames = [Labelled(atoms, 0.0, np.zeros((4, 3)), None, Fingerprint("none", "1", {}))]
    shortest = shortest_distances(("P", "S"), frames, 7.0)
    pushed = pushed_pairs(("P", "S"), frames, shortest, (0.5,), 4)
    assert len(pushed) == 2  # P-S and S-S, not P-P
    for pair in pushed:
        distances = pair.atoms.get_all_distances()
        assert distances[distances > 0].min() > 0.9
