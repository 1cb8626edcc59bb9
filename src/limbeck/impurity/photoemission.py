"""Photoemission: an electron is taken from the core or from the valence shell.

    I_kl(E) = sum_i p_i sum_f <i|c_k+|f> <f|c_l|i> L(E - E_f + E_i)

E = E_f (one electron less) - E_i is a binding energy from the zero of the one-body levels; matrix elements to the
continuum are taken as one (sudden approximation). The integral of I_kk is the occupation of k.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from limbeck.core.errors import ConfigError
from limbeck.impurity.core_level import spin_orbit
from limbeck.impurity.multiplets import Multiplets
from limbeck.impurity.operators import product
from limbeck.impurity.transitions import Transitions, transitions


def photoemission(
    states: Multiplets, spin_orbitals: Int[np.ndarray, " p"], temperature_K: float, *, half_width: float = 0.1,
    most: int | None = None, tell: Callable[[int], None] | None = None,
) -> Transitions:  # fmt: skip
    """Spectrum of the removal of an electron from some spin orbitals of the impurity.

    Args:
        states: Initial states.
        spin_orbitals: All of the core (``model.core``), or of the valence shell.
        temperature_K: Temperature.
        half_width: Narrowest half width with which the spectrum will be looked at, eV.
        most: Most final configurations.
        tell: Called with the number of configurations after each growth of a selected set.

    Returns:
        The spectral matrix over the spin orbitals: ``trace`` is the isotropic spectrum, summed over spins.

    Raises:
        ConfigError: If core and valence are mixed, or nothing can be removed.
    """
    is_core = np.isin(spin_orbitals, states.hamiltonian.model.core)
    if is_core.any() and not is_core.all():
        raise ConfigError("core and valence spin orbitals lead to final states of two kinds; take one after the other")
    operators = [product(1.0, (int(k), False)) for k in spin_orbitals]
    return transitions(states, operators, temperature_K, half_width=half_width, most=most, tell=tell)


def of_spin(matrix: "np.ndarray", spin: int) -> Float[np.ndarray, " n"]:
    """Part of a spectral matrix (n, p, p) over a whole shell that leaves with spin up (0) or down (1)."""
    return np.asarray(np.trace(matrix[:, spin::2, spin::2], axis1=1, axis2=2).real)


def of_total_angular_momentum(matrix: "np.ndarray", ell: int, twice_j: int) -> Float[np.ndarray, " n"]:
    """Part of a spectral matrix (n, p, p) over a whole shell of angular momentum ell that comes from j = ell +- 1/2."""
    if twice_j not in (2 * ell - 1, 2 * ell + 1) or twice_j < 1:
        raise ConfigError(f"a shell with l = {ell} has 2j = {2 * ell - 1} and {2 * ell + 1}, not {twice_j}")
    values, vectors = np.linalg.eigh(spin_orbit(ell))
    own = ell / 2 if twice_j > 2 * ell else -(ell + 1) / 2
    chosen = vectors[:, np.abs(values - own) < 1e-9]
    # an electron of the orbital sum_k v_k |k> is taken away by sum_k conj(v_k) c_k
    return np.asarray(np.einsum("kj,nkl,lj->n", chosen, matrix, chosen.conj()).real)
