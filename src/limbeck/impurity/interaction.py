"""Interactions on the impurity: tensors from few parameters.

A tensor U holds ``H = 1/2 sum U_abcd c+_a c+_b c_d c_c`` over spin orbitals a = 2 * orbital + spin (spin 0 up, 1 down).

Kanamori (J. Kanamori, Prog. Theor. Phys. 30, 275 (1963), doi:10.1143/PTP.30.275), in its rotationally invariant form
with U' = U - 2J: U between spins in one orbital, U' and U' - J between orbitals, spin flip and pair hopping J. Slater:
radial integrals F^0, F^2, ... of one shell in complex spherical harmonics, with Gaunt coefficients (J. C. Slater, Phys.
Rev. 34, 1293 (1929), doi:10.1103/PhysRev.34.1293).
"""

from collections.abc import Mapping
from functools import cache
from itertools import product
from math import factorial

import numpy as np
from jaxtyping import Complex, Float


def kanamori(n_orbitals: int, u: float, j: float = 0.0, u_prime: float | None = None) -> Float[np.ndarray, "n n n n"]:
    """Tensor of the Kanamori interaction.

    Args:
        n_orbitals: Orbitals, 1 to 7.
        u: Repulsion of two electrons in one orbital.
        j: Hund's coupling; also that of spin flip and pair hopping.
        u_prime: Repulsion between orbitals; ``u - 2 j`` where left out.
    """
    between = u - 2 * j if u_prime is None else u_prime
    orbital = np.zeros((n_orbitals,) * 4)
    for m, n in product(range(n_orbitals), repeat=2):
        if m == n:
            orbital[m, m, m, m] = u
            continue
        orbital[m, n, m, n] = between
        orbital[m, n, n, m] = j
        orbital[m, m, n, n] = j
    return with_spin(orbital)


def density_density(n_orbitals: int, u: float, j: float = 0.0) -> Float[np.ndarray, "n n n n"]:
    """Tensor of the density-density part of Kanamori's: no spin flip, no pair hopping."""
    tensor = np.zeros((2 * n_orbitals,) * 4)
    for a, b in product(range(2 * n_orbitals), repeat=2):
        if a == b:
            continue
        same_orbital, same_spin = a // 2 == b // 2, a % 2 == b % 2
        tensor[a, b, a, b] = u if same_orbital else u - 3 * j if same_spin else u - 2 * j
    return tensor


def with_spin(orbital: "np.ndarray") -> "np.ndarray":
    """Tensor over spin orbitals of one over orbitals: a and c have one spin, b and d have one."""
    n = len(orbital)
    tensor = np.zeros((2 * n,) * 4, orbital.dtype)
    for s, t in product(range(2), repeat=2):
        tensor[s::2, t::2, s::2, t::2] += orbital
    return tensor


def slater(ell: int, integrals: Mapping[int, float]) -> Complex[np.ndarray, "n n n n"]:
    """Tensor of one shell over complex spherical harmonics, m = -ell ... ell.

    ``U_abcd = delta(spins) sum_k F^k c^k(a, c) c^k(d, b)`` with Gaunt's c^k and m_a + m_b = m_c + m_d.

    Args:
        ell: Angular momentum: 1 p, 2 d, 3 f.
        integrals: F^k of k = 0, 2, ... 2 ell.
    """
    return with_spin(multipoles(ell, ell, ell, ell, integrals).astype(complex))


def real_harmonics(ell: int) -> Complex[np.ndarray, "n n"]:
    """Columns: real spherical harmonics in complex ones, m = -ell ... ell (d: xy, yz, z2, xz, x2-y2).

    ``Y_m = ((-1)^m Y_lm + Y_l-m) / sqrt 2`` for m > 0, ``i (Y_l-m - (-1)^m Y_lm) / sqrt 2`` of
    the absolute value for m < 0.
    """
    found = np.zeros((2 * ell + 1, 2 * ell + 1), complex)
    found[ell, ell] = 1.0
    for m in range(1, ell + 1):
        sign = (-1) ** m
        found[ell + m, ell + m], found[ell - m, ell + m] = sign / np.sqrt(2), 1 / np.sqrt(2)
        found[ell - m, ell - m], found[ell + m, ell - m] = 1j / np.sqrt(2), -1j * sign / np.sqrt(2)
    return found


def half_filled_level(tensor: "np.ndarray") -> float:
    """Level at which symmetry makes the impurity half filled: minus half the mean field of a full shell."""
    direct = np.einsum("abab->a", tensor) - np.einsum("abba->a", tensor)
    return float(-0.5 * direct.real.mean())


def multipoles(la: int, lb: int, lc: int, ld: int, integrals: Mapping[int, float]) -> Float[np.ndarray, "na nb nc nd"]:
    """``<a b| sum_k R^k r_<^k / r_>^(k+1) |c d>`` of four shells over complex spherical harmonics."""
    found = np.zeros((2 * la + 1, 2 * lb + 1, 2 * lc + 1, 2 * ld + 1))
    for a, b, c, d in product(*(range(2 * x + 1) for x in (la, lb, lc, ld))):
        ma, mb, mc, md = a - la, b - lb, c - lc, d - ld
        if ma + mb != mc + md:
            continue
        found[a, b, c, d] = sum(
            value * gaunt(la, ma, lc, mc, k) * gaunt(ld, md, lb, mb, k) for k, value in integrals.items()
        )
    return found


@cache
def gaunt(l1: int, m1: int, l2: int, m2: int, k: int) -> float:
    """``c^k = sqrt(4 pi / (2 k + 1)) <l1 m1| Y_(k, m1 - m2) |l2 m2>``."""
    sign = -1 if m1 % 2 else 1
    size = np.sqrt((2 * l1 + 1) * (2 * l2 + 1))
    return float(sign * size * three_j(l1, k, l2, 0, 0, 0) * three_j(l1, k, l2, -m1, m1 - m2, m2))


@cache
def three_j(j1: int, j2: int, j3: int, m1: int, m2: int, m3: int) -> float:
    """Wigner's 3j symbol of integers, by Racah's sum."""
    if m1 + m2 + m3 or not abs(j1 - j2) <= j3 <= j1 + j2 or abs(m1) > j1 or abs(m2) > j2 or abs(m3) > j3:
        return 0.0
    f = factorial
    triangle = f(j1 + j2 - j3) * f(j1 - j2 + j3) * f(-j1 + j2 + j3) / f(j1 + j2 + j3 + 1)
    norm = f(j1 + m1) * f(j1 - m1) * f(j2 + m2) * f(j2 - m2) * f(j3 + m3) * f(j3 - m3)
    total = 0.0
    for t in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        total += (-1) ** t / (
            f(t) * f(j3 - j2 + t + m1) * f(j3 - j1 + t - m2) * f(j1 + j2 - j3 - t) * f(j1 - t - m1) * f(j2 - t + m2)
        )
    return float((-1) ** (j1 - j2 - m3) * np.sqrt(triangle * norm) * total)


def rotated(tensor: "np.ndarray", orbitals: "np.ndarray") -> "np.ndarray":
    """Tensor over new spin orbitals, the columns of a unitary matrix."""
    bra = orbitals.conj()
    return np.einsum("abcd,ai,bj,ck,dl->ijkl", tensor, bra, bra, orbitals, orbitals, optimize=True)
