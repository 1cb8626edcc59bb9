"""Harmonic phonons by finite displacements (phonopy)."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import MissingDependencyError, StructureError
from limbeck.potentials.validate.relax import relax
from limbeck.potentials.validate.symmetry import conventional_cell

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Phonons:
    """Phonon frequencies in THz; imaginary ones are negative.

    Attributes:
        distances: Length along the path, 1/Å with 2 pi, (n_q,).
        q_points: Points in units of the primitive reciprocal cell, (n_q, 3).
        frequencies_THz: (n_q, n_bands), ascending in each row.
        special_points: Name of a point -> frequencies there, for example ``G``, ``X``, ``L``.
        labels: Position along the path and name of each special point, in order, for the axis of a plot.
        dos_frequencies_THz: Frequencies of the density of states, empty if it was not asked for.
        dos: States per THz and primitive cell; integrates to 3 n_primitive.
        acoustic_sum_THz: Largest frequency of the three acoustic modes at Gamma before the sum rule was imposed: how
            far the forces are from translation invariance.
        imaginary: A frequency away from Gamma is below -0.05 THz: the structure is unstable.
        displacements: Number of force calculations.
        supercell_atoms: Atoms in the supercell.
    """

    distances: Float[np.ndarray, " n_q"]
    q_points: Float[np.ndarray, "n_q 3"]
    frequencies_THz: Float[np.ndarray, "n_q n_bands"]
    special_points: dict[str, Float[np.ndarray, " n_bands"]]
    labels: tuple[tuple[float, str], ...]
    dos_frequencies_THz: Float[np.ndarray, " n_dos"]
    dos: Float[np.ndarray, " n_dos"]
    acoustic_sum_THz: float
    imaginary: bool
    displacements: int
    supercell_atoms: int


def phonons(
    atoms: Atoms,
    calculator: "Calculator",
    supercell: tuple[int, int, int] | None = None,
    *,
    displacement: float = 0.01,
    n_points: int = 100,
    dos_mesh: tuple[int, int, int] | None = None,
    least_width: float = 10.0,
    fmax: float = 1e-3,
    max_steps: int = 300,
) -> Phonons:
    """Relax the crystal, displace atoms in a supercell of its conventional cell, Fourier-transform the forces.

    Args:
        atoms: A crystal near its equilibrium, in any cell.
        calculator: The potential.
        supercell: Repetitions of the standardized conventional cell; ``None`` takes the fewest that make it at least
            ``least_width`` wide. Silicon then has 2 x 2 x 2 (64 atoms) and, by symmetry, one displacement.
        displacement: Å. Forces at plus and minus are used where symmetry does not give one from the other.
        n_points: Points along the band path (of ASE, for the crystal's Bravais lattice).
        dos_mesh: q mesh of the density of states; ``None`` leaves it out.
        least_width: Å.
        fmax: Force limit of the relaxation, eV/Å.
        max_steps: Step limit of the relaxation.

    Returns:
        Frequencies. Polar crystals have no splitting of longitudinal and transverse modes at Gamma (no charges here).

    Raises:
        NotRelaxedError: If the relaxation does not converge.
        StructureError: If the structure is not a three-dimensional crystal.
        MissingDependencyError: If phonopy is not installed.
    """
    if not atoms.pbc.all():
        raise StructureError(f"phonons need periodicity along all directions, got {atoms.pbc.tolist()}.")
    relaxed = relax(atoms, calculator, cell=True, fmax=fmax, max_steps=max_steps).atoms
    conventional = conventional_cell(relaxed)
    masses = dict(zip(relaxed.get_atomic_numbers(), relaxed.get_masses(), strict=True))
    conventional.set_masses([masses[number] for number in conventional.get_atomic_numbers()])
    if supercell is None:
        widths = 1.0 / np.linalg.norm(np.linalg.inv(conventional.cell[:]), axis=0)
        n = np.ceil(least_width / widths - 1e-6).astype(int)
        supercell = (int(n[0]), int(n[1]), int(n[2]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy announces changes of its own interface
        phonon = _force_constants(conventional, calculator, supercell, displacement)
        acoustic = np.sort(np.abs(_frequencies(phonon, np.zeros((1, 3)))[0]))[:3].max()
        phonon.symmetrize_force_constants(level=2, show_drift=False)
        primitive = _to_ase(phonon.primitive)
        path = primitive.cell.bandpath(npoints=n_points)
        frequencies = _frequencies(phonon, path.kpts)
        distances, positions, names = path.get_linear_kpoint_axis()
        special = {name: _frequencies(phonon, path.special_points[name][None])[0] for name in dict.fromkeys(names)}
        dos_frequencies, dos = _density_of_states(phonon, dos_mesh)
    away = np.linalg.norm(path.kpts - np.round(path.kpts), axis=1) > 1e-3
    return Phonons(
        distances=distances,
        q_points=path.kpts,
        frequencies_THz=frequencies,
        special_points=special,
        labels=tuple((float(x), str(name)) for x, name in zip(positions, names, strict=True)),
        dos_frequencies_THz=dos_frequencies,
        dos=dos,
        acoustic_sum_THz=float(acoustic),
        imaginary=bool(frequencies[away].min() < -0.05),
        displacements=len(phonon.supercells_with_displacements),
        supercell_atoms=len(phonon.supercell),
    )


def _force_constants(
    conventional: Atoms, calculator: "Calculator", supercell: tuple[int, int, int], displacement: float
) -> Any:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise MissingDependencyError("phonons need phonopy. Install it with: pip install 'phonopy>=4.8'") from error
    cell = PhonopyAtoms(
        numbers=conventional.get_atomic_numbers(),
        masses=conventional.get_masses(),
        cell=conventional.cell[:],
        scaled_positions=conventional.get_scaled_positions(),
    )
    phonon = Phonopy(cell, supercell_matrix=np.diag(supercell), primitive_matrix="auto", symprec=1e-4)
    phonon.generate_displacements(distance=displacement)
    ideal = _forces(_to_ase(phonon.supercell), calculator)
    phonon.forces = [_forces(_to_ase(s), calculator) - ideal for s in phonon.supercells_with_displacements]
    phonon.produce_force_constants(show_drift=False)
    return phonon


def _forces(atoms: Atoms, calculator: "Calculator") -> np.ndarray:
    atoms.calc = calculator
    return np.asarray(atoms.get_forces(), dtype=float)


def _to_ase(cell: Any) -> Atoms:
    return Atoms(cell.numbers, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True)


def _frequencies(phonon: Any, q_points: np.ndarray) -> np.ndarray:
    phonon.run_qpoints(q_points)
    return np.array(phonon.get_qpoints_dict()["frequencies"])


def _density_of_states(phonon: Any, mesh: tuple[int, int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    if mesh is None:
        return np.zeros(0), np.zeros(0)
    phonon.run_mesh(list(mesh))
    phonon.run_total_dos()
    total = phonon.get_total_dos_dict()
    return np.array(total["frequency_points"]), np.array(total["total_dos"])
