"""Weighted linear least squares over a stream of frames, with the regularization chosen on held-out trajectories.

Two forms. Under a ridge (:func:`solve`), rows are folded into a triangular factor as they come (QR of the factor
stacked on new rows), so that neither the whole design matrix nor the normal equations, which would square its condition
number, are ever formed. Under a general quadratic penalty around a prior (:func:`solve_penalized`), which alone makes
splines with hundreds of sparse columns determined, the normal equations are summed and factorized.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from limbeck.core.errors import TrainingError
from limbeck.labels.labelled import Labelled

RIDGE_GRID: tuple[float, ...] = tuple(10.0**exponent for exponent in np.arange(-11.0, -1.9, 0.5))
"""Ridge strengths that are tried, relative to the largest singular value of the column-scaled problem."""


LOSS_TOLERANCE = 1.1
"""The strongest regularization is taken whose validation loss is within this factor of the least one.

Five per cent of the error buys orders of magnitude of regularization where the data do not object. Measured on silicon
(UF3): at the least loss hot crystals fell into spurious structures, at 1.1 times it none did up to 2200 K.
"""


@dataclass
class RowStack:
    """All rows seen so far, as their triangular factor: ``|A c - b|^2 = |factor c - target|^2 + remainder``.

    Attributes:
        n_columns: Number of unknowns.
        factor: (<= n_columns + 1, n_columns + 1) triangular; its last column belongs to the right-hand side.
        n_rows: Rows folded in so far.
    """

    n_columns: int
    factor: Float[np.ndarray, "k columns"] = field(init=False)
    n_rows: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.factor = np.zeros((0, self.n_columns + 1))
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0

    def add(self, rows: Float[np.ndarray, "m columns"], values: Float[np.ndarray, " m"]) -> None:
        """Fold rows in; weights are the caller's."""
        block = np.column_stack([rows, values])
        if not np.all(np.isfinite(block)):
            raise TrainingError("a row of the linear fit holds NaN or infinity; one of the frames is not usable")
        self._waiting.append(block)
        self._n_waiting += len(block)
        self.n_rows += len(block)
        if self._n_waiting >= 4 * (self.n_columns + 1):
            self.fold()

    def fold(self) -> None:
        """Bring all waiting rows into the factor."""
        if self._waiting:
            self.factor = np.asarray(np.linalg.qr(np.vstack([self.factor, *self._waiting]), mode="r"))
            self._waiting, self._n_waiting = [], 0

    def loss(self, coefficients: Float[np.ndarray, "columns ..."]) -> Float[np.ndarray, " ..."]:
        """Sum of squared weighted residuals for one or several columns of coefficients."""
        self.fold()
        residual = self.factor[:, :-1] @ coefficients - self.factor[:, -1:].reshape(
            (-1,) + (1,) * (coefficients.ndim - 1)
        )
        return np.sum(residual**2, axis=0)


@dataclass
class NormalEquations:
    """Sums over weighted rows: ``|A c - b|^2 = c.matrix.c - 2 c.vector + square``.

    Attributes:
        n_columns: Number of unknowns.
        matrix: (n_columns, n_columns) sum of ``A^T A``.
        vector: (n_columns,) sum of ``A^T b``.
        square: Sum of ``b^2``.
        n_rows: Rows seen so far.
    """

    n_columns: int
    matrix: Float[np.ndarray, "columns columns"] = field(init=False)
    vector: Float[np.ndarray, " columns"] = field(init=False)
    square: float = field(default=0.0, init=False)
    n_rows: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.matrix = np.zeros((self.n_columns, self.n_columns))
        self.vector = np.zeros(self.n_columns)

    def add(self, rows: Float[np.ndarray, "m columns"], values: Float[np.ndarray, " m"]) -> None:
        """Add rows; columns that are zero in all of them cost nothing."""
        if not (np.all(np.isfinite(rows)) and np.all(np.isfinite(values))):
            raise TrainingError("a row of the linear fit holds NaN or infinity; one of the frames is not usable")
        used = np.flatnonzero(np.any(rows != 0, axis=0))
        block = np.ascontiguousarray(rows[:, used])
        self.matrix[np.ix_(used, used)] += block.T @ block
        self.vector[used] += block.T @ values
        self.square += float(values @ values)
        self.n_rows += len(values)

    def loss(self, coefficients: Float[np.ndarray, " columns"]) -> float:
        """Mean squared weighted residual."""
        c = coefficients
        return float(max(c @ self.matrix @ c - 2 * c @ self.vector + self.square, 0.0) / self.n_rows)


@dataclass(frozen=True)
class RowWeights:
    """Weights of the rows of a frame.

    Attributes:
        energy: Of an energy row, eV/atom.
        force: Of a force row, eV/Å.
        stress: Of a stress row, volume per atom times stress in eV.
    """

    energy: float
    force: float
    stress: float


def weighted_rows(
    frame: Labelled,
    shift_eV: float,
    weights: RowWeights,
    energy: Float[np.ndarray, " columns"],
    forces: Float[np.ndarray, "coordinates columns"],
    virial: Float[np.ndarray, "components columns"] | None,
    components: Sequence[int] = range(6),
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, " rows"]]:
    """Weighted rows and values of one frame.

    Args:
        frame: Label with energy, forces, and stress if ``virial`` is to count.
        shift_eV: Energy that is not to be explained.
        weights: Weights.
        energy: Derivative of the total energy with respect to the coefficients.
        forces: The same of the 3 n_atoms force components.
        virial: The same of the strain derivative of the energy, or ``None``.
        components: Voigt components that ``virial`` holds; fewer than six weigh as much as all.
    """
    n = len(frame.atoms)
    rows = [weights.energy / n * energy[None, :], weights.force * forces]
    values = [np.array([weights.energy / n * (frame.energy - shift_eV)]), weights.force * frame.forces.ravel()]
    if virial is not None and frame.stress is not None:
        weight = weights.stress / n * np.sqrt(6 / len(components))
        rows.append(weight * virial)
        values.append(weight * frame.atoms.get_volume() * frame.stress[list(components)])
    return np.vstack(rows), np.concatenate(values)


@dataclass(frozen=True)
class LinearFit:
    """Result of :func:`solve` or :func:`solve_penalized`.

    Attributes:
        coefficients: (n_columns,) in the units of the unscaled columns.
        ridge: Strength used: of the ridge, relative to the largest singular value, or of the penalty.
        path: Strength -> validation loss per row (training loss where there was no validation).
        rank: Number of singular values above the ridge; under a penalty the number of fitted columns.
    """

    coefficients: Float[np.ndarray, " columns"]
    ridge: float
    path: dict[float, float]
    rank: int


def solve(
    train: RowStack,
    validation: RowStack | None,
    ridge: float | None,
    grid: Sequence[float] = RIDGE_GRID,
) -> LinearFit:
    """Minimise ``|A c - b|^2 + (ridge s_max)^2 |D c|^2``, D the column norms of A.

    Args:
        train: Training rows.
        validation: Rows of held-out trajectories that choose the ridge; not used where ``ridge`` is given.
        ridge: Fixed ridge strength, or ``None`` to choose from ``grid``.
        grid: Strengths to choose from; see :data:`LOSS_TOLERANCE`.

    Raises:
        TrainingError: If there are no rows, or neither a ridge nor validation rows.
    """
    train.fold()
    if train.n_rows == 0:
        raise TrainingError("a linear fit needs training data, got none")
    if ridge is None and (validation is None or validation.n_rows == 0):
        raise TrainingError(
            "choosing the regularization needs validation frames from trajectories that are not in the training set. "
            "Give some, or set 'regularization' to a number such as 1e-7."
        )
    matrix, target = train.factor[:, :-1], train.factor[:, -1]
    norms = np.linalg.norm(matrix, axis=0)
    scale = np.where(norms > 0, norms, 1.0)
    left, singular, right = np.linalg.svd(matrix / scale, full_matrices=False)
    projected = left.T @ target
    strengths = np.array([ridge] if ridge is not None else list(grid))
    damping = singular[:, None] / (singular[:, None] ** 2 + (strengths * singular[0]) ** 2)
    paths = (right.T @ (damping * projected[:, None])) / scale[:, None]
    judge = validation if validation is not None and validation.n_rows else train
    losses = judge.loss(paths) / judge.n_rows
    if not np.all(np.isfinite(paths)):
        raise TrainingError("the linear fit did not give finite coefficients")
    best = int(np.flatnonzero(losses <= LOSS_TOLERANCE * losses.min())[-1])
    return LinearFit(
        coefficients=paths[:, best],
        ridge=float(strengths[best]),
        path={float(s): float(v) for s, v in zip(strengths, losses, strict=True)},
        rank=int(np.sum(singular > strengths[best] * singular[0])),
    )


PENALTY_GRID: tuple[float, ...] = tuple(10.0**exponent for exponent in np.arange(-11.0, -1.9, 0.5))
"""Strengths that :func:`solve_penalized` tries, from weak to strong."""


@dataclass(frozen=True)
class Penalty:
    """Cost of a deviation d from the prior: ``strength * d.matrix.d + sum(fixed d^2)``.

    Attributes:
        prior: (n_columns,) coefficients where nothing speaks against them.
        used: Columns that are fitted; the others keep the prior.
        matrix: (n_columns, n_columns) positive semidefinite.
        fixed: (n_columns,) diagonal that is added at every strength.
    """

    prior: Float[np.ndarray, " columns"]
    used: Int[np.ndarray, " used"]
    matrix: Float[np.ndarray, "columns columns"]
    fixed: Float[np.ndarray, " columns"]


def solve_penalized(
    train: NormalEquations,
    judge: NormalEquations,
    penalty: Penalty,
    strength: float | None,
    finish: Callable[[Float[np.ndarray, " columns"]], None] = lambda _: None,
) -> LinearFit:
    """Minimise the squared residuals under a penalty; see :class:`Penalty`.

    Args:
        train: Training rows.
        judge: Rows that choose the strength, those of held-out trajectories if there are any.
        penalty: The penalty.
        strength: Its strength, or ``None`` to choose from :data:`PENALTY_GRID`; see :data:`LOSS_TOLERANCE`.
        finish: Changes a solution in place before it is judged.

    Raises:
        TrainingError: If the equations cannot be solved at any strength.
    """
    from scipy.linalg import cho_factor, cho_solve

    used = penalty.used
    grid = np.ix_(used, used)
    fitted, cost = train.matrix[grid] + np.diag(penalty.fixed[used]), penalty.matrix[grid]
    target = (train.vector - train.matrix @ penalty.prior)[used]
    path: dict[float, float] = {}
    solutions: dict[float, np.ndarray] = {}
    for tried in PENALTY_GRID if strength is None else (strength,):
        try:
            factor = cho_factor(fitted + tried * cost, lower=True, overwrite_a=True)
        except np.linalg.LinAlgError:
            continue
        coefficients = penalty.prior.copy()
        coefficients[used] += cho_solve(factor, target)
        finish(coefficients)
        if np.all(np.isfinite(coefficients)):
            path[tried], solutions[tried] = judge.loss(coefficients), coefficients
    if not path:
        raise TrainingError("the equations of the fit could not be solved; raise 'regularization' or add frames")
    chosen = max(tried for tried, loss in path.items() if loss <= LOSS_TOLERANCE * min(path.values()))
    return LinearFit(coefficients=solutions[chosen], ridge=chosen, path=path, rank=len(used))


def element_counts(atoms: Atoms, elements: Sequence[str]) -> Float[np.ndarray, " elements"]:
    """Number of atoms of each element."""
    symbols = atoms.get_chemical_symbols()
    return np.array([symbols.count(e) for e in elements], dtype=float)


def reference_energies(frames: Sequence[Labelled], elements: Sequence[str]) -> Float[np.ndarray, " elements"]:
    """Energy of each element (eV) that explains the total energies best, by least squares on the composition.

    Where the composition never changes, the shares cannot be told apart and the smallest ones are given.
    """
    counts = np.array([element_counts(f.atoms, elements) for f in frames])
    per_atom = counts.sum(axis=1)
    energies = np.array([f.energy for f in frames]) / per_atom
    return np.linalg.lstsq(counts / per_atom[:, None], energies, rcond=1e-8)[0]
