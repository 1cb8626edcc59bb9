"""Properties from calculators whose answers are known on paper."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.lj import LennardJones
from ase.units import GPa
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.core.errors import DynamicsError, StructureError
from limbeck.potentials.validate import (
    NotRelaxedError,
    birch_murnaghan,
    elastic_constants,
    equation_of_state,
    fit_birch_murnaghan,
    relax,
    vacancy_energy,
)
from limbeck.potentials.validate.elastic import INDEPENDENT, rotate_stiffness, voigt_reuss_bounds
from limbeck.potentials.validate.symmetry import crystal_system
from springs import NeighborSprings

SPRING, REST = 2.0, 2.55
LATTICE = REST * np.sqrt(2.0)
HCP = {"C11": 29 / 12, "C33": 8 / 3, "C12": 11 / 12, "C13": 2 / 3, "C44": 2 / 3}


class WrongShear(NeighborSprings):
    """Springs whose xy stress is 30 % too large: the stress is not the strain derivative of the energy."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["stress"] = self.results["stress"] + np.array([0, 0, 0, 0, 0, 0.3]) * self.results["stress"][0]


@pytest.fixture
def springs():
    return NeighborSprings((SPRING, REST))


def test_relaxation_finds_the_rest_length(springs):
    found = relax(bulk("Cu", a=LATTICE * 1.03), springs, cell=True)
    assert found.atoms.get_volume() == pytest.approx(LATTICE**3 / 4, rel=1e-4)
    assert found.max_force < 1e-3
    assert found.max_stress_GPa < 0.02
    assert found.atoms.calc is None


def test_unconverged_relaxation_says_by_how_much(springs):
    atoms = bulk("Cu", a=LATTICE, cubic=True)
    atoms.positions[0] += [0.3, 0.0, 0.0]
    with pytest.raises(
        NotRelaxedError, match=r"did not relax in 1 steps: force [\d.]+ eV/Å \(wanted 0.001\)"
    ) as caught:
        relax(atoms, springs, max_steps=1)
    assert isinstance(caught.value, DynamicsError)
    with pytest.raises(NotRelaxedError, match="stress"):
        relax(bulk("Cu", a=LATTICE * 1.05), springs, cell=True, max_steps=1)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(5.0, 40.0), st.floats(0.05, 3.0), st.floats(2.0, 7.0), st.floats(-10.0, 10.0))
def test_fit_recovers_birch_murnaghan(volume, modulus, derivative, energy):
    volumes = volume * np.linspace(0.93, 1.06, 7)
    found = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, energy, volume, modulus, derivative))
    assert np.allclose(found, (energy, volume, modulus, derivative), rtol=1e-6)


def test_fit_without_a_minimum_is_refused():
    volumes = np.linspace(10.0, 11.0, 6)
    with pytest.raises(StructureError, match="no energy minimum between"):
        fit_birch_murnaghan(volumes, -volumes)
    with pytest.raises(StructureError, match="at least 4"):
        fit_birch_murnaghan(volumes[:3], volumes[:3])


def test_equation_of_state_of_springs(springs):
    """B = 4 k / 3 a and B' = 1 (harmonic springs in one shell)."""
    found = equation_of_state(bulk("Cu", a=LATTICE * 1.01), springs, volume_range=0.03)
    assert found.bulk_modulus_GPa == pytest.approx(4 * SPRING / (3 * LATTICE) / GPa, rel=2e-3)
    assert found.bulk_modulus_derivative == pytest.approx(1.0, abs=0.02)
    assert found.lattice_constants_A == {"a": pytest.approx(LATTICE, rel=1e-4)}
    assert found.angles_degree == {}
    assert found.residual_meV_per_atom < 1e-3


@pytest.mark.parametrize("turned", [False, True])
def test_elastic_constants_of_springs(springs, turned):
    """C11 = 2 k / a, C12 = C44 = k / a, in the crystal's axes, however the cell lies in space."""
    atoms = bulk("Cu", a=LATTICE)
    if turned:
        atoms.rotate(33.0, (1, 2, 3), rotate_cell=True)
    found = elastic_constants(atoms, springs)
    expected = np.array([2.0, 1.0, 1.0]) * SPRING / LATTICE / GPa
    assert found.independent_GPa == pytest.approx(dict(zip(("C11", "C12", "C44"), expected, strict=True)), rel=1e-3)
    assert found.stable
    assert found.asymmetry_GPa < 0.01
    assert found.bulk_modulus_GPa == pytest.approx((expected[0] + 2 * expected[1]) / 3, rel=1e-3)
    assert np.allclose(found.stiffness_GPa[0, 0], expected[0], rtol=1e-3) == (not turned)
    low, high = found.shear_bounds_GPa
    assert low < found.shear_modulus_GPa < high


def test_two_routes_to_the_bulk_modulus_agree():
    """Equation of state and (C11 + 2 C12) / 3, and Cauchy's C12 = C44, for a pair potential at zero pressure."""
    argon = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.5, smooth=True, ro=7.0)
    crystal = bulk("Ar", a=5.3)
    constants = elastic_constants(crystal, argon, fmax=1e-5)
    state = equation_of_state(crystal, argon, fmax=1e-5, volume_range=0.04)
    c11, c12, c44 = constants.independent_GPa.values()
    assert state.bulk_modulus_GPa == pytest.approx((c11 + 2 * c12) / 3, rel=5e-3)
    assert c12 == pytest.approx(c44, rel=1e-2)


def test_a_stress_that_is_no_derivative_shows_as_asymmetry():
    atoms = bulk("Cu", a=LATTICE)
    found = elastic_constants(atoms, WrongShear((SPRING, REST)))
    assert found.asymmetry_GPa > 10.0


def test_internal_relaxation_softens_the_shear():
    """Diamond with springs to two shells: C44 with relaxed atoms is smaller than clamped (Kleinman), C11 the same."""
    atoms = bulk("Si", a=5.43)
    calculator = NeighborSprings((6.0, 5.43 * np.sqrt(3) / 4), (0.8, 5.43 / np.sqrt(2)), reach=1.08)
    relaxed = elastic_constants(atoms, calculator)
    clamped = elastic_constants(atoms, calculator, fmax=10.0)
    assert relaxed.independent_GPa["C44"] < 0.9 * clamped.independent_GPa["C44"]
    assert relaxed.independent_GPa["C11"] == pytest.approx(clamped.independent_GPa["C11"], rel=1e-3)


@pytest.mark.parametrize("shape", ["primitive", "orthorhombic", "turned"])
def test_hexagonal_constants_of_springs_do_not_depend_on_the_cell(springs, shape):
    """Born's sums over the 12 bonds less the part of the inner displacement, in units of k / a of the fcc crystal."""
    c = REST * np.sqrt(8 / 3)
    atoms = bulk("Mg", "hcp", a=REST, c=c, orthorhombic=shape == "orthorhombic")
    if shape == "turned":
        atoms.rotate(50.0, (2, -1, 3), rotate_cell=True)
    found = elastic_constants(atoms, springs, fmax=1e-5)
    assert found.system == "hexagonal"
    unit = SPRING / LATTICE / GPa
    assert {name: value / unit for name, value in found.independent_GPa.items()} == pytest.approx(
        HCP, rel=2e-3, abs=2e-3
    )
    assert max(found.independent_error_GPa.values()) < 2e-3 * found.independent_GPa["C11"]
    assert 0 < found.bulk_modulus_error_GPa < 1e-2 * found.bulk_modulus_GPa
    state = equation_of_state(atoms, springs, volume_range=0.03)
    assert state.lattice_constants_A == pytest.approx({"a": REST, "c": c}, rel=1e-4)


def test_errors_are_those_of_each_constant(springs):
    """A large step spoils C11 of springs more than C44; one error for all would hide it."""
    found = elastic_constants(bulk("Cu", a=LATTICE), springs, strain=0.02)
    errors = found.independent_error_GPa
    assert len({round(error, 6) for error in errors.values()}) == 3
    exact = dict(zip(("C11", "C12", "C44"), np.array([2.0, 1.0, 1.0]) * SPRING / LATTICE / GPa, strict=True))
    assert all(abs(found.independent_GPa[name] - exact[name]) < errors[name] + 1e-2 for name in errors)


def test_every_crystal_system_has_its_constants():
    numbers = {
        name: len(INDEPENDENT[name].split())
        for name in ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")
    }
    assert list(numbers.values()) == [3, 5, 7, 7, 9, 13, 21]
    assert [crystal_system(n) for n in (227, 194, 166, 141, 62, 14, 2)] == list(numbers)


def test_bounds_coincide_for_an_isotropic_solid():
    lam, mu = 60.0, 40.0
    stiffness = np.diag([2 * mu] * 3 + [mu] * 3) + lam * np.pad(np.ones((3, 3)), (0, 3))
    bulk_bounds, shear_bounds = voigt_reuss_bounds(stiffness)
    assert np.allclose(bulk_bounds, lam + 2 * mu / 3)
    assert np.allclose(shear_bounds, mu)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    assert np.allclose(rotate_stiffness(stiffness, rotation), stiffness)


def test_partly_periodic_structures_are_refused(springs):
    slab = bulk("Cu", a=LATTICE, cubic=True)
    slab.pbc = (True, True, False)
    with pytest.raises(StructureError, match="periodicity"):
        elastic_constants(slab, springs)


ARGON = {"sigma": 3.4, "epsilon": 0.0104, "rc": 7.0, "smooth": True, "ro": 6.0}


def test_unrelaxed_vacancy_of_a_pair_potential_costs_the_cohesive_energy():
    """Removing an atom breaks all its bonds: dE = -2 e, and adding e back at the bulk gives E_f = -e."""
    crystal = bulk("Ar", a=5.3, cubic=True)
    found = vacancy_energy(crystal, LennardJones(**ARGON), (2, 2, 2), fmax=1e-3)
    perfect = relax(crystal, LennardJones(**ARGON), cell=True)
    assert found.kind == "vacancy"
    assert found.unrelaxed_energy == pytest.approx(-perfect.energy / 4, rel=1e-4)
    assert 0 < found.formation_energy < found.unrelaxed_energy
    assert found.max_force < 1e-3


def test_neutral_vacancies_of_two_species_that_are_the_same_are_two_vacancies():
    """The potential does not see species: a formula unit of Ar/Kr on an fcc lattice costs two vacancies of Ar."""
    single = vacancy_energy(bulk("Ar", a=5.3, cubic=True), LennardJones(**ARGON), (2, 2, 2), fmax=1e-3)
    ordered = bulk("Ar", a=5.3, cubic=True)
    ordered.symbols[[0, 3]] = "Kr"
    found = vacancy_energy(ordered, LennardJones(**ARGON), (2, 2, 2), fmax=1e-3)
    assert found.kind == "neutral vacancies"
    assert found.formation_energy == pytest.approx(2 * single.formation_energy, rel=1e-3)
    assert set(found.per_species) == {"Ar", "Kr"}


def test_a_lone_atom_has_no_vacancy(springs):
    with pytest.raises(StructureError, match="at least two atoms"):
        vacancy_energy(Atoms("Cu", cell=bulk("Cu", a=LATTICE).cell, pbc=True), springs, (1, 1, 1))
