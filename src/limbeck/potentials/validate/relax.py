"""Relaxation that either converges or says by how much it did not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import DynamicsError
from limbeck.core.units import GPA
from limbeck.structures.check import check_structure

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


class NotRelaxedError(DynamicsError):
    """A relaxation ran out of steps; properties of a structure that is not relaxed would be wrong."""


@dataclass(frozen=True)
class Relaxed:
    """A relaxed structure.

    Attributes:
        atoms: The structure, without calculator.
        energy: eV.
        forces: (n_atoms, 3), eV/Å.
        max_force: Longest force, eV/Å.
        max_stress_GPa: Largest stress component; NaN if the cell was fixed.
        steps: Steps taken.
    """

    atoms: Atoms
    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    max_force: float
    max_stress_GPa: float
    steps: int


def relax(
    atoms: Atoms,
    calculator: "Calculator",
    *,
    cell: bool = False,
    fmax: float = 1e-3,
    smax_GPa: float = 0.02,
    max_steps: int = 300,
) -> Relaxed:
    """Relax positions, and the cell if asked, by BFGS.

    Args:
        atoms: The start; not changed.
        calculator: The potential.
        cell: Also relax the cell, to zero stress.
        fmax: Largest force allowed at the end, eV/Å.
        smax_GPa: Largest stress component allowed at the end.
        max_steps: Most steps.

    Returns:
        The relaxed structure. Symmetric starts stay symmetric to round-off.

    Raises:
        NotRelaxedError: If it does not converge; says the force and stress that were left.
        StructureError: If the start, or the end, is unusable.
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    check_structure(atoms)
    moving = Atoms(
        atoms.get_atomic_numbers(), atoms.get_positions(), cell=atoms.cell[:], pbc=atoms.pbc, masses=atoms.get_masses()
    )
    if atoms.has("initial_magmoms"):
        moving.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    moving.calc = calculator
    volume = moving.get_volume()
    # the filter's cell gradient is volume x stress: ask for what the stress limit means in this cell
    limit = min(fmax, smax_GPa * GPA * volume) if cell else fmax
    optimizer = BFGS(FrechetCellFilter(moving) if cell else moving, logfile=None, maxstep=0.1)
    try:
        converged = optimizer.run(fmax=limit, steps=max_steps)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise NotRelaxedError(f"the relaxation of {moving.get_chemical_formula()} broke down: {error}.") from error
    forces = np.asarray(moving.get_forces(), dtype=float)
    max_force = float(np.linalg.norm(forces, axis=1).max())
    max_stress = float(np.abs(moving.get_stress()).max() / GPA) if cell else float("nan")
    within = max_force <= fmax and (not cell or max_stress <= smax_GPa)
    if not (converged or within):
        left = f"force {max_force:.2g} eV/Å (wanted {fmax:.2g})"
        left += f", stress {max_stress:.2g} GPa (wanted {smax_GPa:.2g})" if cell else ""
        raise NotRelaxedError(
            f"{moving.get_chemical_formula()} did not relax in {max_steps} steps: {left} is left. Start from a better "
            "structure, allow more steps, or check whether the potential is smooth."
        )
    energy = float(moving.get_potential_energy())
    moving.calc = None
    check_structure(moving)
    moving.info = dict(atoms.info)
    return Relaxed(moving, energy, forces, max_force, max_stress, optimizer.get_number_of_steps())
