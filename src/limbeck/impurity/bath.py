"""Baths: from a hybridization function on the real axis to levels and couplings.

``Delta(w) = sum_k V_k V_k+ / (w - e_k)``, and ``Gamma(w) = -Im Delta(w + i0)``, pi times the weight of V^2 by energy.
"""

import numpy as np
from jaxtyping import Float


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
    energies: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"], n_bath: int
) -> tuple[Float[np.ndarray, " n_bath"], Float[np.ndarray, " n_bath"]]:
    """One level for each of ``n_bath`` windows of equal width: weight and mean energy of the window.

    Args:
        energies: Increasing.
        weight: V^2 by energy, ``Gamma / pi``, at these energies, linear between them.
        n_bath: Levels.

    Returns:
        Levels and couplings; a window without weight has its level in the middle.
    """
    edges = np.linspace(energies[0], energies[-1], n_bath + 1)
    grid = np.union1d(energies, edges)
    value = np.interp(grid, energies, weight)
    width = np.diff(grid)
    area = 0.5 * width * (value[1:] + value[:-1])
    first = width * (grid[:-1] * (2 * value[:-1] + value[1:]) + grid[1:] * (value[:-1] + 2 * value[1:])) / 6
    of = np.clip(np.searchsorted(edges, 0.5 * (grid[1:] + grid[:-1])) - 1, 0, n_bath - 1)
    whole = np.bincount(of, weights=area, minlength=n_bath)
    mean = np.bincount(of, weights=first, minlength=n_bath)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return np.where(whole > 0, mean / np.where(whole > 0, whole, 1.0), middle), np.sqrt(whole)


def hybridization_function(
    z: "np.ndarray", energies: Float[np.ndarray, " n_bath"], couplings: "np.ndarray"
) -> "np.ndarray":
    """Delta(z) of a bath: (n_z, m, m) for couplings (m, n_bath); z must not be on a level."""
    v = np.atleast_2d(couplings)
    return np.asarray(np.einsum("ak,zk,bk->zab", v, 1.0 / (np.asarray(z)[:, None] - energies), v.conj()))
