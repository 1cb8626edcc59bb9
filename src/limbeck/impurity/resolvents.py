"""Other solvers for ``<O_p| (z - H + E0)^-1 |O_q>`` on an excited space: Chebyshev moments and correction vectors.

Lanczos poles (:mod:`limbeck.impurity.excitations`) are the cheapest; these two have errors of another kind and check
them. Chebyshev: moments ``<O_p|T_n(x)|O_q>`` of H brought to -1 ... 1, which need no orthogonality between vectors. On
the real axis Jackson's kernel makes them a positive function of known resolution (A. Weiße, G. Wellein, A. Alvermann,
H. Fehske, Rev. Mod. Phys. 78, 275 (2006), arXiv:cond-mat/0504627); off it the series of the resolvent converges by
itself. Correction vector: ``(z - H + E0) |x_q> = |O_q>`` solved at each z by itself (T. D. Kühner, S. R. White, Phys.
Rev. B 60, 335 (1999), arXiv:cond-mat/9812372).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Complex, Float
from scipy.sparse import csr_array

from limbeck.core.errors import ConfigError
from limbeck.core.rng import stream
from limbeck.impurity.excitations import Space, excitation_space, lanczos, poles_of
from limbeck.impurity.operators import product
from limbeck.impurity.selected_ci import SelectedState

Solver = Literal["lanczos", "chebyshev", "correction"]
N_BOUNDS = 60
"""Lanczos steps that find the ends of the spectrum."""
MARGIN = 0.02
"""Room that is left on both sides, in units of the half width."""
TAIL = 1e-10
"""Share of its first term at which the series of a resolvent is cut."""
MOST_STEPS = 5000
RESIDUAL = 1e-9
"""Residual of a correction vector over the norm of its right-hand side."""


@dataclass(frozen=True)
class Chebyshev:
    """Moments of the spectrum of some states.

    Attributes:
        moments: (n, p, p) ``<O_p|T_n(x)|O_q>``, ``x = (H - E0 - center) / half_width``.
        center: Middle of the spectrum above E0.
        half_width: Half of its width.
    """

    moments: "np.ndarray"
    center: float
    half_width: float

    def spectrum(self, energies: Float[np.ndarray, " n"]) -> "np.ndarray":
        """``<O_p| delta(w - H + E0) |O_q>`` with Jackson's kernel, (n, p, p): nearly Gaussians, positive semidefinite.

        Their width is ``pi half_width / n_moments`` in the middle of the spectrum.
        """
        n = len(self.moments)
        k = np.arange(n)
        angle = np.pi / (n + 1)
        jackson = ((n - k + 1) * np.cos(k * angle) + np.sin(k * angle) / np.tan(angle)) / (n + 1)
        x = (np.asarray(energies, dtype=float) - self.center) / self.half_width
        inside = np.abs(x) < 1.0
        arc = np.arccos(np.where(inside, x, 0.0))
        factor = np.where(k == 0, 1.0, 2.0) * jackson
        sums = np.einsum("wk,k,kpq->wpq", np.cos(np.outer(arc, k)), factor, self.moments, optimize=True)
        scale = np.where(inside, 1.0 / (np.pi * self.half_width * np.sqrt(1.0 - np.where(inside, x, 0.0) ** 2)), 0.0)
        return np.asarray(sums * scale[:, None, None])

    def matrix(self, z: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "n p p"]:
        """``<O_p| (z - H + E0)^-1 |O_q>`` off the real axis.

        Raises:
            ConfigError: If the moments are too few so close to the real axis; it says how many are needed.
        """
        z = np.asarray(z, dtype=complex)
        upper = np.where(z.imag > 0, z, z.conj())
        x = (upper - self.center) / self.half_width
        arc = np.arccos(x)  # Im arc < 0 above the axis, so that exp(-i n arc) falls
        decay = float(np.abs(arc.imag).min())
        wanted = int(np.ceil(-np.log(TAIL) / max(decay, 1e-300))) + 1
        if wanted > len(self.moments):
            raise ConfigError(
                f"{len(self.moments)} Chebyshev moments are too few at a distance of {np.abs(z.imag).min():.3g} from "
                f"the real axis: {wanted} are needed"
            )
        k = np.arange(wanted)
        factor = np.where(k == 0, 1.0, 2.0)
        terms = -1j * np.exp(-1j * np.outer(arc, k)) * factor / (self.half_width * np.sin(arc)[:, None])
        found = np.einsum("zk,kpq->zpq", terms, self.moments[:wanted], optimize=True)
        turned = np.conj(np.swapaxes(found, 1, 2))
        return np.where((z.imag > 0)[:, None, None], found, turned)


def moments_for(space: Space, nearest: float) -> int:
    """Moments with which :meth:`Chebyshev.matrix` can be asked at this distance from the real axis."""
    _, half_width = bounds(space.matrix)
    return int(np.ceil(-np.log(TAIL) / np.arcsinh(nearest / half_width))) + 2


def bounds(matrix: csr_array) -> tuple[float, float]:
    """Center and half width of an interval that holds all eigenvalues, with some room.

    Ritz values of a random vector, moved out by what Lanczos steps leave out.
    """
    n = matrix.shape[0]
    start = stream(0, "chebyshev bounds").normal(size=(n, 1)).astype(matrix.dtype)
    basis, small, _ = lanczos(matrix, start, min(N_BOUNDS, n))
    values, vectors = np.linalg.eigh(small)
    left = matrix @ basis[:, -1:] - basis @ small[:, -1:]
    missing = float(np.linalg.norm(left)) * np.abs(vectors[-1])
    low, high = float(values[0] - missing[0]), float(values[-1] + missing[-1])
    half = 0.5 * (high - low)
    return 0.5 * (high + low), half * (1 + MARGIN) + 1e-6 * max(1.0, abs(low), abs(high))


def chebyshev(space: Space, n_moments: int) -> Chebyshev:
    """Chebyshev moments of the states of a space; one product with H gives two of them.

    Raises:
        ConfigError: If moments grow: the interval does not hold the spectrum.
    """
    center, half_width = bounds(space.matrix)

    def scaled(block: "np.ndarray") -> "np.ndarray":
        return np.asarray((space.matrix @ block - center * block) / half_width)

    old, new = space.block, scaled(space.block)
    first, second = old.conj().T @ old, old.conj().T @ new
    moments = [first, second]
    while len(moments) < n_moments:
        moments.append(2 * new.conj().T @ new - first)
        following = 2 * scaled(new) - old
        moments.append(2 * following.conj().T @ new - second)
        old, new = new, following
    if np.abs(moments[-1]).max() > 10 * np.abs(first).max():
        raise ConfigError("Chebyshev moments grow: the interval found does not hold the spectrum of H")
    return Chebyshev(np.array(moments[:n_moments]), center - space.ground, half_width)


@dataclass(frozen=True)
class Corrections:
    """Resolvents by correction vectors.

    Attributes:
        values: (n, p, p) at each z.
        residual: Largest norm of ``|O_q> - (z - H + E0)|x_q>`` over that of ``|O_q>``.
        steps: Steps of the conjugate gradients at each z.
    """

    values: Complex[np.ndarray, "n p p"]
    residual: float
    steps: tuple[int, ...]


def correction_vectors(space: Space, z: Complex[np.ndarray, " n"], residual: float = RESIDUAL) -> Corrections:
    """Correction vectors at each z, each begun from the one before.

    Conjugate gradients for ``A+ A x = A+ b`` with ``A = z - H + E0``: ``A+ A = (w - H + E0)^2 + eta^2`` is Hermitian
    and positive; the preconditioner is made of the diagonal of H.

    Args:
        space: The space.
        z: Frequencies off the real axis.
        residual: Where to stop, over the norm of the operator's state.

    Raises:
        RuntimeError: If it does not converge.
    """
    block = space.block.astype(complex)
    diagonal = space.matrix.diagonal().real - space.ground
    size = np.maximum(np.linalg.norm(block, axis=0), 1e-300)
    x = np.zeros_like(block)
    values, worst, counts = [], 0.0, []
    for w in np.asarray(z, dtype=complex):

        def image(vectors: "np.ndarray", shift: complex = w) -> "np.ndarray":
            return np.asarray((shift + space.ground) * vectors - space.matrix @ vectors)

        x, left, count = _normal_gradients(image, block, x, 1.0 / np.abs(w - diagonal) ** 2, residual * size, w)
        worst = max(worst, float(np.max(left / size)))
        counts.append(count)
        values.append(block.conj().T @ x)
    return Corrections(np.array(values), worst, tuple(counts))


def _normal_gradients(
    image: "Callable[..., np.ndarray]", b: "np.ndarray", x: "np.ndarray", scale: Float[np.ndarray, " n"],
    tolerance: Float[np.ndarray, " p"], w: complex,
) -> tuple["np.ndarray", Float[np.ndarray, " p"], int]:  # fmt: skip
    """Solution, norm of its residual, steps; every column by itself."""
    shift = w.conjugate() - w  # A+ v = A v + (conj w - w) v

    def adjoint(vectors: "np.ndarray") -> "np.ndarray":
        return np.asarray(image(vectors) + shift * vectors)

    left = b - image(x)
    gradient = adjoint(left)
    direction = scale[:, None] * gradient
    weight = np.einsum("np,np->p", gradient.conj(), direction).real
    for count in range(MOST_STEPS):
        norms = np.linalg.norm(left, axis=0)
        if np.all(norms <= tolerance):
            return x, norms, count
        moved = image(direction)
        curvature = np.einsum("np,np->p", moved.conj(), moved).real
        step = np.where(curvature > 0, weight / np.where(curvature > 0, curvature, 1.0), 0.0)
        x = x + step * direction
        left = left - step * moved
        gradient = adjoint(left)
        turned = scale[:, None] * gradient
        new = np.einsum("np,np->p", gradient.conj(), turned).real
        direction = turned + np.where(weight > 0, new / np.where(weight > 0, weight, 1.0), 0.0) * direction
        weight = new
    raise RuntimeError(f"no correction vector at z = {w:.4g} after {MOST_STEPS} steps: residuals {norms.tolist()}")


def resolvent(
    space: Space, z: Complex[np.ndarray, " n"], solver: Solver = "lanczos", n_lanczos: int = 120
) -> Complex[np.ndarray, "n p p"]:
    """``<O_p| (z - H + E0)^-1 |O_q>`` by one of the three solvers.

    Args:
        space: The space.
        z: Frequencies off the real axis.
        solver: Which.
        n_lanczos: Steps of Lanczos.
    """
    if len(space.block) == 0:
        p = space.block.shape[1]
        return np.zeros((len(z), p, p), complex)
    if solver == "chebyshev":
        return chebyshev(space, moments_for(space, float(np.abs(np.imag(z)).min()))).matrix(z)
    if solver == "correction":
        return correction_vectors(space, z).values
    return poles_of(space.matrix, space.block, space.ground, n_lanczos).matrix(z)


def greens_values(
    state: SelectedState,
    spin_orbitals: Sequence[int],
    z: Complex[np.ndarray, " n"],
    solver: Solver = "lanczos",
    most: int = 20_000,
    n_lanczos: int = 120,
) -> Complex[np.ndarray, "n p p"]:
    """Local Green's function at some frequencies, by one of the three solvers on the same restricted spaces.

    Args:
        state: Ground state.
        spin_orbitals: Of the impurity.
        z: Frequencies off the real axis; the spaces are grown for their real parts and the smallest distance to it.
        solver: Which.
        most: Configurations of each of the two spaces.
        n_lanczos: Steps of Lanczos.
    """
    z = np.asarray(z, dtype=complex)
    width = float(np.abs(z.imag).min())
    high, low = max(float(z.real.max()), width), max(float(-z.real.min()), width)
    added = excitation_space(state, [product(1.0, (a, True)) for a in spin_orbitals], (0.0, high), width, most)
    removed = excitation_space(state, [product(1.0, (a, False)) for a in spin_orbitals], (0.0, low), width, most)
    plus = resolvent(added, z, solver, n_lanczos)
    minus = resolvent(removed, -z, solver, n_lanczos)
    return np.asarray(plus - np.swapaxes(minus, 1, 2))
