"""Time-averaged mean square displacements of many particles.

For a path r(t), t = 0 ... n in steps of the sampling interval, and lag k,

    M(k) = 1 / (n + 1 - k)  sum_{t=0}^{n-k} |r(t+k) - r(t)|^2

Two ways. At the few lags of a fit it is summed directly, particle by particle, together with the fourth power. At all
lags it comes from the FFT: the sum splits into squares, summed cumulatively, and an autocorrelation in O(n log n)
(P. Calandrini et al., Collection SFN 12, 201 (2011), doi:10.1051/sfn/201112010); both are linear in products of
coordinates, so those of all particles are added up first and transformed back once. Squares of a path that goes far
would cancel digits that M(k) at small k needs. So the straight line from the first point to the last is taken out first
and put back in closed form: with r(t) = r(0) + u t + x(t),

    |r(t+k) - r(t)|^2 = |x(t+k) - x(t)|^2 + 2 k u (x(t+k) - x(t)) + k^2 |u|^2

and the shortest lags are summed directly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.fft import irfft, next_fast_len, rfft

from limbeck.observables.diffusion.kernels import lag_products
from limbeck.observables.diffusion.walkers import Walkers, as_walkers, over_batches

N_DIRECT = 4
"""Lags below this are summed directly."""
N_PIECES = 2048
"""Most pieces of the run over which positions are averaged, see :class:`Displacements`."""


@dataclass(frozen=True)
class Displacements:
    """What one look at all paths tells.

    Attributes:
        lags: (m,) lags in frames.
        products: (m, n_particles, n_pairs) time-averaged ``dr_a dr_b`` of each particle, Å^2; ``pairs`` of axes in the
            order xx xy xz yy yz zz.
        fourth: (m,) ``|dr|^4``, averaged over time and particles, Å^4.
        tensor: (n_frames, n_axes, n_axes) ``dr_a dr_b`` at every lag, averaged over time and particles, Å^2.
        places: (n_pieces, n_particles, n_axes) mean position in each piece of the run, Å.
    """

    lags: Int[np.ndarray, " m"]
    products: Float[np.ndarray, "m n_particles n_pairs"]
    fourth: Float[np.ndarray, " m"]
    tensor: Float[np.ndarray, "n_frames n_axes n_axes"]
    places: Float[np.ndarray, "n_pieces n_particles n_axes"]

    @property
    def squares(self) -> Float[np.ndarray, "m n_particles"]:
        """Time-averaged ``|dr|^2`` of each particle, Å^2."""
        diagonal = [k for k, (a, b) in enumerate(axis_pairs(self.tensor.shape[1])) if a == b]
        return np.asarray(self.products[:, :, diagonal].sum(axis=2))


def axis_pairs(n_axes: int) -> list[tuple[int, int]]:
    """Pairs of axes: xx xy xz yy yz zz."""
    return [(a, b) for a in range(n_axes) for b in range(a, n_axes)]


def displacements(
    paths: "Walkers | Float[np.ndarray, 'n_frames n_particles n_axes']",
    lags: Sequence[int] | Int[np.ndarray, " m"],
    threads: int = 0,
) -> Displacements:
    """Displacements of all particles, a few particles at a time.

    Args:
        paths: Unwrapped positions, Å, at equal intervals; at least one frame, one particle.
        lags: Lags, from 0 to the number of frames less one, at which each particle's are wanted.
        threads: 0 uses the cores that this process may use. Results do not depend on it.

    Raises:
        ValueError: If a position is not finite, there is none, or a lag is not there.
    """
    walkers = as_walkers(paths)
    n_frames, n_particles, n_axes = walkers.shape
    chosen = np.asarray(lags, dtype=np.int64)
    if np.any(chosen < 0) or np.any(chosen >= n_frames):
        raise ValueError(f"lags must be from 0 to {n_frames - 1} frames, got {chosen.tolist()}")
    size = next_fast_len(2 * n_frames - 1, real=True)
    pairs = axis_pairs(n_axes)
    n_pieces = min(N_PIECES, n_frames)
    pieces = np.arange(n_pieces + 1) * n_frames // n_pieces

    def work(part: np.ndarray, where: slice) -> "tuple[_Sums, np.ndarray]":
        if not np.all(np.isfinite(part)):
            raise ValueError("a mean square displacement needs finite positions; there is NaN or infinity")
        products[:, where], fourth = _direct(part, chosen, len(pairs))
        places[:, where] = (np.add.reduceat(part, pieces[:-1], axis=2) / np.diff(pieces)).transpose(2, 0, 1)
        return _Sums.of(part, pairs, size), fourth

    products = np.empty((len(chosen), n_particles, len(pairs)))
    places = np.empty((n_pieces, n_particles, n_axes))
    total, fourth = None, np.zeros(len(chosen))
    for sums, part_fourth in over_batches(walkers, work, threads):
        total = sums if total is None else total + sums
        fourth += part_fourth
    assert total is not None
    return Displacements(
        chosen, products, fourth / n_particles, total.tensor(pairs, size, n_frames, n_axes) / n_particles, places
    )


def mean_square_displacement(
    paths: Float[np.ndarray, "n_frames n_particles n_axes"],
) -> Float[np.ndarray, " n_frames"]:
    """Mean square displacement at every lag, averaged over time and particles, summed over the axes; Å^2.

    Args:
        paths: Unwrapped positions, Å, at equal intervals; at least one frame, one particle.

    Raises:
        ValueError: If a position is not finite, or there is none.
    """
    return np.asarray(np.trace(displacements(paths, []).tensor, axis1=1, axis2=2))


def _direct(
    part: Float[np.ndarray, "n_part n_axes n_frames"], lags: Int[np.ndarray, " m"], n_pairs: int
) -> tuple[Float[np.ndarray, "m n_part n_pairs"], Float[np.ndarray, " m"]]:
    """Mean of ``dr_a dr_b`` of each particle, and of ``|dr|^4`` summed over them, at some lags."""
    products, fourth = np.empty((len(part), len(lags), n_pairs)), np.zeros(len(lags))
    for p, path in enumerate(part):
        fourth += lag_products(path, lags, products[p])
    return products.transpose(1, 0, 2), fourth


@dataclass(frozen=True)
class _Sums:
    """Sums over particles of what the tensor is linear in, one row a pair of axes."""

    spectrum: np.ndarray
    products: np.ndarray
    line: np.ndarray
    slopes: np.ndarray
    direct: np.ndarray

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))

    @classmethod
    def of(
        cls, part: Float[np.ndarray, "n_part n_axes n_frames"], pairs: Sequence[tuple[int, int]], size: int
    ) -> "_Sums":
        n_frames = part.shape[2]
        steps = (part[:, :, -1] - part[:, :, 0]) / max(n_frames - 1, 1)
        bridge = part - part[:, :, :1] - np.arange(n_frames) * steps[:, :, None]
        f = rfft(bridge, size, axis=2)
        spectrum = np.array([np.einsum("pf,pf->f", f[:, a].real, f[:, b].real)
                             + np.einsum("pf,pf->f", f[:, a].imag, f[:, b].imag) for a, b in pairs])  # fmt: skip
        products = np.array([np.einsum("pf,pf->f", bridge[:, a], bridge[:, b]) for a, b in pairs])
        line = np.array([steps[:, a] @ bridge[:, b] + steps[:, b] @ bridge[:, a] for a, b in pairs])
        slopes = np.array([steps[:, a] @ steps[:, b] for a, b in pairs])
        direct = np.zeros((len(pairs), min(N_DIRECT, n_frames)))
        for lag in range(direct.shape[1]):
            moved = part[:, :, lag:] - part[:, :, : n_frames - lag]
            direct[:, lag] = [np.einsum("pf,pf->", moved[:, a], moved[:, b]) / (n_frames - lag) for a, b in pairs]
        return cls(spectrum, products, line, slopes, direct)

    def tensor(
        self, pairs: Sequence[tuple[int, int]], size: int, n_frames: int, n_axes: int
    ) -> Float[np.ndarray, "n_frames n_axes n_axes"]:
        """The tensor summed over the particles."""
        lags = np.arange(n_frames)
        found = np.empty((n_frames, n_axes, n_axes))
        for row, (a, b) in enumerate(pairs):
            cross = irfft(self.spectrum[row], size)[:n_frames]
            total = _sum_of_ends(self.products[row]) - 2 * cross + lags * _difference_of_ends(self.line[row])
            total = total / (n_frames - lags) + lags**2 * self.slopes[row]
            total[: self.direct.shape[1]] = self.direct[row]
            found[:, a, b] = found[:, b, a] = total
        return found


def _sum_of_ends(values: Float[np.ndarray, " n_frames"]) -> Float[np.ndarray, " n_frames"]:
    """``sum_t values(t) + values(t+k)`` by lag k."""
    return np.asarray(np.cumsum(values)[::-1] + np.cumsum(values[::-1])[::-1])


def _difference_of_ends(values: Float[np.ndarray, " n_frames"]) -> Float[np.ndarray, " n_frames"]:
    """``sum_t values(t+k) - values(t)`` by lag k."""
    return np.asarray(np.cumsum(values[::-1])[::-1] - np.cumsum(values)[::-1])
