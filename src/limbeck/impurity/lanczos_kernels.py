"""Compiled steps of the Lanczos recurrence of one vector, and the continued fraction that it gives."""

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def lanczos_steps(
    data: np.ndarray, columns: np.ndarray, starts: np.ndarray, old: np.ndarray, new: np.ndarray, lower: float,
    n_steps: int, rank: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]:  # fmt: skip
    """Some steps on: diagonal and lower elements, the last two vectors, and whether the space is closed.

    Args:
        data: Elements of the Hermitian matrix (CSR), of the type of the vectors.
        columns: Their columns.
        starts: Where each row begins.
        old: The vector before.
        new: The vector to go on from, normalized.
        lower: Element between the two.
        n_steps: Steps.
        rank: A new vector shorter than this, over the last diagonal element or one, closes the space.
    """
    n = len(new)
    alphas, betas = np.empty(n_steps), np.empty(n_steps)
    before, here, step = old.copy(), new.copy(), np.empty_like(new)
    for k in range(n_steps):
        alpha = 0.0
        for i in range(n):
            value = -lower * before[i]
            for entry in range(starts[i], starts[i + 1]):
                value += data[entry] * here[columns[entry]]
            step[i] = value
            alpha += (np.conj(here[i]) * value).real
        square = 0.0
        for i in range(n):
            value = step[i] - alpha * here[i]
            step[i] = value
            square += (np.conj(value) * value).real
        size = np.sqrt(square)
        alphas[k], betas[k] = alpha, size
        inverse = 1.0 / size if size > 0 else 1.0
        for i in range(n):
            step[i] = step[i] * inverse
        before, here, step = here, step, before
        lower = size
        if size <= rank * max(abs(alpha), 1.0):
            return alphas[: k + 1], betas[: k + 1], before, here, True
    return alphas, betas, before, here, False


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def continued_fraction(alphas: np.ndarray, betas: np.ndarray, real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """``1 / (z - a_0 - b_0^2 / (z - a_1 - ...))`` at ``z = real + i imaginary``, as (2, n) real and imaginary parts.

    Args:
        alphas: (k,) a.
        betas: (k - 1,) b.
        real: (n,).
        imaginary: (n,), not zero.
    """
    n, count = len(real), len(alphas)
    found = np.empty((2, n))
    x, y = found[0], found[1]
    for j in range(n):
        x[j], y[j] = real[j] - alphas[count - 1], imaginary[j]
    for k in range(count - 2, -1, -1):
        alpha, square = alphas[k], betas[k] * betas[k]
        for j in range(n):
            share = square / (x[j] * x[j] + y[j] * y[j])
            x[j], y[j] = real[j] - alpha - share * x[j], imaginary[j] + share * y[j]
    for j in range(n):
        size = 1.0 / (x[j] * x[j] + y[j] * y[j])
        x[j], y[j] = x[j] * size, -y[j] * size
    return found
