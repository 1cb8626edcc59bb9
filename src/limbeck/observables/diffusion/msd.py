"""Time-averaged mean square displacement of many particles, all lags at once by FFT.

For a path r(t), t = 0 ... n in steps of the sampling interval, and lag k,

    M(k) = 1 / (n + 1 - k)  sum_{t=0}^{n-k} |r(t+k) - r(t)|^2

The sum splits into squares, summed cumulatively, and an autocorrelation, which the FFT gives for all k in O(n log n)
(P. Calandrini et al., Collection SFN 12, 201 (2011), doi:10.1051/sfn/201112010). Squares of a path that goes far
would cancel digits that M(k) at small k needs. So the straight line from the first point to the last is taken out first
and put back in closed form: with r(t) = r(0) + u t + x(t),

    |r(t+k) - r(t)|^2 = |x(t+k) - x(t)|^2 + 2 k u (x(t+k) - x(t)) + k^2 |u|^2

and the shortest lags are summed directly.
"""

import numpy as np
from jaxtyping import Float
from scipy.fft import irfft, next_fast_len, rfft

N_DIRECT = 4
"""Lags below this are summed directly."""
_VALUES_AT_ONCE = 2_000_000


def displacement_tensor(paths: Float[np.ndarray, "n_frames n_axes"]) -> Float[np.ndarray, "n_frames n_axes n_axes"]:
    """Time-averaged products of displacements of one path, by lag.

    Args:
        paths: Unwrapped positions, Å, at equal intervals; at least one frame.

    Returns:
        Symmetric tensors ``<dr_a dr_b>(k)``, Å^2; their trace is the mean square displacement.
    """
    n_frames, n_axes = paths.shape
    tensor = np.empty((n_frames, n_axes, n_axes))
    for a in range(n_axes):
        for b in range(a, n_axes):
            tensor[:, a, b] = tensor[:, b, a] = _products(paths[:, None, a], paths[:, None, b])[:, 0]
    return tensor


def mean_square_displacement(
    paths: Float[np.ndarray, "n_frames n_particles n_axes"],
) -> Float[np.ndarray, "n_frames n_particles"]:
    """Time-averaged mean square displacement of each particle by lag, summed over the axes.

    Args:
        paths: Unwrapped positions, Å, at equal intervals; at least one frame, one particle.

    Returns:
        Å^2; row k belongs to lag k, row 0 is zero.

    Raises:
        ValueError: If a position is not finite, or there is none.
    """
    if paths.ndim != 3 or paths.size == 0:
        raise ValueError(f"a mean square displacement needs (frames, particles, axes), got shape {paths.shape}")
    if not np.all(np.isfinite(paths)):
        raise ValueError("a mean square displacement needs finite positions; there is NaN or infinity")
    n_frames, n_particles, n_axes = paths.shape
    found = np.zeros((n_frames, n_particles))
    width = max(1, _VALUES_AT_ONCE // n_frames)
    for first in range(0, n_particles, width):
        part = slice(first, first + width)
        for axis in range(n_axes):
            found[:, part] += _products(paths[:, part, axis], paths[:, part, axis])
    return found


def _products(
    first: Float[np.ndarray, "n_frames n_particles"], second: Float[np.ndarray, "n_frames n_particles"]
) -> Float[np.ndarray, "n_frames n_particles"]:
    """Time-averaged product of the displacements of two scalar paths, by lag, for many pairs of paths."""
    n_frames = len(first)
    x, u = _bridge(first)
    y, v = (x, u) if second is first else _bridge(second)
    size = next_fast_len(2 * n_frames - 1, real=True)
    xf = rfft(x, size, axis=0)
    yf = xf if second is first else rfft(y, size, axis=0)
    cross = irfft(xf * yf.conj(), size, axis=0)[:n_frames]
    if second is not first:  # x(t) y(t+k) + x(t+k) y(t)
        cross = 0.5 * (cross + irfft(yf * xf.conj(), size, axis=0)[:n_frames])
    total = _sum_of_ends(x * y) - 2 * cross
    lags = np.arange(n_frames)[:, None]
    total += lags * (u * _difference_of_ends(y) + v * _difference_of_ends(x))
    total /= n_frames - lags
    total += lags**2 * (u * v)
    for lag in range(min(N_DIRECT, n_frames)):
        total[lag] = np.mean(
            (first[lag:] - first[: n_frames - lag]) * (second[lag:] - second[: n_frames - lag]), axis=0
        )
    return total


def _bridge(
    path: Float[np.ndarray, "n_frames n_particles"],
) -> tuple[Float[np.ndarray, "n_frames n_particles"], Float[np.ndarray, " n_particles"]]:
    """Deviation from the line between the ends, and the step of that line."""
    n_steps = max(len(path) - 1, 1)
    step = (path[-1] - path[0]) / n_steps
    return path - path[0] - np.arange(len(path))[:, None] * step, step


def _sum_of_ends(values: Float[np.ndarray, "n_frames n_particles"]) -> Float[np.ndarray, "n_frames n_particles"]:
    """``sum_t values(t) + values(t+k)`` by lag k."""
    return np.cumsum(values, axis=0)[::-1] + np.cumsum(values[::-1], axis=0)[::-1]


def _difference_of_ends(
    values: Float[np.ndarray, "n_frames n_particles"],
) -> Float[np.ndarray, "n_frames n_particles"]:
    """``sum_t values(t+k) - values(t)`` by lag k."""
    return np.cumsum(values[::-1], axis=0)[::-1] - np.cumsum(values, axis=0)[::-1]
