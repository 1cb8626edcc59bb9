"""Charge transport: collective diffusion, ionic conductivity, Haven ratio.

The charge that moves is one coordinate, P(t) = sum_i q_i r_i(t), in the frame of reference of the paths:

    sigma = lim d/dt <|P(t) - P(0)|^2> / (2 d V kB T)

Of independent ions it is the Nernst-Einstein value, sigma_NE = sum_i q_i^2 D_i / (V kB T). Their quotient
H = sigma_NE / sigma is the Haven ratio: below one where ions push each other along. One coordinate has the statistics
of one walker, whatever the number of ions: sigma is known sqrt(N) times worse than D, and so is H.

Source: A. France-Lanord, J. C. Grossman, Phys. Rev. Lett. 122, 136001 (2019), doi:10.1103/PhysRevLett.122.136001;
G. E. Murch, Solid State Ionics 7, 177 (1982), doi:10.1016/0167-2738(82)90050-9.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import StructureError
from limbeck.core.estimate import Estimate
from limbeck.core.units import KB
from limbeck.observables.diffusion.errors import ErrorKind
from limbeck.observables.diffusion.hops import HOP_LENGTH_A
from limbeck.observables.diffusion.paths import Paths
from limbeck.observables.diffusion.tracer import CM2_PER_S, Diffusion, Variance, diffusion
from limbeck.observables.diffusion.walk import FitKind
from limbeck.observables.diffusion.walkers import over_batches

MS_PER_CM = 1.602176634e7
"""One e^2 / (Å fs eV) in mS/cm."""
STILL = 1e-9
"""Displacements of the charge below this share of those of all ions in step are rounding."""


@dataclass(frozen=True)
class Transport:
    """Diffusion of each species and of the charge.

    Attributes:
        tracer: Species -> diffusion of its particles.
        charge: Diffusion of the charge, in units of the elementary charge: cm^2/s times e^2.
        conductivity: mS/cm.
        nernst_einstein: Conductivity if ions were independent, mS/cm.
        haven_ratio: Their quotient.
        variance: Variance of the conductivity at any true one, (mS/cm)^2.
        degrees: Degrees of freedom of the errors of conductivity and Haven ratio.
        warnings: What a reader must know of the charge.
    """

    tracer: dict[str, Diffusion]
    charge: Diffusion
    conductivity: Estimate
    nernst_einstein: Estimate
    haven_ratio: Estimate
    variance: Variance
    degrees: float
    warnings: tuple[str, ...]

    def conductivity_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of the conductivity in mS/cm that holds the truth at the given rate."""
        return self.variance.interval(self.conductivity.value, self.degrees, level)

    def haven_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of the Haven ratio that holds the truth at the given rate.

        That of its inverse, inverted: it has no upper end where the conductivity may be zero.
        """
        independent = self.nernst_einstein
        if independent.value <= 0:
            return float("nan"), float("inf")
        more = (independent.standard_error / independent.value) ** 2
        variance = self.variance.scaled(1 / independent.value, more)
        low, high = variance.interval(self.conductivity.value / independent.value, self.degrees, level)
        return (1 / high if high > 0 else float("nan")), (1 / low if low > 0 else float("inf"))


def transport(
    paths: Paths,
    temperature_K: float,
    charges: Mapping[str, float],
    window: Sequence[int] | None = None,
    hop_length_A: float = HOP_LENGTH_A,
    line: FitKind = "generalized",
    errors: ErrorKind = "automatic",
) -> Transport:
    """Conductivity and Haven ratio of the ions in ``paths``.

    Args:
        paths: Paths of all mobile ions.
        temperature_K: Temperature of the run.
        charges: Charge of each mobile species in elementary charges.
        window: Lags in frames of all fits; chosen where left out.
        hop_length_A: Displacement that counts as a hop.
        line: Least squares of all lines, see :func:`limbeck.observables.diffusion.tracer.diffusion`.
        errors: Which error counts, see there.

    Raises:
        StructureError: If a species has no charge, all are zero, or the cell has no volume.
        ValueError: If the temperature is not positive, or the run is too short.
    """
    present = sorted(set(paths.species))
    missing = [s for s in present if s not in charges]
    if missing or not any(charges[s] for s in present):
        raise StructureError(f"conductivity needs the charges of {', '.join(missing or present)}, for example Li=1.")
    if not np.isfinite(paths.volume_A3):
        raise StructureError("conductivity needs a cell that is periodic in all directions: there is no volume.")
    if not temperature_K > 0:
        raise ValueError(f"temperature must be positive, got {temperature_K} K")
    tracer = {
        s: diffusion(paths.of(s), paths.interval_fs, window=window, hop_length_A=hop_length_A, line=line, errors=errors)
        for s in present
    }
    moved, farthest = charge_path(paths, charges)
    if np.abs(moved).max() < STILL * sum(abs(charges[s]) for s in paths.species) * farthest:
        raise StructureError(
            "the charge does not move: relative to the center of mass of all atoms there is no current of ions that "
            "are all alike. Use reference 'host' with a host, or 'none'."
        )
    charge = diffusion(
        moved[:, None, :],
        paths.interval_fs,
        window=window,
        hop_length_A=None,
        least_lag=max(int(found.window.lags[0]) for found in tracer.values()),
        line=line,
        errors=errors,
    )
    scale = MS_PER_CM / CM2_PER_S / (paths.volume_A3 * KB * temperature_K)
    shares = {s: paths.species.count(s) * charges[s] ** 2 * scale for s in present}
    independent = sum(shares[s] * tracer[s].coefficient.value for s in present)
    independent_error = float(np.hypot.reduce([shares[s] * tracer[s].coefficient.standard_error for s in present]))
    d = charge.coefficient
    hops = sum(int(found.hops.sum()) for found in tracer.values())
    more = 1.0 / hops if hops else 0.0  # of a sum over so many independent hops
    variance = charge.variance.scaled(scale, more)
    error = float(np.hypot(d.standard_error, d.value * np.sqrt(more))) * scale
    conductivity = Estimate(d.value * scale, error, d.n_effective, "mS/cm", d.method)
    nernst_einstein = Estimate(
        independent, independent_error, (2 / (independent_error / independent) ** 2), "mS/cm", "Nernst-Einstein"
    )
    known = independent > 0 and conductivity.value > 0
    ratio = independent / conductivity.value if known else float("nan")
    relative = np.hypot(independent_error / independent, conductivity.standard_error / conductivity.value)
    haven = Estimate(ratio, float(abs(ratio) * relative), d.n_effective, "1", f"quotient; {d.method}")
    warnings = tuple(f"conductivity: {text}" for text in charge.warnings)
    return Transport(tracer, charge, conductivity, nernst_einstein, haven, variance, charge.degrees, warnings)


def charge_path(paths: Paths, charges: Mapping[str, float]) -> tuple[Float[np.ndarray, "n_frames 3"], float]:
    """Displacement of the charge from its beginning in e Å, and the farthest that one ion went along an axis in Å.

    It is relative to the host, whatever the frame of the paths: a host that moves carries the opposite charge.
    """
    values = np.array([charges[s] for s in paths.species])

    def work(part: np.ndarray, where: slice) -> tuple[np.ndarray, float]:
        part = part - part[:, :, :1]
        return np.einsum("p,pxf->fx", values[where], part), float(np.abs(part).max())

    moved, farthest = np.zeros((paths.n_frames, 3)), 0.0
    for share, far in over_batches(paths.walkers, work):
        moved += share
        farthest = max(farthest, far)
    if paths.host is not None:
        host = paths.host.read(slice(None))[0].T
        moved -= values.sum() * (host - host[0])
    return moved, farthest
