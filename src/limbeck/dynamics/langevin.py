"""Langevin dynamics of atoms and cell: the right ensemble of a solid, also for few atoms.

Quigley and Probert's Langevin piston with all nine cell components moving under symmetric strain rates (D. Quigley and
M. I. J. Probert, J. Chem. Phys. 120, 11432 (2004), doi:10.1063/1.1755657), in the BAOAB order of Leimkuhler and
Matthews (J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990), which samples positions of harmonic systems exactly
at any stable time step. Without a cell mass it is plain BAOAB at constant volume.
"""

import numpy as np
from ase import Atoms
from jaxtyping import Float


class LangevinPiston:
    """Integrator of the equations of motion below.

    dr/dt = p/m + e r,  dp/dt = f - gamma p - (e + tr(e) / n_f) p + noise,  dh/dt = e h,
    W de/dt = V (sigma_ext - sigma) + sum p p^T / m + (2 K / n_f) 1 - gamma_h W e + noise

    | symbol | here |
    |---|---|
    | r, p, f, m | positions, momenta, forces, masses of ``atoms`` |
    | h (columns), V, sigma | cell, volume, stress (ASE's sign, without the kinetic part) |
    | sigma_ext | ``-pressure`` times the unit matrix |
    | e, W | ``strain_rate`` (symmetric, so that the cell has no angular velocity), ``cell_mass`` |
    | K, n_f | kinetic energy, 3 n_atoms: the centre of mass is thermalised like everything else |
    | gamma, gamma_h | inverse of ``thermostat_time`` and ``barostat_time`` |

    Everything is in ASE units. The stationary distribution of the cell is |det h|^-2 Z(h) exp(-P V / kT) dh, that of
    Martyna, Tobias and Klein (doi:10.1063/1.467468).
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        timestep: float,
        kT: float,
        thermostat_time: float,
        rng: np.random.Generator,
        pressure: float = 0.0,
        cell_mass: float | None = None,
        barostat_time: float = 1.0,
    ) -> None:
        self.atoms, self.rng = atoms, rng
        self.timestep, self.kT, self.pressure, self.cell_mass = timestep, kT, pressure, cell_mass
        self.masses = atoms.get_masses()[:, None]
        self.keep = float(np.exp(-timestep / thermostat_time))
        self.cell_keep = float(np.exp(-timestep / barostat_time))
        self.strain_rate = np.zeros((3, 3))
        self.velocities = atoms.get_velocities()
        self._update_forces()

    def step(self) -> None:
        """Advance by one time step; one evaluation of forces (and stress)."""
        half = 0.5 * self.timestep
        self._kick(half)
        self._drift(half, cell_first=True)
        self._thermostat()
        self._drift(half, cell_first=False)
        self.atoms.set_velocities(self.velocities)
        self._update_forces()
        self._kick(half)
        self.atoms.set_velocities(self.velocities)

    def _update_forces(self) -> None:
        self.forces = np.asarray(self.atoms.get_forces(), dtype=float)
        if self.cell_mass is not None:
            self.stress = np.asarray(self.atoms.get_stress(voigt=False), dtype=float)
            self.cell_force = self._cell_force()

    def _cell_force(self) -> Float[np.ndarray, "3 3"]:
        kinetic = self.velocities.T @ (self.masses * self.velocities)
        virial = -abs(np.linalg.det(self.atoms.cell[:])) * (self.stress + self.pressure * np.eye(3))
        return np.asarray(kinetic + virial + np.trace(kinetic) / self.velocities.size * np.eye(3))

    def _kick(self, time: float) -> None:
        if self.cell_mass is not None:
            self.strain_rate = self.strain_rate + time * self.cell_force / self.cell_mass
        self.velocities = self.velocities + time * self.forces / self.masses

    def _drift(self, time: float, *, cell_first: bool) -> None:
        positions = self.atoms.get_positions()
        if not cell_first:
            positions = positions + time * self.velocities
        if self.cell_mass is not None:
            stretch = symmetric_exponential(time * self.strain_rate)
            positions = positions @ stretch
            self.atoms.set_cell(self.atoms.cell[:] @ stretch)
        if cell_first:
            positions = positions + time * self.velocities
        self.atoms.set_positions(positions)

    def _thermostat(self) -> None:
        noise = np.sqrt((1.0 - self.keep**2) * self.kT / self.masses) * self.rng.normal(size=self.velocities.shape)
        damped = self.keep * self.velocities
        if self.cell_mass is not None:
            drag = self.strain_rate + np.trace(self.strain_rate) / self.velocities.size * np.eye(3)
            damped = damped @ symmetric_exponential(-self.timestep * drag)
            random = self.rng.normal(size=(3, 3))
            amplitude = np.sqrt((1.0 - self.cell_keep**2) * self.kT / self.cell_mass)
            self.strain_rate = self.cell_keep * self.strain_rate + amplitude * (random + random.T) / 2.0
        self.velocities = damped + noise


def symmetric_exponential(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Exponential of a symmetric matrix, by its eigenvectors.

    ``scipy.linalg.expm`` does the same for 20 microseconds, but where BLAS has threads it wakes them for every 3 x 3
    matrix, which took 20 ms a call on a busy machine: more than many potentials.
    """
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.exp(values)) @ vectors.T)
