"""Which lags a line is fitted to: the shortest first one from which on displacements are those of a random walk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import fdtrc, ndtr, stdtr

from limbeck.observables.diffusion.walk import FitKind, LineFit, WalkCovariance, fit_line, slope_difference

N_LAGS = 20
LARGEST_LAG = 0.25
"""Largest lag of a fit, as a share of the run."""
LEAST_PROBABILITY = 1e-4
"""A window is refused whose chi-square a random walk would exceed with less than this probability (by Fisher's
distribution, since few coordinates at long lags are not normal)."""
CHANGING_SLOPE = 4.0
"""A window is refused whose slope differs from that of a later one by so many standard errors of the difference, or
whose intercept is so many below zero (ballistic motion); where errors are known from few coordinates only, at the same
probability by Student's distribution."""
SAFETY = 2.0
"""Where short lags were refused, the window begins at so many times the first lag that was not."""
MOST_COMPARED = 0.25
"""Windows that begin beyond this share of the largest lag are too noisy to be compared with."""


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


def candidate_lags(n_steps: int, least_lag: int = 1) -> Int[np.ndarray, " m"]:
    """Lags that a window may hold: about :data:`N_LAGS`, at equal ratios, to a quarter of the run."""
    largest = max(3, int(LARGEST_LAG * n_steps))
    return np.unique(np.round(np.geomspace(min(least_lag, largest - 2), largest, N_LAGS)).astype(int))


def own_window(window: Sequence[int], n_steps: int) -> Int[np.ndarray, " m"]:
    """Lags of a window that was given.

    Raises:
        ValueError: If they are fewer than three, or not within the run.
    """
    lags = np.unique(np.asarray(window, dtype=int))
    if len(lags) < 3 or lags[0] < 1 or lags[-1] > n_steps:
        raise ValueError(f"a window needs three or more lags from 1 to {n_steps} frames, got {list(window)}")
    return lags


def choose_window(
    msd: Float[np.ndarray, " m"], covariance: WalkCovariance, n_coordinates: float, *, given: bool = False,
    kind: FitKind = "generalized",
) -> tuple[Window, LineFit]:  # fmt: skip
    """Shortest first lag from which on the displacements are those of a random walk.

    Args:
        msd: (m,) mean square displacement of one axis at the lags of ``covariance``.
        covariance: Of all lags that may be taken.
        n_coordinates: Independent coordinates behind it.
        given: Take all lags, and say whether that is a good window.
        kind: How the line is fitted in the window; which one is taken, generalized least squares decide.

    Returns:
        The window and the line.
    """
    lags = covariance.lags
    fits = [fit_line(msd[k:], covariance.from_lag(k), n_coordinates) for k in range(len(lags) - 2)]
    first, window = _judged(fits, msd, covariance, n_coordinates, given)
    if kind == "generalized":
        return window, fits[first]
    return window, fit_line(msd[first:], covariance.from_lag(first), n_coordinates, kind)


def _judged(
    fits: list[LineFit], msd: Float[np.ndarray, " m"], covariance: WalkCovariance, n_coordinates: float, given: bool
) -> tuple[int, Window]:
    """Number of the window's first lag, and the window."""
    lags = covariance.lags
    for k in range(len(fits)):
        probability, fault = _fault(fits, k, msd, covariance, n_coordinates)
        if given:
            reason = f"as given (p = {probability:.2f})" + (f", although {fault}" if fault else "")
            return 0, Window(lags, probability, not fault, reason)
        if not fault:
            start, reason = k, f"a random walk from the first lag on (p = {probability:.2f})"
            if k:
                start = min(int(np.searchsorted(lags, SAFETY * lags[k])), len(lags) - 3)
                reason = (
                    f"a random walk from lag {lags[k]} on (p = {probability:.2f}), not before; {SAFETY:g} times that "
                    "is taken, since other motion may be left there that cannot be seen"
                )
            return start, Window(lags[start:], probability, True, reason)
    reason = "at no lag are the displacements those of a random walk: the run is too short, or motion is not diffusive"
    last = len(fits) - 1
    return last, Window(lags[last:], probability, False, reason)


def _fault(
    fits: list[LineFit],
    k: int,
    msd: Float[np.ndarray, " m"],
    covariance: WalkCovariance,
    n_coordinates: float,
) -> tuple[float, str]:
    """Probability of the chi-square of fit ``k``, and what speaks against a random walk from there on."""
    lags = covariance.lags
    known = _degrees(covariance.n_steps, lags, n_coordinates)
    probability = float(fdtrc(fits[k].n_degrees, known[-1], fits[k].chi_square / fits[k].n_degrees))
    if probability < LEAST_PROBABILITY:
        return probability, "displacements scatter about the line more than those of a random walk"
    unlikely = float(ndtr(-CHANGING_SLOPE))
    below = -fits[k].noise_variance / float(np.sqrt(fits[k].covariance[1, 1]))
    far = max(k + 1, int(np.searchsorted(lags, MOST_COMPARED * lags[-1], side="right")) - 1)
    growth = np.log(msd[far] / msd[k]) - np.log(lags[far] / lags[k]) if msd[k] > 0 else 0.0
    if stdtr(known[k], -below) < unlikely or growth > CHANGING_SLOPE * np.sqrt(2 / known[far]):
        return probability, "motion is ballistic at its beginning"
    for later in range(k + 1, len(fits)):
        if lags[later] > MOST_COMPARED * lags[-1]:
            break
        change = slope_difference(fits[k], fits[later], covariance.from_lag(k), later - k, n_coordinates)
        if stdtr(known[later], -abs(change)) < unlikely:
            return probability, "the slope changes with the lag"
    return probability, ""


def _degrees(n_steps: int, lags: Int[np.ndarray, " m"], n_coordinates: float) -> Float[np.ndarray, " m"]:
    """Degrees of freedom of M at each lag: it is a mean of squares, of which few are independent at long lags.

    The relative variance of M(k) of a walk is 4 k / 3 n; a chi-square of so many degrees has the same.
    """
    return np.asarray(1.5 * n_coordinates * n_steps / lags)
