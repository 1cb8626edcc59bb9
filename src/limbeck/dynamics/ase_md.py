"""Molecular dynamics by ASE with any calculator: how a teacher explores.

Both ensembles are sampled by one integrator, :class:`~limbeck.dynamics.langevin.LangevinPiston`; why this one, and how
it was measured against exact answers, stands in ``docs/decisions/0005-barostat.md``.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import DynamicsError
from limbeck.core.progress import FileProgress
from limbeck.core.units import FS, GPA, KB
from limbeck.dynamics.langevin import LangevinPiston
from limbeck.structures.check import check_structure, closest_pair

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

TYPICAL_STIFFNESS_GPA = 100.0
"""Elastic modulus from which the mass of the cell is set; the period scales as its square root only."""


class ExploreSettings(Settings):
    """Molecular dynamics that gathers frames."""

    ensemble: Literal["npt", "nvt"] = "npt"
    """``npt``: lengths and angles of the cell move under hydrostatic pressure; ``nvt``: the cell is fixed."""
    temperatures_K: list[Annotated[float, Field(gt=0)]] = Field(default=[300.0, 600.0, 900.0], min_length=1)
    """One run for each temperature and pressure."""
    pressures_GPa: list[float] = Field(default=[0.0], min_length=1)
    """Hydrostatic pressure; not used in ``nvt``."""
    timestep_fs: float = Field(default=2.0, gt=0, le=10)
    """Time step."""
    steps: int = Field(default=1000, ge=1)
    """Steps of which frames are kept."""
    equilibration_steps: int = Field(default=100, ge=0)
    """Steps before, of which none are kept."""
    every: int = Field(default=10, ge=1)
    """Keep every n-th frame."""
    thermostat_time_fs: float = Field(default=100.0, gt=0)
    """Langevin damping time of the atoms."""
    barostat_time_fs: float = Field(default=300.0, gt=0)
    """Period of the cell's breathing for a solid of 100 GPa stiffness; its damping time is a quarter of it."""
    max_temperature_factor: float = Field(default=5.0, gt=1)
    """Stop if the instantaneous temperature is this many times the target (far above thermal noise)."""
    max_volume_factor: float = Field(default=1.6, gt=1)
    """Stop if the volume has grown, or shrunk, by this factor."""
    max_strain: float = Field(default=0.5, gt=0)
    """Stop if a principal stretch of the cell differs from one by more than this (a melt's cell flows)."""
    closest_factor: float = Field(default=0.5, gt=0, lt=1)
    """Stop if two atoms come closer than this times the sum of their covalent radii."""
    check_every: int = Field(default=10, ge=1)
    """Look for an explosion every n-th step."""


@dataclass(frozen=True)
class ExploreResult:
    """What a run gathered. Arrays have one row per kept frame.

    Attributes:
        frames: Kept structures with velocities. A ``SinglePointCalculator`` holds energy, forces and stress of the
            exploring potential, so a teacher's labels come for free; ``info`` has ``trajectory``, ``temperature_K``,
            ``pressure_GPa`` (targets) and ``time_fs``.
        times_fs: Time since the end of equilibration.
        temperatures_K: Instantaneous temperature, from all 3 n_atoms momenta (the thermostat acts on the centre of
            mass too, so none is subtracted).
        potential_energies: eV.
        pressures_GPa: Instantaneous pressure, kinetic part included; NaN where the potential has no stress.
        cells: Lattice vectors as rows, Å.
        stable: False if the run was stopped early.
        reason: Why it was stopped; empty if it was not.
    """

    frames: list[Atoms]
    times_fs: Float[np.ndarray, " n_frames"]
    temperatures_K: Float[np.ndarray, " n_frames"]
    potential_energies: Float[np.ndarray, " n_frames"]
    pressures_GPa: Float[np.ndarray, " n_frames"]
    cells: Float[np.ndarray, "n_frames 3 3"]
    stable: bool
    reason: str = ""

    @property
    def volumes(self) -> Float[np.ndarray, " n_frames"]:
        """Volumes in Å^3."""
        return np.abs(np.linalg.det(self.cells))


@dataclass
class _Gathered:
    frames: list[Atoms] = field(default_factory=list)
    rows: list[tuple[float, float, float, float]] = field(default_factory=list)


def explore(
    atoms: Atoms,
    calculator: "Calculator",
    *,
    temperature_K: float,
    pressure_GPa: float = 0.0,
    settings: ExploreSettings,
    rng: np.random.Generator,
    progress: FileProgress | Path | None = None,
) -> ExploreResult:
    """Run molecular dynamics from a structure and keep frames.

    Args:
        atoms: Start; not changed. Velocities are drawn anew.
        calculator: The potential; for ``npt`` it must give stress.
        temperature_K: Target temperature.
        pressure_GPa: Target pressure, used in ``npt``.
        settings: Steps, ensemble, limits.
        rng: Random stream; equal streams give equal runs to the bit on one machine.
        progress: Where to show progress: a bar, or the path of a progress file.

    Returns:
        The kept frames. A run that explodes is stopped, and the frames up to the last check before that are returned
        with ``stable=False`` and a reason.

    Raises:
        StructureError: If the start is unusable.
        DynamicsError: If the potential fails on the start already.
    """
    check_structure(atoms, settings.closest_factor)
    moving = Atoms(
        atoms.get_atomic_numbers(), atoms.get_positions(), cell=atoms.cell[:], pbc=atoms.pbc, masses=atoms.get_masses()
    )
    if atoms.has("initial_magmoms"):
        moving.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    moving.calc = calculator
    thermal = np.sqrt(moving.get_masses()[:, None] * KB * temperature_K)
    moving.set_momenta(thermal * rng.normal(size=(len(moving), 3)))
    name = str(atoms.info.get("trajectory", atoms.get_chemical_formula(mode="hill").lower()))
    info = {"trajectory": name, "temperature_K": float(temperature_K), "pressure_GPa": float(pressure_GPa)}
    total = settings.equilibration_steps + settings.steps
    bar = (
        FileProgress(progress, total, "steps") if isinstance(progress, Path) else progress or FileProgress(None, total)
    )
    integrator = _integrator(moving, temperature_K, pressure_GPa, settings, rng)
    gathered = _Gathered()
    reason = _run(moving, integrator, atoms.cell[:], temperature_K, settings, info, gathered, bar)
    rows = np.array(gathered.rows, dtype=float).reshape(-1, 4)
    return ExploreResult(
        frames=gathered.frames,
        times_fs=rows[:, 0],
        temperatures_K=rows[:, 1],
        potential_energies=rows[:, 2],
        pressures_GPa=rows[:, 3],
        cells=np.array([frame.cell[:] for frame in gathered.frames]).reshape(-1, 3, 3),
        stable=not reason,
        reason=reason,
    )


def cell_mass(volume: float, period_fs: float) -> float:
    """Mass of the cell (eV x ASE time^2) that makes a solid of typical stiffness breathe with the given period.

    A strain eps of a crystal of modulus C obeys W eps'' = -V C eps, so W = V C (period / 2 pi)^2.
    """
    return volume * TYPICAL_STIFFNESS_GPA * GPA * (period_fs * FS / (2.0 * np.pi)) ** 2


def _integrator(
    moving: Atoms, temperature_K: float, pressure_GPa: float, settings: ExploreSettings, rng: np.random.Generator
) -> LangevinPiston:
    npt = settings.ensemble == "npt"
    try:
        return LangevinPiston(
            moving,
            timestep=settings.timestep_fs * FS,
            kT=KB * temperature_K,
            thermostat_time=settings.thermostat_time_fs * FS,
            rng=rng,
            pressure=pressure_GPa * GPA,
            cell_mass=cell_mass(moving.get_volume(), settings.barostat_time_fs) if npt else None,
            barostat_time=settings.barostat_time_fs * FS / 4.0,
        )
    except Exception as error:
        raise DynamicsError(
            f"the potential fails on the starting structure ({type(error).__name__}: {error}). Check that it knows all "
            f"elements ({sorted(set(moving.get_chemical_symbols()))}) and gives "
            f"{'stress, which npt needs' if npt else 'forces'}."
        ) from error


def _run(
    moving: Atoms,
    integrator: LangevinPiston,
    start_cell: np.ndarray,
    temperature_K: float,
    settings: ExploreSettings,
    info: dict[str, Any],
    gathered: _Gathered,
    bar: FileProgress,
) -> str:
    """Step, check and keep; the reason of an early stop, or an empty string."""
    total = settings.equilibration_steps + settings.steps
    for step in range(1, total + 1):
        try:
            with np.errstate(all="ignore"):  # NaN is looked for below, and told
                integrator.step()
        except (ArithmeticError, ValueError, RuntimeError, IndexError, MemoryError, np.linalg.LinAlgError) as error:
            finite = all(
                np.isfinite(values).all() for values in (moving.positions, moving.get_momenta(), moving.cell[:])
            )
            what = f"{type(error).__name__}: {error}" if finite else "positions or cell became NaN"
            return f"the potential failed at step {step} ({what})"
        kept = step > settings.equilibration_steps and (step - settings.equilibration_steps) % settings.every == 0
        if kept or step % settings.check_every == 0 or step == total:
            reason = explosion(moving, start_cell, temperature_K, settings)
            if reason:
                return f"{reason} at step {step} ({step * settings.timestep_fs:g} fs)"
            bar.set(step, f"T {moving.get_temperature():.0f} K")
        if kept:
            _keep(moving, (step - settings.equilibration_steps) * settings.timestep_fs, info, gathered)
    return ""


def explosion(moving: Atoms, start_cell: np.ndarray, temperature_K: float, settings: ExploreSettings) -> str:
    """Why a run must stop now: NaN, heat, a cell that left its limits, an overlap. Empty if all is well."""
    if not (np.all(np.isfinite(moving.positions)) and np.all(np.isfinite(moving.cell[:]))):
        return "positions or cell became NaN"
    if not np.isfinite(moving.get_potential_energy()):
        return "the energy became NaN"
    limit = settings.max_temperature_factor * max(temperature_K, 1.0)
    if len(moving) < 8:  # thermal noise of few degrees of freedom is not an explosion
        limit *= 8 / len(moving)
    if not moving.get_temperature() < limit:
        return f"the temperature reached {moving.get_temperature():.0f} K, limit {limit:.0f} K"
    gradient = np.linalg.solve(start_cell, moving.cell[:])
    ratio = abs(np.linalg.det(gradient))
    if not 1.0 / settings.max_volume_factor < ratio < settings.max_volume_factor:
        return f"the volume changed by a factor of {ratio:.2f}, limit {settings.max_volume_factor:g}"
    stretches = np.linalg.svd(gradient, compute_uv=False)
    if np.abs(stretches - 1.0).max() > settings.max_strain:
        seen = np.round(stretches, 2).tolist()
        return f"the cell was stretched to {seen} of its start, limit 1 ± {settings.max_strain:g}"
    pair = closest_pair(moving, settings.closest_factor)
    if pair is not None:
        return f"atoms {pair[0]} and {pair[1]} came as close as {pair[2]:.2f} Å, limit {pair[3]:.2f} Å"
    return ""


def _keep(moving: Atoms, time_fs: float, info: dict[str, Any], gathered: _Gathered) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    results: dict[str, Any] = {
        "energy": float(moving.get_potential_energy()),
        "forces": np.array(moving.get_forces(), dtype=float),
    }
    pressure = float("nan")
    if "stress" in moving.calc.implemented_properties:
        results["stress"] = np.array(moving.get_stress(), dtype=float)
        trace = moving.get_stress(include_ideal_gas=True)[:3].sum()
        pressure = -float(trace) / 3.0 / GPA
    frame = moving.copy()
    frame.info = {**info, "time_fs": time_fs}
    frame.calc = SinglePointCalculator(frame, **results)
    gathered.frames.append(frame)
    gathered.rows.append((time_fs, moving.get_temperature(), results["energy"], pressure))
