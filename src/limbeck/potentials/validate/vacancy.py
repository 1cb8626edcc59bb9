"""Formation energy of vacancies: of one atom in an element, summed over one formula unit in a compound."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase import Atoms

from limbeck.core.errors import StructureError
from limbeck.potentials.validate.relax import relax

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Vacancy:
    """Vacancy formation at constant cell.

    Attributes:
        formation_energy: eV. For an element: of one vacancy. For a compound: the sum over one formula unit of neutral
            vacancies, each alone in its cell; needs no chemical potential. Not the Schottky energy of an ionic crystal,
            whose vacancies are charged: a force field without charges leaves each of them neutral.
        unrelaxed_energy: The same before the atoms around were relaxed, eV.
        kind: ``vacancy``, or ``neutral vacancies`` for the sum per formula unit of a compound.
        per_species: Chemical symbol -> energy of the supercell without that atom minus that of the perfect one, eV.
        n_atoms: Atoms of the perfect supercell.
        max_force: Largest force left, eV/Å.
        steps: Relaxation steps in all.
    """

    formation_energy: float
    unrelaxed_energy: float
    kind: str
    per_species: dict[str, float]
    n_atoms: int
    max_force: float
    steps: int


def vacancy_energy(
    atoms: Atoms,
    calculator: "Calculator",
    repeat: tuple[int, int, int] = (2, 2, 2),
    *,
    fmax: float = 0.02,
    max_steps: int = 150,
) -> Vacancy:
    """Relax the crystal, repeat it, remove the first atom of each species in turn, relax the atoms around.

    E_f = sum_s n_s [E(vacancy of s) - E(perfect)] + E(perfect) / (number of formula units), n_s the atoms of species s
    in a formula unit. For an element this is E(N - 1) - (N - 1) / N E(N). The relaxation starts from the symmetric
    position, so it finds the symmetric state where the potential has one.

    Args:
        atoms: A crystal near its equilibrium; the conventional cell.
        calculator: The potential, with stress.
        repeat: Repetitions; (2, 2, 2) of cubic silicon gives 63 atoms.
        fmax: Force limit around the vacancy, eV/Å.
        max_steps: Step limit.

    Returns:
        The formation energy.

    Raises:
        NotRelaxedError: If a relaxation does not converge.
        StructureError: If the supercell has fewer than two atoms of a species.
    """
    perfect = relax(atoms, calculator, cell=True, fmax=min(fmax, 5e-3)).atoms.repeat(repeat)
    perfect.calc = calculator
    energy = float(perfect.get_potential_energy())
    perfect.calc = None
    counts = Counter(perfect.get_chemical_symbols())
    if min(counts.values()) < 2:
        raise StructureError(f"a vacancy needs at least two atoms of each species, the supercell has {dict(counts)}.")
    units = math.gcd(*counts.values())
    relaxed_sum, ideal_sum, per_species = energy / units, energy / units, {}
    steps, max_force = 0, 0.0
    for symbol in sorted(counts):
        with_hole = perfect.copy()
        del with_hole[perfect.get_chemical_symbols().index(symbol)]
        with_hole.calc = calculator
        ideal_sum += counts[symbol] / units * (float(with_hole.get_potential_energy()) - energy)
        with_hole.calc = None
        found = relax(with_hole, calculator, fmax=fmax, max_steps=max_steps)
        per_species[symbol] = found.energy - energy
        relaxed_sum += counts[symbol] / units * per_species[symbol]
        steps, max_force = steps + found.steps, max(max_force, found.max_force)
    return Vacancy(
        formation_energy=relaxed_sum,
        unrelaxed_energy=ideal_sum,
        kind="vacancy" if len(counts) == 1 else "neutral vacancies",
        per_species=per_species,
        n_atoms=len(perfect),
        max_force=max_force,
        steps=steps,
    )
