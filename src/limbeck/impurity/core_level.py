"""Models with a core shell: charge-transfer energies, core-valence interaction, spin-orbit coupling, dipoles.

Spin orbitals are complex spherical harmonics times spin, 2 (m + ell) + s with s = 0 up, 1 down, where spin-orbit
coupling, cubic fields and Slater integrals are all real. The valence shell comes first, the core after it, the bath
last.

    H = sum h c+ c + valence Slater (F^k) + core-valence Slater (F^k direct, G^k exchange)

One Hamiltonian can hold before and after the excitation: what the hole changes is what the core's missing charge does.
With a tighter valence shell there is a second one (:func:`limbeck.impurity.multiplets.multiplets`).
Source: F. de Groot, A. Kotani, Core Level Spectroscopy of Solids (CRC, 2008); charge-transfer energies as in J. Zaanen,
G. A. Sawatzky, J. W. Allen, Phys. Rev. Lett. 55, 418 (1985), doi:10.1103/PhysRevLett.55.418.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import ConfigError
from limbeck.impurity.interaction import gaunt, multipoles, real_harmonics, slater
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.operators import Operator, one_body, product

E_G = ("z2", "x2-y2")
T_2G = ("xy", "yz", "xz")


@dataclass(frozen=True)
class ChargeTransfer:
    """Average energies of configurations ``d^n L^N`` of a shell with N ligand electrons, with and without a core hole.

    Attributes:
        electrons: n, of the valence shell in the ionic configuration.
        delta: Energy of d^(n+1) L^(N-1) above it.
        u: Average repulsion of two valence electrons.
        u_core: Average attraction of a core hole.
        edge: Energy of the ionic configuration with a core hole and n + 1 valence electrons.
        n_core: Electrons of the full core.
        n_ligand: N, electrons of the full ligand shell.
    """

    electrons: int
    delta: float
    u: float
    u_core: float = 0.0
    edge: float = 0.0
    n_core: int = 6
    n_ligand: int = 10

    @property
    def ligand(self) -> float:
        """Level of the ligand."""
        n = self.electrons
        return n * ((n + 1) * self.u / 2 - self.delta) / (self.n_ligand + n)

    @property
    def valence(self) -> float:
        """Level of the valence shell without the core's electrons: their repulsion comes from the interaction."""
        return self.ligand + self.delta - self.electrons * self.u - self.n_core * self.u_core

    @property
    def core(self) -> float:
        """Level of the core, less the repulsion within it."""
        n = self.electrons
        return self.valence + n * self.u + self.u_core * (self.n_core - 1 - n) - self.edge

    def energy(self, valence: int, ligand_holes: int = 0, core_holes: int = 0) -> float:
        """Average energy of a configuration above that of d^n L^N with a full core."""

        def total(d: int, holes: int, core_holes: int) -> float:
            p = self.n_core - core_holes
            return (
                d * self.valence + (self.n_ligand - holes) * self.ligand + p * self.core
                + self.u * d * (d - 1) / 2 + self.u_core * p * d
            )  # fmt: skip

        return total(valence, ligand_holes, core_holes) - total(self.electrons, 0, 0)

    def table(self) -> list[tuple[str, float]]:
        """Configurations by name with their average energies, initial and final."""
        n, found = self.electrons, []
        for holes in range(3):
            ligand = f" L^{holes}" if holes else ""
            found.append((f"d^{n + holes}{ligand}", self.energy(n + holes, holes)))
        for holes in range(3):
            ligand = f" L^{holes}" if holes else ""
            found.append((f"c d^{n + 1 + holes}{ligand}", self.energy(n + 1 + holes, holes, 1)))
        return [row for row in found if int(row[0].split("d^")[1].split()[0]) <= 10]


def spin_orbit(ell: int) -> Float[np.ndarray, "n n"]:
    """``l . s`` of a shell."""
    size = 2 * ell + 1
    m = np.arange(-ell, ell + 1)
    raising = np.diag(np.sqrt((ell - m[:-1]) * (ell + m[:-1] + 1.0)), -1)  # |m+1><m|
    found = np.zeros((2 * size, 2 * size))
    found[0::2, 0::2], found[1::2, 1::2] = np.diag(0.5 * m), np.diag(-0.5 * m)
    found[1::2, 0::2], found[0::2, 1::2] = 0.5 * raising, 0.5 * raising.T
    return found


def in_shell(values: Mapping[str, float]) -> Float[np.ndarray, "5 5"]:
    """Matrix over complex harmonics of a d shell that is diagonal in cubic ones, given by name (xy yz z2 xz x2-y2)."""
    names = ("xy", "yz", "z2", "xz", "x2-y2")
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ConfigError(f"no d orbital is called {', '.join(unknown)}; there are {', '.join(names)}")
    turn = real_harmonics(2)
    matrix = turn @ np.diag([values.get(name, 0.0) for name in names]) @ turn.conj().T
    return np.asarray(matrix.real)


def cubic(e_g: float, t_2g: float) -> Float[np.ndarray, "5 5"]:
    """Matrix over complex harmonics of a d shell with one value for e_g and one for t_2g."""
    return in_shell({**dict.fromkeys(E_G, e_g), **dict.fromkeys(T_2G, t_2g)})


def monopole(integrals: Mapping[int, float], average: float, ell: int = 2) -> float:
    """F^0 of a shell whose average repulsion is given: the other integrals lower that of two electrons."""
    size = 4 * ell + 2
    tensor = slater(ell, {k: v for k, v in integrals.items() if k})
    direct = np.einsum("abab->", tensor).real - np.einsum("abba->", tensor).real
    return float(average - direct / (size * (size - 1)))


def core_monopole(exchange: Mapping[int, float], average: float, ell: int = 2, core: int = 1) -> float:
    """F^0 between shells whose average interaction is given."""
    tensor = core_valence(ell, core, {}, exchange)
    v = 4 * ell + 2
    direct = np.einsum("abab->ab", tensor) - np.einsum("abba->ab", tensor)
    return float(average - direct[:v, v:].sum() / (v * (4 * core + 2)))


def core_valence(
    ell: int, core: int, direct: Mapping[int, float], exchange: Mapping[int, float]
) -> Float[np.ndarray, "n n n n"]:  # fmt: skip
    """Tensor between valence and core over both shells: F^k direct, G^k exchange."""
    v, c = 2 * (2 * ell + 1), 2 * (2 * core + 1)
    tensor = np.zeros((v + c,) * 4)
    straight = multipoles(ell, core, ell, core, direct)  # <v c| |v c>
    crossed = multipoles(ell, core, core, ell, exchange)  # <v c| |c v>
    for s in range(2):
        for t in range(2):
            vs, ct, vt, cs = slice(s, v, 2), slice(v + t, v + c, 2), slice(t, v, 2), slice(v + s, v + c, 2)
            tensor[vs, ct, vs, ct] += straight
            tensor[ct, vs, ct, vs] += straight.transpose(1, 0, 3, 2)
            tensor[vs, ct, cs, vt] += crossed
            tensor[ct, vs, vt, cs] += crossed.transpose(1, 0, 3, 2)
    return tensor


def core_model(
    valence_levels: "np.ndarray",
    core_level: float,
    bath_energies: "list[np.ndarray]",
    couplings: "list[np.ndarray]",
    valence_integrals: Mapping[int, float],
    direct: Mapping[int, float],
    exchange: Mapping[int, float],
    n_electrons: int,
    *,
    valence_spin_orbit: float = 0.0,
    core_spin_orbit: float = 0.0,
    field: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ell: int = 2,
    core: int = 1,
) -> ImpurityModel:
    """Model of a valence and a core shell with ligand shells.

    Args:
        valence_levels: (2 ell + 1, 2 ell + 1) one-body Hamiltonian of the valence shell, see :func:`cubic`.
        core_level: Level of the core.
        bath_energies: (2 ell + 1, 2 ell + 1) one-body Hamiltonian of each ligand shell.
        couplings: (2 ell + 1, 2 ell + 1) hopping from each ligand shell to the valence shell.
        valence_integrals: F^k of the valence shell.
        direct: F^k between valence and core.
        exchange: G^k between them.
        n_electrons: Electrons in valence and ligand shells before the excitation.
        valence_spin_orbit: zeta of the valence shell.
        core_spin_orbit: zeta of the core.
        field: Exchange field in energy, ``2 field . S`` of the valence shell.
        ell: Angular momentum of the valence shell.
        core: That of the core.
    """
    size, c = 2 * ell + 1, 2 * (2 * core + 1)
    v, shells = 2 * size, len(bath_energies)
    if len(couplings) != shells or any(x.shape != (size, size) for x in (valence_levels, *bath_energies, *couplings)):
        raise ConfigError(f"levels, ligand shells and couplings must all be ({size}, {size}), and as many of each")
    n = v + c + v * shells
    x, y, z = field
    spin = np.array([[z, x - 1j * y], [x + 1j * y, -z]])  # 2 S in one orbital
    h = np.zeros((n, n), complex if y else float)
    h[:v, :v] = np.kron(valence_levels, np.eye(2)) + valence_spin_orbit * spin_orbit(ell)
    h[:v, :v] += np.kron(np.eye(size), spin if y else spin.real)
    h[v : v + c, v : v + c] = core_level * np.eye(c) + core_spin_orbit * spin_orbit(core)
    for k, (energies, hopping) in enumerate(zip(bath_energies, couplings, strict=True)):
        here = slice(v + c + k * v, v + c + (k + 1) * v)
        h[here, here] = np.kron(energies, np.eye(2))
        h[:v, here] = np.kron(hopping, np.eye(2))
        h[here, :v] = np.kron(hopping.conj().T, np.eye(2))
    tensor = core_valence(ell, core, direct, exchange)
    tensor[:v, :v, :v, :v] += slater(ell, valence_integrals).real
    return ImpurityModel(h, tensor, n_electrons + c, None, c)


def dipole(ell: int = 2, core: int = 1) -> tuple[Operator, Operator, Operator]:
    """Spherical components q = -1, 0, 1 of the dipole operator from core to valence, ``C_q``, radial integral one.

    C_q are renormalized harmonics; :data:`limbeck.impurity.absorption.CARTESIAN` makes x, y, z of them.
    """
    v, c = 2 * (2 * ell + 1), 2 * (2 * core + 1)
    parts = []
    for q in (-1, 0, 1):
        matrix = np.zeros((v + c, v + c))
        for m in range(-core, core + 1):
            if abs(m + q) <= ell:
                for s in range(2):
                    matrix[2 * (m + q + ell) + s, v + 2 * (m + core) + s] = gaunt(ell, m + q, core, m, 1)
        parts.append(one_body(matrix))
    return parts[0], parts[1], parts[2]


def scalar_core_model(
    levels: "np.ndarray", bath_energies: "np.ndarray", hybridization: "np.ndarray", interaction: "np.ndarray",
    attraction: float, core_level: float, n_electrons: int,
) -> ImpurityModel:  # fmt: skip
    """The model core level: one core orbital whose hole attracts every valence electron by a number and does no more.

    Args:
        levels: (m, m) one-body Hamiltonian of the valence orbitals, with a full core.
        bath_energies: (n_bath,).
        hybridization: (m, n_bath).
        interaction: (2 m, 2 m, 2 m, 2 m) of the valence orbitals, see :mod:`limbeck.impurity.interaction`.
        attraction: U_c: valence levels are lower by it while there is a hole.
        core_level: Energy of the core's electrons, beside a shell without valence electrons.
        n_electrons: Electrons of valence and bath.
    """
    levels, v = np.atleast_2d(np.asarray(levels)), np.atleast_2d(np.asarray(hybridization))
    m, n_bath = len(levels), len(bath_energies)
    if levels.shape != (m, m) or v.shape != (m, n_bath) or interaction.shape != (2 * m,) * 4:
        raise ConfigError(
            f"levels {levels.shape}, hybridization {v.shape}, {n_bath} bath energies and an interaction "
            f"{interaction.shape} do not fit"
        )
    n, size = m + 1 + n_bath, 2 * m + 2
    h = np.zeros((n, n), np.result_type(levels, v, float))
    h[:m, :m] = levels - 2 * attraction * np.eye(m)  # the two core electrons repel by what the hole attracts
    h[m, m] = core_level
    h[:m, m + 1 :], h[m + 1 :, :m] = v, v.conj().T
    h[np.arange(m + 1, n), np.arange(m + 1, n)] = bath_energies
    tensor = np.zeros((size,) * 4, interaction.dtype)
    tensor[: 2 * m, : 2 * m, : 2 * m, : 2 * m] = interaction
    for a in range(2 * m):
        for c in (2 * m, 2 * m + 1):
            tensor[a, c, a, c] = tensor[c, a, c, a] = attraction
    return ImpurityModel(np.kron(h, np.eye(2)), tensor, n_electrons + 2, None, 2)


def lifting(n_orbitals: int, orbital: int = 0) -> tuple[Operator, Operator]:
    """``d+_s c_s`` of spin up and down, from the core of :func:`scalar_core_model` to a valence orbital."""
    core = 2 * n_orbitals
    up, down = (product(1.0, (2 * orbital + s, True), (core + s, False)) for s in (0, 1))
    return up, down
