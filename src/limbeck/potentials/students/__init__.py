"""Students: fast potentials that LAMMPS runs. A new family is one file here, one entry below, one contract test."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from limbeck.core.errors import TrainingError
from limbeck.core.progress import FileProgress
from limbeck.labels.labelled import Labelled
from limbeck.potentials.protocols import FitHistory, Student, elements_of
from limbeck.potentials.students import pod, pod_uf3, uf3
from limbeck.potentials.students.linear_fit import LinearFit
from limbeck.potentials.students.pod import PodSettings
from limbeck.potentials.students.pod_uf3 import PodUf3Settings
from limbeck.potentials.students.repulsion import core_rise_eV
from limbeck.potentials.students.student import LammpsStudent, check_elements, errors_of, load_record, save_record
from limbeck.potentials.students.uf3 import Uf3Settings

StudentSettings = Annotated[PodSettings | Uf3Settings | PodUf3Settings, Field(discriminator="kind")]
"""Settings of any family; the ``kind`` tag tells which."""

_FITS: dict[str, Callable[..., tuple[LammpsStudent, LinearFit]]] = {
    "pod": pod.fit,
    "uf3": uf3.fit,
    "pod_uf3": pod_uf3.fit,
}


def fit_student(
    settings: StudentSettings,
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    folder: Path,
    *,
    seed: int,
    progress_path: Path | None = None,
) -> tuple[Student, FitHistory]:
    """Fit a student and write its folder: LAMMPS files and ``student.json``.

    Args:
        settings: Settings of the family.
        train: Training frames.
        validation: Frames of other trajectories; they choose the regularization and are not fitted.
        folder: Where the student goes; made if needed.
        seed: Recorded. The families here are linear fits without randomness, equal for every seed.
        progress_path: Small JSON file with the progress, or ``None``.

    Returns:
        The student, and one row of errors by our own evaluation (LAMMPS in this process), units in the names. The
        record holds ``core_rise_eV`` (:func:`limbeck.potentials.students.repulsion.core_rise_eV`); the note warns where
        it is negative.

    Raises:
        TrainingError: If there are no training frames, or the fit failed.
        UnsupportedElementError: If validation frames hold an element that the training frames lack.
    """
    if not train:
        raise TrainingError("a student needs training frames, got none. Let the teacher label some first.")
    if not validation and settings.regularization is None:
        raise TrainingError(
            "choosing the regularization needs validation frames from trajectories that are not in the training set. "
            "Give some, or set 'regularization' to a number."
        )
    elements = elements_of(train)
    check_elements(elements, validation)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.process_time() + _children_cpu_s()
    progress = FileProgress(progress_path, total=len(train) + len(validation), unit="frames")
    student, solution = _FITS[settings.kind](settings, elements, train, validation, folder, progress)
    calculator = student.calculator()
    errors = {"train": errors_of(calculator, train)}
    if validation:
        errors["validation"] = errors_of(calculator, validation)
    rise = core_rise_eV(calculator, elements, train)
    cpu_s = time.process_time() + _children_cpu_s() - start
    student = replace(
        student,
        errors=errors,
        details={
            **student.details,
            "seed": seed,
            "n_train": len(train),
            "n_validation": len(validation),
            "n_coefficients": len(solution.coefficients),
            "regularization": float(solution.ridge),
            "effective_rank": solution.rank,
            "core_rise_eV": rise,
        },
    )
    save_record(student)
    row = {f"{part}_{key}": value for part, found in errors.items() for key, value in found.items()}
    chosen = "by validation" if settings.regularization is None else "as given"
    note = f"linear fit, {len(solution.coefficients)} coefficients, ridge {solution.ridge:.1e} chosen {chosen}"
    if rise is not None and rise < 0:
        note += (
            f"; pairs pushed below the shortest distance of the data gain {-rise:.0f} eV: a hole, do not run the "
            "student hotter than its data"
        )
    return student, FitHistory(rows=[row], cpu_s=cpu_s, note=note)


def load(folder: Path) -> Student:
    """Student from its folder.

    Raises:
        MissingFileError: If the folder holds no student, or one of its files is gone.
        ConfigError: If the record is of another version, or a file is not the one that was fitted.
    """
    return load_record(folder)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
