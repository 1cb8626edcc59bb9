"""UF3: the ultra-fast potential, cubic B-splines of two and three bodies, linear in their coefficients.

Fitted here (docs/decisions/0004-uf3-fit.md), run by ``pair_style uf3`` of LAMMPS. That style has no energy of single
atoms; a constant embedding function of ``eam/alloy`` carries it, so LAMMPS, ASE and the labels have one energy zero.

Source: S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023), arXiv:2110.00624; for the repulsive core
see :mod:`limbeck.potentials.students.repulsion`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
from limbeck.potentials.students.linear_fit import LOSS_TOLERANCE, LinearFit, element_counts, reference_energies
from limbeck.potentials.students.repulsion import shortest_distances, zbl_energy
from limbeck.potentials.students.student import LammpsStudent

if TYPE_CHECKING:
    from limbeck.potentials.students.uf3_design import Uf3Basis

PENALTY_GRID: tuple[float, ...] = tuple(10.0**exponent for exponent in np.arange(-11.0, -1.9, 0.5))
"""Strengths of the curvature penalty that are tried, relative to the mean diagonal of the normal equations."""
_RIDGE_SHARE = 0.01
_MAX_COLUMNS = 6000


class Uf3Settings(Settings):
    """UF3 student: own linear fit, ``pair_style uf3`` of LAMMPS. The fast family."""

    kind: Literal["uf3"] = "uf3"
    name: str = "uf3"
    """Name of the student; its folder is called so."""
    two_body_cutoff_A: float = Field(default=5.5, gt=0, le=12)
    """Range of the pair term."""
    two_body_intervals: int = Field(default=22, ge=6, le=80)
    """Spline intervals of the pair term on [0, cutoff]."""
    three_body_cutoff_A: float = Field(default=4.2, gt=0, le=8)
    """Range of the two sides of a triangle that meet in its center; the cost grows with its sixth power."""
    three_body_intervals: int | None = Field(default=None, ge=4, le=30)
    """Spline intervals of those sides on [0, cutoff]; the third side has twice as many on twice the range. Left out:
    14 for one element, 10 for two, 7 for more, since the coefficients multiply."""
    energy_weight: float = Field(default=100.0, ge=0)
    """Weight of an energy row (eV/atom) against a force row (eV/Å) of weight ``force_weight``."""
    force_weight: float = Field(default=1.0, gt=0)
    """Weight of a force row."""
    stress_weight: float = Field(default=10.0, ge=0)
    """Weight of a stress row, volume per atom times stress in eV/atom."""
    regularization: float | None = Field(default=None, gt=0)
    """Curvature penalty, relative to the mean diagonal of the normal equations; left out, validation chooses it."""

    @model_validator(mode="after")
    def _triangles_inside_pairs(self) -> "Uf3Settings":
        if self.three_body_cutoff_A > self.two_body_cutoff_A:
            raise ValueError(
                f"three_body_cutoff_A {self.three_body_cutoff_A} must not exceed two_body_cutoff_A "
                f"{self.two_body_cutoff_A}: LAMMPS looks for triangles among the pairs"
            )
        return self


@dataclass
class _NormalEquations:
    """Sums over weighted rows: ``|A c - b|^2 = c.matrix.c - 2 c.vector + square``."""

    matrix: np.ndarray
    vector: np.ndarray
    square: float = 0.0
    n_rows: int = 0

    def loss(self, c: np.ndarray) -> float:
        """Mean squared weighted residual."""
        return float(max(c @ self.matrix @ c - 2 * c @ self.vector + self.square, 0.0) / self.n_rows)


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
    from limbeck.potentials.students.uf3_design import make_basis

    n_side = settings.three_body_intervals or {1: 14, 2: 10}.get(len(elements), 7)
    shortest = shortest_distances(elements, train, settings.two_body_cutoff_A)
    basis = make_basis(
        elements,
        settings.two_body_cutoff_A,
        settings.two_body_intervals,
        settings.three_body_cutoff_A,
        n_side,
        shortest,
    )
    if basis.n_columns > _MAX_COLUMNS:
        raise TrainingError(
            f"UF3 would have {basis.n_columns} coefficients for {len(elements)} elements, more than {_MAX_COLUMNS}. "
            "Lower three_body_intervals, or use a POD student."
        )
    shifts = reference_energies(train, elements)
    sums = _normal_equations(settings, basis, train, shifts, progress, 0)
    held_out = _normal_equations(settings, basis, validation, shifts, progress, len(train))
    solution = _solve(settings, basis, sums, held_out if validation else sums)
    coefficients = solution.coefficients.copy()
    coefficients[: len(elements)] += shifts
    names = ("model.uf3", "atoms.eam.alloy")
    write_text(folder / names[0], potential_text(basis, coefficients))
    write_text(folder / names[1], single_atom_text(elements, coefficients[: len(elements)]))
    symbols = " ".join(elements)
    pair = PairStyle(
        lines=(
            "pair_style hybrid/overlay uf3 3 eam/alloy",
            f'pair_coeff * * uf3 "{{folder}}/{names[0]}" {symbols}',
            f'pair_coeff * * eam/alloy "{{folder}}/{names[1]}" {symbols}',
        ),
        elements=elements,
        files=names,
    )
    student = LammpsStudent(kind="uf3", folder=folder, pair=pair, settings=settings.model_dump())
    return student, solution


def _normal_equations(
    settings: Uf3Settings,
    basis: "Uf3Basis",
    frames: Sequence[Labelled],
    shifts: np.ndarray,
    progress: FileProgress,
    done: int,
) -> _NormalEquations:
    from limbeck.potentials.students.uf3_design import design_rows

    n = basis.n_columns
    sums = _NormalEquations(np.zeros((n, n)), np.zeros(n))
    for number, frame in enumerate(frames):
        energy, forces, virial = design_rows(basis, frame.atoms)
        n_atoms = len(frame.atoms)
        shift = float(shifts @ element_counts(frame.atoms, basis.elements))
        rows = [settings.energy_weight / n_atoms * energy[None, :], settings.force_weight * forces]
        values = [
            np.array([settings.energy_weight / n_atoms * (frame.energy - shift)]),
            settings.force_weight * frame.forces.ravel(),
        ]
        if settings.stress_weight > 0 and frame.stress is not None and frame.atoms.cell.rank == 3:
            weight = settings.stress_weight / n_atoms
            rows.append(weight * virial)
            values.append(weight * frame.atoms.get_volume() * frame.stress)
        matrix, vector = np.vstack(rows), np.concatenate(values)
        used = np.flatnonzero(np.any(matrix != 0, axis=0))
        matrix = np.ascontiguousarray(matrix[:, used])
        sums.matrix[np.ix_(used, used)] += matrix.T @ matrix
        sums.vector[used] += matrix.T @ vector
        sums.square += float(vector @ vector)
        sums.n_rows += len(vector)
        progress.set(done + number + 1, f"design matrix of frame {done + number + 1}")
    return sums


def _solve(
    settings: Uf3Settings,
    basis: "Uf3Basis",
    sums: _NormalEquations,
    judge: _NormalEquations,
) -> LinearFit:
    """Penalised solution for every strength; the one with the least loss on ``judge``."""
    from scipy.linalg import cho_factor, cho_solve

    diagonal = np.diag(sums.matrix)
    n_elements, n_pair_end = len(basis.elements), _pair_end(basis)
    baseline = core_baseline(basis)
    untouched = diagonal <= 0
    touched = ~untouched
    touched[n_elements:n_pair_end] = True
    used = np.flatnonzero(touched)
    classes = (slice(n_elements, n_pair_end), slice(n_pair_end, basis.n_columns))
    curvature, ridge = np.zeros_like(sums.matrix), np.zeros(basis.n_columns)
    ridge[:n_elements] = 1e-10 * diagonal[:n_elements].mean()
    for part, rows in zip(classes, _curvature_rows(basis, touched), strict=True):
        level = diagonal[part][touched[part]].mean() if touched[part].any() else 1.0
        for columns, weights in rows:
            curvature[np.ix_(columns, columns)] += level * np.outer(weights, weights)
        ridge[part] = _RIDGE_SHARE * level
    grid = np.ix_(used, used)
    fitted, penalty = sums.matrix[grid], curvature[grid] + np.diag(np.where(used < n_elements, 0.0, ridge[used]))
    fitted += np.diag(np.where(used < n_elements, ridge[used], 0.0))
    target = (sums.vector - sums.matrix @ baseline)[used]
    strengths = (settings.regularization,) if settings.regularization is not None else PENALTY_GRID
    path: dict[float, float] = {}
    solutions: dict[float, np.ndarray] = {}
    for strength in strengths:
        try:
            factor = cho_factor(fitted + strength * penalty, lower=True, overwrite_a=True)
        except np.linalg.LinAlgError:
            continue
        coefficients = baseline.copy()
        coefficients[used] += cho_solve(factor, target)
        _raise_core(basis, coefficients, baseline, untouched)
        if np.all(np.isfinite(coefficients)):
            path[strength], solutions[strength] = judge.loss(coefficients), coefficients
    if not path:
        raise TrainingError("the UF3 equations could not be solved; raise 'regularization' or add frames")
    chosen = max(strength for strength, loss in path.items() if loss <= LOSS_TOLERANCE * min(path.values()))
    return LinearFit(coefficients=solutions[chosen], ridge=chosen, path=path, rank=len(used))


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


def _raise_core(basis: "Uf3Basis", coefficients: np.ndarray, baseline: np.ndarray, untouched: np.ndarray) -> None:
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
