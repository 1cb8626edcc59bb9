"""POD and UF3 in one potential, fitted together: splines for pairs and triangles, descriptors for four bodies and more.

Splines resolve what two and three bodies do in full, at a fraction of the cost of descriptors that do it as well; the
descriptors add what splines cannot afford. Both are linear in their coefficients, so the sum is one linear fit, on
energies, forces and stress. LAMMPS adds the styles (``hybrid/overlay``). Energies of single atoms stand in the UF3
part. Measured: docs/decisions/0008-joint-student.md.

Source: those of :mod:`limbeck.potentials.students.pod` and :mod:`limbeck.potentials.students.uf3`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import TrainingError
from limbeck.core.progress import FileProgress
from limbeck.labels.labelled import Labelled
from limbeck.potentials.protocols import PairStyle
from limbeck.potentials.students import pod, uf3
from limbeck.potentials.students.linear_fit import (
    LinearFit,
    NormalEquations,
    Penalty,
    RowWeights,
    element_counts,
    reference_energies,
    solve_penalized,
    weighted_rows,
)
from limbeck.potentials.students.pod import PodTerms
from limbeck.potentials.students.student import LammpsStudent
from limbeck.potentials.students.uf3 import Uf3Terms

if TYPE_CHECKING:
    from limbeck.potentials.students.uf3_design import Uf3Basis

_RIDGE_SHARE = 1e-3
"""Ridge on a POD coefficient, relative to its diagonal, over the strength of the splines' curvature penalty."""


class JointPodTerms(PodTerms):
    """Descriptors beside splines: less resolution in the angles of triangles, more of four bodies."""

    three_body_radial: int = Field(default=8, ge=0, le=20)
    """Radial functions of the three-body term."""
    three_body_angular_degree: int = Field(default=4, ge=0, le=12)
    """Highest angular degree of the three-body term."""
    four_body_radial: int = Field(default=6, ge=0, le=20)
    """Radial functions of the four-body term; 0 leaves it out."""
    four_body_angular_degree: int = Field(default=4, ge=0, le=6)
    """Highest angular degree of the four-body term."""


class PodUf3Settings(Settings):
    """Sum of POD and UF3, fitted together. The accurate family."""

    kind: Literal["pod_uf3"] = "pod_uf3"
    name: str = "pod-uf3"
    """Name of the student; its folder is called so."""
    pod: JointPodTerms = JointPodTerms()
    """Descriptors."""
    uf3: Uf3Terms = Uf3Terms()
    """Splines of pairs and triangles."""
    energy_weight: float = Field(default=100.0, ge=0)
    """Weight of an energy row (eV/atom) against a force row (eV/Å) of weight ``force_weight``."""
    force_weight: float = Field(default=1.0, gt=0)
    """Weight of a force row."""
    stress_weight: float = Field(default=20.0, ge=0)
    """Weight of a stress row, volume per atom times stress in eV/atom; 0 leaves them out."""
    regularization: float | None = Field(default=None, gt=0)
    """Curvature penalty of the splines, relative to the mean diagonal of the normal equations, the ridge of the
    descriptors in proportion; left out, validation chooses it."""
    ranks: int = Field(default=1, ge=1)
    """MPI ranks that compute descriptors."""


def fit(
    settings: PodUf3Settings,
    elements: tuple[str, ...],
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    folder: Path,
    progress: FileProgress,
) -> tuple[LammpsStudent, LinearFit]:
    """Fit and write the LAMMPS files; the record is the caller's.

    Raises:
        TrainingError: If the problem is too large or cannot be solved.
    """
    from limbeck.potentials.students.uf3_design import design_rows

    basis = uf3.basis_of(settings.uf3, elements, train)
    shifts = reference_energies(train, elements)
    weights = RowWeights(settings.energy_weight, settings.force_weight, settings.stress_weight)
    sums: list[NormalEquations | None] = [None, None]
    done, stress = 0, settings.stress_weight > 0
    for which, frames in enumerate((train, validation)):
        for frame, d in pod.frame_descriptors(settings.pod, elements, frames, stress, settings.ranks):
            energy, forces, virial = design_rows(basis, frame.atoms)
            equations = sums[which]
            if equations is None:
                equations = sums[which] = NormalEquations(basis.n_columns + len(d.energy))
            both = None if d.virial is None else np.hstack([virial[d.components], d.virial])
            rows = (np.concatenate([energy, d.energy]), np.hstack([forces, d.forces]), both)
            shift = float(shifts @ element_counts(frame.atoms, elements))
            equations.add(*weighted_rows(frame, shift, weights, *rows, d.components))
            done += 1
            progress.set(done, f"descriptors of frame {done}")
    fitted = sums[0]
    if fitted is None:
        raise TrainingError("a fit needs training frames, got none")
    diagonal = np.diag(fitted.matrix)
    penalty = _penalty(basis, elements, diagonal)
    solution = solve_penalized(
        fitted, sums[1] or fitted, penalty, settings.regularization,
        lambda c: uf3.raise_core(basis, c, penalty.prior, diagonal <= 0),
    )  # fmt: skip
    splines, descriptors = np.split(solution.coefficients.copy(), [basis.n_columns])
    splines[: len(elements)] += shifts
    names = uf3.write_potential(basis, splines, folder) + pod.write_potential(
        settings.pod, elements, descriptors, folder
    )
    files = " ".join(f'"{{folder}}/{name}"' for name in pod.FILES)
    pair = PairStyle(
        lines=(
            "pair_style hybrid/overlay uf3 3 eam/alloy pod",
            *uf3.pair_coefficients(elements),
            f"pair_coeff * * pod {files} {' '.join(elements)}",
        ),
        elements=elements,
        files=names,
    )
    student = LammpsStudent(kind="pod_uf3", folder=folder, pair=pair, settings=settings.model_dump())
    return student, solution


def _penalty(basis: "Uf3Basis", elements: Sequence[str], diagonal: np.ndarray) -> Penalty:
    """Penalty of the splines and a ridge on the descriptors; energies of single atoms of the latter stay zero."""
    splines = uf3.spline_penalty(basis, diagonal[: basis.n_columns])
    n, n_pod = len(diagonal), len(diagonal) - basis.n_columns
    free = diagonal[basis.n_columns :] > 0
    free[pod.one_body_columns(n_pod, elements)] = False
    matrix, prior, fixed = np.zeros((n, n)), np.zeros(n), np.zeros(n)
    matrix[: basis.n_columns, : basis.n_columns] = splines.matrix
    numbers = np.arange(basis.n_columns, n)
    matrix[numbers, numbers] = _RIDGE_SHARE * diagonal[basis.n_columns :]
    prior[: basis.n_columns], fixed[: basis.n_columns] = splines.prior, splines.fixed
    used = np.concatenate([splines.used, basis.n_columns + np.flatnonzero(free)])
    return Penalty(prior, used, matrix, fixed)
