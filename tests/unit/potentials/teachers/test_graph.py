import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings

from limbeck.core.errors import StructureError
from limbeck.potentials.teachers.chgnet import angle_graph
from limbeck.potentials.teachers.graph import neighbor_graph
from strategies import periodic_atoms


def brute_force_vectors(atoms: Atoms, cutoff: float) -> np.ndarray:
    """All edge vectors by a plain loop over images, sorted."""
    found = []
    heights = abs(np.linalg.det(atoms.cell[:])) * np.linalg.norm(np.linalg.inv(atoms.cell[:]), axis=0)
    spread = np.ptp(atoms.get_scaled_positions(wrap=False), axis=0)
    reach = [int(np.ceil(cutoff * np.linalg.norm(np.linalg.inv(atoms.cell[:])[:, k]) + spread[k])) for k in range(3)]
    assert np.all(heights > 0)
    ranges = [range(-r, r + 1) if p else range(1) for r, p in zip(reach, atoms.pbc, strict=True)]
    for a in atoms.positions:
        for b in atoms.positions:
            for i in ranges[0]:
                for j in ranges[1]:
                    for k in ranges[2]:
                        vector = b - a + np.array([i, j, k]) @ atoms.cell[:]
                        if 1e-9 < np.linalg.norm(vector) < cutoff:
                            found.append(vector)
    return np.array(sorted(np.round(found, 9).tolist())) + 0.0


@given(atoms=periodic_atoms(max_atoms=3, all_periodic=False))
@settings(derandomize=True, deadline=None, max_examples=10, database=None)
def test_edges_are_all_pairs_within_the_cutoff(atoms: Atoms) -> None:
    graph = neighbor_graph(atoms, 4.0)
    vectors = np.array(sorted(np.round(graph.vectors, 9).tolist())) + 0.0
    expected = brute_force_vectors(atoms, 4.0)
    assert len(vectors) == len(expected)
    np.testing.assert_allclose(np.sort(vectors, axis=0), np.sort(expected, axis=0), atol=1e-7)
    assert graph.volume == pytest.approx(abs(np.linalg.det(atoms.cell[:])))


def test_silicon_has_28_neighbors_within_5_angstrom() -> None:
    graph = neighbor_graph(bulk("Si"), 5.0)
    assert np.bincount(graph.senders).tolist() == [28, 28]
    assert np.isnan(neighbor_graph(molecule("H2O"), 5.0).volume)


def test_edge_order_does_not_depend_on_how_cells_are_wrapped() -> None:
    atoms = bulk("Si", cubic=True)
    outside = atoms.copy()
    outside.positions[3] += atoms.cell[0] - 2 * atoms.cell[2]
    np.testing.assert_allclose(neighbor_graph(outside, 4.0).shifts.sum(), 0)
    a, b = neighbor_graph(atoms, 4.0), neighbor_graph(outside, 4.0)
    np.testing.assert_array_equal(a.senders, b.senders)


def test_angles_are_ordered_pairs_of_short_bonds() -> None:
    graph = angle_graph(neighbor_graph(bulk("Si"), 6.0), 3.0)
    assert len(graph.angles) == 2 * 4 * 3
    assert np.all(graph.senders[graph.angles[:, 0]] == graph.senders[graph.angles[:, 1]])
    assert np.all(graph.angles[:, 0] != graph.angles[:, 1])
    assert len(graph.representative) == len(graph.senders) // 2


@given(atoms=periodic_atoms(max_atoms=3))
@settings(derandomize=True, deadline=None, max_examples=10, database=None)
def test_undirected_bonds_pair_each_edge_with_its_reverse(atoms: Atoms) -> None:
    graph = angle_graph(neighbor_graph(atoms, 5.0), 3.0)
    assert np.bincount(graph.undirected).tolist() == [2] * len(graph.representative)
    np.testing.assert_array_equal(graph.undirected[graph.representative], np.arange(len(graph.representative)))
    total = np.zeros((len(graph.representative), 3))
    np.add.at(total, graph.undirected, graph.vectors)
    np.testing.assert_allclose(total, 0, atol=1e-9)


def test_structures_that_make_no_sense_are_refused() -> None:
    with pytest.raises(StructureError, match="without atoms"):
        neighbor_graph(Atoms(), 5.0)
    flat = Atoms("Si", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True)
    with pytest.raises(StructureError, match="full cell"):
        neighbor_graph(flat, 5.0)
    bad = bulk("Si")
    bad.cell[0, 0] = np.inf
    with pytest.raises(StructureError, match="infinity"):
        neighbor_graph(bad, 5.0)
