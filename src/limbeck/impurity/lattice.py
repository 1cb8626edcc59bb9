"""From a tight-binding model to an impurity: local Hamiltonian and hybridization function of some of its orbitals.

    Delta(z) = z - h_loc - [ (1 / N) sum_k (z - H_k)^-1 ]_loc^-1

loc: the correlated orbitals; all others are integrated out exactly. With the interaction switched on nothing of this
changes in a single shot; in dynamical mean-field theory Delta is found anew.
"""

import numpy as np
from jaxtyping import Complex, Float, Int

from limbeck.core.errors import ConfigError
from limbeck.core.units import KB
from limbeck.impurity.formats import TightBinding

BATCH = 4000
"""Matrices that are inverted at once."""


def bloch(lattice: TightBinding, points: Float[np.ndarray, "n_k 3"]) -> Complex[np.ndarray, "n_k n n"]:
    """``H_k = sum_R exp(2 pi i k R) H(R)``.

    Args:
        lattice: Hoppings.
        points: k in units of the reciprocal lattice vectors.
    """
    phases = np.exp(2j * np.pi * points @ lattice.vectors.T)
    h = np.einsum("kr,rab->kab", phases, lattice.hoppings, optimize=True)
    return np.asarray(0.5 * (h + np.conj(np.swapaxes(h, 1, 2))))


def mesh(divisions: "tuple[int, int, int]") -> Float[np.ndarray, "n_k 3"]:
    """Points of a regular mesh with k = 0, in units of the reciprocal lattice vectors."""
    axes = [np.arange(n) / n for n in divisions]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def local_hamiltonian(
    lattice: TightBinding,
    orbitals: Int[np.ndarray, " m"],
    points: Float[np.ndarray, "n_k 3"],
    fermi_energy: float = 0.0,
) -> Complex[np.ndarray, "m m"]:
    """Mean of H_k less the Fermi energy, in the correlated orbitals (numbers from 0).

    Raises:
        ConfigError: If an orbital is not there, or twice.
    """
    n = lattice.hoppings.shape[1]
    chosen = np.asarray(orbitals, dtype=int)
    if len(chosen) == 0 or len(np.unique(chosen)) != len(chosen) or chosen.min() < 0 or chosen.max() >= n:
        raise ConfigError(f"correlated orbitals {chosen.tolist()}: each once, of 0 to {n - 1}")
    h = bloch(lattice, points).mean(axis=0)[np.ix_(chosen, chosen)] - fermi_energy * np.eye(len(chosen))
    return np.where(np.abs(h) > 1e-12 * max(float(np.abs(h).max()), 1e-300), h, 0.0)


def local_hybridization(
    lattice: TightBinding,
    orbitals: Int[np.ndarray, " m"],
    z: Complex[np.ndarray, " n"],
    points: Float[np.ndarray, "n_k 3"],
    fermi_energy: float = 0.0,
) -> Complex[np.ndarray, "n m m"]:
    """Hybridization function of the correlated orbitals.

    Args:
        lattice: Hoppings.
        orbitals: Numbers of the correlated orbitals, from 0.
        z: Frequencies off the real axis, relative to the Fermi energy. On ``w + i eta`` the mesh must be so fine that
            levels lie closer than eta; on the imaginary axis far fewer points are enough.
        points: Mesh.
        fermi_energy: Fermi energy, eV.
    """
    levels = local_hamiltonian(lattice, orbitals, points, fermi_energy)
    h, m = bloch(lattice, points), len(levels)
    n, size = h.shape[1], max(1, BATCH // len(points))
    green = np.zeros((len(z), m, m), complex)
    if n == 1:
        green[:, 0, 0] = [np.mean(1.0 / (x + fermi_energy - h[:, 0, 0])) for x in np.asarray(z)]
    else:
        energies, states = np.linalg.eigh(h)  # once for all frequencies
        part = states[:, np.asarray(orbitals, dtype=int)]
        for start in range(0, len(z), size):
            inverse = 1.0 / (np.asarray(z)[start : start + size, None, None] + fermi_energy - energies)
            green[start : start + size] = np.einsum(
                "kai,zki,kbi->zab", part, inverse, part.conj(), optimize=True
            ) / len(points)  # fmt: skip
    delta = np.asarray(z)[:, None, None] * np.eye(m) - levels - np.linalg.inv(green)
    largest = np.abs(delta).max(axis=(0, 1, 2))
    return np.where(np.abs(delta) > 1e-10 * max(float(largest), 1e-300), delta, 0.0)


def matsubara(temperature_K: float, highest: float) -> Float[np.ndarray, " n"]:
    """Frequencies ``(2 n + 1) pi k T`` up to the highest one wanted, eV; the upper ones in geometric steps."""
    count = max(8, int(highest / (2 * np.pi * KB * temperature_K)) + 1)
    numbers = np.arange(count)
    if count > 200:
        numbers = np.union1d(np.arange(60), np.geomspace(60, count - 1, 140).round().astype(int))
    return np.asarray((2 * numbers + 1) * np.pi * KB * temperature_K)
