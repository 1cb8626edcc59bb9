"""What a ground state says: weights of the impurity's occupations, expectation values, spin."""

import numpy as np
from jaxtyping import Float

from limbeck.impurity import kernels
from limbeck.impurity.excitations import operator_on
from limbeck.impurity.operators import Operator, one_body, product
from limbeck.impurity.selected_ci import SelectedState


def electron_weights(state: SelectedState) -> Float[np.ndarray, " n_electrons"]:
    """Weight of the configurations with 0, 1, 2, ... electrons on the impurity: d^n L^m by n."""
    m = state.hamiltonian.model.n_impurity
    local = np.bitwise_count(state.rows[:, 0] & np.uint64((1 << m) - 1))
    return np.bincount(local, weights=np.abs(state.vector) ** 2, minlength=m + 1)


def expectation(state: SelectedState, operator: Operator) -> complex:
    """``<O>`` of an operator of the impurity's spin orbitals that conserves the number of electrons."""
    rows, vector = operator_on(state, operator)
    if len(rows) == 0:
        return 0.0
    found = kernels.numbers_of(kernels.table_of(state.rows), state.rows, rows)
    inside = found >= 0
    return complex(np.vdot(state.vector[found[inside]], vector[inside]))


def double_occupancy(state: SelectedState, orbital: int = 0) -> float:
    """``<n_up n_down>`` of an orbital of the impurity."""
    a, b = 2 * orbital, 2 * orbital + 1
    return expectation(state, product(1.0, (a, True), (b, True), (b, False), (a, False))).real


def local_moment(state: SelectedState) -> float:
    """``<S^2>`` of the impurity alone: 3/4 for one electron in one orbital."""
    m = state.hamiltonian.model.n_impurity
    raising = one_body(np.diag(np.tile([1.0, 0.0], m // 2)[:-1], 1))  # c+_up c_down of each orbital
    spin_z = one_body(np.diag(np.tile([0.5, -0.5], m // 2)))
    _, raised = operator_on(state, raising)
    _, along = operator_on(state, spin_z)
    # S^2 = S- S+ + Sz (Sz + 1), and <S- S+> = |S+ psi|^2
    return float(np.sum(np.abs(raised) ** 2) + np.sum(np.abs(along) ** 2) + expectation(state, spin_z).real)


def total_spin_squared(state: SelectedState) -> float:
    """``<S^2>`` of impurity and bath; needs 2 S_z to be conserved.

    Raises:
        ValueError: If the model does not conserve it.
    """
    model = state.hamiltonian.model
    if model.spin_2z is None:
        raise ValueError("S^2 of the whole needs a model that conserves S_z")
    raised = kernels.spin_raised(state.rows, state.vector, model.n_spin_orbitals // 2)
    z = 0.5 * model.spin_2z
    return float(np.sum(np.abs(raised) ** 2) + z * (z + 1))
