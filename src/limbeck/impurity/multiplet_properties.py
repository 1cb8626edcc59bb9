"""What thermal multiplets of a shell say: weights of d^n L^m, spin, orbital and total angular momentum.

The sets of configurations are closed under rotations (whole sectors, or whole classes), so that the components of S, L
and J act within them and their squares are exact on the states.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from limbeck.impurity.core_level import spin_orbit
from limbeck.impurity.multiplets import Multiplets
from limbeck.impurity.subspace import Hamiltonian


@dataclass(frozen=True)
class AngularMomenta:
    """Expectation values of each state, in units of hbar.

    Attributes:
        spin_squared: ``<S^2>`` of the valence shell.
        orbital_squared: ``<L^2>`` of the valence shell.
        total_squared: ``<J^2>`` of the valence shell, J = L + S.
        spin_orbit: ``<sum_i l_i . s_i>`` of the valence shell, which branching ratios of edges depend on.
        spin_z: ``<S_z>`` of the valence shell.
        orbital_z: ``<L_z>`` of the valence shell.
        whole_spin_squared: ``<S^2>`` of valence shell and bath.
    """

    spin_squared: Float[np.ndarray, " k"]
    orbital_squared: Float[np.ndarray, " k"]
    total_squared: Float[np.ndarray, " k"]
    spin_orbit: Float[np.ndarray, " k"]
    spin_z: Float[np.ndarray, " k"]
    orbital_z: Float[np.ndarray, " k"]
    whole_spin_squared: Float[np.ndarray, " k"]


def angular_momenta(states: Multiplets) -> AngularMomenta:
    """Angular momenta of multiplets of a model with one whole shell of complex spherical harmonics."""
    model = states.hamiltonian.model
    v = model.n_impurity - model.n_core
    size, n = v // 2, model.n_spin_orbitals
    spins = [np.kron(np.eye(size), s) for s in _spin()]
    orbitals = [np.kron(x, np.eye(2)) for x in _orbital((size - 1) // 2)]
    whole = [np.kron(np.eye(n // 2), s) for s in _spin()]

    def local(matrix: "np.ndarray") -> "np.ndarray":
        wide = np.zeros((n, n), complex)
        wide[:v, :v] = matrix
        return wide

    s, o = (np.stack([_applied(states, local(x)) for x in parts]) for parts in (spins, orbitals))
    all_spin = np.stack([_applied(states, x) for x in whole])

    def squared(vectors: "np.ndarray") -> Float[np.ndarray, " k"]:
        return np.asarray(np.sum(np.abs(vectors) ** 2, axis=(0, 1)))

    def mean(vectors: "np.ndarray") -> Float[np.ndarray, " k"]:
        return np.asarray(np.sum(states.vectors.conj() * vectors, axis=0).real)

    coupling = mean(_applied(states, local(spin_orbit((size - 1) // 2))))
    return AngularMomenta(
        squared(s), squared(o), squared(s + o), coupling, mean(s[2]), mean(o[2]), squared(all_spin)
    )  # fmt: skip


def _applied(states: Multiplets, matrix: "np.ndarray") -> "np.ndarray":
    """``sum h_ab c+_a c_b`` on every state."""
    model = states.hamiltonian.model
    m = model.n_impurity
    operator = replace(model, one_body=matrix, interaction=np.zeros((m,) * 4), spin_2z=None)
    return np.asarray(Hamiltonian.of(operator).matrix(states.rows) @ states.vectors)


def _spin() -> "list[np.ndarray]":
    return [0.5 * np.array(x) for x in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])]


def _orbital(ell: int) -> "list[np.ndarray]":
    m = np.arange(-ell, ell + 1)
    raising = np.diag(np.sqrt((ell - m[:-1]) * (ell + m[:-1] + 1.0)), -1)
    return [0.5 * (raising + raising.T), -0.5j * (raising - raising.T), np.diag(m).astype(float)]


def configuration_weights(
    states: Multiplets, reference: Sequence[int], temperature_K: float, letter: str = "d"
) -> dict[str, float]:
    """Weight of each ``d^n L^m C^k``: n valence electrons, m holes in full shells, k electrons in empty ones.

    Args:
        states: The states.
        reference: Electrons in each shell of the ionic configuration, see :func:`limbeck.impurity.shells.ionic`.
        temperature_K: Of the average over states.
        letter: Name of the valence shell.

    Returns:
        Weights by name, largest first; their sum is one.
    """
    shells = states.shells
    weight = np.abs(states.vectors) ** 2 @ states.weights(temperature_K)
    classes, number = shells.classes(states.rows)
    full = [k for k in range(2, len(reference)) if reference[k] > 0]
    empty = [k for k in range(2, len(reference)) if reference[k] == 0]
    found: dict[str, float] = {}
    for counts, value in zip(classes, np.bincount(number, weights=weight, minlength=len(classes)), strict=True):
        holes = int(sum(reference[k] - counts[k] for k in full))
        electrons = int(sum(counts[k] for k in empty))
        name = (
            f"{letter}^{int(counts[0])}" + (f" L^{holes}" if holes else "") + (f" C^{electrons}" if electrons else "")
        )
        found[name] = found.get(name, 0.0) + float(value)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
