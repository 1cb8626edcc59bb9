"""Baths: from a hybridization function on the real axis to levels and couplings.

``Delta(w) = sum_k V_k V_k+ / (w - e_k)``, and ``Gamma(w) = -Im Delta(w + i0)``, pi times the weight of V^2 by energy.
"""

import numpy as np
from jaxtyping import Complex, Float

from limbeck.core.errors import ConfigError

RANK = 1e-12
"""Eigenvalues of a window's weight below this, relative to the largest of all windows, give no level."""
NOT_CAUSAL = 1e-6
"""Negative eigenvalue of the weight, relative to its largest element, that is refused."""


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


def matrix_windows(
    energies: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n m m"], edges: Float[np.ndarray, " n_edges"]
) -> tuple[Float[np.ndarray, " n_bath"], "np.ndarray"]:
    """Levels and couplings (m, n_bath) of Delta(w + i0) by windows.

    In each window weight W and first moment F of ``(Delta+ - Delta) / 2 pi i`` are matrices; with ``W = B B+`` the
    levels are the eigenvalues of ``B^-1 F B^-1+``, their couplings B times its eigenvectors. Levels lie within their
    window, and both matrices are kept.

    Args:
        energies: Increasing.
        delta: Values at these, linear between them.
        edges: Of the windows, increasing; see :func:`window_edges`.

    Raises:
        ConfigError: If the weight is not positive semidefinite.
    """
    weight = spectral_weight(delta)
    m = weight.shape[1]
    lowest, largest = np.linalg.eigvalsh(weight).min(), np.abs(weight).max()
    if lowest < -NOT_CAUSAL * max(largest, 1e-300):
        raise ConfigError(
            f"Delta is not causal: i (Delta - Delta+) / 2 has the eigenvalue {np.pi * lowest:.3g}, below zero by more "
            f"than rounding (its largest element is {np.pi * largest:.3g})"
        )
    parts, firsts = _window_moments(np.asarray(energies, dtype=float), weight, np.asarray(edges, dtype=float))
    scale = max(float(np.abs(parts).max(initial=0.0)), 1e-300)
    found_energies, found_couplings = [np.zeros(0)], [np.zeros((m, 0), complex)]
    for whole, first in zip(parts, firsts, strict=True):
        values, vectors = np.linalg.eigh(whole)
        kept = values > RANK * scale
        root = vectors[:, kept] * np.sqrt(values[kept])
        inverse = (vectors[:, kept] / np.sqrt(values[kept])).conj().T
        e, q = np.linalg.eigh(inverse @ first @ inverse.conj().T)
        found_energies.append(e)
        found_couplings.append(root @ q)
    return np.concatenate(found_energies), with_phases(np.concatenate(found_couplings, axis=1))


def _window_moments(
    x: Float[np.ndarray, " n"], weight: "np.ndarray", edges: Float[np.ndarray, " n_edges"]
) -> tuple["np.ndarray", "np.ndarray"]:
    """Integrals of weight and of energy times weight over each window, exact for what is linear between the points."""
    grid = np.union1d(x, edges)
    grid = grid[(grid >= max(x[0], edges[0])) & (grid <= min(x[-1], edges[-1]))]
    flat = weight.reshape(len(x), -1)
    value = np.column_stack([np.interp(grid, x, c.real) + 1j * np.interp(grid, x, c.imag) for c in flat.T])
    step, low, high = np.diff(grid)[:, None], grid[:-1, None], grid[1:, None]
    area = 0.5 * step * (value[1:] + value[:-1])
    first = step * (low * (2 * value[:-1] + value[1:]) + high * (value[:-1] + 2 * value[1:])) / 6
    of = np.clip(np.searchsorted(edges, 0.5 * (grid[1:] + grid[:-1])) - 1, 0, len(edges) - 2)
    whole, moment = (np.zeros((len(edges) - 1, flat.shape[1]), complex) for _ in range(2))
    np.add.at(whole, of, area)
    np.add.at(moment, of, first)
    shape = (len(edges) - 1, *weight.shape[1:])
    return whole.reshape(shape), moment.reshape(shape)


def window_edges(
    energies: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n m m"], n_windows: int, kind: str = "equal"
) -> Float[np.ndarray, " n_edges"]:
    """Edges of windows over the range of the energies.

    Args:
        energies: Increasing.
        delta: Values at these.
        n_windows: Windows.
        kind: ``equal`` width; ``weight``: equal weight (trace); ``logarithmic``: each half as wide as the next, towards
            zero energy, as many on both sides (an odd one over is at zero).

    Raises:
        ConfigError: If the kind is unknown, or logarithmic windows do not enclose zero.
    """
    x = np.asarray(energies, dtype=float)
    if kind == "equal":
        return np.linspace(x[0], x[-1], n_windows + 1)
    if kind == "weight":
        trace = np.clip(np.trace(spectral_weight(delta), axis1=1, axis2=2).real, 0.0, None)
        trace = trace + 1e-9 * trace.max()  # so that the integral increases strictly
        total = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(x) * (trace[1:] + trace[:-1]))])
        return np.interp(np.linspace(0.0, total[-1], n_windows + 1), total, x)
    if kind == "logarithmic":
        if not x[0] < 0 < x[-1]:
            raise ConfigError(f"logarithmic windows need energies on both sides of zero, got {x[0]:g} to {x[-1]:g}")
        half = n_windows // 2
        steps = 2.0 ** -np.arange(half + n_windows % 2)
        inner = [] if n_windows % 2 else [0.0]
        return np.concatenate([x[0] * steps, inner, (x[-1] * steps)[::-1]])
    raise ConfigError(f"windows '{kind}' are unknown; there are equal, weight, logarithmic")


def spectral_weight(delta: Complex[np.ndarray, "n m m"]) -> Complex[np.ndarray, "n m m"]:
    """``i (Delta - Delta+) / 2 pi`` of values just above the real axis: V V+ by energy."""
    return np.asarray(1j * (delta - np.conj(np.swapaxes(delta, 1, 2))) / (2 * np.pi))


def hybridization_function(
    z: "np.ndarray", energies: Float[np.ndarray, " n_bath"], couplings: "np.ndarray"
) -> "np.ndarray":
    """Delta(z) of a bath: (n_z, m, m) for couplings (m, n_bath); z must not be on a level."""
    v = np.atleast_2d(couplings)
    return np.asarray(np.einsum("ak,zk,bk->zab", v, 1.0 / (np.asarray(z)[:, None] - energies), v.conj()))


def with_phases(couplings: "np.ndarray") -> "np.ndarray":
    """Couplings with a phase that makes each level's largest real, and real altogether where that can be."""
    if couplings.size == 0:
        return couplings.real
    largest = np.take_along_axis(couplings, np.abs(couplings).argmax(axis=0)[None], axis=0)[0]
    size = np.abs(largest)
    turned = couplings * np.where(size > 0, largest.conj() / np.where(size > 0, size, 1.0), 1.0)
    if np.abs(turned.imag).max() < 1e-12 * max(np.abs(turned).max(), 1e-300):
        return np.ascontiguousarray(turned.real)
    return np.asarray(turned)
