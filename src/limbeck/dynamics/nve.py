"""Energy drift of a potential under constant-energy dynamics: forces that are no gradient, or a time step too long."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.estimate import Estimate
from limbeck.core.progress import FileProgress
from limbeck.dynamics.lammps_run import RunResult, run_lammps
from limbeck.dynamics.lammps_script import RunSettings

if TYPE_CHECKING:
    from limbeck.potentials.protocols import Student


def nve_drift(
    student: "Student",
    atoms: Atoms,
    *,
    temperature_K: float,
    time_ps: float,
    timestep_fs: float,
    folder: Path,
    seed: int,
    least_atoms: int = 216,
    equilibration_ps: float = 2.0,
    progress: FileProgress | Path | None = None,
) -> Estimate:
    """Change of the total energy over an NVE run in LAMMPS, after equilibration in NVT.

    Args:
        student: The potential.
        atoms: The structure; repeated to at least ``least_atoms``.
        temperature_K: Temperature of the equilibration.
        time_ps: Length of the NVE run.
        timestep_fs: Time step.
        folder: Where to run; a finished run there is read back.
        seed: Seed of the velocities.
        least_atoms: Fewest atoms.
        equilibration_ps: Length of the NVT run before.
        progress: A bar, or the path of a progress file.

    Returns:
        Drift in meV/atom over the whole run, see :func:`drift_of`.

    Raises:
        DynamicsError: If the run explodes.
    """
    steps = max(1, round(time_ps * 1e3 / timestep_fs))
    settings = RunSettings(
        ensemble="nve",
        temperature_K=temperature_K,
        timestep_fs=timestep_fs,
        steps=steps,
        equilibration_steps=round(equilibration_ps * 1e3 / timestep_fs),
        least_atoms=least_atoms,
        thermo_every=max(1, steps // 2000),
        dump_every=0,
    )
    result = run_lammps(student.pair_style(), student.folder, atoms, settings, folder, seed=seed, progress=progress)
    return drift_of_run(result)


def drift_of_run(result: RunResult) -> Estimate:
    """Drift in meV/atom of a finished NVE run."""
    return drift_of(result.thermo["time_fs"], result.thermo["total_energy_eV"] / result.n_atoms)


def drift_of(
    times_fs: Float[np.ndarray, " n"], energies_per_atom: Float[np.ndarray, " n"], n_blocks: int = 20
) -> Estimate:
    """Slope of a straight line through the energies, times the duration.

    Args:
        times_fs: Times.
        energies_per_atom: Total energy in eV per atom.
        n_blocks: Blocks whose means are fitted. The velocity-Verlet energy oscillates about a constant; means over
            blocks much longer than that oscillation scatter independently, so their residuals give the error.

    Returns:
        Drift over the whole series in meV/atom (positive: heating), with the standard error of the slope.

    Raises:
        ValueError: If there are fewer rows than blocks.
    """
    if len(times_fs) < n_blocks or n_blocks < 3:
        raise ValueError(
            f"a drift needs at least 3 blocks and a row for each, got {len(times_fs)} rows, {n_blocks} blocks"
        )
    groups = np.array_split(np.arange(len(times_fs)), n_blocks)
    t = np.array([times_fs[group].mean() for group in groups])
    e = np.array([energies_per_atom[group].mean() for group in groups]) * 1e3
    t_centered = t - t.mean()
    spread = float(np.sum(t_centered**2))
    slope = float(np.sum(t_centered * e) / spread)
    residual = e - e.mean() - slope * t_centered
    error = float(np.sqrt(np.sum(residual**2) / (n_blocks - 2) / spread))
    duration = float(times_fs[-1] - times_fs[0])
    return Estimate(slope * duration, error * duration, float(n_blocks), "meV/atom", "slope of block means x duration")
