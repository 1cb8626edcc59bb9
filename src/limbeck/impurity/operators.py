"""Operators on the spin orbitals of the impurity: sums of products of ladder operators, and their tables by pattern."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numba import njit

from limbeck.impurity.kernels import ONE, popcount

SMALL = 1e-14
"""Matrix elements below this are none."""
NONE = -1


@dataclass(frozen=True)
class Operator:
    """``sum_k coefficient_k ladder_k0 ladder_k1 ...``.

    Attributes:
        coefficients: (k,).
        ladders: (k, 4) factors from left to right: twice the spin orbital, plus one if it is created; -1 for none, at
            the end.
    """

    coefficients: "np.ndarray"
    ladders: Int[np.ndarray, "k 4"]

    def __add__(self, other: "Operator") -> "Operator":
        return Operator(
            np.concatenate([self.coefficients, other.coefficients]), np.concatenate([self.ladders, other.ladders])
        )

    def adjoint(self) -> "Operator":
        """Its adjoint."""
        turned = np.full_like(self.ladders, NONE)
        for k, row in enumerate(self.ladders):
            used = row[row != NONE][::-1]
            turned[k, : len(used)] = used ^ 1
        return Operator(self.coefficients.conj(), turned)


def product(coefficient: complex, *factors: tuple[int, bool]) -> Operator:
    """One product of at most four factors from left to right: spin orbital, and whether it is created."""
    row = np.full(4, NONE, np.int64)
    row[: len(factors)] = [2 * bit + is_created for bit, is_created in factors]
    return Operator(np.array([coefficient]), row[None])


def one_body(matrix: "np.ndarray") -> Operator:
    """``sum h_ab c+_a c_b``."""
    a, b = np.nonzero(np.abs(matrix) > SMALL)
    return Operator(matrix[a, b], _rows(2 * a + 1, 2 * b))


def two_body(tensor: "np.ndarray") -> Operator:
    """``1/2 sum U_abcd c+_a c+_b c_d c_c``, with each pair of pairs once."""
    whole = 0.5 * (tensor - tensor.transpose(1, 0, 2, 3) - tensor.transpose(0, 1, 3, 2) + tensor.transpose(1, 0, 3, 2))
    a, b, c, d = np.nonzero(np.abs(whole) > SMALL)
    kept = (a < b) & (c < d)
    a, b, c, d = a[kept], b[kept], c[kept], d[kept]
    return Operator(whole[a, b, c, d], _rows(2 * a + 1, 2 * b + 1, 2 * d, 2 * c))


def commutator(tensor: "np.ndarray", orbital: int) -> Operator:
    """``[c_a, H_U] = 1/2 sum (U_abcd - U_bacd) c+_b c_d c_c``."""
    row = 0.5 * (tensor[orbital] - tensor[:, orbital])
    row = row - row.transpose(0, 2, 1)
    b, c, d = np.nonzero(np.abs(row) > SMALL)
    kept = c < d
    b, c, d = b[kept], c[kept], d[kept]
    return Operator(row[b, c, d], _rows(2 * b + 1, 2 * d, 2 * c))


def _rows(*columns: Int[np.ndarray, " k"]) -> Int[np.ndarray, "k 4"]:
    found = np.full((len(columns[0]), 4), NONE, np.int64)
    for k, column in enumerate(columns):
        found[:, k] = column
    return found


def entries(
    n: int, operator: Operator, patterns: Int[np.ndarray, " k"] | None = None
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], "np.ndarray"]:
    """An operator by occupation pattern: from, to, ``<to|O|from>``; ordered by from, then to.

    Args:
        n: Spin orbitals.
        operator: The operator.
        patterns: Patterns to begin from; all 2^n where left out.
    """
    if patterns is None:
        patterns = np.arange(2**n, dtype=np.int64)
    source, target, value = _entries(patterns, operator.coefficients.astype(complex), operator.ladders)
    key, inverse = np.unique((source << n) | target, return_inverse=True)
    sums = np.bincount(inverse, value.real, len(key)) + 1j * np.bincount(inverse, value.imag, len(key))
    kept = np.abs(sums) > SMALL
    return key[kept] >> n, key[kept] & ((1 << n) - 1), sums[kept]


@njit(cache=True)
def _entries(
    patterns: np.ndarray, coefficients: np.ndarray, ladders: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    capacity, count = 1024, 0
    source, target = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    value = np.empty(capacity, np.complex128)
    for p in range(len(patterns)):
        for k in range(len(coefficients)):
            state, odd, alive = np.uint64(patterns[p]), np.uint64(0), True
            for f in range(3, -1, -1):
                code = ladders[k, f]
                if code == NONE:
                    continue
                bit = np.uint64(code >> 1)
                if (state >> bit) & ONE == np.uint64(code & 1):
                    alive = False
                    break
                odd += popcount(state & ((ONE << bit) - ONE))
                state ^= ONE << bit
            if not alive:
                continue
            if count == capacity:
                capacity *= 2
                source = np.concatenate((source, np.empty(count, np.int64)))
                target = np.concatenate((target, np.empty(count, np.int64)))
                value = np.concatenate((value, np.empty(count, np.complex128)))
            source[count], target[count] = patterns[p], np.int64(state)
            value[count] = -coefficients[k] if odd & ONE else coefficients[k]
            count += 1
    return source[:count], target[:count], value[:count]


def local_table(
    n: int, operator: Operator, patterns: Int[np.ndarray, " k"] | None = None
) -> tuple["np.ndarray", Int[np.ndarray, " starts"], Int[np.ndarray, " m"], "np.ndarray"]:
    """A Hermitian operator by pattern: its diagonal, and of the rest where each pattern's entries begin, to, value."""
    source, target, value = entries(n, operator, patterns)
    diagonal, same = np.zeros(2**n), source == target
    diagonal[source[same]] = value[same].real
    return diagonal, starts_of(n, source[~same]), target[~same], value[~same]


def starts_of(n: int, source: Int[np.ndarray, " m"]) -> Int[np.ndarray, " starts"]:
    """Where the entries of each pattern begin."""
    starts = np.zeros(2**n + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=2**n), out=starts[1:])
    return starts
