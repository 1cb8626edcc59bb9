"""Compiled sums over the displacements of one path: one pass for each lag, nothing stored."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def lag_products(path: np.ndarray, lags: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Time averages of ``dr_a dr_b`` (into ``products``, one row a lag, one column a pair) and of ``|dr|^4``.

    Args:
        path: (n_axes, n_frames).
        lags: (m,) lags.
        products: (m, n_pairs), filled in the order xx xy xz yy yz zz.
    """
    n_axes, n_frames = path.shape
    fourth = np.zeros(len(lags))
    for number in range(len(lags)):
        lag = lags[number]
        count = n_frames - lag
        if n_axes == 3:
            xx = xy = xz = yy = yz = zz = power = 0.0
            for t in range(count):
                x = path[0, t + lag] - path[0, t]
                y = path[1, t + lag] - path[1, t]
                z = path[2, t + lag] - path[2, t]
                xx += x * x
                xy += x * y
                xz += x * z
                yy += y * y
                yz += y * z
                zz += z * z
                square = x * x + y * y + z * z
                power += square * square
            for column, value in enumerate((xx, xy, xz, yy, yz, zz)):
                products[number, column] = value / count
            fourth[number] = power / count
        else:
            column = 0
            for a in range(n_axes):
                for b in range(a, n_axes):
                    total = 0.0
                    for t in range(count):
                        total += (path[a, t + lag] - path[a, t]) * (path[b, t + lag] - path[b, t])
                    products[number, column] = total / count
                    column += 1
            power = 0.0
            for t in range(count):
                square = 0.0
                for a in range(n_axes):
                    square += (path[a, t + lag] - path[a, t]) ** 2
                power += square * square
            fourth[number] = power / count
    return fourth


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def weighted_squares(
    path: np.ndarray, lags: np.ndarray, weights: np.ndarray, starts: np.ndarray, sums: np.ndarray
) -> None:
    """Add ``sum_k w_k |r(t+k) - r(t)|^2`` of the origins t of each block to ``sums``.

    Args:
        path: (n_axes, n_frames).
        lags: (m,) lags.
        weights: (m,) w.
        starts: (n_blocks + 1,) first origin of each block, and the end of the last.
        sums: (n_blocks,).
    """
    for number in range(len(lags)):
        lag = lags[number]
        for block in range(len(sums)):
            total = 0.0
            for a in range(path.shape[0]):
                for t in range(starts[block], starts[block + 1]):
                    total += (path[a, t + lag] - path[a, t]) ** 2
            sums[block] += weights[number] * total


@njit(cache=True, nogil=True)
def covariance_parts(n_steps: int, i: int, j: int) -> tuple[float, float, float]:
    """Sums over all pairs of origins of overlap squared, twice overlap times touch, and touch squared, for lags i <= j.

    Intervals that begin ``d = u - t`` apart touch nowhere beyond -j <= d <= i; see
    :mod:`limbeck.observables.diffusion.walk`. Scaled by twice the inverse of both numbers of origins.
    """
    walk = mixed = noise = 0.0
    for d in range(-j, i + 1):
        pairs = min(n_steps - i, n_steps - j - d) - max(0, -d) + 1
        if pairs <= 0:
            continue
        overlap = min(i, d + j) - max(0, d)
        touch = 0
        if d == i - j:  # the ends coincide
            touch += 1
        if d == 0:  # the beginnings
            touch += 1
        if d == i:  # one begins where the other ends
            touch -= 1
        if d == -j:
            touch -= 1
        walk += float(pairs) * overlap * overlap
        mixed += 2.0 * pairs * overlap * touch
        noise += float(pairs) * touch * touch
    scale = 2.0 / ((n_steps + 1.0 - i) * (n_steps + 1.0 - j))
    return scale * walk, scale * mixed, scale * noise


@njit(cache=True, nogil=True)
def hops_of(places: np.ndarray, length: float) -> np.ndarray:
    """Times that each particle is farther than a length from where its last hop took it.

    Args:
        places: (n_times, n_particles, n_axes).
        length: In the unit of ``places``.
    """
    n_times, n_particles, n_axes = places.shape
    counts = np.zeros(n_particles, np.int64)
    for p in range(n_particles):
        home = places[0, p].copy()
        for t in range(1, n_times):
            square = 0.0
            for a in range(n_axes):
                square += (places[t, p, a] - home[a]) ** 2
            if square > length * length:
                counts[p] += 1
                home[:] = places[t, p]
    return counts
