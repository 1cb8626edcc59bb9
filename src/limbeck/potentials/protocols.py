"""The two doors of this folder: :class:`Teacher` and :class:`Student`. A new one is one file and one contract test."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms
from ase.calculators.calculator import Calculator

from limbeck.labels.labelled import Labelled


@dataclass(frozen=True)
class PairStyle:
    """How LAMMPS is told to use a potential.

    Attributes:
        lines: ``pair_style`` and ``pair_coeff`` lines. ``{folder}`` stands for the folder that holds the files; atom
            types run in the order of ``elements``.
        elements: Chemical symbols of LAMMPS types 1, 2, ...
        files: Names of the files in the potential's folder that the lines refer to.
        settings: Further LAMMPS lines needed before the pair lines (``newton on`` ...), usually none.
    """

    lines: tuple[str, ...]
    elements: tuple[str, ...]
    files: tuple[str, ...]
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FitHistory:
    """What a fit did, step by step, for the report.

    Attributes:
        rows: One dictionary an epoch (or one in all for a linear fit); keys carry units, for example
            ``epoch, train_force_RMSE_eV_per_A, validation_force_RMSE_eV_per_A, learning_rate``.
        cpu_s: CPU seconds of the fit.
        best_epoch: Epoch whose weights were kept.
        note: Anything a reader should know (early stop, regularization chosen).
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    cpu_s: float = 0.0
    best_epoch: int = 0
    note: str = ""


class Teacher(Protocol):
    """A universal force field that can be fine-tuned.

    A teacher is a value: :meth:`fit` returns a new one and leaves the old one as it was. Saved files are
    self-contained (weights, element shifts, which upstream model) and load without network.
    """

    @property
    def name(self) -> str:
        """Kind and model, for example ``sevennet:7net-0``."""
        ...

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that the model knows."""
        ...

    def calculator(self) -> Calculator:
        """A fresh ASE calculator: energy (eV), forces (eV/Å), stress (eV/Å^3, ASE's sign and Voigt order)."""
        ...

    def fit(
        self,
        train: Sequence[Labelled],
        validation: Sequence[Labelled],
        settings: Any,
        *,
        seed: int,
        progress_path: Path | None = None,
    ) -> tuple["Teacher", FitHistory]:
        """Fine-tuned copy and its history. Deterministic to the bit for equal arguments on one machine.

        Raises:
            TrainingError: If there is no data or the loss is not finite.
            UnsupportedElementError: If a frame holds an element that the model does not know.
        """
        ...

    def save(self, path: Path) -> None:
        """Write one self-contained file."""
        ...


class Student(Protocol):
    """A fast potential that LAMMPS runs.

    A student lives in a folder: the LAMMPS files, ``student.json`` (kind, elements, settings, versions, fit errors) and
    nothing else. It is loaded with :func:`limbeck.potentials.students.load`.
    """

    @property
    def kind(self) -> str:
        """Family, for example ``pod`` or ``uf3``."""
        ...

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the LAMMPS types."""
        ...

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        ...

    def pair_style(self) -> PairStyle:
        """How LAMMPS is told to use it."""
        ...

    def calculator(self) -> Calculator:
        """A fresh ASE calculator that runs LAMMPS in this process; same units and signs as a teacher's."""
        ...


def elements_of(frames: Sequence[Labelled] | Sequence[Atoms]) -> tuple[str, ...]:
    """Sorted chemical symbols that occur in the frames."""
    symbols: set[str] = set()
    for frame in frames:
        atoms = frame.atoms if isinstance(frame, Labelled) else frame
        symbols.update(atoms.get_chemical_symbols())
    return tuple(sorted(symbols))
