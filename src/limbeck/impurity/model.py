"""The impurity model: correlated orbitals with their own Hamiltonian, in a bath of uncorrelated ones.

    H = sum_ij h_ij c+_i c_j  +  1/2 sum U_abcd c+_a c+_b c_d c_c

i, j run over all spin orbitals, a to d over those of the impurity, which come first. Spin orbital 2 k + s is orbital k
with spin s (0 up, 1 down). With spin-orbit coupling the two of a pair are a Kramers pair or any other two.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from limbeck.core.errors import ConfigError

HERMITIAN = 1e-10
"""Largest deviation from a Hermitian matrix, relative to its largest element."""
MOST_IMPURITY = 16
"""Most spin orbitals whose interaction is tabulated."""


@dataclass(frozen=True)
class ImpurityModel:
    """Impurity and bath.

    Attributes:
        one_body: (n, n) h of all spin orbitals, impurity first, real or complex.
        interaction: (m, m, m, m) U of the impurity's spin orbitals.
        n_electrons: Electrons in all.
        spin_2z: Electrons with spin up less those with spin down, or ``None`` where H does not conserve it.
        n_core: Spin orbitals of a core shell, the last of the impurity's; full, or with one hole.
    """

    one_body: "np.ndarray"
    interaction: "np.ndarray"
    n_electrons: int
    spin_2z: int | None = 0
    n_core: int = 0

    def __post_init__(self) -> None:
        h, u = self.one_body, self.interaction
        if h.ndim != 2 or h.shape[0] != h.shape[1] or h.shape[0] % 2:
            raise ConfigError(f"one_body needs the shape (n, n), n even, got {h.shape}")
        if u.ndim != 4 or len(set(u.shape)) != 1 or u.shape[0] > len(h):
            raise ConfigError(f"interaction needs the shape (m, m, m, m), m at most {len(h)}, got {u.shape}")
        if u.shape[0] > MOST_IMPURITY:
            raise ConfigError(f"at most {MOST_IMPURITY} spin orbitals may be correlated, got {u.shape[0]}")
        for name, value in (("one_body", h), ("interaction", u)):
            if not np.all(np.isfinite(value)):
                raise ConfigError(f"{name} holds NaN or infinity")
        if np.abs(h - h.conj().T).max() > HERMITIAN * max(np.abs(h).max(), 1e-300):
            raise ConfigError(f"one_body is not Hermitian: it differs by {np.abs(h - h.conj().T).max():.2g}")
        adjoint = u.transpose(2, 3, 0, 1).conj()
        if u.size and np.abs(u - adjoint).max() > HERMITIAN * max(np.abs(u).max(), 1e-300):
            raise ConfigError(
                f"interaction is not Hermitian: U_abcd and conj(U_cdab) differ by {np.abs(u - adjoint).max():.2g}"
            )
        if not 0 <= self.n_electrons <= len(h):
            raise ConfigError(f"{self.n_electrons} electrons do not fit into {len(h)} spin orbitals")
        if self.spin_2z is not None:
            up, down = self.n_up_down
            if (self.n_electrons + self.spin_2z) % 2 or not (0 <= up <= len(h) // 2 and 0 <= down <= len(h) // 2):
                raise ConfigError(
                    f"{self.n_electrons} electrons with 2 S_z = {self.spin_2z} do not fit into {len(h) // 2} orbitals "
                    "(both must be even, or both odd)"
                )
            if self.mixes_spin:
                raise ConfigError("h or U mixes spin up and down; give spin_2z=None (it is not conserved)")

    @property
    def n_spin_orbitals(self) -> int:
        """Spin orbitals in all."""
        return len(self.one_body)

    @property
    def n_impurity(self) -> int:
        """Spin orbitals of the impurity."""
        return len(self.interaction)

    def groups(self) -> "list[tuple[np.ndarray, int]]":
        """Spin orbitals outside the core that share a number of electrons which H conserves, and that number."""
        free = np.setdiff1d(np.arange(self.n_spin_orbitals), self.core)
        if self.spin_2z is None:
            return [(free, self.n_electrons - self.n_core)]
        return [(free[free % 2 == s], count - self.n_core // 2) for s, count in enumerate(self.n_up_down)]

    @property
    def core(self) -> Int[np.ndarray, " n_core"]:
        """Spin orbitals of the core."""
        return np.arange(self.n_impurity - self.n_core, self.n_impurity)

    def patterns(self) -> Int[np.ndarray, " n_patterns"] | None:
        """Occupation patterns of the impurity with at most one hole in the core; ``None`` without a core: all."""
        if self.n_core == 0:
            return None
        valence = self.n_impurity - self.n_core
        full = (1 << self.n_core) - 1
        core = np.array([full, *(full ^ (1 << k) for k in range(self.n_core))], dtype=np.int64)
        return np.sort(((core[:, None] << valence) | np.arange(1 << valence)).ravel())

    @property
    def n_up_down(self) -> tuple[int, int]:
        """Electrons with spin up and down."""
        assert self.spin_2z is not None
        return (self.n_electrons + self.spin_2z) // 2, (self.n_electrons - self.spin_2z) // 2

    @property
    def mixes_spin(self) -> bool:
        """Whether h or U connects spin up and down."""
        u = self.interaction
        spin = np.arange(len(u)) % 2
        total = spin[:, None, None, None] + spin[:, None, None] - spin[:, None] - spin
        return bool(np.any(self.one_body[0::2, 1::2])) or bool(np.any(u[total != 0]))

    @property
    def is_complex(self) -> bool:
        """Whether an element has an imaginary part."""
        return any(np.iscomplexobj(x) and bool(np.any(x.imag)) for x in (self.one_body, self.interaction))

    @property
    def is_spin_symmetric(self) -> bool:
        """Whether flipping all spins leaves h and U as they are."""
        m = np.arange(self.n_impurity) ^ 1
        n = np.arange(self.n_spin_orbitals) ^ 1
        return bool(
            np.allclose(self.one_body[np.ix_(n, n)], self.one_body, atol=1e-12)
            and np.allclose(self.interaction[np.ix_(m, m, m, m)], self.interaction, atol=1e-12)
        )

    def in_orbitals(self, orbitals: "np.ndarray") -> "ImpurityModel":
        """The same model with other bath orbitals.

        Args:
            orbitals: (n, n) unitary; columns are the new spin orbitals, the impurity's stay.
        """
        m = self.n_impurity
        if not np.allclose(orbitals[:m, :m], np.eye(m)):
            raise ValueError("the impurity's spin orbitals must stay what they are")
        h = orbitals.conj().T @ self.one_body @ orbitals
        return replace(self, one_body=0.5 * (h + h.conj().T))


def anderson(
    levels: "np.ndarray",
    bath_energies: Float[np.ndarray, " n_bath"],
    hybridization: "np.ndarray",
    interaction: "np.ndarray",
    n_electrons: int,
    spin_2z: int | None = 0,
) -> ImpurityModel:
    """Model without spin dependence: every orbital twice.

    Args:
        levels: (m, m) one-body Hamiltonian of the impurity's orbitals.
        bath_energies: (n_bath,) energies of the bath orbitals.
        hybridization: (m, n_bath) V_ak of ``V_ak d+_a c_k + h.c.``.
        interaction: (2 m, 2 m, 2 m, 2 m), see :mod:`limbeck.impurity.interaction`.
        n_electrons: Electrons in all.
        spin_2z: Twice the z component of the spin, 0 where left out.
    """
    levels, v = np.atleast_2d(np.asarray(levels)), np.atleast_2d(np.asarray(hybridization))
    energies = np.asarray(bath_energies, dtype=float)
    m, n_bath = len(levels), len(energies)
    if levels.shape != (m, m) or v.shape != (m, n_bath):
        raise ConfigError(f"levels {levels.shape}, hybridization {v.shape} and {n_bath} bath energies do not fit")
    h = np.zeros((m + n_bath, m + n_bath), np.result_type(levels, v, float))
    h[:m, :m], h[:m, m:], h[m:, :m] = levels, v, v.conj().T
    h[np.arange(m, m + n_bath), np.arange(m, m + n_bath)] = energies
    return ImpurityModel(np.kron(h, np.eye(2)), interaction, n_electrons, spin_2z)
