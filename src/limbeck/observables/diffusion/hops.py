"""Hops of particles between sites, counted without knowing the sites, and what their number allows to be said."""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2

from limbeck.observables.diffusion.kernels import hops_of

HOP_LENGTH_A = 2.0
"""Displacement that counts as a hop, unless told otherwise: sites of mobile ions lie 1.5 to 3.5 Å apart."""
FEW_HOPS = 20
"""Fewer hops than these rule the interval of a coefficient by themselves."""


def count_hops(places: Float[np.ndarray, "n_times n_particles n_axes"], length_A: float) -> Int[np.ndarray, " n"]:
    """Hops of each particle: times that it is farther than a length from where its last hop took it."""
    return np.asarray(hops_of(np.asarray(places, dtype=np.float64), float(length_A)))


def poisson_interval(value: float, of_one_hop: float, hops: int, level: float) -> tuple[float, float]:
    """Interval of a coefficient that is proportional to a number of independent hops.

    Without a hop it goes from zero to the rate that would have shown one (F. Garwood, Biometrika 28, 437 (1936),
    doi:10.1093/biomet/28.3-4.437).

    Args:
        value: The coefficient.
        of_one_hop: What one hop in the whole run adds to it.
        hops: Number of hops.
        level: Rate at which the interval holds the truth.
    """
    tail = 0.5 - 0.5 * level
    scale = max(value / hops, of_one_hop) if hops else of_one_hop
    low = scale * float(chi2.ppf(tail, 2 * hops)) / 2 if hops else 0.0
    return low, scale * float(chi2.isf(tail, 2 * hops + 2)) / 2
