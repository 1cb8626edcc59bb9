"""Bath orbitals in which few configurations hold nearly all of the state: natural orbitals.

The bath's block of a one-body density matrix has eigenvalues 0 and 1, but for as many as there are correlated spin
orbitals: those that share electrons with the impurity. Impurity and these partners are one small active space; the rest
splits into a filled and an empty set, each made block-tridiagonal, so that it couples to the active space through its
first orbitals only. From the mean-field density this is exact for U = 0 and good for small U; the density of a
correlated state gives better ones (iterated natural orbitals).

Source: Y. Lu, M. Höppner, O. Gunnarsson, M. W. Haverkort, Phys. Rev. B 90, 085102 (2014), arXiv:1402.0807.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse.csgraph import connected_components

from limbeck.impurity.model import ImpurityModel

COUPLED = 1e-12
"""Elements of h below this, relative to its largest, connect nothing."""
RANK = 1e-10
"""Singular values below this, relative to the largest element of h, end a chain."""
N_SCF = 300
MIXING = 0.5
CONVERGED = 1e-12
DEGENERATE = 1e-9
"""Levels this close share the electrons at the Fermi level."""


@dataclass(frozen=True)
class NaturalOrbitals:
    """A model in natural orbitals.

    Attributes:
        model: The same model in these orbitals.
        orbitals: (n, n) columns: new spin orbitals in the old ones.
        is_active: Spin orbitals of the impurity and their partners.
        is_filled: Spin orbitals that are filled in the reference, outside the active ones.
        n_active: Electrons in the active ones.
        part: Which orbitals h connects: the same number for those it does.
        counts: Electrons that the density gives to the active ones of each part, rounded.
    """

    model: ImpurityModel
    orbitals: "np.ndarray"
    is_active: Bool[np.ndarray, " n"]
    is_filled: Bool[np.ndarray, " n"]
    n_active: int
    part: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, " n_parts"]


def mean_field(model: ImpurityModel) -> tuple["np.ndarray", float]:
    """Density matrix ``P_ij = <c+_j c_i>`` and energy of the Hartree-Fock state, spins alike where H allows it.

    Spins are averaged where the model is symmetric: the paramagnetic solution is the one that gives useful orbitals.
    """
    h, u, m = model.one_body, model.interaction, model.n_impurity
    n = len(h)
    symmetric = model.is_spin_symmetric
    flipped = np.arange(m) ^ 1
    density = np.zeros((m, m), h.dtype) + np.eye(m) * model.n_electrons / n
    for _ in range(N_SCF):
        field = np.einsum("acbd,dc->ab", u, density) - np.einsum("acdb,dc->ab", u, density)
        if symmetric:
            field = 0.5 * (field + field[np.ix_(flipped, flipped)])
        effective = h.astype(np.result_type(h, field), copy=True)
        effective[:m, :m] += field
        full = _filled(effective, model)
        change = full[:m, :m] - density
        density = density + MIXING * change
        if np.abs(change).max() < CONVERGED:
            break
    local = full[:m, :m]
    field = np.einsum("acbd,dc->ab", u, local) - np.einsum("acdb,dc->ab", u, local)
    energy = float(np.einsum("ij,ji->", h, full).real + 0.5 * np.einsum("ab,ba->", field, local).real)
    return full, energy


def _filled(effective: "np.ndarray", model: ImpurityModel) -> "np.ndarray":
    """Density of the lowest levels; degenerate ones at the Fermi level share the electrons left."""
    core = model.core
    density = np.zeros_like(effective)
    density[core, core] = 1.0
    for block, count in model.groups():
        energies, vectors = np.linalg.eigh(effective[np.ix_(block, block)])
        occupation = np.zeros(len(block))
        if count:
            fermi = energies[count - 1]
            scale = DEGENERATE * max(np.abs(energies).max(), 1e-300)
            below, at = energies < fermi - scale, np.abs(energies - fermi) <= scale
            occupation[below] = 1.0
            occupation[at] = (count - below.sum()) / at.sum()
        density[np.ix_(block, block)] = (vectors * occupation) @ vectors.conj().T
    return density


def _of_part(
    h: "np.ndarray", density: "np.ndarray", local: Int[np.ndarray, " a"], bath: Int[np.ndarray, " b"]
) -> tuple["np.ndarray", Int[np.ndarray, " b"]]:
    """Orbitals of one part of the bath, and their kinds."""
    occupations, vectors = np.linalg.eigh(density[np.ix_(bath, bath)])
    fractional = np.argsort(np.abs(occupations - 0.5), kind="stable")[: len(local)]
    rest = np.setdiff1d(np.arange(len(bath)), fractional)
    filled, empty = rest[occupations[rest] > 0.5], rest[occupations[rest] <= 0.5]
    partners = vectors[:, fractional]
    if len(fractional):
        partners = _aligned(partners, h[np.ix_(bath, local)])
    h_bath = h[np.ix_(bath, bath)]
    start = np.concatenate([h[np.ix_(bath, local)], h_bath @ partners], axis=1)
    columns, kinds = [partners], [0] * len(fractional)
    for kind, members in ((1, filled), (2, empty)):
        space = vectors[:, members]
        columns.append(space @ block_chain(space.conj().T @ h_bath @ space, space.conj().T @ start))
        kinds += [kind] * len(members)
    return np.concatenate(columns, axis=1), np.array(kinds, dtype=int)


PartOrbitals = Callable[..., "tuple[np.ndarray, Int[np.ndarray, ' b']]"]
"""From h, density, and numbers of local and bath orbitals: columns, and 0 active, 1 filled, 2 empty for each."""


def natural_orbitals(
    model: ImpurityModel, density: "np.ndarray | None" = None, *, of_part: PartOrbitals = _of_part
) -> NaturalOrbitals:
    """The model in natural orbitals of a density matrix.

    Orbitals that h does not connect are kept apart, so that symmetric models stay sparse. Each spin has its own where
    spin is conserved, the same ones where the model is symmetric.

    Args:
        model: Any basis of the bath.
        density: (n, n) ``P_ij = <c+_j c_i>`` in that basis; that of the mean field where left out.
        of_part: Makes the bath orbitals of one part and their kinds; see :mod:`limbeck.impurity.bases`.
    """
    density = mean_field(model)[0] if density is None else density
    n, m = model.n_spin_orbitals, model.n_impurity
    if model.is_spin_symmetric:
        other = np.arange(n) ^ 1
        density = 0.5 * (density + density[np.ix_(other, other)])
    h = model.one_body
    connected = np.abs(h) > COUPLED * np.abs(h).max()
    interacting = np.zeros((n, n), bool)
    interacting[:m, :m] = np.abs(density[:m, :m]) > COUPLED
    n_parts, part = connected_components(connected | interacting, directed=False)
    orbitals = np.eye(n, dtype=np.result_type(h, density))
    kinds = np.zeros(n, int)  # 0 active, 1 filled, 2 empty
    kinds[model.core] = 1
    counts = np.zeros(n_parts, int)
    for label in range(n_parts):
        members = np.flatnonzero(part == label)
        counts[label] = round(float(np.trace(density[np.ix_(members, members)]).real))
        local, bath = members[members < m - model.n_core], members[members >= m]
        if len(bath) == 0:
            continue
        columns, kind = of_part(h, density, local, bath)
        orbitals[np.ix_(bath, bath)] = columns
        kinds[bath] = kind
    counts -= np.bincount(part[kinds == 1], minlength=n_parts)
    order = _ordered(kinds, m, model)
    orbitals, kinds, part = orbitals[:, order], kinds[order], part[order]
    active = kinds == 0
    n_filled = int(np.sum(kinds == 1))
    rotated = model.in_orbitals(orbitals)
    clean = np.where(np.abs(rotated.one_body) > COUPLED * np.abs(h).max(), rotated.one_body, 0.0)
    return NaturalOrbitals(
        replace(rotated, one_body=clean), orbitals, active, kinds == 1, model.n_electrons - n_filled, part, counts,
    )  # fmt: skip


def _aligned(partners: "np.ndarray", coupling: "np.ndarray") -> "np.ndarray":
    """Partners rotated so that each couples to one impurity orbital as far as can be (polar decomposition)."""
    u, _, vh = np.linalg.svd(partners.conj().T @ coupling)
    return np.asarray(partners @ u[:, : vh.shape[0]] @ vh) if u.shape[1] >= vh.shape[0] else partners


def block_chain(h: "np.ndarray", start: "np.ndarray") -> "np.ndarray":
    """Basis in which h is block-tridiagonal, beginning with the span of the columns of ``start`` (block Lanczos)."""
    n = len(h)
    scale = max(np.abs(h).max(initial=0.0), np.abs(start).max(initial=0.0), 1e-300)
    basis = np.zeros((n, 0), np.result_type(h, start))
    block = start
    while basis.shape[1] < n:
        for _ in range(2):
            block = block - basis @ (basis.conj().T @ block)
        u, s, _ = np.linalg.svd(block, full_matrices=False)
        new = u[:, s > RANK * scale]
        if new.shape[1] == 0:  # the rest is coupled to nothing: its own eigenstates
            complement = np.linalg.svd(basis, full_matrices=True)[0][:, basis.shape[1] :]
            _, vectors = np.linalg.eigh(complement.conj().T @ h @ complement)
            new = complement @ vectors
        new = new[:, : n - basis.shape[1]]
        basis = np.concatenate([basis, new], axis=1)
        block = h @ new
    return basis


def _ordered(kinds: Int[np.ndarray, " n"], m: int, model: ImpurityModel) -> Int[np.ndarray, " n"]:
    """Order of the spin orbitals: impurity, partners, filled, empty; up and down still alternate."""
    if model.spin_2z is None:
        rest = np.arange(m, len(kinds))
        return np.concatenate([np.arange(m), rest[np.argsort(kinds[rest], kind="stable")]])
    ups, downs = (np.arange(m + s, len(kinds), 2) for s in (0, 1))
    order = np.empty(len(kinds) - m, int)
    order[0::2] = ups[np.argsort(kinds[ups], kind="stable")]
    order[1::2] = downs[np.argsort(kinds[downs], kind="stable")]
    return np.concatenate([np.arange(m), order])
