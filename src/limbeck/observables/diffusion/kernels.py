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
    """Add ``sum_k w_k |r(t+k) - r(t)|^2`` of the origins t of each block of time to ``sums``.

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
def covariance_parts(n_steps: int, lags: np.ndarray) -> np.ndarray:
    """Sums over all pairs of origins of overlap squared, twice overlap times touch, and touch squared: (3, m, m).

    Intervals that begin ``d = u - t`` apart touch nowhere beyond -j <= d <= i; see
    :mod:`limbeck.observables.diffusion.walk`. Scaled by twice the inverse of both numbers of origins.

    Args:
        n_steps: Steps of the path.
        lags: (m,) increasing.
    """
    m = len(lags)
    parts = np.empty((3, m, m))
    for p in range(m):
        for q in range(p, m):
            i, j = lags[p], lags[q]
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
            parts[0, p, q] = parts[0, q, p] = scale * walk
            parts[1, p, q] = parts[1, q, p] = scale * mixed
            parts[2, p, q] = parts[2, q, p] = scale * noise
    return parts


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


@njit(cache=True)
def least_squares_line(
    msd: np.ndarray, lags: np.ndarray, walk: np.ndarray, mixed: np.ndarray, noise: np.ndarray, n_coordinates: float,
    kind: int, n_iterations: int,
) -> tuple[float, float, np.ndarray, np.ndarray, float]:  # fmt: skip
    """Slope, half the intercept, their weights and covariance, and chi-square of a line through displacements.

    Equations are solved with correlations: variances of short and long lags are many decades apart.

    Args:
        msd: (m,) values of order one.
        lags: (m,).
        walk: (m, m) see :class:`limbeck.observables.diffusion.walk.WalkCovariance`; so are the next two.
        mixed: (m, m).
        noise: (m, m).
        n_coordinates: Independent coordinates averaged.
        kind: 0 generalized, 1 weighted, 2 ordinary least squares.
        n_iterations: Times that the covariance is taken at the fitted parameters.
    """
    m = len(lags)
    design = np.empty((m, 2))
    design[:, 0], design[:, 1] = lags, 2.0
    s2, a2 = max(msd[0] / lags[0], 1e-12), 0.0
    weights: np.ndarray = np.zeros((2, m))
    slope, half = 0.0, 0.0
    for _ in range(n_iterations if kind == 0 else 2):
        matrix = (s2 * s2 * walk + s2 * a2 * mixed + a2 * a2 * noise) / n_coordinates
        scale = np.sqrt(np.diag(matrix))
        if kind == 0:
            columns = np.ascontiguousarray(design / scale.reshape(m, 1))
            solved = np.linalg.solve(matrix / np.outer(scale, scale), columns) / scale.reshape(m, 1)
        elif kind == 1:
            solved = design / (scale * scale).reshape(m, 1)
        else:
            solved = design.copy()
        weights = np.ascontiguousarray(np.linalg.solve(design.T @ solved, np.ascontiguousarray(solved.T)))
        slope, half = np.sum(weights[0] * msd), np.sum(weights[1] * msd)
        s2, a2 = max(slope, 1e-3 * s2), max(half, 0.0)
    residual = msd - slope * lags - 2.0 * half
    matrix = (s2 * s2 * walk + s2 * a2 * mixed + a2 * a2 * noise) / n_coordinates
    scale = np.sqrt(np.diag(matrix))
    errors = weights @ matrix @ weights.T
    scaled = residual / scale
    chi_square = np.sum(scaled * np.linalg.solve(matrix / np.outer(scale, scale), scaled))
    return slope, half, weights, errors, chi_square
