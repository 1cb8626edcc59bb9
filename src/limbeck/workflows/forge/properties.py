"""Properties of the crystal by universal teacher, fine-tuned teacher and student, side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from limbeck.core.record import hash_file
from limbeck.core.rng import integer_seed
from limbeck.labels.serialize import atoms_to_dict
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.context import Forge
from limbeck.workflows.forge.distil import chosen_student
from limbeck.workflows.forge.loop import TEACHER_FILE
from limbeck.workflows.forge.radial import compare_radial
from limbeck.workflows.stages import StageResult
from limbeck.workflows.tasking import Task

Quantity = dict[str, Any]

NVE_ATOMS = 64
"""Fewest atoms of the student's long constant-energy run."""


NO_SPLITTING = (
    "No charges, so no splitting of longitudinal and transverse optical modes: at Γ all optical modes are transverse."
)
"""Said of the phonons of every crystal of more than one element."""


def _quantity(value: float, unit: str, error: float | None = None, method: str = "") -> Quantity:
    return {
        "value": float(value),
        "standard_error": None if error is None else float(error),
        "unit": unit,
        "method": method,
    }


def _equation_of_state(atoms: Atoms, calculator: Calculator, options: dict[str, Any]) -> dict[str, Any]:
    from limbeck.potentials.validate import equation_of_state

    fit = equation_of_state(atoms, calculator)
    lengths = fit.lattice_constants_A
    names = {key: "lattice constant" if len(lengths) == 1 else f"lattice constant {key}" for key in lengths}
    how = "Birch-Murnaghan fit" + ("" if len(lengths) == 1 else " at the cell shape of zero pressure")
    values = {names[key]: _quantity(value, "Å", method=how) for key, value in lengths.items()}
    values |= {f"cell angle {key}": _quantity(value, "degree", method=how) for key, value in fit.angles_degree.items()}
    values["bulk modulus, equation of state"] = _quantity(
        fit.bulk_modulus_GPa, "GPa", fit.bulk_modulus_error_GPa, f"{how}; error: without the two outermost volumes"
    )
    return {
        "values": values,
        "curve": {
            "volume_A3_per_atom": fit.volumes_per_atom,
            "energy_eV_per_atom": np.asarray(fit.energies_per_atom) - fit.energy_per_atom,
        },
    }


def _elastic(atoms: Atoms, calculator: Calculator, options: dict[str, Any]) -> dict[str, Any]:
    from limbeck.potentials.validate import elastic_constants

    found = elastic_constants(atoms, calculator)
    how = f"stress at small strains, atoms relaxed, {found.system} crystal; error: extrapolation to zero strain"
    average = f"Hill average for a polycrystal; {how}"
    values = {
        "bulk modulus, Hill": _quantity(found.bulk_modulus_GPa, "GPa", found.bulk_modulus_error_GPa, average),
        "shear modulus, Hill": _quantity(found.shear_modulus_GPa, "GPa", found.shear_modulus_error_GPa, average),
    }
    for name, value in found.independent_GPa.items():
        values[name] = _quantity(value, "GPa", found.independent_error_GPa[name], how)
    return {"values": values}


def _phonons(atoms: Atoms, calculator: Calculator, options: dict[str, Any]) -> dict[str, Any]:
    from limbeck.potentials.validate import phonons

    found = phonons(atoms, calculator, options["supercell"])
    polar = len(set(atoms.get_chemical_symbols())) > 1
    how = f"finite displacements, supercell of {found.supercell_atoms} atoms"
    values = {}
    for name, frequencies in found.special_points.items():
        limited = polar and name == "G"
        title = f"highest phonon at {name}" + (", no LO-TO splitting" if limited else "")
        values[title] = _quantity(np.max(frequencies), "THz", method=f"{how}. {NO_SPLITTING}" if limited else how)
    values["lowest phonon"] = _quantity(np.min(found.frequencies_THz), "THz", method=f"{how}; negative: imaginary")
    return {
        "values": values,
        "curve": {
            "distance": found.distances,
            "frequencies_THz": np.asarray(found.frequencies_THz).T,
            "ticks": [position for position, _ in found.labels],
            "tick_labels": [label for _, label in found.labels],
            "note": NO_SPLITTING if polar else "",
        },
    }


def _vacancy(atoms: Atoms, calculator: Calculator, options: dict[str, Any]) -> dict[str, Any]:
    from limbeck.potentials.validate import vacancy_energy

    found = vacancy_energy(atoms, calculator, tuple(options["repeat"]))
    where = f"alone in a cell of {found.n_atoms} sites, atoms around relaxed"
    name, how = "vacancy energy", where
    if found.kind != "vacancy":
        name = "neutral vacancies, sum per formula unit"
        how = f"one vacancy of each atom of the formula, each neutral and {where}; no charged Schottky defect"
    return {"values": {name: _quantity(found.formation_energy, "eV", method=how)}}


PROPERTIES: dict[str, Callable[[Atoms, Calculator, dict[str, Any]], dict[str, Any]]] = {
    "equation-of-state": _equation_of_state,
    "elastic": _elastic,
    "phonons": _phonons,
    "vacancy": _vacancy,
}
"""Name -> function; each gives ``values`` (name -> quantity) and, where there is one, a ``curve``."""


def compute_properties(
    forge: Forge,
    crystal: Atoms,
    universal: StageResult,
    teacher: Path,
    taught: StageResult,
    chosen: StageResult,
) -> StageResult:
    """Stage: every property by the three potentials, and the student's energy conservation."""
    settings = forge.settings.properties
    place = str(forge.run_folder / chosen_student(chosen)["folder"])
    potentials: dict[str, tasks.Potential] = {
        "zero_shot": {"teacher": str(universal.folder / TEACHER_FILE)},
        "fine_tuned": {"teacher": str(teacher)},
        "student": {"student": place},
    }
    options: dict[str, dict[str, Any]] = {
        "equation-of-state": {},
        "elastic": {},
        "phonons": {"supercell": settings.phonon_repeat},
        "vacancy": {"repeat": settings.vacancy_repeat},
    }

    def work(folder: Path) -> tuple[dict[str, Any], float]:
        structure = atoms_to_dict(crystal)
        names = [(role, name) for name in reversed(PROPERTIES) for role in potentials]
        work = [
            Task(
                tasks.compute_property,
                (name, potentials[role], structure, options[name], str(folder / f"{role}-{name}.json")),
            )
            for role, name in names
        ]
        progress = folder / "nve.progress"
        nve = (
            place, structure, settings.nve_temperature_K, settings.nve_time_ps, settings.nve_timestep_fs,
            str(folder / "nve"), integer_seed(forge.settings.seed, "nve"), str(progress), NVE_ATOMS,
        )  # fmt: skip
        results, cpu_s = forge.run_tasks("properties", [Task(tasks.nve_of_student, nve, progress, 6.0), *work])
        table: dict[str, dict[str, Any]] = {role: {} for role in potentials}
        for (role, name), result in zip(names, results[1:], strict=True):
            table[role][name] = result
        curves, more = compare_radial(forge, folder, crystal, taught, potentials["student"])
        return {"properties": table, "nve": results[0], "rdf": curves}, cpu_s + more

    inputs = [
        chosen.hash, taught.hash, hash_file(teacher), universal.hash, settings.model_dump(mode="json"),
        atoms_to_dict(crystal), forge.settings.seed,
    ]  # fmt: skip
    return forge.stages.run("60-properties", inputs, work, title="Properties")
