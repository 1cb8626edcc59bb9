"""Streaming least squares and the choice of the ridge."""

import numpy as np
import pytest
from ase import Atoms

from limbeck.core.errors import TrainingError
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.students.linear_fit import (
    LOSS_TOLERANCE,
    NormalEquations,
    Penalty,
    RowStack,
    reference_energies,
    solve,
    solve_penalized,
)


def problem(n_rows: int, n_columns: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, n_columns)) * 10.0 ** rng.uniform(-3, 3, n_columns)
    truth = rng.normal(size=n_columns) / np.linalg.norm(rows, axis=0)
    return rows, rows @ truth + noise * rng.normal(size=n_rows), truth


def stack(rows: np.ndarray, values: np.ndarray, block: int) -> RowStack:
    made = RowStack(rows.shape[1])
    for start in range(0, len(rows), block):
        made.add(rows[start : start + block], values[start : start + block])
    return made


@pytest.mark.parametrize("block", [1, 7, 500])
def test_streamed_solution_is_the_least_squares_solution(block: int) -> None:
    rows, values, _ = problem(200, 12, 0.1, 1)
    expected = np.linalg.lstsq(rows, values, rcond=None)[0]
    fit = solve(stack(rows, values, block), None, 1e-14)
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-8)
    assert fit.rank == 12


def test_loss_is_the_sum_of_squared_residuals() -> None:
    rows, values, _ = problem(50, 5, 0.3, 2)
    folded = stack(rows, values, 9)
    trial = np.random.default_rng(0).normal(size=(5, 3)) / np.linalg.norm(rows, axis=0)[:, None]
    expected = np.sum((rows @ trial - values[:, None]) ** 2, axis=0)
    np.testing.assert_allclose(folded.loss(trial), expected, rtol=1e-10)
    assert folded.loss(trial[:, 0]) == pytest.approx(expected[0])


def test_few_noisy_rows_get_a_ridge_and_many_clean_rows_get_none() -> None:
    rows, values, truth = problem(430, 30, 0.0, 3)
    noise = np.random.default_rng(4).normal(size=430) * 0.5
    noisy = stack(rows[:32], (values + noise)[:32], 8)
    held_out = stack(rows[200:], values[200:], 50)
    chosen = solve(noisy, held_out, None)
    unregularized = solve(noisy, held_out, 1e-13)
    assert chosen.ridge >= 1e-3
    assert held_out.loss(chosen.coefficients) < 0.5 * held_out.loss(unregularized.coefficients)
    assert chosen.path[chosen.ridge] <= 1.001 * min(chosen.path.values())
    clean = solve(stack(rows[:200], values[:200], 50), held_out, None)
    assert clean.ridge < 1e-6
    np.testing.assert_allclose(clean.coefficients, truth, rtol=1e-6)


def test_mistakes_are_named() -> None:
    with pytest.raises(TrainingError, match="training data"):
        solve(RowStack(3), None, 1e-8)
    rows, values, _ = problem(20, 3, 0.0, 5)
    with pytest.raises(TrainingError, match="regularization"):
        solve(stack(rows, values, 5), None, None)
    rows[3, 1] = np.nan
    with pytest.raises(TrainingError, match="NaN"):
        stack(rows, values, 5)


def test_reference_energies_separate_elements_where_composition_allows() -> None:
    def frame(symbols: str, energy: float) -> Labelled:
        atoms = Atoms(symbols, positions=[[2.0 * i, 0, 0] for i in range(len(Atoms(symbols)))], cell=[20, 5, 5])
        return Labelled(atoms, energy, np.zeros((len(atoms), 3)), None, Fingerprint("test", "1", {}))

    mixed = [frame("MgO", -3.0), frame("Mg2O", -5.0), frame("Mg", -2.0)]
    np.testing.assert_allclose(reference_energies(mixed, ("Mg", "O")), [-2.0, -1.0], atol=1e-10)
    fixed = [frame("MgO", -12.0), frame("Mg2O2", -24.0)]
    np.testing.assert_allclose(reference_energies(fixed, ("Mg", "O")), [-6.0, -6.0], atol=1e-10)


def equations(rows: np.ndarray, values: np.ndarray) -> NormalEquations:
    made = NormalEquations(rows.shape[1])
    made.add(rows[:9], values[:9])
    made.add(rows[9:], values[9:])
    return made


def test_penalized_solution_is_that_of_the_stacked_rows() -> None:
    """Against one least-squares problem that holds the penalty as rows; column 2 is left at its prior."""
    rng = np.random.default_rng(6)
    rows, values = rng.normal(size=(40, 6)), rng.normal(size=40)
    prior, root = rng.normal(size=6), rng.normal(size=(4, 6))
    fixed = np.array([0.3, 0.0, 0.0, 0.1, 0.0, 0.0])
    used = np.array([0, 1, 3, 4, 5])
    penalty = Penalty(prior, used, root.T @ root, fixed)
    fit = solve_penalized(equations(rows, values), equations(rows, values), penalty, 0.7)
    stacked = np.vstack([rows, np.sqrt(0.7) * root, np.diag(np.sqrt(fixed))])[:, used]
    right = np.concatenate([values - rows @ prior, np.zeros(4 + 6)])
    expected = prior.copy()
    expected[used] += np.linalg.lstsq(stacked, right, rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-9)
    assert fit.path[0.7] == pytest.approx(np.mean((rows @ fit.coefficients - values) ** 2))


def test_the_strongest_penalty_within_the_tolerance_is_taken_and_solutions_are_finished() -> None:
    rows, values, _ = problem(60, 5, 0.0, 8)
    scale = np.diag(rows.T @ rows)
    penalty = Penalty(np.zeros(5), np.arange(5), np.diag(scale), np.zeros(5))
    noise = np.random.default_rng(9).normal(size=60)
    judge = equations(rows, values + noise)
    fit = solve_penalized(equations(rows, values), judge, penalty, None)
    least = min(fit.path.values())
    assert fit.path[fit.ridge] <= LOSS_TOLERANCE * least
    assert all(loss > LOSS_TOLERANCE * least for strength, loss in fit.path.items() if strength > fit.ridge)

    def finish(coefficients: np.ndarray) -> None:
        coefficients[0] = 42.0

    assert solve_penalized(judge, judge, penalty, 1e-8, finish).coefficients[0] == 42.0
    bad = rows.copy()
    bad[3, 2] = np.nan
    with pytest.raises(TrainingError, match="NaN"):
        equations(bad, values)
    with pytest.raises(TrainingError, match="regularization"):
        solve_penalized(judge, judge, Penalty(np.zeros(5), np.arange(5), -1e9 * np.eye(5), np.zeros(5)), 1.0)
