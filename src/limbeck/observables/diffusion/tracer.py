"""Diffusion coefficients with intervals from unwrapped paths: window, fit, and errors from the blocks of the data.

``<|r(t+k) - r(t)|^2> = 2 d D k dt + c``. The line is fitted by generalized least squares under the covariance of a
random walk with noise (:mod:`limbeck.observables.diffusion.walk`). Real ions are no random walk at short times: they
rattle and jump back. The window therefore begins at the shortest lag from which on the displacements are those of a
random walk, as chi-square says, and ends at a quarter of the run.

The error is that of blocks of particles where there are enough, since it holds whatever each particle does; otherwise
the one of the covariance. Particles that move together are fewer than they seem: the squared correlations of their
displacements say how many there are in effect, for chi-square and covariance alike. Last, a second fit, with lags short
enough for blocks of time, compares its scatter over time with its covariance; where it is larger by more than chance
allows, the error is raised by the ratio. Warnings say what was found.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

from limbeck.core.estimate import Estimate
from limbeck.observables.diffusion.blocks import LAGS_IN_A_BLOCK, LEAST_BLOCKS, Jackknife, over_particles, over_time
from limbeck.observables.diffusion.msd import mean_square_displacement
from limbeck.observables.diffusion.walk import LineFit, fit_line, walk_covariance

CM2_PER_S = 0.1
"""One Å^2/fs in cm^2/s."""
N_LAGS = 16
LARGEST_LAG = 0.25
"""Largest lag of a fit, as a share of the run."""
LEAST_PROBABILITY = 0.01
"""A window is refused whose chi-square a random walk would exceed with less than this probability."""
MISMATCH = 1.5
"""Errors that differ by more than this factor are told of."""
N_STRETCHES = 64
"""Stretches of the run whose displacements tell whether particles move together."""
MOST_CORRELATED = 128
"""Particles among which correlations are looked for."""
LEAST_STEPS = 8
"""Steps below which no line is fitted."""


@dataclass(frozen=True)
class Window:
    """Lags of a fit and why they were taken.

    Attributes:
        lags: (m,) lags in frames.
        probability: Of a chi-square as large as that of the fit, for a random walk.
        is_diffusive: Whether the displacements are those of a random walk.
        reason: In words.
    """

    lags: Int[np.ndarray, " m"]
    probability: float
    is_diffusive: bool
    reason: str


@dataclass(frozen=True)
class Diffusion:
    """A diffusion coefficient and all that is known about its error.

    Attributes:
        coefficient: D in cm^2/s with the error that counts.
        degrees: Degrees of freedom of that error; infinite for that of the covariance.
        covariance_error: Standard error for independent random walks, cm^2/s.
        particle_blocks: Jackknife over particles, Å^2 by frame, or ``None``.
        n_independent: Particles that are independent in effect.
        time_blocks: Jackknife over time of a fit to short lags, or ``None`` where the run is too short for it.
        time_ratio: Its error over that of the covariance of the same fit; NaN where there is none.
        amplitude_A: Root mean square amplitude of the noise about the walk along one axis; NaN if it came out negative.
        window: Lags of the fit.
        fit: The line, Å^2 by frame, one axis.
        msd: (n_frames,) mean square displacement of all axes, Å^2.
        interval_fs: Time between frames.
        warnings: What a reader must know.
    """

    coefficient: Estimate
    degrees: float
    covariance_error: float
    particle_blocks: Jackknife | None
    n_independent: float
    time_blocks: Jackknife | None
    time_ratio: float
    amplitude_A: float
    window: Window
    fit: LineFit
    msd: Float[np.ndarray, " n_frames"]
    interval_fs: float
    warnings: tuple[str, ...]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of D in cm^2/s that holds the truth at the given rate."""
        return interval_of(self.coefficient, self.degrees, level)


def interval_of(estimate: Estimate, degrees: float, level: float) -> tuple[float, float]:
    """Interval that holds the truth at the given rate.

    Symmetric in the logarithm, since errors are a share of the value; symmetric where the value is not above twice its
    error.

    Args:
        estimate: Value and standard error.
        degrees: Degrees of freedom of the error (Student t); infinite for a normal one.
        level: Rate, for example 0.95.
    """
    value, error = estimate.value, estimate.standard_error
    tail = 0.5 + 0.5 * level
    half = float(student_t.ppf(tail, degrees) if np.isfinite(degrees) else norm.ppf(tail))
    if value <= 2 * error:
        return value - half * error, value + half * error
    factor = float(np.exp(half * error / value))
    return value / factor, value * factor


def diffusion(
    paths: Float[np.ndarray, "n_frames n_particles n_axes"],
    interval_fs: float,
    *,
    window: Window | None = None,
) -> Diffusion:
    """Diffusion coefficient of particles that are alike.

    Args:
        paths: Unwrapped positions in Å, at equal intervals; one particle for a collective coordinate.
        interval_fs: Time between frames.
        window: Lags to use; chosen where left out.

    Raises:
        ValueError: If there are fewer than :data:`LEAST_STEPS` steps, a position is not finite, or nothing moves.
    """
    n_frames, n_particles, n_axes = paths.shape
    if n_frames - 1 < LEAST_STEPS:
        raise ValueError(f"a diffusion coefficient needs at least {LEAST_STEPS + 1} frames, got {n_frames}")
    each = mean_square_displacement(paths)
    n_independent = independent_particles(paths)
    msd, n_coordinates = each.mean(axis=1), n_independent * n_axes
    chosen = window or choose_window(msd / n_axes, n_coordinates)
    fit = fit_line(msd[chosen.lags] / n_axes, walk_covariance(n_frames - 1, chosen.lags), n_coordinates)
    particles = over_particles(fit.weights[0] @ each[chosen.lags] / n_axes)
    if fit.step_variance == 0 and not np.any(fit.covariance):
        raise ValueError("nothing moves: all displacements are zero")
    time, time_ratio = _scatter_over_time(paths, msd / n_axes, chosen.lags, n_coordinates)
    by_covariance = float(np.sqrt(fit.covariance[0, 0]))
    error, degrees, method = by_covariance, np.inf, "covariance of random walks"
    if particles is not None and (n_independent == n_particles or particles.standard_error > by_covariance):
        error, degrees = particles.standard_error, particles.n_blocks - 1
        method = f"jackknife over {particles.n_blocks} blocks of particles"
    warnings = _warnings(chosen, fit, particles, by_covariance, time_ratio)
    if n_independent < n_particles:
        warnings.append(f"particles move together: {n_particles} count as {n_independent:.1f} independent ones")
    if time is not None and time_ratio > MISMATCH and time_ratio * by_covariance > error:
        error, degrees = time_ratio * by_covariance, time.n_blocks - 1
        method = f"jackknife over {time.n_blocks} blocks of time"
    if fit.step_variance <= 2 * error:
        warnings.append("D is not above twice its error: nothing but an upper limit can be said")
    scale = CM2_PER_S / (2 * interval_fs)
    value = fit.step_variance * scale
    relative = error / fit.step_variance if fit.step_variance > 0 else np.inf
    estimate = Estimate(value, error * scale, 2 / relative**2, "cm^2/s", f"generalized least squares, {method}")
    return Diffusion(
        coefficient=estimate,
        degrees=float(degrees),
        covariance_error=by_covariance * scale,
        particle_blocks=particles,
        n_independent=n_independent,
        time_blocks=time,
        time_ratio=time_ratio,
        amplitude_A=float(np.sqrt(fit.noise_variance)) if fit.noise_variance >= 0 else float("nan"),
        window=chosen,
        fit=fit,
        msd=msd,
        interval_fs=interval_fs,
        warnings=tuple(warnings),
    )


def choose_window(msd: Float[np.ndarray, " n_frames"], n_coordinates: float) -> Window:
    """Shortest first lag from which on the displacements are those of a random walk.

    Args:
        msd: (n_frames,) mean square displacement of one axis.
        n_coordinates: Independent coordinates behind it.
    """
    n_steps = len(msd) - 1
    largest = max(2, int(LARGEST_LAG * n_steps))
    strides = np.unique(np.round(np.geomspace(1, max(1, largest // 4), 24)).astype(int))
    best = None
    for stride in strides:
        lags = stride * np.unique(np.round(np.geomspace(1, largest // stride, N_LAGS)).astype(int))
        fit = fit_line(msd[lags], walk_covariance(n_steps, lags), n_coordinates)
        probability = 1.0 if fit.n_degrees == 0 else float(chi2.sf(fit.chi_square, fit.n_degrees))
        if probability >= LEAST_PROBABILITY:
            shortest = "the shortest lag" if stride == 1 else f"the shortest lag of which this can be said is {stride}"
            reason = f"from there on displacements are those of a random walk (p = {probability:.2f}); {shortest}"
            return Window(lags, probability, True, reason)
        best = Window(lags, probability, False, "")
    assert best is not None
    reason = "at no lag are the displacements those of a random walk: the run is too short, or motion is not diffusive"
    return Window(best.lags, best.probability, False, reason)


def _scatter_over_time(
    paths: Float[np.ndarray, "n_frames n_particles n_axes"],
    msd: Float[np.ndarray, " n_frames"],
    lags: Int[np.ndarray, " m"],
    n_coordinates: float,
) -> tuple[Jackknife | None, float]:
    """Jackknife over time of a fit to short lags, and its error over that of the covariance."""
    n_frames, _, n_axes = paths.shape
    reach = (n_frames - 1) // (LEAST_BLOCKS * LAGS_IN_A_BLOCK + 1)
    first = min(int(lags[0]), reach // 2)
    if first < 1:
        return None, float("nan")
    short = first * np.unique(np.round(np.geomspace(1, reach // first, N_LAGS)).astype(int))
    fit = fit_line(msd[short], walk_covariance(n_frames - 1, short), n_coordinates)
    time = over_time(paths, short, fit.weights[0] / n_axes)
    if time is None:
        return None, float("nan")
    return time, time.standard_error / float(np.sqrt(fit.covariance[0, 0]))


def independent_particles(paths: Float[np.ndarray, "n_frames n_particles n_axes"]) -> float:
    """Number of particles that are independent in effect: ``P^2 / sum_ij C_ij^2``.

    C are the correlations of displacements over 1/64 of the run; the variance of a mean square displacement goes with
    their squares. Without significant correlations (three standard errors) it is the number of particles.
    """
    n_frames, n_particles, _ = paths.shape
    lag = max(1, (n_frames - 1) // N_STRETCHES)
    chosen = np.unique(np.linspace(0, n_particles - 1, MOST_CORRELATED).round().astype(int))
    steps = np.diff(paths[::lag][:, chosen], axis=0).transpose(0, 2, 1).reshape(-1, len(chosen))
    norms = np.sqrt(np.einsum("sp,sp->p", steps, steps))
    if len(chosen) < 2 or np.any(norms == 0):
        return float(n_particles)
    squares = ((steps / norms).T @ (steps / norms)) ** 2
    pairs, n_steps = len(chosen) * (len(chosen) - 1), len(steps)
    excess = float((squares.sum() - len(chosen)) / pairs - 1 / n_steps)
    if excess < 3 * np.sqrt(2 * 2 / pairs) / n_steps:
        return float(n_particles)
    return n_particles / (1 + (n_particles - 1) * excess)


def _warnings(
    chosen: Window, fit: LineFit, particles: Jackknife | None, by_covariance: float, time_ratio: float
) -> list[str]:
    found = []
    error = particles.standard_error if particles is not None else by_covariance
    if not chosen.is_diffusive:
        found.append(chosen.reason)
    ratio = error / by_covariance
    if ratio > MISMATCH:
        found.append(
            f"the scatter of the particles is {ratio:.1f} times that of random walks: they differ from each other "
            "(few that move, or rare events)"
        )
    if time_ratio > MISMATCH:
        found.append(
            f"the scatter over time is {time_ratio:.1f} times that of random walks: rare events decide, or the run is "
            "not stationary"
        )
    return found
