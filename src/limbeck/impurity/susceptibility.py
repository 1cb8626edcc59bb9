"""Local dynamic susceptibilities: how spin and charge of the impurity answer to a field on it.

    chi_ab(z) = sum_n ( <0|A|n><n|B|0> / (z - E_n + E_0)  -  <0|B|n><n|A|0> / (z + E_n - E_0) )

of Hermitian one-body operators A, B of the impurity, with its sign such that the static chi is negative and
``-Im chi / pi`` at positive frequencies is the spectrum of fluctuations, whose integral is ``<A^2> - <A>^2``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from limbeck.impurity.excitations import Poles, Response, response
from limbeck.impurity.operators import Operator, one_body
from limbeck.impurity.selected_ci import SelectedState

ELASTIC = 1e-8
"""Excitation energies below this are the ground state itself, or its partners."""


@dataclass(frozen=True)
class Susceptibility:
    """Response of some operators to each other.

    Attributes:
        response: Poles on the final space, and on an earlier one.
    """

    response: Response

    def __call__(self, z: Complex[np.ndarray, " n"], *, rough: bool = False) -> Complex[np.ndarray, "n p p"]:
        """chi(z); z on the real axis must not be a pole."""
        poles = self._inelastic(rough=rough)
        forward = poles.matrix(np.asarray(z))
        return np.asarray(forward + poles.matrix(-np.asarray(z)).transpose(0, 2, 1))

    def fluctuations(
        self, frequencies: Float[np.ndarray, " n"], broadening: float
    ) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n p"]]:
        """``-Im chi_aa(w + i eta) / pi`` and its error: what the second half of the space changed."""
        z = np.asarray(frequencies) + 1j * broadening
        fine, rough = (-np.diagonal(self(z, rough=r), axis1=1, axis2=2).imag / np.pi for r in (False, True))
        return fine, np.abs(fine - rough)

    def moment(self, n: int) -> "np.ndarray":
        """``sum_k <0|A|k><k|B|0> (E_k - E_0)^n`` over excited k; n = 1 is half of ``<[A, [H, B]]>``."""
        return self._inelastic().moment(n)

    def _inelastic(self, *, rough: bool = False) -> Poles:
        poles = self.response.rough if rough else self.response.poles
        kept = np.abs(poles.energies) > ELASTIC
        return Poles(poles.energies[kept], poles.amplitudes[kept])


def spin_z(n_orbitals: int) -> Operator:
    """``S_z`` of the impurity."""
    return one_body(np.diag(np.tile([0.5, -0.5], n_orbitals)))


def charge(n_orbitals: int) -> Operator:
    """Number of electrons on the impurity."""
    return one_body(np.eye(2 * n_orbitals))


def susceptibility(
    state: SelectedState, operators: Sequence[Operator], window: tuple[float, float], broadening: float,
    most: int = 20_000, n_lanczos: int = 120, tell: Callable[[int], None] | None = None,
) -> Susceptibility:  # fmt: skip
    """Susceptibilities of the ground state.

    Args:
        state: Ground state.
        operators: Hermitian one-body operators of the impurity, such as :func:`spin_z`.
        window: Excitation energies that matter, positive.
        broadening: Half width with which spectra will be looked at.
        most: Configurations of the space.
        n_lanczos: Poles for each operator, at most.
        tell: Called with the number of configurations after each round.
    """
    return Susceptibility(response(state, operators, window, broadening, most, n_lanczos, tell))
