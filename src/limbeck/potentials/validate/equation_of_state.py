"""Equation of state: energy against volume, Birch-Murnaghan."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import StructureError
from limbeck.core.units import GPA
from limbeck.potentials.validate.relax import relax
from limbeck.potentials.validate.symmetry import lattice_parameters

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class EquationOfState:
    """Third-order Birch-Murnaghan fit and the points behind it.

    Attributes:
        volume_per_atom: Volume at zero pressure, Å^3/atom.
        energy_per_atom: Energy there, eV/atom.
        bulk_modulus_GPa: B0.
        bulk_modulus_error_GPa: Change of B0 when the two outermost points are left out.
        bulk_modulus_derivative: B0', dimensionless.
        lattice_constants_A: ``a`` and, where symmetry leaves them free, ``b`` and ``c`` of the standardized
            conventional cell at zero pressure.
        angles_degree: Its free angles, by name; empty but for monoclinic and triclinic crystals.
        volumes_per_atom: Points, Å^3/atom.
        energies_per_atom: Points, eV/atom.
        residual_meV_per_atom: Root mean square deviation of the fit.
    """

    volume_per_atom: float
    energy_per_atom: float
    bulk_modulus_GPa: float
    bulk_modulus_error_GPa: float
    bulk_modulus_derivative: float
    lattice_constants_A: dict[str, float]
    angles_degree: dict[str, float]
    volumes_per_atom: Float[np.ndarray, " n_points"]
    energies_per_atom: Float[np.ndarray, " n_points"]
    residual_meV_per_atom: float


def birch_murnaghan(
    volumes: Float[np.ndarray, " n"], energy: float, volume: float, bulk_modulus: float, derivative: float
) -> Float[np.ndarray, " n"]:
    """Third-order Birch-Murnaghan energy (F. Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809).

    E(V) = E0 + 9/16 V0 B0 [ (x - 1)^3 B0' + (x - 1)^2 (6 - 4 x) ],  x = (V0 / V)^(2/3)

    | symbol | argument |
    |---|---|
    | V | ``volumes`` (Å^3) |
    | E0, V0 | ``energy`` (eV), ``volume`` (Å^3) |
    | B0, B0' | ``bulk_modulus`` (eV/Å^3), ``derivative`` |
    """
    x = (volume / np.asarray(volumes)) ** (2.0 / 3.0)
    return np.asarray(
        energy + 9.0 / 16.0 * volume * bulk_modulus * ((x - 1) ** 3 * derivative + (x - 1) ** 2 * (6 - 4 * x))
    )


def fit_birch_murnaghan(
    volumes: Float[np.ndarray, " n"], energies: Float[np.ndarray, " n"]
) -> tuple[float, float, float, float]:
    """Least-squares fit; the form is a cubic polynomial in V^(-2/3), so the fit is linear and has one solution.

    Returns:
        E0 (eV), V0 (Å^3), B0 (eV/Å^3), B0'.

    Raises:
        StructureError: With fewer than four points, or if the fit has no minimum between them.
    """
    volumes, energies = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    if len(volumes) < 4:
        raise StructureError(f"a Birch-Murnaghan fit needs at least 4 volumes, got {len(volumes)}.")
    reference = float(np.median(volumes))
    x = (volumes / reference) ** (-2.0 / 3.0)
    cubic = np.polynomial.Polynomial.fit(x, energies - energies.mean(), 3).convert()
    slope, curvature, third = cubic.deriv(), cubic.deriv(2), cubic.deriv(3)
    roots = [float(r.real) for r in slope.roots() if abs(r.imag) < 1e-9 and x.min() <= r.real <= x.max()]
    minima = [root for root in roots if curvature(root) > 0]
    if not minima:
        raise StructureError(
            f"no energy minimum between {volumes.min():.2f} and {volumes.max():.2f} Å^3: lowest energy at "
            f"{volumes[int(np.argmin(energies))]:.2f} Å^3. Start nearer to the equilibrium volume or widen the range."
        )
    root = minima[0]
    volume = reference * root**-1.5
    # dE/dV and its derivatives at the minimum, where dE/dx = 0, with x = (V / reference)^(-2/3)
    first = -2.0 / 3.0 * root / volume
    second = 10.0 / 9.0 * root / volume**2
    energy_2 = curvature(root) * first**2
    energy_3 = third(root) * first**3 + 3.0 * curvature(root) * first * second
    bulk_modulus = volume * energy_2
    derivative = -1.0 - volume * energy_3 / energy_2
    return float(cubic(root) + energies.mean()), volume, float(bulk_modulus), float(derivative)


def equation_of_state(
    atoms: Atoms,
    calculator: "Calculator",
    *,
    volume_range: float = 0.06,
    n_points: int = 9,
    fmax: float = 2e-3,
    max_steps: int = 300,
) -> EquationOfState:
    """Relax the crystal, scale it, relax the atoms at each volume, fit.

    Args:
        atoms: A crystal near its equilibrium; a primitive cell is cheapest.
        calculator: The potential; needs stress for the first relaxation.
        volume_range: Volumes reach from 1 - range to 1 + range times that at zero pressure.
        n_points: Volumes.
        fmax: Force limit of the relaxations, eV/Å.
        max_steps: Step limit of each relaxation.

    Returns:
        The fit. The cell's shape is that at zero pressure throughout, which for cubic crystals is no restriction.

    Raises:
        NotRelaxedError: If a relaxation does not converge.
        StructureError: If there is no minimum in the range.
    """
    start = relax(atoms, calculator, cell=True, fmax=fmax, max_steps=max_steps).atoms
    n_atoms = len(start)
    scales = np.linspace(1.0 - volume_range, 1.0 + volume_range, n_points)
    volumes, energies = [], []
    for scale in scales:
        scaled = start.copy()
        scaled.set_cell(start.cell[:] * scale ** (1.0 / 3.0), scale_atoms=True)
        point = relax(scaled, calculator, fmax=fmax, max_steps=max_steps)
        volumes.append(point.atoms.get_volume() / n_atoms)
        energies.append(point.energy / n_atoms)
    v, e = np.array(volumes), np.array(energies)
    energy, volume, bulk_modulus, derivative = fit_birch_murnaghan(v, e)
    inner = fit_birch_murnaghan(v[1:-1], e[1:-1])[2] if n_points >= 6 else float("nan")
    parameters = lattice_parameters(start)
    stretch = (volume * n_atoms / start.get_volume()) ** (1 / 3)
    fitted = birch_murnaghan(v, energy, volume, bulk_modulus, derivative)
    return EquationOfState(
        volume_per_atom=volume,
        energy_per_atom=energy,
        bulk_modulus_GPa=bulk_modulus / GPA,
        bulk_modulus_error_GPa=abs(inner - bulk_modulus) / GPA,
        bulk_modulus_derivative=derivative,
        lattice_constants_A={name: value * stretch for name, value in parameters.items() if name in "abc"},
        angles_degree={name: value for name, value in parameters.items() if name not in "abc"},
        volumes_per_atom=v,
        energies_per_atom=e,
        residual_meV_per_atom=float(np.sqrt(np.mean((fitted - e) ** 2)) * 1e3),
    )
