"""X-ray absorption: from thermal multiplets through dipole operators to polarization tensors.

    I_ab(w) = sum_i p_i sum_f <i|T_a+|f> <f|T_b|i> L(w - E_f + E_i)

over x, y, z; what :mod:`limbeck.impurity.transitions` finds for spherical components, turned.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from limbeck.impurity.excitations import Poles
from limbeck.impurity.multiplets import Multiplets
from limbeck.impurity.operators import Operator
from limbeck.impurity.transitions import Transitions, transitions

CARTESIAN = np.array([[1, 1j, 0], [0, 0, np.sqrt(2)], [-1, 1j, 0]]) / np.sqrt(2)
"""Columns: x, y, z in the components -1, 0, 1: ``C_x = (C_-1 - C_1) / sqrt 2``, ``C_y = i (C_-1 + C_1) / sqrt 2``."""


@dataclass(frozen=True)
class Absorption(Transitions):
    """Absorption of thermal multiplets; the amplitudes are those of T_x, T_y, T_z."""

    def tensor(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray"
    ) -> Complex[np.ndarray, "n 3 3"]:
        """The polarization tensor: Hermitian; absorption of the polarization e is ``e+ . tensor . e``.

        Args:
            energies: Photon energies, eV.
            half_width: Half width at half maximum, eV, one or one at each energy.
        """
        return self.matrix(energies, half_width)

    def isotropic(self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray") -> Float[np.ndarray, " n"]:
        """Absorption averaged over all directions: a third of the trace."""
        return np.asarray(self.trace(energies, half_width) / 3)

    def isotropic_error(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray"
    ) -> Float[np.ndarray, " n"]:
        """What the last growth changed in it."""
        return np.asarray(self.error(energies, half_width) / 3)

    def linear(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray", direction: "np.ndarray"
    ) -> Float[np.ndarray, " n"]:
        """Absorption of light polarized along a direction, or of any complex polarization of unit length."""
        e = np.asarray(direction) / np.linalg.norm(direction)
        return np.asarray(np.einsum("a,nab,b->n", e.conj(), self.tensor(energies, half_width), e).real)

    def circular_dichroism(
        self, energies: Float[np.ndarray, " n"], half_width: "float | np.ndarray"
    ) -> Float[np.ndarray, " n"]:
        """Left less right circular polarization along z: ``i (I_yx - I_xy)``, left being (x + i y) / sqrt 2."""
        left, right = (self.linear(energies, half_width, np.array([1, sign * 1j, 0])) for sign in (1, -1))
        return np.asarray(left - right)


def absorption(
    states: Multiplets, operators: tuple[Operator, Operator, Operator], temperature_K: float, *,
    half_width: float = 0.1, most: int | None = None, tell: Callable[[int], None] | None = None,
) -> Absorption:  # fmt: skip
    """Absorption on every final configuration that H connects, or on selected ones where the states are.

    Args:
        states: Initial states.
        operators: T_q for q = -1, 0, 1.
        temperature_K: Temperature.
        half_width: Narrowest half width with which the spectrum will be looked at, eV.
        most: Most final configurations.
        tell: Called with the number of configurations after each growth of a selected set.

    Raises:
        ConfigError: If nothing can be excited, or there are more final configurations.
    """
    found = transitions(states, operators, temperature_K, half_width=half_width, most=most, tell=tell)

    def turned(given: tuple[Poles, ...]) -> tuple[Poles, ...]:
        return tuple(Poles(poles.energies, poles.amplitudes @ CARTESIAN) for poles in given)

    rough = None if found.rough is None else turned(found.rough)
    return Absorption(turned(found.poles), found.weights, found.n_final, rough, found.missed)
