"""The Bethe lattice with infinitely many neighbours: local Green's function, and a bath made from it.

``G(z) = 2 / (x + sqrt(x^2 - D^2))``, x = z + mu - Sigma(z), and its hybridization is ``Delta = (D / 2)^2 G`` (A.
Georges, G. Kotliar, W. Krauth, M. J. Rozenberg, Rev. Mod. Phys. 68, 13 (1996), doi:10.1103/RevModPhys.68.13).

With a self-energy of poles G is known in the whole upper half plane, so the weight that a window of the real axis holds
is an integral over an arc above it,

    -Im / pi integral_a^b G(w + i0) dw = -Im / pi integral_arc G(z) dz,

and neither the bands between two poles nor anything else need be broadened to be resolved.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from limbeck.impurity.pole_sum import PoleSum

Function = Callable[[Complex[np.ndarray, " n"]], Complex[np.ndarray, " n"]]
N_ARC, STEEP = 64, 2.5
"""Points of an arc, and how much closer they are at its ends."""
N_CELLS, N_CELL_ARC = 1600, 16
"""Cells in which the weight is summed to place the windows, and points of their arcs."""
N_AXIS = 400
"""Points of the imaginary axis for the filling."""
FERMI_LEVEL, NEAR = 0.02, 0.02
"""Windows share out ``A(w) (1 + FERMI_LEVEL D / (|w| + NEAR D))``."""
N_GAP, EMPTY = 2, 1e-6
"""Cells at each side of the Fermi level that are empty, up to so much weight, where there is a gap."""


@dataclass(frozen=True)
class Bethe:
    """Local Green's function of the lattice with a self-energy.

    Attributes:
        half_bandwidth: D.
        self_energy: Sigma.
        chemical_potential: mu; energies of everything are counted from the Fermi level.
    """

    half_bandwidth: float
    self_energy: PoleSum
    chemical_potential: float

    def __call__(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, " n"]:
        """G(z) in the upper half plane, in the shape of z."""
        z = np.asarray(z)
        return semicircular(z + self.chemical_potential - self.self_energy(z), self.half_bandwidth)

    def hybridization(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, " n"]:
        """Delta(z)."""
        return 0.25 * self.half_bandwidth**2 * self(z)

    def reach(self) -> float:
        """No weight lies farther than this from the Fermi level."""
        shift = abs(self.chemical_potential - self.self_energy.static)
        poles = np.abs(self.self_energy.energies).max(initial=0.0)
        return float(self.half_bandwidth + shift + poles + np.sqrt(self.self_energy.moment(0)))

    def filling(self) -> float:
        """Electrons of an orbital and spin: ``1/2 + 1/pi integral_0^inf Re G(iy) dy``."""
        nodes, weights = np.polynomial.legendre.leggauss(N_AXIS)
        t = 0.25 * np.pi * (nodes + 1.0)
        scale = self.half_bandwidth
        y, dy = scale * np.tan(t) ** 2, scale * 0.25 * np.pi * weights * 2 * np.tan(t) / np.cos(t) ** 2
        return 0.5 + float(np.sum(self(1j * y).real * dy)) / np.pi


def semicircular(x: Complex[np.ndarray, " n"], half_bandwidth: float) -> Complex[np.ndarray, " n"]:
    """``2 / (x + sqrt(x^2 - D^2))`` with the branch that falls as 1 / x; Im x > 0."""
    root = np.sqrt(x - half_bandwidth) * np.sqrt(x + half_bandwidth)
    return np.asarray(2.0 / (x + root))


def window_weights(
    function: Function, edges: Float[np.ndarray, " n_plus_1"], n_arc: int = N_ARC
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Weight ``-Im f / pi`` of each window of the real axis and its first moment, by arcs above them."""
    nodes, weights = np.polynomial.legendre.leggauss(n_arc)
    angle = 0.5 * np.pi * (1.0 + np.tanh(STEEP * nodes) / np.tanh(STEEP))
    angle_weight = weights * 0.5 * np.pi * STEEP / np.cosh(STEEP * nodes) ** 2 / np.tanh(STEEP)
    center, radius = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    step = -radius[:, None] * np.exp(-1j * angle)
    z = center[:, None] + step
    values = function(z) * (-1j * step) * angle_weight
    return -np.sum(values, axis=1).imag / np.pi, -np.sum(z * values, axis=1).imag / np.pi


@dataclass(frozen=True)
class Bath:
    """Levels that stand for a hybridization.

    Attributes:
        energies: (n,) levels.
        couplings: (n,) V, positive.
        spacing: Distance of levels at the Fermi level.
        has_gap: Whether there is no weight at the Fermi level.
    """

    energies: Float[np.ndarray, " n"]
    couplings: Float[np.ndarray, " n"]
    spacing: float
    has_gap: bool

    def hybridization(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, " n"]:
        """Delta(z) of the levels."""
        return PoleSum(0.0, self.energies, self.couplings**2)(z)


def bath_of(lattice: Bethe, n_bath: int, *, symmetric: bool = False) -> Bath:
    """Windows that hold equal shares of a measure, one level with the weight and the mean energy of each.

    The measure is the lattice's weight, more of it near the Fermi level: levels are close where the spectral function
    is high, and at a narrow quasi-particle peak. No window reaches over a gap at the Fermi level.

    Args:
        lattice: Its Green's function gives the hybridization.
        n_bath: Levels; one less where an odd number would put one into a gap.
        symmetric: Whether windows and levels are made mirror images of each other.
    """
    reach = 1.02 * lattice.reach()
    cells = np.linspace(-reach, reach, N_CELLS + 1)
    weight = np.clip(window_weights(lattice, cells, N_CELL_ARC)[0], 0.0, None)
    if symmetric:
        weight = 0.5 * (weight + weight[::-1])
    middle = N_CELLS // 2
    has_gap = bool(np.sum(weight[middle - N_GAP : middle + N_GAP]) < EMPTY)
    closeness = lattice.half_bandwidth / (np.abs(0.5 * (cells[1:] + cells[:-1])) + NEAR * lattice.half_bandwidth)
    measure = weight * (1.0 + FERMI_LEVEL * closeness)
    if has_gap:
        below = n_bath // 2 if symmetric else round(n_bath * float(np.sum(weight[:middle]) / np.sum(weight)))
        above = below if symmetric else n_bath - below
        edges = np.concatenate([
            _edges(cells[: middle + 1], measure[:middle], below)[:-1], [0.0],
            _edges(cells[middle:], measure[middle:], above)[1:],
        ])  # fmt: skip
    else:
        edges = _edges(cells, measure, n_bath)
    if symmetric:
        edges = 0.5 * (edges - edges[::-1])
    whole, first = window_weights(lattice, edges)
    if symmetric:
        whole, first = 0.5 * (whole + whole[::-1]), 0.5 * (first - first[::-1])
    kept = whole > EMPTY * np.sum(whole)
    energies, couplings = first[kept] / whole[kept], 0.5 * lattice.half_bandwidth * np.sqrt(whole[kept])
    return Bath(energies, couplings, _spacing(energies), has_gap)


def _spacing(energies: Float[np.ndarray, " n"]) -> float:
    """Distance of the two levels whose middle is nearest to the Fermi level."""
    if len(energies) < 2:
        return float(np.abs(energies).max(initial=1.0))
    return float(np.diff(energies)[np.argmin(np.abs(energies[1:] + energies[:-1]))])


def _edges(
    cells: Float[np.ndarray, " m_plus_1"], weight: Float[np.ndarray, " m"], n: int
) -> Float[np.ndarray, " n_plus_1"]:
    """Edges of windows of equal weight; the outermost at the ends of the cells."""
    total = np.concatenate([[0.0], np.cumsum(weight)])
    rising = np.concatenate([[True], np.diff(total) > 1e-12 * total[-1]])
    edges = np.interp(np.linspace(0.0, total[-1], n + 1), total[rising], cells[rising])
    edges[0], edges[-1] = cells[0], cells[-1]
    return edges
