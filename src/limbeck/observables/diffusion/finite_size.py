"""Finite-size correction of diffusion in liquids.

A particle in a periodic box drags its own images through the fluid: D(L) = D - xi kB T / (6 pi eta L),
xi = 2.837297 for a cube. Solids with a rigid host have no such flow, so no correction.

Source: I.-C. Yeh, G. Hummer, J. Phys. Chem. B 108, 15873 (2004), doi:10.1021/jp0477147.
"""

import numpy as np

from limbeck.core.estimate import Estimate

XI = 2.837297
"""Lattice sum of a simple cubic array."""
BOLTZMANN_J_PER_K = 1.380649e-23


def yeh_hummer(diffusion: Estimate, temperature_K: float, viscosity: Estimate, length_A: float) -> Estimate:
    """Diffusion coefficient of a liquid in an infinite box.

    Args:
        diffusion: D in the periodic cubic box, cm^2/s.
        temperature_K: Temperature.
        viscosity: Shear viscosity in mPa s, which does not depend on the size.
        length_A: Edge of the box.

    Raises:
        ValueError: If temperature, viscosity or length are not above zero, or units are others.
    """
    if not (temperature_K > 0 and viscosity.value > 0 and length_A > 0):
        raise ValueError("temperature, viscosity and length must be above zero")
    if diffusion.unit != "cm^2/s" or viscosity.unit != "mPa s":
        raise ValueError(f"expected D in cm^2/s and a viscosity in mPa s, got {diffusion.unit} and {viscosity.unit}")
    m2_per_s = XI * BOLTZMANN_J_PER_K * temperature_K / (6 * np.pi * viscosity.value * 1e-3 * length_A * 1e-10)
    shift = 1e4 * m2_per_s
    error = float(np.hypot(diffusion.standard_error, shift * viscosity.standard_error / viscosity.value))
    return Estimate(
        diffusion.value + shift, error, diffusion.n_effective, "cm^2/s", f"{diffusion.method}; Yeh-Hummer correction"
    )
