"""Properties of a crystal from any ASE calculator: the same code for teacher, student and first-principles engine.

Each function relaxes first, and raises :class:`NotRelaxedError` rather than go on from a structure that is not relaxed.
"""

from limbeck.potentials.validate.elastic import ElasticConstants, elastic_constants
from limbeck.potentials.validate.equation_of_state import (
    EquationOfState,
    birch_murnaghan,
    equation_of_state,
    fit_birch_murnaghan,
)
from limbeck.potentials.validate.phonons import Phonons, phonons
from limbeck.potentials.validate.relax import NotRelaxedError, Relaxed, relax
from limbeck.potentials.validate.vacancy import Vacancy, vacancy_energy

__all__ = [
    "ElasticConstants",
    "EquationOfState",
    "NotRelaxedError",
    "Phonons",
    "Relaxed",
    "Vacancy",
    "birch_murnaghan",
    "elastic_constants",
    "equation_of_state",
    "fit_birch_murnaghan",
    "phonons",
    "relax",
    "vacancy_energy",
]
