"""Block Lanczos by its three-term recurrence alone, for spectra that need many steps."""

import numpy as np
from jaxtyping import Complex, Float
from scipy.linalg import eigh_tridiagonal
from scipy.sparse import csr_array

from limbeck.impurity.lanczos_kernels import continued_fraction, lanczos_steps

RANK = 1e-10
"""Vectors of a block below this, relative to the operator's norm, end it."""


class Recurrence:
    """Block Lanczos by its three-term recurrence alone: small memory, time in proportion to the steps, can go on.

    Rounding lets converged poles appear again; their weights add up to the right ones (C. C. Paige, Linear Algebra
    Appl. 34, 235 (1980), doi:10.1016/0024-3795(80)90167-6), so spectra are right, which is all that this is for.

    Args:
        matrix: (n, n) Hermitian.
        block: (n, p) vectors to begin with; linearly dependent ones are allowed.
    """

    def __init__(self, matrix: csr_array, block: "np.ndarray") -> None:
        self._matrix = matrix
        q, s, vh = np.linalg.svd(block, full_matrices=False)
        rank = int(np.sum(s > RANK * (float(np.linalg.norm(block)) or 1.0)))
        self._first = s[:rank, None] * vh[:rank]
        self._new, self._old = q[:, :rank], np.zeros((len(block), 0), q.dtype)
        self._lower: np.ndarray = np.zeros((rank, 0), q.dtype)
        self._diagonal: list[np.ndarray] = []
        self._below: list[np.ndarray] = []
        self.is_complete = rank == 0
        """Whether the space is closed: more steps find nothing new."""

    def extend(self, n_steps: int) -> None:
        """So many more steps."""
        if self._new.shape[1] == 1 and self._old.shape[1] <= 1 and not self.is_complete and n_steps > 0:
            self._extend_one(n_steps)
            return
        for _ in range(n_steps):
            if self.is_complete:
                return
            new = self._new
            step = self._matrix @ new - self._old @ self._lower.conj().T
            alpha = new.conj().T @ step
            self._diagonal.append(0.5 * (alpha + alpha.conj().T))
            step -= new @ alpha
            limit = RANK * max(float(np.abs(alpha).max()), 1.0)
            u, s, vh = np.linalg.svd(step, full_matrices=False)
            kept = s > limit
            following, lower = u[:, kept], s[kept, None] * vh[kept]
            self.is_complete = not np.any(kept)
            self._old, self._new, self._lower = new, following, lower
            self._below.append(lower)

    def _extend_one(self, n_steps: int) -> None:
        """Steps of a single vector, compiled."""
        matrix, dtype = self._matrix, np.result_type(self._matrix.dtype, self._new.dtype, np.float64)
        new = np.ascontiguousarray(self._new[:, 0], dtype=dtype)
        old = np.ascontiguousarray(self._old[:, 0], dtype=dtype) if self._old.shape[1] else np.zeros_like(new)
        lower = float(abs(self._lower[0, 0])) if self._lower.size else 0.0
        if lower > 0:
            old = old * (np.conj(self._lower[0, 0]) / lower)
        alphas, betas, old, new, self.is_complete = lanczos_steps(
            matrix.data.astype(dtype, copy=False), matrix.indices.astype(np.int32, copy=False),
            matrix.indptr.astype(np.int32, copy=False), old, new, lower, n_steps, RANK,
        )  # fmt: skip
        self._diagonal += list(alphas.reshape(-1, 1, 1))
        self._below += list(betas.reshape(-1, 1, 1))
        self._old, self._new, self._lower = old[:, None], new[:, None], betas[-1:, None].copy()

    def band(self) -> tuple[float, float]:
        """Mean energy of the columns' spectrum, and three times its width."""
        part, weight = self._diagonal[0], np.sum(np.abs(self._first) ** 2)
        mean = float(np.einsum("rp,rs,sp->", self._first.conj(), part, self._first).real / weight)
        first = np.concatenate([part - mean * np.eye(len(part)), *self._below[:1]]) @ self._first
        return mean, 3.0 * float(np.sqrt(np.sum(np.abs(first) ** 2) / weight))

    def trace(self, z: Complex[np.ndarray, " n"], share: float = 1.0) -> Complex[np.ndarray, " n"]:
        """Sum over the columns of ``<column|(z - matrix)^-1|column>`` from the steps so far, or their first share."""
        count = max(1, int(share * len(self._diagonal)))
        if len(self._diagonal[0]) > 1:
            energies, amplitudes = self.poles(share)
            return np.asarray(np.sum(np.abs(amplitudes) ** 2, axis=1) @ (1.0 / (z - energies[:, None])))
        alphas = np.array(self._diagonal[:count]).ravel()
        betas = np.array(self._below[: count - 1], dtype=float).ravel()
        real, imaginary = np.ascontiguousarray(z.real), np.ascontiguousarray(z.imag)
        found = continued_fraction(alphas, betas, real, imaginary)
        return np.asarray(float(np.sum(np.abs(self._first) ** 2)) * (found[0] + 1j * found[1]))

    def poles(self, share: float = 1.0) -> tuple[Float[np.ndarray, " k"], "np.ndarray"]:
        """Eigenvalues of the matrix in the basis so far, or its first share, and amplitudes (k, p) of the columns."""
        energies, rotation = self.eigenvectors(share)
        return energies, rotation.conj().T[:, : len(self._first)] @ self._first

    def eigenvectors(self, share: float = 1.0) -> tuple[Float[np.ndarray, " k"], "np.ndarray"]:
        """Eigenvalues (k,) of the matrix in the basis so far, or its first share, and eigenvectors (k, k) over it."""
        count = max(1, int(share * len(self._diagonal)))
        parts, below = self._diagonal[:count], self._below[: count - 1]
        if all(len(part) == 1 for part in parts):
            alpha, beta = np.array([part[0, 0].real for part in parts]), np.array([part[0, 0].real for part in below])
            return eigh_tridiagonal(alpha, beta)
        ends = np.cumsum([0, *(len(part) for part in parts)])
        small = np.zeros((ends[-1], ends[-1]), parts[0].dtype)
        for k, part in enumerate(parts):
            here = slice(ends[k], ends[k + 1])
            small[here, here] = part
            if k < len(below):
                small[ends[k + 1] : ends[k + 2], here] = below[k]
                small[here, ends[k + 1] : ends[k + 2]] = below[k].conj().T
        energies, rotation = np.linalg.eigh(small)
        return energies, rotation

    @property
    def following(self) -> "np.ndarray":
        """(n, r) vectors of the next step."""
        return self._new

    @property
    def closing(self) -> "np.ndarray":
        """(r, r') block through which the next step's vectors are connected to the last ones."""
        return self._lower
