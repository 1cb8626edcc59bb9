"""Elastic constants by central differences of the stress."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import StructureError
from limbeck.core.units import GPA
from limbeck.potentials.validate.relax import relax
from limbeck.potentials.validate.symmetry import point_group

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Tensor indices of the Voigt components xx, yy, zz, yz, xz, xy."""

INDEPENDENT = {
    "cubic": "11 12 44",
    "hexagonal": "11 33 12 13 44",
    "trigonal": "11 33 12 13 14 15 44",
    "tetragonal": "11 33 12 13 16 44 66",
    "orthorhombic": "11 22 33 12 13 23 44 55 66",
    "monoclinic": "11 22 33 12 13 23 15 25 35 46 44 55 66",
    "triclinic": "11 22 33 44 55 66 12 13 14 15 16 23 24 25 26 34 35 36 45 46 56",
}
"""Constants that symmetry leaves free, by crystal system (J. F. Nye, Physical Properties of Crystals, table 9). C15 of
trigonal and C16 of tetragonal crystals vanish in the classes of higher symmetry and are then left out."""


@dataclass(frozen=True)
class ElasticConstants:
    """Stiffness of a crystal at zero stress, atoms relaxed inside the strained cell.

    Attributes:
        stiffness_GPa: C (6, 6) in Voigt order, symmetric; in the Cartesian frame of the given structure.
        error_GPa: Error of each component: what the extrapolation to zero strain changed.
        asymmetry_GPa: Largest difference between C_ij and C_ji before they were averaged; large values mean that the
            stress is not the strain derivative of the energy, or that the atoms were not relaxed well enough.
        system: Crystal system.
        independent_GPa: ``C11`` ... -> the constants that the crystal's symmetry leaves free, in its standard axes (a
            along x, b in the xy plane), averaged over its point group.
        independent_error_GPa: Error of each: what the extrapolation changed, and the scatter of components that
            symmetry makes equal, added in squares.
        bulk_modulus_GPa: Hill's average of Voigt's and Reuss's bound.
        shear_modulus_GPa: The same for the shear modulus.
        bulk_modulus_error_GPa: What the extrapolation to zero strain changed in it.
        shear_modulus_error_GPa: The same for the shear modulus.
        bulk_bounds_GPa: Reuss, Voigt.
        shear_bounds_GPa: Reuss, Voigt.
        stable: All eigenvalues of C are positive (Born).
    """

    stiffness_GPa: Float[np.ndarray, "6 6"]
    error_GPa: Float[np.ndarray, "6 6"]
    asymmetry_GPa: float
    system: str
    independent_GPa: dict[str, float]
    independent_error_GPa: dict[str, float]
    bulk_modulus_GPa: float
    shear_modulus_GPa: float
    bulk_modulus_error_GPa: float
    shear_modulus_error_GPa: float
    bulk_bounds_GPa: tuple[float, float]
    shear_bounds_GPa: tuple[float, float]
    stable: bool


def elastic_constants(
    atoms: Atoms,
    calculator: "Calculator",
    *,
    strain: float = 0.004,
    fmax: float = 1e-3,
    max_steps: int = 300,
) -> ElasticConstants:
    """Relax the crystal, strain it, relax the atoms, difference the stress.

    Two steps, ``strain`` and ``2 strain``, are combined by Richardson's rule, C = (4 C(h) - C(2h)) / 3, whose error is
    of fourth order; |C(h) - C(2h)| / 3 is given as error.

    Args:
        atoms: A crystal near its equilibrium; a primitive cell is cheapest.
        calculator: The potential, with stress.
        strain: Engineering strain of the smaller step.
        fmax: Force limit of the relaxations, eV/Å.
        max_steps: Step limit of each relaxation.

    Returns:
        The stiffness and what follows from it.

    Raises:
        NotRelaxedError: If a relaxation does not converge.
        StructureError: If the structure is not periodic along all directions.
    """
    if not atoms.pbc.all():
        raise StructureError(f"elastic constants need periodicity along all directions, got {atoms.pbc.tolist()}.")
    start = relax(atoms, calculator, cell=True, fmax=fmax, smax_GPa=0.005, max_steps=max_steps).atoms
    fine = _stiffness(start, calculator, strain, fmax, max_steps)
    coarse = _stiffness(start, calculator, 2.0 * strain, fmax, max_steps)
    stiffness = (4.0 * fine - coarse) / 3.0 / GPA
    change = (fine - coarse) / 3.0 / GPA
    asymmetry = float(np.abs(stiffness - stiffness.T).max())
    stiffness, change = (stiffness + stiffness.T) / 2.0, (change + change.T) / 2.0
    bulk, shear = voigt_reuss_bounds(stiffness)
    bulk_before, shear_before = voigt_reuss_bounds(stiffness - change)
    system, independent, independent_error = independent_constants(start, stiffness, change)
    return ElasticConstants(
        stiffness_GPa=stiffness,
        error_GPa=np.abs(change),
        asymmetry_GPa=asymmetry,
        system=system,
        independent_GPa=independent,
        independent_error_GPa=independent_error,
        bulk_modulus_GPa=float(np.mean(bulk)),
        shear_modulus_GPa=float(np.mean(shear)),
        bulk_modulus_error_GPa=abs(float(np.mean(bulk) - np.mean(bulk_before))),
        shear_modulus_error_GPa=abs(float(np.mean(shear) - np.mean(shear_before))),
        bulk_bounds_GPa=bulk,
        shear_bounds_GPa=shear,
        stable=bool(np.linalg.eigvalsh(stiffness).min() > 0),
    )


def strained(atoms: Atoms, strain: Float[np.ndarray, " 6"]) -> Atoms:
    """Copy deformed by a small symmetric strain in Voigt order (engineering shears); atoms move with the cell."""
    gradient = np.eye(3)
    for (i, j), value in zip(VOIGT, strain, strict=True):
        gradient[i, j] += value if i == j else value / 2.0
        if i != j:
            gradient[j, i] += value / 2.0
    copy = atoms.copy()
    copy.set_cell(atoms.cell[:] @ gradient.T, scale_atoms=True)
    return copy


def _stiffness(start: Atoms, calculator: "Calculator", step: float, fmax: float, max_steps: int) -> np.ndarray:
    """C (6, 6) in eV/Å^3: column j is the central difference of the stress over strain j."""
    columns = []
    for component in range(6):
        stress = []
        for sign in (1.0, -1.0):
            strain = np.zeros(6)
            strain[component] = sign * step
            relaxed = relax(strained(start, strain), calculator, fmax=fmax, max_steps=max_steps).atoms
            relaxed.calc = calculator
            stress.append(np.asarray(relaxed.get_stress(), dtype=float))
        columns.append((stress[0] - stress[1]) / (2.0 * step))
    return np.array(columns).T


def voigt_reuss_bounds(stiffness: Float[np.ndarray, "6 6"]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Bounds of the polycrystal's moduli (R. Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307).

    Returns:
        ``(Reuss, Voigt)`` of the bulk modulus and of the shear modulus, in the unit of the stiffness.
    """
    c, s = np.asarray(stiffness), np.linalg.inv(stiffness)
    on, off, shear = np.trace(c[:3, :3]), c[0, 1] + c[0, 2] + c[1, 2], np.trace(c[3:, 3:])
    s_on, s_off, s_shear = np.trace(s[:3, :3]), s[0, 1] + s[0, 2] + s[1, 2], np.trace(s[3:, 3:])
    bulk = (1.0 / (s_on + 2.0 * s_off), (on + 2.0 * off) / 9.0)
    moduli = (15.0 / (4.0 * s_on - 4.0 * s_off + 3.0 * s_shear), (on - off + 3.0 * shear) / 15.0)
    return (float(bulk[0]), float(bulk[1])), (float(moduli[0]), float(moduli[1]))


def rotate_stiffness(stiffness: Float[np.ndarray, "6 6"], rotation: Float[np.ndarray, "3 3"]) -> np.ndarray:
    """Stiffness in axes turned by ``rotation`` (new components = rotation @ old components, for vectors)."""
    full = np.zeros((3, 3, 3, 3))
    for a, (i, j) in enumerate(VOIGT):
        for b, (k, m) in enumerate(VOIGT):
            full[i, j, k, m] = full[j, i, k, m] = full[i, j, m, k] = full[j, i, m, k] = stiffness[a, b]
    turned = np.einsum("ai,bj,ck,dm,ijkm->abcd", rotation, rotation, rotation, rotation, full, optimize=True)
    return np.array([[turned[i, j, k, m] for (k, m) in VOIGT] for (i, j) in VOIGT])


def independent_constants(
    atoms: Atoms, stiffness: Float[np.ndarray, "6 6"], change: Float[np.ndarray, "6 6"]
) -> tuple[str, dict[str, float], dict[str, float]]:
    """Constants that the crystal's symmetry (found by spglib) leaves free, in its standard axes.

    Args:
        atoms: The crystal in the axes of the stiffness.
        stiffness: C.
        change: What the extrapolation changed in C, with its sign.

    Returns:
        Crystal system; ``C11`` ... -> value; the same -> error.
    """
    system, to_standard, group = point_group(atoms)
    turned = np.array([rotate_stiffness(stiffness, rotation @ to_standard) for rotation in group])
    mean, scatter = turned.mean(axis=0), turned.std(axis=0)
    shift = np.mean([rotate_stiffness(change, rotation @ to_standard) for rotation in group], axis=0)
    negligible = 1e-9 * float(np.abs(mean).max())
    values, errors = {}, {}
    for name in INDEPENDENT[system].split():
        i, j = int(name[0]) - 1, int(name[1]) - 1
        if name in ("15", "16") and system in ("trigonal", "tetragonal") and abs(mean[i, j]) < negligible:
            continue
        values[f"C{name}"] = float(mean[i, j])
        errors[f"C{name}"] = float(np.hypot(shift[i, j], scatter[i, j]))
    return system, values, errors
