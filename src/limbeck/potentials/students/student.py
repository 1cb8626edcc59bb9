"""A fitted student in its folder: the one type behind every family, with its record ``student.json``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from limbeck.core.errors import ConfigError, MissingFileError, UnsupportedElementError
from limbeck.core.estimate import root_mean_square
from limbeck.core.record import hash_file, package_versions, read_json, write_json
from limbeck.core.units import GPA
from limbeck.labels.labelled import Labelled
from limbeck.potentials.lammps_calculator import LammpsCalculator
from limbeck.potentials.protocols import PairStyle, elements_of

FORMAT_VERSION = 1
RECORD_NAME = "student.json"


@dataclass(frozen=True)
class LammpsStudent:
    """Fast potential of any family that LAMMPS runs; see :class:`limbeck.potentials.protocols.Student`.

    Attributes:
        kind: Family, for example ``pod``.
        folder: Folder with the LAMMPS files and ``student.json``.
        pair: How LAMMPS is told to use it.
        settings: Settings of the fit as plain values.
        errors: Errors of our own evaluation, ``train`` and ``validation`` -> quantity -> value, units in the names.
        details: What else the fit found (regularization chosen, number of coefficients).
    """

    kind: str
    folder: Path
    pair: PairStyle
    settings: dict[str, Any]
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the LAMMPS types."""
        return self.pair.elements

    def pair_style(self) -> PairStyle:
        """How LAMMPS is told to use it."""
        return self.pair

    def calculator(self) -> Calculator:
        """A fresh ASE calculator that runs LAMMPS in this process."""
        return LammpsCalculator(self.pair, self.folder)


def save_record(student: LammpsStudent) -> None:
    """Write ``student.json``; written last, so a folder with it is whole."""
    write_json(
        student.folder / RECORD_NAME,
        {
            "format": FORMAT_VERSION,
            "kind": student.kind,
            "pair_style": asdict(student.pair),
            "files": {name: hash_file(student.folder / name) for name in student.pair.files},
            "settings": student.settings,
            "errors": student.errors,
            "details": student.details,
            "versions": package_versions(),
        },
    )


def load_record(folder: Path) -> LammpsStudent:
    """Student from its folder.

    Raises:
        MissingFileError: If the folder holds no student, or one of its files is gone.
        ConfigError: If the record is of another version, or a file is not the one that was fitted.
    """
    folder = Path(folder)
    path = folder / RECORD_NAME
    if not path.is_file():
        raise MissingFileError(f"{folder} holds no student: {RECORD_NAME} is missing. Give the folder of a fit.")
    record = read_json(path)
    if record.get("format") != FORMAT_VERSION:
        raise ConfigError(
            f"{path} has format {record.get('format')}, this version reads {FORMAT_VERSION}. Fit the student again."
        )
    for name, digest in record["files"].items():
        if not (folder / name).is_file():
            raise MissingFileError(f"{folder / name} is missing; the student cannot be used. Copy the whole folder.")
        if hash_file(folder / name) != digest:
            raise ConfigError(f"{folder / name} is not the file that {RECORD_NAME} speaks of. Restore it or fit again.")
    pair = record["pair_style"]
    return LammpsStudent(
        kind=record["kind"],
        folder=folder,
        pair=PairStyle(
            lines=tuple(pair["lines"]),
            elements=tuple(pair["elements"]),
            files=tuple(pair["files"]),
            settings=tuple(pair["settings"]),
        ),
        settings=record["settings"],
        errors=record["errors"],
        details=record["details"],
    )


def check_elements(elements: Sequence[str], frames: Sequence[Labelled]) -> None:
    """Refuse frames with elements outside ``elements``.

    Raises:
        UnsupportedElementError: Naming them.
    """
    unknown = sorted(set(elements_of(frames)) - set(elements))
    if unknown:
        raise UnsupportedElementError(
            f"frames to judge the student hold {', '.join(unknown)}, which the training frames lack. "
            "Label training frames with all elements."
        )


def evaluate(calculator: Calculator, frames: Sequence[Labelled]) -> dict[str, float]:
    """Root-mean-square errors of a calculator on labelled frames.

    Returns:
        ``energy_RMSE_meV_per_atom``, ``force_RMSE_eV_per_A``, ``stress_RMSE_GPa`` (where there are stress labels) and
        ``force_rms_eV_per_A``, the spread of the labels themselves.
    """
    energy, force, stress, label = [], [], [], []
    for frame in frames:
        atoms = frame.atoms.copy()
        atoms.calc = calculator
        forces = atoms.get_forces()
        energy.append(np.array([1e3 * (atoms.get_potential_energy() - frame.energy) / len(atoms)]))
        force.append(forces - frame.forces)
        label.append(frame.forces)
        if frame.stress is not None and "stress" in calculator.results:
            stress.append((calculator.results["stress"] - frame.stress) / GPA)
    errors = {
        "energy_RMSE_meV_per_atom": root_mean_square(energy).value,
        "force_RMSE_eV_per_A": root_mean_square(force).value,
        "force_rms_eV_per_A": root_mean_square(label).value,
    }
    if stress:
        errors["stress_RMSE_GPa"] = root_mean_square(stress).value
    return errors
