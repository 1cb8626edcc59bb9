"""Diffusion from velocities: the Green-Kubo integral, as a cross-check of the Einstein relation.

    D(t) = 1/d integral_0^t <v(s) . v(0)> ds  ->  D

Both relations hold the same information, but velocities know nothing of unwrapping, drift between frames or windows in
the mean square displacement, so an error in those shows as a difference. The integral stops growing where velocities
have forgotten themselves; beyond, it only gathers noise. It is cut at twice the first time from which on it stays
within its error for as long again: at that time what is left may still be one error, twice as late it is far less.

Source: R. Kubo, J. Phys. Soc. Jpn. 12, 570 (1957), doi:10.1143/JPSJ.12.570.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.fft import irfft, next_fast_len, rfft

from limbeck.core.estimate import Estimate
from limbeck.observables.diffusion.blocks import over_particles
from limbeck.observables.diffusion.tracer import CM2_PER_S
from limbeck.observables.diffusion.walkers import Walkers, as_walkers, over_batches

LARGEST_LAG = 0.1
"""Longest time of the integral, as a share of the run."""


@dataclass(frozen=True)
class GreenKubo:
    """The integral over time.

    Attributes:
        coefficient: D in cm^2/s at the time of the cut, with the error of blocks of particles.
        degrees: Degrees of freedom of that error.
        cut_fs: Time at which the integral was cut.
        is_converged: Whether it had come to rest before the longest time.
        times_fs: (m,) times.
        correlation: (m,) ``<v(t) . v(0)> / d``, (Å/fs)^2.
        integral: (m,) D(t) in cm^2/s.
        errors: (m,) its standard errors.
    """

    coefficient: Estimate
    degrees: float
    cut_fs: float
    is_converged: bool
    times_fs: Float[np.ndarray, " m"]
    correlation: Float[np.ndarray, " m"]
    integral: Float[np.ndarray, " m"]
    errors: Float[np.ndarray, " m"]


def green_kubo(
    velocities: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']", interval_fs: float
) -> GreenKubo:
    """Diffusion coefficient from velocities.

    Args:
        velocities: Å/fs, at equal intervals short enough that velocities hardly turn between them (a twentieth of the
            fastest period); relative to the same frame of reference as the paths they are compared with.
        interval_fs: Time between frames.

    Raises:
        ValueError: If there are fewer than eight particles (no error could be given) or fewer than 40 frames.
    """
    walkers = as_walkers(velocities)
    n_frames, n_particles, n_axes = walkers.shape
    n_lags = max(4, int(LARGEST_LAG * n_frames))
    if n_frames < 40 or n_particles < 8:
        raise ValueError(f"Green-Kubo needs 40 frames and 8 particles, got {n_frames} and {n_particles}")
    size = next_fast_len(n_frames + n_lags, real=True)

    def work(part: np.ndarray, _: slice) -> np.ndarray:
        spectrum = rfft(part, size, axis=2)
        power = (spectrum.real**2 + spectrum.imag**2).sum(axis=1)
        return np.asarray(irfft(power, size, axis=1)[:, :n_lags] / (n_frames - np.arange(n_lags)) / n_axes)

    each = np.concatenate(list(over_batches(walkers, work)))
    steps = 0.5 * (each[:, 1:] + each[:, :-1]) * interval_fs
    integrals = np.concatenate([np.zeros((n_particles, 1)), np.cumsum(steps, axis=1)], axis=1) * CM2_PER_S
    integral = integrals.mean(axis=0)
    owner = np.arange(n_particles) * min(n_particles, 40) // n_particles
    blocks = np.array([integrals[owner == b].mean(axis=0) for b in range(owner[-1] + 1)])
    errors = blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))
    cut, converged = _rest(integral, errors)
    jackknife = over_particles(integrals[:, cut])
    assert jackknife is not None
    estimate = Estimate(
        float(integral[cut]), jackknife.standard_error, float(n_particles), "cm^2/s",
        f"Green-Kubo integral to {cut * interval_fs:g} fs, jackknife over {jackknife.n_blocks} blocks of particles",
    )  # fmt: skip
    return GreenKubo(
        estimate, float(jackknife.n_blocks - 1), cut * interval_fs, converged, interval_fs * np.arange(n_lags),
        each.mean(axis=0), integral, errors,
    )  # fmt: skip


def _rest(integral: np.ndarray, errors: np.ndarray) -> tuple[int, bool]:
    """Twice the first time from which on the integral stays within its error until then."""
    for cut in range(2, len(integral) // 2):
        later = slice(cut, 2 * cut + 1)
        if np.all(np.abs(integral[later] - integral[cut]) <= errors[later]):
            return 2 * cut, True
    return len(integral) - 1, False
