"""Calculators whose physics is known on paper: exact references for dynamics and properties."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list


class EinsteinCell(Calculator):
    """Atoms on springs to sites that move with the cell, in a cell that resists strain.

    E = k/2 sum_i |r_i - h s_i|^2 + V0/2 [lam (tr E)^2 + 2 mu tr(E^2)],  E = (F^T F - 1) / 2,  F = h h0^-1

    The springs' configuration integral does not depend on the cell h, so the cell's distribution at pressure P is
    known: p(h) ~ |det h|^-2 exp(-[V0/2 (...) + P det h] / kT) with respect to the 9 components of h (Martyna, Tobias
    and Klein, doi:10.1063/1.467468), an integral over three principal stretches, see :meth:`exact`.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, reference: Atoms, spring: float, lam: float, mu: float) -> None:
        super().__init__()
        self.sites = reference.get_scaled_positions(wrap=False)
        self.start_inverse = np.linalg.inv(reference.cell[:])
        self.volume = reference.get_volume()
        self.spring, self.lam, self.mu = spring, lam, mu

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        cell = atoms.cell[:]
        gradient = (self.start_inverse @ cell).T
        strain = (gradient.T @ gradient - np.eye(3)) / 2.0
        second = self.lam * np.trace(strain) * np.eye(3) + 2.0 * self.mu * strain
        off = atoms.positions - self.sites @ cell
        volume = abs(np.linalg.det(cell))
        stress = (gradient @ second @ gradient.T * self.volume + self.spring * off.T @ off) / volume
        elastic = self.volume / 2.0 * (self.lam * np.trace(strain) ** 2 + 2.0 * self.mu * np.sum(strain * strain))
        self.results = {
            "energy": elastic + self.spring / 2.0 * np.sum(off * off),
            "forces": -self.spring * off,
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }

    def exact(self, pressure: float, kT: float, n_points: int = 101) -> tuple[float, float, float]:
        """Mean volume, variance of the volume, mean of the squared deviatoric strain; by quadrature."""
        width = 7.0 * np.sqrt(kT / (2 * self.mu * self.volume)) + 7.0 * np.sqrt(
            kT / ((3 * self.lam + 2 * self.mu) * self.volume)
        )
        center = 1.0 - pressure / (3 * self.lam + 2 * self.mu)
        axis = np.linspace(max(0.2, center - width), center + width, n_points)
        stretch = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
        strain = (stretch**2 - 1.0) / 2.0
        trace, volume = strain.sum(axis=0), self.volume * stretch.prod(axis=0)
        energy = self.volume / 2.0 * (self.lam * trace**2 + 2.0 * self.mu * (strain**2).sum(axis=0)) + pressure * volume
        a, b, c = stretch**2
        weight = np.exp(-(energy - energy.min()) / kT) * volume**-2.0 * np.abs((a - b) * (a - c) * (b - c))
        weight /= weight.sum()
        mean = float((weight * volume).sum())
        deviator = ((strain - trace / 3.0) ** 2).sum(axis=0)
        return mean, float((weight * volume**2).sum()) - mean**2, float((weight * deviator).sum())


class NeighborSprings(Calculator):
    """Harmonic springs at rest length between the atoms of one or more shells: E = 1/2 sum_pairs k (r - r0)^2.

    A pair belongs to the shell whose rest length is nearest. For one shell in a face-centered cubic crystal,
    a = sqrt(2) r0: C11 = 2 k / a, C12 = C44 = k / a, B = 4 k / (3 a), B' = 1.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, *shells: tuple[float, float], reach: float = 1.2) -> None:
        super().__init__()
        self.springs, self.rest_lengths = np.array(shells, dtype=float).T
        self.cutoff = reach * self.rest_lengths.max()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, distance, vector = neighbor_list("idD", atoms, self.cutoff)
        shell = np.argmin(np.abs(distance[:, None] - self.rest_lengths), axis=1)
        spring, stretch = self.springs[shell], distance - self.rest_lengths[shell]
        pull = (spring * stretch / distance)[:, None] * vector
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, pull)
        stress = 0.5 * pull.T @ vector / abs(np.linalg.det(atoms.cell[:]))
        self.results = {
            "energy": 0.25 * np.sum(spring * stretch**2),
            "forces": forces,
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }
