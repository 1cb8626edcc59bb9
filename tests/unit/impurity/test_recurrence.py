"""The Lanczos recurrence: compiled or not, in one go or in parts, it gives the resolvent."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from limbeck.impurity.lanczos_kernels import continued_fraction
from limbeck.impurity.recurrence import Recurrence

Z = np.linspace(-6, 6, 25) + 0.4j


def problem(n, p, *, is_complex, is_block_complex=None):
    rng = np.random.default_rng(n + p)
    h = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if is_complex else 0.0)
    h = np.where(np.abs(h) > 0.8, h, 0.0)
    b = rng.normal(size=(n, p)) + (1j * rng.normal(size=(n, p)) if is_complex or is_block_complex else 0.0)
    return csr_array(h + h.conj().T), b


def truth(matrix, block):
    h = matrix.toarray()
    return np.array([np.trace(block.conj().T @ np.linalg.solve(z * np.eye(len(h)) - h, block)) for z in Z])


@pytest.mark.parametrize(
    ("p", "is_complex", "is_block_complex"),
    [(1, False, False), (1, True, True), (1, False, True), (3, True, True)],
)
@pytest.mark.parametrize("parts", [(120,), (1, 2, 7, 110)])
def test_resolvents_by_steps_in_one_go_or_in_parts(p, is_complex, is_block_complex, parts):
    matrix, block = problem(60, p, is_complex=is_complex, is_block_complex=is_block_complex)
    walk = Recurrence(matrix, block)
    for n_steps in parts:
        walk.extend(n_steps)
    exact = truth(matrix, block)
    np.testing.assert_allclose(walk.trace(Z), exact, atol=1e-7 * np.abs(exact).max())
    energies, amplitudes = walk.poles()
    from_poles = np.sum(np.abs(amplitudes) ** 2, axis=1) @ (1 / (Z - energies[:, None]))
    np.testing.assert_allclose(from_poles, exact, atol=1e-7 * np.abs(exact).max())


def test_a_block_that_shrinks_to_one_vector_goes_on():
    """One column lies in two dimensions that nothing leaves; the other goes through all the rest."""
    matrix, block = problem(40, 2, is_complex=True)
    h = matrix.toarray()
    h[:2, 2:], h[2:, :2] = 0.0, 0.0
    block[2:, 0], block[:2, 1] = 0.0, 0.0
    walk = Recurrence(csr_array(h), block)
    for _ in range(60):
        walk.extend(1)
    exact = truth(csr_array(h), block)
    np.testing.assert_allclose(walk.trace(Z), exact, atol=1e-7 * np.abs(exact).max())


def test_a_closed_space_is_told_and_left_alone():
    walk = Recurrence(csr_array(np.diag([1.0, 2.0, 3.0, 4.0])), np.array([[1.0], [1.0], [0.0], [0.0]]))
    walk.extend(10)
    assert walk.is_complete
    energies, amplitudes = walk.poles()
    np.testing.assert_allclose(energies, [1.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(np.abs(amplitudes[:, 0]), 1.0, atol=1e-12)
    walk.extend(5)
    assert len(walk.poles()[0]) == 2


def test_a_share_of_the_steps_is_a_shorter_fraction():
    matrix, block = problem(60, 1, is_complex=False)
    long, short = Recurrence(matrix, block), Recurrence(matrix, block)
    long.extend(20)
    short.extend(15)
    np.testing.assert_allclose(long.trace(Z, 0.75), short.trace(Z), rtol=1e-12)


def test_a_continued_fraction_is_an_element_of_an_inverse():
    rng = np.random.default_rng(1)
    alphas, betas = rng.normal(size=9), rng.uniform(0.2, 1.0, 8)
    h = np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1)
    real, imaginary = continued_fraction(alphas, betas, Z.real.copy(), Z.imag.copy())
    exact = [np.linalg.inv(z * np.eye(9) - h)[0, 0] for z in Z]
    np.testing.assert_allclose(real + 1j * imaginary, exact, rtol=1e-10)
