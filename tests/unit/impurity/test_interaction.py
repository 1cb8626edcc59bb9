"""Interactions: closed forms, symmetries, atomic multiplets."""

import numpy as np
import pytest

from limbeck.impurity.interaction import density_density, gaunt, kanamori, rotated, slater, three_j
from limbeck.impurity.operators import entries, local_table, one_body, two_body


def dense(n, operator):
    source, target, value = entries(n, operator)
    matrix = np.zeros((2**n, 2**n), complex)
    matrix[target, source] = value
    return matrix


def ladders(n):
    """Annihilation operators by Kronecker products, bit 0 first: an independent construction."""
    z, a = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [0.0, 0.0]])
    found = []
    for k in range(n):
        matrix = np.eye(1)
        for j in range(n):  # bit j has weight 2^j: the last factor is bit 0
            factor = a if j == k else z if j < k else np.eye(2)
            matrix = np.kron(factor, matrix)
        found.append(matrix)
    return found


def test_operators_are_those_of_kronecker_products():
    rng = np.random.default_rng(0)
    c = ladders(4)
    h = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    u = rng.normal(size=(4, 4, 4, 4))
    expected = sum(h[a, b] * c[a].T @ c[b] for a in range(4) for b in range(4))
    np.testing.assert_allclose(dense(4, one_body(h)), expected, atol=1e-12)
    expected = sum(
        0.5 * u[i, j, k, m] * c[i].T @ c[j].T @ c[m] @ c[k]
        for i in range(4) for j in range(4) for k in range(4) for m in range(4)
    )  # fmt: skip
    np.testing.assert_allclose(dense(4, two_body(u)), expected, atol=1e-12)


def test_the_table_is_the_operator():
    u, h = kanamori(2, 3.0, 0.5), np.diag([0.1, 0.2, 0.3, 0.4]) + 0.05
    diagonal, starts, to, values = local_table(4, one_body(h) + two_body(u))
    whole = dense(4, one_body(h) + two_body(u))
    np.testing.assert_allclose(diagonal, np.diag(whole).real)
    rebuilt = np.diag(diagonal).astype(complex)
    for p in range(16):
        rebuilt[to[starts[p] : starts[p + 1]], p] = values[starts[p] : starts[p + 1]]
    np.testing.assert_allclose(rebuilt, whole, atol=1e-13)


def test_two_electrons_in_kanamoris_atom_are_triplet_and_singlets():
    """U' - J nine times (three triplets of three orbitals), U' + J and U - J thrice and twice, U + 2J once."""
    u, j = 4.0, 0.6
    whole = dense(6, two_body(kanamori(3, u, j)))
    two = [p for p in range(64) if bin(p).count("1") == 2]
    energies = np.sort(np.linalg.eigvalsh(whole[np.ix_(two, two)]))
    expected = np.sort([u - 3 * j] * 9 + [u - j] * 5 + [u + 2 * j])
    np.testing.assert_allclose(energies, expected, atol=1e-12)


def test_kanamori_does_not_change_if_orbitals_are_rotated_and_its_density_part_does():
    angle = 0.7
    turn = np.kron(np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), np.eye(2))
    tensor = kanamori(2, 3.0, 0.5)
    np.testing.assert_allclose(rotated(tensor, turn), tensor, atol=1e-12)
    part = density_density(2, 3.0, 0.5)
    assert np.abs(rotated(part, turn) - part).max() > 0.1


def racah(a, b, c):
    """Terms of d2 and d8 (C. J. Ballhausen, Introduction to Ligand Field Theory, 1962): energy and degeneracy."""
    return [(a - 8 * b, 21), (a + 7 * b, 9), (a + 4 * b + 2 * c, 9), (a - 3 * b + 2 * c, 5), (a + 14 * b + 7 * c, 1)]


@pytest.mark.parametrize("n", [2, 8])
def test_terms_of_d2_and_d8_are_those_of_racah(n):
    f0, f2, f4 = 5.0, 9.0, 5.5
    a, b, c = f0 - f4 / 9, f2 / 49 - 5 * f4 / 441, 35 * f4 / 441
    whole = dense(10, two_body(slater(2, {0: f0, 2: f2, 4: f4})))
    chosen = [p for p in range(1024) if bin(p).count("1") == n]
    energies = np.sort(np.linalg.eigvalsh(whole[np.ix_(chosen, chosen)]))
    expected = np.sort(np.concatenate([[e] * g for e, g in racah(a, b, c)]))
    if n == 8:  # the same terms for two holes, all shifted
        expected += energies.mean() - expected.mean()
    np.testing.assert_allclose(energies, expected, atol=1e-9)


def test_the_ground_terms_of_d3_to_d7_are_hunds():
    whole = dense(10, two_body(slater(2, {0: 5.0, 2: 9.0, 4: 5.5})))
    for n, degeneracy in ((3, 28), (4, 25), (5, 6), (6, 25), (7, 28)):  # 4F 5D 6S 5D 4F
        chosen = [p for p in range(1024) if bin(p).count("1") == n]
        energies = np.linalg.eigvalsh(whole[np.ix_(chosen, chosen)])
        assert np.sum(energies < energies[0] + 1e-8) == degeneracy


def test_angular_coefficients():
    assert three_j(1, 1, 0, 0, 0, 0) == pytest.approx(-1 / np.sqrt(3))
    assert three_j(2, 2, 4, 0, 0, 0) == pytest.approx(np.sqrt(2 / 35))
    assert three_j(2, 1, 1, 1, 1, 1) == 0.0
    assert gaunt(2, 0, 2, 0, 2) == pytest.approx(2 / 7)  # c^2(20, 20) of Slater's tables
    assert gaunt(2, 2, 2, 2, 4) == pytest.approx(1 / 21)
    assert gaunt(1, 0, 2, 0, 1) == pytest.approx(2 / np.sqrt(15))
