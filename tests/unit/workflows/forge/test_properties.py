"""What the table of properties says of a crystal: names, errors, and what is missing."""

import numpy as np
import pytest
from ase.build import bulk

from limbeck.report.schema import PhononBands, Quantity
from limbeck.workflows.forge.properties import NO_SPLITTING, PROPERTIES
from springs import NeighborSprings

OPTIONS = {"supercell": [2, 2, 2], "repeat": [2, 2, 2]}
SPACING = 3.0
CESIUM_CHLORIDE = NeighborSprings((2.0, SPACING * np.sqrt(3) / 2), (1.0, SPACING), reach=1.1)
HEXAGONAL = NeighborSprings((2.0, SPACING))


def values_of(name, atoms, calculator):
    found = PROPERTIES[name](atoms, calculator, OPTIONS)
    for quantity in found["values"].values():
        assert Quantity.model_validate(quantity).method
    return found["values"], found.get("curve", {})


@pytest.mark.parametrize(("second", "polar"), [("Cl", True), ("Cs", False)])
def test_phonons_of_a_compound_say_that_the_splitting_is_missing(second, polar):
    crystal = bulk("CsCl", "cesiumchloride", a=SPACING)
    crystal.symbols[1] = second
    values, curve = values_of("phonons", crystal, CESIUM_CHLORIDE)
    assert ("highest phonon at G, no LO-TO splitting" in values) == polar
    assert ("highest phonon at G" in values) != polar
    assert curve["note"] == (NO_SPLITTING if polar else "")
    bands = PhononBands(potential="student", distance=(0.0,), frequencies_THz=((1.0,),), note=curve["note"])
    assert bands.note == curve["note"]


def test_hexagonal_crystals_have_a_and_c_and_five_constants_with_their_own_errors():
    crystal = bulk("Mg", "hcp", a=SPACING, c=SPACING * np.sqrt(8 / 3))
    values, _ = values_of("elastic", crystal, HEXAGONAL)
    assert {"C11", "C33", "C12", "C13", "C44", "bulk modulus, Hill", "shear modulus, Hill"} == set(values)
    assert len({quantity["standard_error"] for quantity in values.values()}) > 3
    values, _ = values_of("equation-of-state", crystal, HEXAGONAL)
    assert values["lattice constant a"]["value"] == pytest.approx(SPACING, rel=1e-4)
    assert values["lattice constant c"]["value"] == pytest.approx(SPACING * np.sqrt(8 / 3), rel=1e-4)
    assert "at the cell shape of zero pressure" in values["bulk modulus, equation of state"]["method"]


def test_vacancies_of_a_compound_are_neutral_and_say_so():
    compound, _ = values_of("vacancy", bulk("CsCl", "cesiumchloride", a=SPACING), CESIUM_CHLORIDE)
    (name,) = compound
    assert name == "neutral vacancies, sum per formula unit"
    assert "no charged Schottky defect" in compound[name]["method"]
    element, _ = values_of("vacancy", bulk("Cs", "bcc", a=SPACING, cubic=True), CESIUM_CHLORIDE)
    assert list(element) == ["vacancy energy"]
