"""Functions that are a constant and poles of positive weight on the real axis: Green's functions and self-energies.

``f(z) = f_0 + sum_j w_j / (z - x_j)`` with ``w_j >= 0`` is causal everywhere, can be taken at any z off the axis, and
two of them mix into a third. The self-energy is one too. With the equations of motion from both sides,

    Sigma = Sigma_HF + I - F G^-1 F,   F = <<[c, H_U]; c+>>,   I = <<[c, H_U]; [c, H_U]+>>,

and G, F, I one matrix ``sum_n v_n v_n+ / (z - e_n)``, v_n = (g_n, f_n): with ``g`` made a unit vector q,
``f = Sigma_HF q + f'``, f' orthogonal to q, and E the diagonal matrix of e_n,

    Sigma(z) = Sigma_HF + f'+ (z - Q E Q)^-1 f',   Q = 1 - q q+,

so the self-energy's poles are the eigenvalues of E without the direction q, and no truncation of a space makes it
acausal.

Source: F. B. Kugler, Phys. Rev. B 105, 245132 (2022), for the estimator (in general form arXiv:2310.12098); the poles
follow by Schur's complement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from limbeck.impurity.excitations import GreensFunction, Poles

CHUNK = 1024
"""Frequencies at a time."""
NEGLIGIBLE = 1e-15
"""Poles with less than this share of all amplitudes are left out."""
RELATIVE = 0.01
"""Poles are merged within this share of their distance to the Fermi level."""


@dataclass(frozen=True)
class PoleSum:
    """``static + sum_j weights_j / (z - energies_j)``.

    Attributes:
        static: Value at infinity.
        energies: (k,) increasing.
        weights: (k,) not negative.
    """

    static: float
    energies: Float[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]

    def __call__(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, " n"]:
        """Values off the real axis, in the shape of z."""
        z = np.asarray(z, dtype=complex)
        flat, found = z.ravel(), np.empty(z.size, complex)
        for start in range(0, len(flat), CHUNK):
            part = slice(start, start + CHUNK)
            found[part] = (1.0 / (flat[part, None] - self.energies)) @ self.weights
        return (self.static + found).reshape(z.shape)

    def moment(self, n: int) -> float:
        """``sum_j w_j x_j^n``."""
        return float(np.sum(self.weights * self.energies**n))

    def merged(self, width: float) -> "PoleSum":
        """The same with poles that are close made one at their mean; weight and mean energy stay.

        Args:
            width: Close is nearer than this at the Fermi level, and than :data:`RELATIVE` of the distance to it.
        """
        if len(self.energies) == 0:
            return self
        place = np.arcsinh(self.energies * RELATIVE / width) / RELATIVE
        bins = np.unique(np.floor(place), return_inverse=True)[1]
        whole = np.bincount(bins, weights=self.weights)
        first = np.bincount(bins, weights=self.weights * self.energies)
        kept = whole > 0
        return PoleSum(self.static, first[kept] / whole[kept], whole[kept])


def ordered(static: float, energies: Float[np.ndarray, " k"], weights: Float[np.ndarray, " k"]) -> PoleSum:
    """A pole sum with its poles in order."""
    order = np.argsort(energies, kind="stable")
    return PoleSum(float(static), energies[order], weights[order])


def mixed(old: PoleSum, new: PoleSum, share: float, width: float = 0.0) -> PoleSum:
    """``(1 - share) old + share new``, with poles closer than a width merged."""
    both = ordered(
        (1 - share) * old.static + share * new.static,
        np.concatenate([old.energies, new.energies]),
        np.concatenate([(1 - share) * old.weights, share * new.weights]),
    )
    return both.merged(width) if width > 0 else both


def local_functions(
    parts: Sequence[GreensFunction], mirror: float | None = None, *, rough: bool = False
) -> tuple[PoleSum, PoleSum]:
    """Green's function and self-energy, averaged over equivalent spin orbitals.

    Args:
        parts: Green's functions of one spin orbital each: both spins of a multiplet, orbitals that are alike.
        mirror: Static self-energy of a particle-hole symmetric model, which makes the functions symmetric: averaged
            with ``e -> -e``, ``f - mirror g -> -(f - mirror g)``, the other spin of a multiplet.
        rough: On the excited spaces before the second half of their growth.

    Returns:
        G with static part zero, and Sigma with the Hartree-Fock self-energy as static part.
    """
    energies, g, f = [], [], []
    for part in parts:
        for response, sign in ((part.added, 1), (part.removed, -1)):
            poles: Poles = response.rough if rough else response.poles
            amplitudes = poles.amplitudes.conj() if sign > 0 else poles.amplitudes
            energies.append(sign * poles.energies)
            g.append(amplitudes[:, 0])
            f.append(amplitudes[:, 1])
    scale = 1.0 / np.sqrt(len(parts))
    e, vector, other = np.concatenate(energies), scale * np.concatenate(g), scale * np.concatenate(f)
    size = np.abs(vector) ** 2 + np.abs(other) ** 2
    kept = size > NEGLIGIBLE * np.sum(size)
    e, vector, other = e[kept], vector[kept], other[kept]
    if mirror is not None:
        other = np.sqrt(0.5) * np.concatenate([other, 2 * mirror * vector - other])
        e, vector = np.concatenate([e, -e]), np.sqrt(0.5) * np.concatenate([vector, vector])
    return ordered(0.0, e, np.abs(vector) ** 2), _schur(e, vector, other)


def _schur(e: Float[np.ndarray, " n"], g: "np.ndarray", f: "np.ndarray") -> PoleSum:
    """Self-energy of poles at e with overlaps g and f."""
    q = g / np.linalg.norm(g)
    static = np.vdot(q, f)
    rest = f - static * q
    # a Householder reflection that turns q into the first axis; the others span its complement
    reflector = q.copy()
    reflector[0] += q[0] / abs(q[0]) if q[0] else 1.0
    reflector /= np.linalg.norm(reflector)
    moved = e * reflector
    mean = np.vdot(reflector, moved).real
    matrix = np.diag(e).astype(reflector.dtype)
    matrix -= 2 * np.outer(reflector, moved.conj()) + 2 * np.outer(moved, reflector.conj())
    matrix += 4 * mean * np.outer(reflector, reflector.conj())
    image = rest - 2 * reflector * np.vdot(reflector, rest)
    energies, vectors = np.linalg.eigh(matrix[1:, 1:])
    return ordered(float(static.real), energies, np.abs(vectors.conj().T @ image[1:]) ** 2)


def quasiparticle_weight(sigma: PoleSum, spacing: float) -> tuple[float, float]:
    """``Z = 1 / (1 - dRe Sigma / dw)`` at the Fermi level, and how far two ways to it differ.

    ``-Im Sigma(iy) / y = sum_j w_j / (x_j^2 + y^2)``. Below the first true pole, about one bath spacing from the Fermi
    level, it goes with y^2: it is taken at a quarter and a half of the spacing and continued to y = 0, which poles of
    rounding's weight at the Fermi level do not touch. The other way is a line through one and two spacings.

    Args:
        sigma: Self-energy.
        spacing: Distance of bath levels at the Fermi level.
    """

    def slope(y: float) -> float:
        return float(np.sum(sigma.weights / (sigma.energies**2 + y**2)))

    direct = (4 * slope(0.25 * spacing) - slope(0.5 * spacing)) / 3
    line = 2 * slope(spacing) - slope(2 * spacing)
    value = 1.0 / (1.0 + max(direct, 0.0))
    return value, abs(value - 1.0 / (1.0 + max(line, 0.0)))
