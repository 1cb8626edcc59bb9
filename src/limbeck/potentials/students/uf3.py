"""UF3: the ultra-fast potential, cubic B-splines of two and three bodies, linear in their coefficients.

Fitted here (docs/decisions/0004-uf3-fit.md), run by ``pair_style uf3`` of LAMMPS. That style has no energy of single
atoms; a constant embedding function of ``eam/alloy`` carries it, so LAMMPS, ASE and the labels have one energy zero.

Source: S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023), arXiv:2110.00624; for the repulsive core
see :mod:`limbeck.potentials.students.repulsion`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from jaxtyping import Float
from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.core.errors import TrainingError
from limbeck.core.progress import FileProgress
from limbeck.core.record import write_text
from limbeck.labels.labelled import Labelled
from limbeck.potentials.protocols import PairStyle
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
from limbeck.potentials.students.repulsion import shortest_distances, zbl_energy
from limbeck.potentials.students.student import LammpsStudent

if TYPE_CHECKING:
    from limbeck.potentials.students.uf3_design import Uf3Basis

FILES = ("model.uf3", "atoms.eam.alloy")
"""Files of the potential."""
_RIDGE_SHARE = 0.01
_MAX_COLUMNS = 6000


class Uf3Terms(Settings):
    """Splines of pairs and triangles."""

    two_body_cutoff_A: float = Field(default=5.5, gt=0, le=12)
    """Range of the pair term."""
    two_body_intervals: int = Field(default=22, ge=6, le=80)
    """Spline intervals of the pair term on [0, cutoff]."""
    three_body_cutoff_A: float = Field(default=4.2, gt=0, le=8)
    """Range of the two sides of a triangle that meet in its center; the cost grows with its sixth power."""
    three_body_intervals: int | None = Field(default=None, ge=4, le=30)
    """Spline intervals of those sides on [0, cutoff]; the third side has twice as many on twice the range. Left out:
    14 for one element, 10 for two, 7 for three, 5 for more, since the coefficients multiply."""

    @model_validator(mode="after")
    def _triangles_inside_pairs(self) -> "Uf3Terms":
        if self.three_body_cutoff_A > self.two_body_cutoff_A:
            raise ValueError(
                f"three_body_cutoff_A {self.three_body_cutoff_A} must not exceed two_body_cutoff_A "
                f"{self.two_body_cutoff_A}: LAMMPS looks for triangles among the pairs"
            )
        return self


class Uf3Settings(Uf3Terms):
    """UF3 student: own linear fit, ``pair_style uf3`` of LAMMPS. The fast family."""

    kind: Literal["uf3"] = "uf3"
    name: str = "uf3"
    """Name of the student; its folder is called so."""
    energy_weight: float = Field(default=100.0, ge=0)
    """Weight of an energy row (eV/atom) against a force row (eV/Å) of weight ``force_weight``."""
    force_weight: float = Field(default=1.0, gt=0)
    """Weight of a force row."""
    stress_weight: float = Field(default=10.0, ge=0)
    """Weight of a stress row, volume per atom times stress in eV/atom."""
    regularization: float | None = Field(default=None, gt=0)
    """Curvature penalty, relative to the mean diagonal of the normal equations; left out, validation chooses it."""


def fit(
    settings: Uf3Settings,
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

    basis = basis_of(settings, elements, train)
    shifts = reference_energies(train, elements)
    weights = RowWeights(settings.energy_weight, settings.force_weight, settings.stress_weight)
    sums = (NormalEquations(basis.n_columns), NormalEquations(basis.n_columns))
    done = 0
    for equations, frames in zip(sums, (train, validation), strict=True):
        for frame in frames:
            energy, forces, virial = design_rows(basis, frame.atoms)
            known = settings.stress_weight > 0 and frame.atoms.cell.rank == 3
            shift = float(shifts @ element_counts(frame.atoms, elements))
            equations.add(*weighted_rows(frame, shift, weights, energy, forces, virial if known else None))
            done += 1
            progress.set(done, f"design matrix of frame {done}")
    penalty = spline_penalty(basis, np.diag(sums[0].matrix))
    solution = solve_penalized(
        sums[0], sums[1] if validation else sums[0], penalty, settings.regularization,
        lambda c: raise_core(basis, c, penalty.prior, np.diag(sums[0].matrix) <= 0),
    )  # fmt: skip
    coefficients = solution.coefficients.copy()
    coefficients[: len(elements)] += shifts
    names = write_potential(basis, coefficients, folder)
    pair = PairStyle(
        lines=("pair_style hybrid/overlay uf3 3 eam/alloy", *pair_coefficients(elements)),
        elements=elements,
        files=names,
    )
    student = LammpsStudent(kind="uf3", folder=folder, pair=pair, settings=settings.model_dump())
    return student, solution


def basis_of(terms: Uf3Terms, elements: tuple[str, ...], train: Sequence[Labelled]) -> "Uf3Basis":
    """Basis for the elements and shortest distances of the training frames.

    Raises:
        TrainingError: If it is too large.
    """
    from limbeck.potentials.students.uf3_design import make_basis

    basis = make_basis(
        elements,
        terms.two_body_cutoff_A,
        terms.two_body_intervals,
        terms.three_body_cutoff_A,
        terms.three_body_intervals or {1: 14, 2: 10, 3: 7}.get(len(elements), 5),
        shortest_distances(elements, train, terms.two_body_cutoff_A),
    )
    if basis.n_columns > _MAX_COLUMNS:
        raise TrainingError(
            f"UF3 would have {basis.n_columns} coefficients for {len(elements)} elements, more than {_MAX_COLUMNS}. "
            "Lower three_body_intervals, or use a POD student."
        )
    return basis


def write_potential(basis: "Uf3Basis", coefficients: Float[np.ndarray, " columns"], folder: Path) -> tuple[str, ...]:
    """Write the LAMMPS files; returns their names."""
    write_text(folder / FILES[0], potential_text(basis, coefficients))
    write_text(folder / FILES[1], single_atom_text(basis.elements, coefficients[: len(basis.elements)]))
    return FILES


def pair_coefficients(elements: Sequence[str]) -> tuple[str, ...]:
    """``pair_coeff`` lines of the files, under ``pair_style hybrid/overlay uf3 3 eam/alloy``."""
    symbols = " ".join(elements)
    return (
        f'pair_coeff * * uf3 "{{folder}}/{FILES[0]}" {symbols}',
        f'pair_coeff * * eam/alloy "{{folder}}/{FILES[1]}" {symbols}',
    )


def spline_penalty(basis: "Uf3Basis", diagonal: Float[np.ndarray, " columns"]) -> Penalty:
    """Curvature of neighboring coefficients, relative to the mean diagonal of the normal equations of its class.

    Args:
        basis: The basis.
        diagonal: Diagonal of the normal equations; columns of the three-body term that no data touch are not fitted.
    """
    n_elements, n_pair_end = len(basis.elements), _pair_end(basis)
    touched = diagonal > 0
    touched[n_elements:n_pair_end] = True
    classes = (slice(n_elements, n_pair_end), slice(n_pair_end, basis.n_columns))
    matrix, fixed = np.zeros((basis.n_columns, basis.n_columns)), np.zeros(basis.n_columns)
    fixed[:n_elements] = 1e-10 * diagonal[:n_elements].mean()
    for part, rows in zip(classes, _curvature_rows(basis, touched), strict=True):
        level = diagonal[part][touched[part]].mean() if touched[part].any() else 1.0
        for columns, weights in rows:
            matrix[np.ix_(columns, columns)] += level * np.outer(weights, weights)
        numbers = np.arange(part.start, part.stop)
        matrix[numbers, numbers] += _RIDGE_SHARE * level
    return Penalty(core_baseline(basis), np.flatnonzero(touched), matrix, fixed)


def _pair_end(basis: "Uf3Basis") -> int:
    return len(basis.elements) + len(basis.pairs) * (len(basis.pair_knots) - 7)


def _curvature_rows(
    basis: "Uf3Basis", touched: np.ndarray
) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[tuple[np.ndarray, np.ndarray]]]:
    """Second differences of neighboring coefficients, of the pair term and of the three-body term.

    A fixed zero at the cutoff takes part as zero; a difference with a coefficient that no data touch is left out.
    """
    pair = []
    for a, b in basis.pairs:
        pair += _second_differences(basis.pair_columns[a, b][None, :], touched)
    triplet = []
    for center, b, c in basis.triplets:
        block = basis.triplet_columns[center, b, c]
        for axis in range(3) if b != c else (1, 2):
            lines = np.moveaxis(block, axis, -1).reshape(-1, block.shape[axis])
            triplet += _second_differences(lines, touched)
    return pair, triplet


def _second_differences(lines: np.ndarray, touched: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    weights = np.array([1.0, -2.0, 1.0])
    rows = []
    for line in lines:
        for start in range(len(line) - 2):
            columns = line[start : start + 3]
            real = columns >= 0
            if real.any() and np.all(touched[columns[real]]):
                unique, inverse = np.unique(columns[real], return_inverse=True)
                rows.append((unique, np.bincount(inverse, weights=weights[real])))
    return rows


def core_baseline(basis: "Uf3Basis") -> Float[np.ndarray, " columns"]:
    """Coefficients of the pair terms that follow half the ZBL repulsion (half, since both orders of a pair count).

    Only deviations from it are fitted and penalised, so that the pair term without data is a repulsive wall.
    """
    knots = basis.pair_knots
    centers = np.maximum((knots[1:-3] + knots[2:-2] + knots[3:-1]) / 3, 0.5)
    baseline = np.zeros(basis.n_columns)
    for a, b in basis.pairs:
        numbers = [atomic_numbers[basis.elements[e]] for e in (a, b)]
        columns = basis.pair_columns[a, b]
        free = columns >= 0
        baseline[columns[free]] = 0.5 * zbl_energy(numbers[0], numbers[1], centers[free])
    return baseline


def raise_core(basis: "Uf3Basis", coefficients: np.ndarray, baseline: np.ndarray, untouched: np.ndarray) -> None:
    """Let the pair terms rise towards zero distance at least as steeply as the baseline where no datum reaches."""
    for a, b in basis.pairs:
        columns = basis.pair_columns[a, b]
        for left, right in zip(columns[-2::-1], columns[:0:-1], strict=True):
            if left >= 0 and right >= 0 and untouched[left]:
                rise = max(coefficients[left] - coefficients[right], baseline[left] - baseline[right])
                coefficients[left] = coefficients[right] + rise


def potential_text(basis: "Uf3Basis", coefficients: Float[np.ndarray, " columns"]) -> str:
    """Potential file of ``pair_style uf3``."""
    padded = np.append(coefficients, 0.0)  # column -1: the fixed zeros
    head = "#UF3 POT UNITS: metal DATE: none AUTHOR: limbeck CITATION: arXiv:2110.00624"
    lines: list[str] = []
    for a, b in basis.pairs:
        values = padded[basis.pair_columns[a, b]]
        lines += [
            head,
            f"2B {basis.elements[a]} {basis.elements[b]} 0 3 uk",
            f"{basis.pair_cutoff!r} {len(basis.pair_knots)}",
            _numbers(basis.pair_knots),
            str(len(values)),
            _numbers(values),
            "#",
        ]
    cutoff, side, base = basis.triplet_cutoff, basis.side_knots, basis.base_knots
    for center, b, c in basis.triplets:
        block = padded[basis.triplet_columns[center, b, c]]
        lines += [
            head,
            f"3B {basis.elements[center]} {basis.elements[b]} {basis.elements[c]} 0 3 uk",
            f"{2 * cutoff!r} {cutoff!r} {cutoff!r} {len(base)} {len(side)} {len(side)}",
            _numbers(base),
            _numbers(side),
            _numbers(side),
            " ".join(str(n) for n in block.shape),
            *(_numbers(row) for row in block.reshape(-1, block.shape[2])),
            "#",
        ]
    return "\n".join(lines) + "\n"


def single_atom_text(elements: Sequence[str], energies: Float[np.ndarray, " elements"]) -> str:
    """``eam/alloy`` file without pair term and density whose embedding function is the energy of a single atom."""
    n, cutoff = 8, 1.0
    zeros = _numbers(np.zeros(n))
    lines = ["Energies of single atoms", "as constant embedding functions", "made by limbeck"]
    lines += [f"{len(elements)} {' '.join(elements)}", f"{n} 1.0 {n} {cutoff / (n - 1)!r} {cutoff!r}"]
    for symbol, energy in zip(elements, energies, strict=True):
        number = atomic_numbers[symbol]
        lines += [f"{number} {atomic_masses[number]} 1.0 none", _numbers(np.full(n, energy)), zeros]
    lines += [zeros] * (len(elements) * (len(elements) + 1) // 2)
    return "\n".join(lines) + "\n"


def _numbers(values: Float[np.ndarray, " n"]) -> str:
    return " ".join(f"{v:.16g}" for v in values)
