"""Baths by fit: from a matrix-valued hybridization function on the imaginary axis to levels and couplings.

``Delta(i w_n)`` is fitted by ``sum_k V_k V_k+ / (i w_n - e_k)``. Each level has its vector of couplings,
so every residue is positive semidefinite whatever the data. The squared deviation, weighted by ``w_n^-2 power``, is
made small by damped Gauss-Newton steps in energies and couplings together, from several starts: poles of a rational
interpolant of the trace (AAA, Y. Nakatsukasa, O. Sète, L. N. Trefethen, arXiv:1612.00337), and levels spaced evenly
and towards zero. Orbitals that Delta does not connect are fitted apart.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Bool, Complex, Float, Int
from scipy.interpolate import AAA
from scipy.optimize import nnls
from scipy.sparse.csgraph import connected_components

from limbeck.core.errors import ConfigError
from limbeck.impurity.bath import hybridization_function, spectral_weight, with_phases

CONNECTED = 1e-10
"""Elements of Delta below this, relative to its largest, connect nothing."""
N_LOW, MOST_FREQUENCIES = 40, 120
"""Frequencies that are fitted: the first ones all, above them in geometric steps. Errors are those of all."""
LEAST_SHARE = 1e-3
"""Weight with which a level begins at least, relative to the mean: one without weight would not feel the data."""
N_STEPS, FEW_STEPS = 600, 100
"""Steps of a fit at most; of one with more than :data:`LARGE` parameters."""
EXACT = 1e-13
"""Relative error at which nothing more is tried."""
STALLED, PATIENCE = 1e-6, 4
"""So many steps in turn that lower the error by less than this share end a fit."""
LARGE, FEW_STARTS = 100, 3
"""Parameters above which only so many starts are made."""


@dataclass(frozen=True)
class BathFit:
    """Levels and couplings, and how well they stand for the hybridization function.

    Attributes:
        energies: (n_bath,) increasing.
        couplings: (m, n_bath).
        error: Root of the mean weighted squared deviation of Delta over that of Delta itself.
        largest_error: Largest deviation of an element of Delta over the largest element.
        error_green: The same of ``G0 = (z - levels - Delta)^-1``.
    """

    energies: Float[np.ndarray, " n_bath"]
    couplings: "np.ndarray"
    error: float
    largest_error: float
    error_green: float


def fit_matsubara(
    frequencies: Float[np.ndarray, " n"],
    delta: Complex[np.ndarray, "n m m"],
    sites: int,
    *,
    levels: "np.ndarray | None" = None,
    power: float = 1.0,
) -> BathFit:
    """Bath of a hybridization function on the imaginary axis.

    Args:
        frequencies: w_n > 0, increasing.
        delta: Delta(i w_n).
        sites: Levels for each orbital; orbitals that Delta connects share theirs.
        levels: (m, m) local Hamiltonian, for the error of G0; zero where left out.
        power: Weight ``1 / w_n^power`` of a deviation.

    Raises:
        ConfigError: If shapes do not fit, frequencies are not positive and increasing, or Delta is not causal.
    """
    w, delta = np.asarray(frequencies, dtype=float), np.asarray(delta, dtype=complex)
    _check(w, delta, sites)
    m = delta.shape[1]
    weights = (w / w[0]) ** -power
    used = _thinned(len(w))
    energies, couplings = [np.zeros(0)], [np.zeros((m, 0), complex)]
    for block in blocks_of(delta):
        e, v = _fit_block(w[used], delta[np.ix_(used, block, block)], weights[used], sites)
        wide = np.zeros((m, len(e)), complex)
        wide[block] = v
        energies.append(e)
        couplings.append(wide)
    return judged(np.concatenate(energies), np.concatenate(couplings, axis=1), 1j * w, delta, levels, weights)


def converged_bath(
    frequencies: Float[np.ndarray, " n"],
    delta: Complex[np.ndarray, "n m m"],
    tolerance: float,
    *,
    levels: "np.ndarray | None" = None,
    power: float = 1.0,
    most: int = 15,
) -> tuple[BathFit, list[tuple[int, float]]]:
    """The smallest bath whose ``error`` and ``error_green`` are both below a tolerance.

    Returns:
        The fit, and the larger of the two errors by sites for each orbital, as far as it was tried.

    Raises:
        ConfigError: If ``most`` sites for each orbital are not enough.
    """
    seen: list[tuple[int, float]] = []
    for sites in range(1, most + 1):
        found = fit_matsubara(frequencies, delta, sites, levels=levels, power=power)
        seen.append((sites, max(found.error, found.error_green)))
        if seen[-1][1] <= tolerance:
            return found, seen
    best = min(seen, key=lambda row: row[1])
    raise ConfigError(
        f"no bath of up to {most} levels for each orbital reaches the tolerance {tolerance:g}; the best is "
        f"{best[1]:.2g} with {best[0]}: allow more levels, or a tolerance that the noise of the data permits"
    )


def judged(
    energies: Float[np.ndarray, " n_bath"],
    couplings: "np.ndarray",
    z: Complex[np.ndarray, " n"],
    delta: Complex[np.ndarray, "n m m"],
    levels: "np.ndarray | None" = None,
    weights: "np.ndarray | None" = None,
) -> BathFit:
    """Levels in order, with their deviations from Delta at some frequencies.

    Args:
        energies: Levels.
        couplings: (m, n_bath).
        z: Complex frequencies.
        delta: Values there.
        levels: (m, m) local Hamiltonian, zero where left out.
        weights: (n,) of the deviations; alike where left out.
    """
    order = np.argsort(energies, kind="stable")
    e, v = energies[order], with_phases(couplings[:, order])
    weights = np.ones(len(z)) if weights is None else weights
    fitted = hybridization_function(z, e, v)
    m = delta.shape[1]
    inner = np.asarray(z)[:, None, None] * np.eye(m) - (0.0 if levels is None else np.asarray(levels))
    green, green_fitted = np.linalg.inv(inner - delta), np.linalg.inv(inner - fitted)
    size = float(np.linalg.norm(weights[:, None, None] * delta))
    return BathFit(
        e, v, float(np.linalg.norm(weights[:, None, None] * (fitted - delta)) / max(size, 1e-300)),
        float(np.abs(fitted - delta).max() / max(float(np.abs(delta).max()), 1e-300)),
        float(np.abs(green_fitted - green).max() / np.abs(green).max()),
    )  # fmt: skip


def blocks_of(delta: Complex[np.ndarray, "n m m"]) -> list[Int[np.ndarray, " k"]]:
    """Orbitals that Delta connects; those without any hybridization are in none."""
    largest = np.abs(delta).max(axis=0)
    linked: Bool[np.ndarray, "m m"] = largest > CONNECTED * max(float(largest.max()), 1e-300)
    n, label = connected_components(linked, directed=False)
    found = [np.flatnonzero(label == k) for k in range(n)]
    return [block for block in found if np.any(linked[np.ix_(block, block)])]


def _check(w: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n m m"], sites: int) -> None:
    if delta.ndim != 3 or delta.shape[1] != delta.shape[2] or delta.shape[0] != len(w):
        raise ConfigError(f"Delta needs the shape ({len(w)}, m, m), one matrix a frequency, got {delta.shape}")
    if not (np.all(np.isfinite(w)) and np.all(np.isfinite(delta))):
        raise ConfigError("frequencies or Delta hold NaN or infinity")
    if len(w) < 2 or w[0] <= 0 or np.any(np.diff(w) <= 0):
        raise ConfigError("Matsubara frequencies must be positive and increase, two at least")
    if sites < 1:
        raise ConfigError(f"a bath needs one level for each orbital at least, got {sites}")
    weight = spectral_weight(delta)
    lowest, largest = np.linalg.eigvalsh(weight).min(), np.abs(weight).max()
    if lowest < -0.1 * largest:
        raise ConfigError(
            "Delta(i w_n) is not causal: its anti-Hermitian part must be negative, as that of 1 / (i w - e) is; the "
            f"other sign has {np.pi * lowest:.3g} beside {np.pi * largest:.3g}"
        )


def _thinned(n: int) -> Int[np.ndarray, " k"]:
    """Numbers of the frequencies that are fitted."""
    if n <= MOST_FREQUENCIES:
        return np.arange(n)
    high = np.geomspace(N_LOW, n - 1, MOST_FREQUENCIES - N_LOW).round().astype(int)
    return np.union1d(np.arange(N_LOW), high)


def _fit_block(
    w: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n b b"], weights: Float[np.ndarray, " n"], sites: int
) -> tuple[Float[np.ndarray, " k"], "np.ndarray"]:
    """Levels of orbitals that Delta connects: the best of all starts."""
    b = delta.shape[1]
    size = float(np.linalg.norm(weights[:, None, None] * delta))
    is_real = bool(np.abs(delta - delta.transpose(0, 2, 1)).max() < CONNECTED * np.abs(delta).max())
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    n_parameters = sites * b * (1 + (b if is_real else 2 * b))
    for places, rank in islice(_starts(w, delta, sites), FEW_STARTS if n_parameters > LARGE else None):
        energies, vectors = _first_guess(w, delta, weights, places, rank, sites * b)
        energies, vectors, error = _refined(w, delta / size, weights, energies, vectors / np.sqrt(size), is_real)
        if best is None or error < best[0]:
            best = (error, energies, vectors * np.sqrt(size))
        if best[0] < EXACT:
            break
    assert best is not None
    return best[1], best[2]


def _starts(
    w: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n b b"], sites: int
) -> Iterator[tuple[Float[np.ndarray, " k"], int]]:
    """Energies to begin from, and how many levels each of them gets at most."""
    b = delta.shape[1]
    trace = np.trace(delta, axis1=1, axis2=2)
    # the tail -w Im = M0 - M2 / w^2 says how wide the spectrum is
    low, high = len(w) // 2, len(w) - 1
    a, c = -w[low] * trace[low].imag, -w[high] * trace[high].imag
    second = (c - a) / (1 / w[low] ** 2 - 1 / w[high] ** 2)
    width = float(np.clip(np.sqrt(max(4 * second / max(c, 1e-300), 0.0)), 3 * w[0], 3 * w[-1]))
    even = np.linspace(-1.0, 1.0, sites) if sites > 1 else np.zeros(1)
    for n, rank in {sites * b: 1, sites: b}.items():
        yield _rational(w, trace, n, width), rank
    for factor in (0.8, 0.4, 1.4):
        yield factor * width * even, b
    fine = np.sign(even) * np.abs(even) ** 3
    yield width * fine + 1e-3 * width * even, b


def _rational(
    w: Float[np.ndarray, " n"], trace: Complex[np.ndarray, " n"], n: int, width: float
) -> Float[np.ndarray, " n_levels"]:
    """Real parts of the heaviest poles of a rational interpolant, with evenly spaced ones where it has fewer."""
    z, f = np.concatenate([1j * w, -1j * w]), np.concatenate([trace, trace.conj()])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # it says that so few terms are not enough: more are not wanted
        interpolant = AAA(z, f, max_terms=n + 1)
        poles, residues = interpolant.poles(), interpolant.residues()
    good = np.isfinite(poles) & (np.abs(poles) < 10 * w[-1])
    poles, residues = poles[good], np.abs(residues[good])
    kept = np.sort(poles[np.argsort(-residues, kind="stable")[:n]].real)
    spare = width * np.linspace(-1.0, 1.0, n + 2)[1:-1]
    return np.sort(np.concatenate([kept, spare[: n - len(kept)]]))


def _first_guess(
    w: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n b b"], weights: Float[np.ndarray, " n"],
    places: Float[np.ndarray, " k"], rank: int, wanted: int,
) -> tuple[Float[np.ndarray, " n_levels"], "np.ndarray"]:  # fmt: skip
    """Best Hermitian residues at given energies, made semidefinite, as rank-one levels."""
    b = delta.shape[1]
    spread = 1e-6 * max(float(np.ptp(places)), w[0]) * np.arange(len(places))
    kernel = 1.0 / (1j * w[:, None] - (places + spread))
    if b == 1:
        system = weights[:, None] * kernel
        data = weights * delta[:, 0, 0]
        residues = nnls(np.concatenate([system.real, system.imag]), np.concatenate([data.real, data.imag]))[0]
        residues = residues[:, None, None].astype(complex)
    else:
        both = np.concatenate([weights[:, None] * kernel, weights[:, None] * kernel.conj()])
        turned = np.conj(np.swapaxes(delta, 1, 2))
        data = np.concatenate([weights[:, None, None] * delta, weights[:, None, None] * turned])
        residues = np.linalg.lstsq(both, data.reshape(len(both), -1), rcond=1e-8)[0].reshape(-1, b, b)
        residues = 0.5 * (residues + np.conj(np.swapaxes(residues, 1, 2)))
    values, vectors = np.linalg.eigh(residues)
    values = np.maximum(values, LEAST_SHARE * max(float(np.abs(values).mean()), 1e-300))
    levels = (vectors * np.sqrt(values)[:, None, :])[:, :, ::-1][:, :, :rank]
    energies = np.repeat(places + spread, rank)
    split = 1e-3 * max(float(np.ptp(places)), w[0]) * np.tile(np.arange(rank), len(places))
    return (energies + split)[:wanted], levels.transpose(1, 0, 2).reshape(b, -1)[:, :wanted]


def _refined(
    w: Float[np.ndarray, " n"], delta: Complex[np.ndarray, "n b b"], weights: Float[np.ndarray, " n"],
    energies: Float[np.ndarray, " k"], vectors: "np.ndarray", is_real: bool,
) -> tuple[Float[np.ndarray, " k"], "np.ndarray", float]:  # fmt: skip
    """Energies and couplings at the nearest minimum, and the norm of the deviation there."""
    b, k = vectors.shape
    z = 1j * w
    scale = weights[:, None, None]

    def parts(x: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
        v = x[k : k + b * k].reshape(b, k)
        return x[:k], v if is_real else v + 1j * x[k + b * k :].reshape(b, k)

    def flat(values: "np.ndarray") -> "np.ndarray":
        values = values.reshape(len(w) * b * b, *values.shape[3:])
        return np.concatenate([values.real, values.imag])

    def deviation(x: "np.ndarray") -> "np.ndarray":
        return flat(scale * (hybridization_function(z, *parts(x)) - delta))

    def jacobian(x: "np.ndarray") -> "np.ndarray":
        e, v = parts(x)
        kernel = weights[:, None] / (z[:, None] - e)
        by_energy = np.einsum("zk,ak,bk->zabk", kernel / (z[:, None] - e), v, v.conj())
        unit = np.eye(b)
        left = np.einsum("zk,ac,bk->zabck", kernel, unit, v.conj())
        right = np.einsum("zk,ak,bc->zabck", kernel, v, unit)
        columns = [by_energy, (left + right).reshape(len(w), b, b, -1)]
        if not is_real:
            columns.append(1j * (left - right).reshape(len(w), b, b, -1))
        return flat(np.concatenate(columns, axis=3))

    start = np.concatenate([energies, vectors.real.ravel(), *([] if is_real else [vectors.imag.ravel()])])
    limit = np.full(len(start), np.inf)
    limit[:k] = 10.0 * max(w[-1], float(np.abs(energies).max()))  # a level at infinity is no level
    found, size = _least_squares(deviation, jacobian, start, limit)
    e, v = parts(found)
    return e, np.asarray(v, dtype=complex), size


def _least_squares(
    deviation: Callable[["np.ndarray"], "np.ndarray"], jacobian: Callable[["np.ndarray"], "np.ndarray"],
    x: "np.ndarray", limit: "np.ndarray",
) -> tuple["np.ndarray", float]:  # fmt: skip
    """Parameters at the nearest minimum of the norm of a deviation, and that norm (Levenberg and Marquardt).

    The triangular factor of derivatives and deviation together is all that a step needs, so that each costs one
    factorization, whatever the damping.
    """
    left, damping, grow, idle = deviation(x), 1e-3, 2.0, 0
    size = float(np.linalg.norm(left))
    upper: np.ndarray | None = None
    for _ in range(N_STEPS if len(x) <= LARGE else FEW_STEPS):
        if upper is None:
            upper = np.asarray(np.linalg.qr(np.column_stack([jacobian(x), left]), mode="r"))
            triangle, target = upper[: len(x), : len(x)], upper[: len(x), -1]
            scale = np.maximum(np.linalg.norm(triangle, axis=0), 1e-12)
        system = np.concatenate([triangle, np.diag(np.sqrt(damping) * scale)])
        step = -np.linalg.lstsq(system, np.concatenate([target, np.zeros(len(x))]), rcond=None)[0]
        there = np.clip(x + step, -limit, limit)
        new = deviation(there)
        new_size = float(np.linalg.norm(new))
        expected = float(np.linalg.norm(target) ** 2 - np.linalg.norm(target + triangle @ step) ** 2)
        if new_size < size:
            ratio = min((size**2 - new_size**2) / max(expected, 1e-300), 1.0)
            damping, grow = max(damping * max(1 / 3, 1 - (2 * ratio - 1) ** 3), 1e-24), 2.0
            idle = idle + 1 if size - new_size < STALLED * size else 0
            x, left, size, upper = there, new, new_size, None
            if size < EXACT or idle == PATIENCE:
                break
        else:
            damping, grow = damping * grow, 2 * grow
            if damping > 1e12:
                break
    return x, size
