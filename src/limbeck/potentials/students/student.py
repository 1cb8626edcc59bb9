"""A fitted student in its folder: the one type behind every family, with its record ``student.json``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from limbeck.core.errors import ConfigError, MissingFileError, UnsupportedElementError
from limbeck.core.record import hash_file, package_versions, read_json, write_json
from limbeck.labels.labelled import Labelled
from limbeck.potentials.evaluate import error_table, evaluate
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


def errors_of(calculator: Calculator, frames: Sequence[Labelled]) -> dict[str, float]:
    """Errors of a calculator on labelled frames: energy, force and stress RMSE and the worst 1 % of the atoms.

    The names carry units; see :func:`limbeck.potentials.evaluate.error_table`.
    """
    table = error_table(evaluate(calculator, frames))
    names = ("energy_RMSE_meV_per_atom", "force_RMSE_eV_per_A", "stress_RMSE_GPa", "worst_force_error_eV_per_A")
    return {name: table[name].value for name in names if name in table}
