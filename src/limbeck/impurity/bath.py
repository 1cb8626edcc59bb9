"""Baths: from a hybridization function on the real axis to levels and couplings.

``Delta(w) = sum_k V_k V_k+ / (w - e_k)``, and ``Gamma(w) = -Im Delta(w + i0)``, pi times the weight of V^2 by energy.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad


def semicircle(n_bath: int, half_bandwidth: float = 1.0, total: float | None = None) -> tuple[
    Float[np.ndarray, " n_bath"], Float[np.ndarray, " n_bath"]
]:  # fmt: skip
    """Bath of a semicircular hybridization in windows of equal width.

    Args:
        n_bath: Levels.
        half_bandwidth: D.
        total: Sum of V_k^2; D^2 / 4 where left out, which is the Bethe lattice at U = 0.

    Returns:
        Levels (the weighted mean of each window) and couplings.
    """
    d = half_bandwidth
    weight = 0.25 * d**2 if total is None else total
    x = np.linspace(-1.0, 1.0, n_bath + 1)
    root = np.sqrt(np.clip(1.0 - x**2, 0.0, None))
    whole = np.diff(x * root + np.arcsin(x)) / np.pi
    first = np.diff(-2.0 * root**3 / 3.0) / np.pi
    return d * first / whole, np.sqrt(weight * whole)


def windows(
    weight: Callable[[float], float], n_bath: int, low: float, high: float
) -> tuple[Float[np.ndarray, " n_bath"], Float[np.ndarray, " n_bath"]]:
    """One level for each of ``n_bath`` windows of equal width: weight and mean energy of the window.

    Args:
        weight: V^2 by energy, ``Gamma(w) / pi``.
        n_bath: Levels.
        low: Where the band begins.
        high: Where it ends.
    """
    edges = np.linspace(low, high, n_bath + 1)
    energies, couplings = np.empty(n_bath), np.empty(n_bath)
    for k in range(n_bath):
        whole = quad(weight, edges[k], edges[k + 1], epsabs=1e-13, epsrel=1e-12)[0]
        first = quad(lambda w: w * weight(w), edges[k], edges[k + 1], epsabs=1e-13, epsrel=1e-12)[0]
        energies[k], couplings[k] = (first / whole if whole > 0 else edges[k : k + 2].mean()), np.sqrt(whole)
    return energies, couplings


def hybridization_function(
    z: "np.ndarray", energies: Float[np.ndarray, " n_bath"], couplings: "np.ndarray"
) -> "np.ndarray":
    """Delta(z) of a bath: (n_z, m, m) for couplings (m, n_bath); z must not be on a level."""
    v = np.atleast_2d(couplings)
    return np.asarray(np.einsum("ak,zk,bk->zab", v, 1.0 / (np.asarray(z)[:, None] - energies), v.conj()))
