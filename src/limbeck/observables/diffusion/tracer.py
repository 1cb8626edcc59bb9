"""Diffusion coefficients with intervals from unwrapped paths: window, fit, and errors from the blocks of the data.

``<|r(t+k) - r(t)|^2> = 2 d D k dt + c``. The line is fitted by generalized least squares under the covariance of a
random walk with noise (:mod:`limbeck.observables.diffusion.walk`). Real ions are no random walk at short times: they
rattle and jump back. The window therefore begins at the shortest lag from which on the displacements are those of a
random walk - by chi-square, and since rattling lets the slope fall with the lag, by the slopes of all later windows -
and ends at a quarter of the run.

Coordinates are fewer than three for each particle where axes differ, some particles move more than others, or they move
together. The variance of a mean square displacement goes with tr(S^2) / (tr S)^2, S the covariance of all coordinates'
displacements; its inverse is the number of coordinates that counts (:func:`independent_coordinates`).

Errors: :mod:`limbeck.observables.diffusion.errors`. Warnings say what was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm
from scipy.stats import t as student_t

from limbeck.core.estimate import Estimate
from limbeck.observables.diffusion.blocks import Jackknife, over_particles
from limbeck.observables.diffusion.errors import ErrorKind, Errors, mismatch, scatter_over_time
from limbeck.observables.diffusion.hops import FEW_HOPS, HOP_LENGTH_A, count_hops, poisson_interval
from limbeck.observables.diffusion.msd import Displacements, axis_pairs, displacements
from limbeck.observables.diffusion.walk import FitKind, LineFit, WalkCovariance, walk_covariance
from limbeck.observables.diffusion.walkers import Walkers, as_walkers
from limbeck.observables.diffusion.window import Window, candidate_lags, choose_window, own_window

CM2_PER_S = 0.1
"""One Å^2/fs in cm^2/s."""
N_STRETCHES = 256
"""Most stretches of the run whose displacements tell how many coordinates count."""
COUNT_AS_FEWER = 0.8
"""A share of coordinates below which a warning says so."""
FASTEST = 1.25
"""Log-log slope of displacements over the window that diffusion does not reach."""
LEAST_STEPS = 8
"""Steps below which no line is fitted."""


@dataclass(frozen=True)
class Variance:
    """Variance of an estimate as a function of the truth D: ``noise + mixed D + walk D^2``.

    The error at the estimate alone would make intervals too short on the side of larger values, and wrong where the
    estimate is near zero. The interval holds every D from which the estimate is not too far by *its* error.
    """

    noise: float
    mixed: float
    walk: float

    def scaled(self, factor: float, more: float = 0.0) -> "Variance":
        """Of the estimate times a factor, with a further relative variance."""
        return Variance(self.noise * factor**2, self.mixed * factor, self.walk + more)

    def interval(self, value: float, degrees: float, level: float) -> tuple[float, float]:
        """Interval that holds the truth at the given rate; infinite above where the data allow any large value.

        Args:
            value: The estimate.
            degrees: Degrees of freedom of its error (Student t); infinite for a normal one.
            level: Rate, for example 0.95.
        """
        tail = 0.5 + 0.5 * level
        z2 = float(student_t.ppf(tail, degrees) if np.isfinite(degrees) else norm.ppf(tail)) ** 2
        a, b, c = 1 - z2 * self.walk, -2 * value - z2 * self.mixed, value**2 - z2 * self.noise
        if abs(a) < 1e-12:
            return -c / b, float("inf")
        root = float(np.sqrt(max(b * b - 4 * a * c, 0.0)))
        low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
        return (low, high) if a > 0 else (low, float("inf"))


@dataclass(frozen=True)
class Diffusion:
    """A diffusion coefficient and all that is known about its error.

    Attributes:
        coefficient: D in cm^2/s with the error that counts.
        degrees: Degrees of freedom of that error; infinite for that of the covariance.
        covariance_error: Standard error for independent random walks, cm^2/s.
        particle_blocks: Jackknife over particles, Å^2 by frame, or ``None``.
        n_coordinates: Coordinates that are independent and alike in effect, at most axes times particles.
        time_blocks: Jackknife over time of a fit to short lags, or ``None`` where the run is too short for it.
        time_ratio: Its error over that of the covariance of the same fit; NaN where there is none.
        errors: Standard error by each way, see :mod:`limbeck.observables.diffusion.errors`, cm^2/s; NaN: none.
        amplitude_A: Root mean square amplitude of the noise about the walk along one axis; NaN if it came out negative.
        window: Lags of the fit.
        fit: The line, Å^2 by frame, one axis.
        displacements: Displacements of all particles, at the lags that could be chosen.
        variance: Variance of D at any true D, (cm^2/s)^2; its root at the coefficient is the error that counts.
        exponent: Slope of log M over log t across the window.
        hops: Number of hops of each particle; none of a collective coordinate.
        of_one_hop: What one hop in the run adds to D, cm^2/s.
        interval_fs: Time between frames.
        warnings: What a reader must know.
    """

    coefficient: Estimate
    degrees: float
    covariance_error: float
    particle_blocks: Jackknife | None
    n_coordinates: float
    time_blocks: Jackknife | None
    time_ratio: float
    errors: dict[str, float]
    amplitude_A: float
    window: Window
    fit: LineFit
    displacements: Displacements
    variance: Variance
    exponent: float
    hops: Int[np.ndarray, " n_particles"]
    of_one_hop: float
    interval_fs: float
    warnings: tuple[str, ...]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of D in cm^2/s that holds the truth at the given rate; few hops widen it to what they allow."""
        low, high = self.variance.interval(self.coefficient.value, self.degrees, level)
        count = int(self.hops.sum())
        if len(self.hops) and count < FEW_HOPS:
            least, most = poisson_interval(self.coefficient.value, self.of_one_hop, count, level)
            low, high = min(low, least), max(high, most)
        return low, high


def diffusion(
    paths: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']",
    interval_fs: float,
    *,
    window: Sequence[int] | None = None,
    least_lag: int = 1,
    hop_length_A: float | None = HOP_LENGTH_A,
    line: FitKind = "generalized",
    errors: ErrorKind = "automatic",
) -> Diffusion:
    """Diffusion coefficient of particles that are alike.

    Args:
        paths: Unwrapped positions in Å, at equal intervals; one particle for a collective coordinate.
        interval_fs: Time between frames.
        window: Lags in frames to use, increasing; chosen where left out. One that is not diffusive is flagged.
        least_lag: No shorter lag is chosen.
        hop_length_A: Displacement that counts as a hop; ``None`` for a collective coordinate, which does not hop.
        line: Least squares of the line: ``generalized`` (best), ``weighted`` or ``ordinary`` (the customary one).
        errors: Which error counts, see :mod:`limbeck.observables.diffusion.errors`.

    Raises:
        ValueError: If there are fewer than :data:`LEAST_STEPS` steps, a position is not finite, nothing moves, or the
            window does not fit the run, or the data do not give the error that was asked for.
    """
    walkers = as_walkers(paths)
    n_frames, n_particles, n_axes = walkers.shape
    if n_frames - 1 < LEAST_STEPS:
        raise ValueError(f"a diffusion coefficient needs at least {LEAST_STEPS + 1} frames, got {n_frames}")
    lags = candidate_lags(n_frames - 1, least_lag) if window is None else own_window(window, n_frames - 1)
    seen = displacements(walkers, lags)
    squares = seen.squares
    if not np.any(squares):
        raise ValueError("nothing moves: all displacements are zero")
    n_coordinates = independent_coordinates(seen.places)
    covariance = walk_covariance(n_frames - 1, lags)
    chosen, fit = choose_window(
        squares.mean(axis=1) / n_axes, covariance, n_coordinates, given=window is not None, kind=line
    )
    each = squares[len(lags) - len(chosen.lags) :]
    exponent = _exponent(each.mean(axis=1), chosen.lags)
    if exponent > FASTEST:
        chosen = replace(chosen, is_diffusive=False, reason=f"{chosen.reason}; but {_too_fast(exponent)}")
    particles = over_particles(fit.weights[0] @ each / n_axes)
    all_count = n_coordinates == n_particles * n_axes
    over = scatter_over_time(walkers, seen.tensor, chosen.lags, n_coordinates)
    by_covariance = float(np.sqrt(fit.covariance[0, 0]))
    all_errors = Errors(by_covariance, particles, over, all_count, n_particles)
    error, degrees, method = all_errors.of(errors)
    warnings = _warnings(chosen, all_errors, over.blocks, over.ratio)
    if n_coordinates < COUNT_AS_FEWER * n_particles * n_axes:
        warnings.append(
            f"{n_particles * n_axes} coordinates count as {n_coordinates:.1f}: axes differ, some particles move more "
            "than others, or they move together"
        )
    if fit.step_variance <= 2 * error:
        warnings.append("not above twice its error: nothing but an upper limit can be said")
    scale = CM2_PER_S / (2 * interval_fs)
    hops = np.zeros(0, dtype=int) if hop_length_A is None else count_hops(seen.places, hop_length_A)
    one_hop = 0.0
    if hop_length_A is not None:
        one_hop = hop_length_A**2 / (2 * n_axes * n_particles * (n_frames - 1) * interval_fs) * CM2_PER_S
    relative = error / fit.step_variance if fit.step_variance > 0 else np.inf
    estimate = Estimate(
        fit.step_variance * scale, error * scale, 2 / relative**2, "cm^2/s", f"{line} least squares, {method}"
    )
    return Diffusion(
        coefficient=estimate,
        degrees=float(degrees),
        covariance_error=by_covariance * scale,
        particle_blocks=particles,
        n_coordinates=n_coordinates,
        time_blocks=over.blocks,
        time_ratio=over.ratio,
        errors={name: value * scale for name, value in all_errors.table().items()},
        amplitude_A=float(np.sqrt(fit.noise_variance)) if fit.noise_variance >= 0 else float("nan"),
        window=chosen,
        fit=fit,
        displacements=seen,
        variance=_variance(fit, covariance.from_lag(len(lags) - len(chosen.lags)), n_coordinates, error).scaled(scale),
        exponent=exponent,
        hops=hops,
        of_one_hop=one_hop,
        interval_fs=interval_fs,
        warnings=tuple(warnings),
    )


def _variance(fit: LineFit, covariance: WalkCovariance, n_coordinates: float, error: float) -> Variance:
    """Variance of the slope with the fit's weights at any true slope, raised to the error that counts."""
    w, noise = fit.weights[0], max(fit.noise_variance, 0.0)
    parts = [w @ part @ w / n_coordinates for part in (covariance.noise, covariance.mixed, covariance.walk)]
    now = noise**2 * parts[0] + noise * fit.step_variance * parts[1] + fit.step_variance**2 * parts[2]
    raised = error**2 / now if now > 0 else 1.0
    return Variance(raised * noise**2 * parts[0], raised * noise * parts[1], raised * parts[2])


def _exponent(msd: Float[np.ndarray, " m"], lags: Int[np.ndarray, " m"]) -> float:
    """Slope of log M over log t between the ends of the window."""
    return float(np.log(msd[-1] / msd[0]) / np.log(lags[-1] / lags[0])) if msd[0] > 0 else float("nan")


def _too_fast(exponent: float) -> str:
    return (
        f"displacements grow with the {exponent:.2f}th power of time, faster than diffusion: the run is too short, or "
        "atoms drift or fly"
    )


def diffusion_tensor(
    found: Diffusion,
) -> tuple[Float[np.ndarray, "n_axes n_axes"], Float[np.ndarray, "n_axes n_axes"]]:
    """Diffusion tensor and its standard errors in cm^2/s, with the window and weights of the coefficient.

    Errors are those of blocks of particles where that of the coefficient is, otherwise those of the covariance with the
    coordinates that count along each axis, raised by what raised the error of the coefficient. The coefficient is a
    third of the trace.
    """
    seen, n_axes = found.displacements, found.displacements.tensor.shape[1]
    first = len(seen.lags) - len(found.window.lags)
    slopes = np.einsum("m,mpq->pq", found.fit.weights[0], seen.products[first:])
    scale = CM2_PER_S / (2 * found.interval_fs)
    error = found.coefficient.standard_error
    blocks = found.particle_blocks
    by_particles = blocks is not None and bool(np.isclose(error, scale * blocks.standard_error))
    raised = 1.0 if by_particles or found.covariance_error == 0 else error / found.covariance_error
    relative = found.covariance_error / found.coefficient.value * np.sqrt(found.n_coordinates)
    values, errors = np.empty((n_axes, n_axes)), np.empty((n_axes, n_axes))
    for k, (a, b) in enumerate(axis_pairs(n_axes)):
        values[a, b] = values[b, a] = scale * slopes[:, k].mean()
    counts = [independent_coordinates(seen.places[:, :, [a]]) for a in range(n_axes)]
    for k, (a, b) in enumerate(axis_pairs(n_axes)):
        parts = over_particles(slopes[:, k]) if by_particles else None
        if parts is not None:
            own = scale * parts.standard_error
        else:
            size = np.sqrt(abs(values[a, a] * values[b, b]) * (1.0 if a == b else 0.5))
            own = size * abs(relative) / np.sqrt(min(counts[a], counts[b]))
        errors[a, b] = errors[b, a] = raised * own
    return values, errors


def independent_coordinates(paths: Float[np.ndarray, "n_frames n_particles n_axes"]) -> float:
    """Number of coordinates that are independent and alike in effect: ``(tr S)^2 / tr(S^2)``.

    S is the covariance of all coordinates' displacements over up to :data:`N_STRETCHES` stretches of the run. Both
    traces are means over pairs of stretches that do not touch, ``<(x . y)^2>`` and ``<x^2 y^2>``, which neither few
    stretches nor noise that neighbors share biases. Of T stretches 3 / T of the number is chance; one within three
    times that of all coordinates is all of them.

    Args:
        paths: Positions, or their means in pieces of the run.
    """
    n_frames, n_particles, n_axes = paths.shape
    lag = max(1, (n_frames - 1) // N_STRETCHES)
    steps = np.diff(paths[::lag], axis=0).reshape(-1, n_particles * n_axes)
    count, total = len(steps), n_particles * n_axes
    gram = steps @ steps.T
    own = np.diag(gram)
    squares = float(np.vdot(gram, gram) - own @ own - 2 * np.sum(np.diag(gram, 1) ** 2))
    products = float(own.sum() ** 2 - own @ own - 2 * own[1:] @ own[:-1])
    if squares <= 0 or products / squares > total / (1 + 3 * 3.0 / count):
        return float(total)
    return max(1.0, products / squares)


def _warnings(chosen: Window, errors: Errors, time: Jackknife | None, time_ratio: float) -> list[str]:
    found, particles, by_covariance = [], errors.particles, errors.covariance
    if not chosen.is_diffusive:
        found.append(chosen.reason)
    if particles is not None and particles.standard_error > mismatch(particles.n_blocks) * by_covariance:
        found.append(
            f"the scatter of the particles is {particles.standard_error / by_covariance:.1f} times that of random "
            "walks: they differ from each other (few that move, or rare events)"
        )
    if time is not None and time_ratio > mismatch(time.n_blocks):
        found.append(
            f"the scatter over time is {time_ratio:.1f} times that of random walks: rare events decide, or the run is "
            "not stationary"
        )
    return found
