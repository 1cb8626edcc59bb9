"""Exploration samples the right ensemble, cell fluctuations included, for eight atoms.

Statistical checks compare time averages (errors from the autocorrelation time) with exact values at 4.5 standard
errors: 7e-6 false alarms a check if the error bars are right, below 1e-3 a check if they are 30 % too small. Seeds are
fixed, so a pass stays a pass on one machine.
"""

from functools import cache

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa, fs, kB

from limbeck.core.estimate import mean_of_series
from limbeck.core.rng import stream
from limbeck.dynamics.ase_md import ExploreSettings, explore
from springs import EinsteinCell

TEMPERATURE_K = 600.0
PRESSURE_GPA = 5.0
SIGMAS = 4.5


@pytest.fixture(scope="module")
def crystal():
    reference = bulk("Si", a=5.43, cubic=True)
    return reference, EinsteinCell(reference, spring=8.0, lam=50 * GPa, mu=60 * GPa)


def deviator(cells, reference):
    gradient = np.linalg.solve(reference.cell[:], cells)
    strain = (gradient @ np.swapaxes(gradient, 1, 2) - np.eye(3)) / 2.0
    trace = np.trace(strain, axis1=1, axis2=2)
    return np.sum((strain - trace[:, None, None] / 3.0 * np.eye(3)) ** 2, axis=(1, 2))


@cache
def exact_values(calculator):
    return calculator.exact(PRESSURE_GPA * GPa, kB * TEMPERATURE_K)


def z_values(cells, reference, calculator):
    """Distance from the exact mean volume, volume variance and shear, in standard errors."""
    volumes = np.abs(np.linalg.det(cells))
    series = (volumes, (volumes - volumes.mean()) ** 2, deviator(cells, reference))
    found = [mean_of_series(values) for values in series]
    return np.array(
        [(f.value - e) / max(f.standard_error, 1e-300) for f, e in zip(found, exact_values(calculator), strict=True)]
    )


@pytest.fixture(scope="module")
def sampled(crystal):
    reference, calculator = crystal
    settings = ExploreSettings(
        timestep_fs=4.0,
        steps=12_000,
        every=6,
        equilibration_steps=500,
        max_volume_factor=4.0,
        max_strain=0.9,
        max_temperature_factor=9.0,
        closest_factor=0.05,
        check_every=1000,
    )
    return explore(
        reference,
        calculator,
        temperature_K=TEMPERATURE_K,
        pressure_GPa=PRESSURE_GPA,
        settings=settings,
        rng=stream(12, "npt"),
    )


def test_volume_and_shape_fluctuate_as_statistical_mechanics_says(crystal, sampled):
    assert sampled.stable
    assert np.all(np.abs(z_values(sampled.cells, *crystal)) < SIGMAS)


def test_the_check_has_power(crystal, sampled):
    """Cells that fluctuate 15 % too much, or around a volume 0.4 % off, would be found out."""
    mean = sampled.cells.mean(axis=0)
    assert np.abs(z_values(mean + 1.15 * (sampled.cells - mean), *crystal)).max() > SIGMAS
    assert np.abs(z_values(1.004 ** (1 / 3) * sampled.cells, *crystal)).max() > SIGMAS


def test_weak_coupling_barostat_is_rejected(crystal):
    """Berendsen's barostat, as widespread as it is wrong for fluctuations, must fail the same check."""
    from ase.md.nptberendsen import NPTBerendsen

    reference, calculator = crystal
    atoms = reference.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    atoms.set_momenta(np.sqrt(atoms.get_masses()[:, None] * kB * TEMPERATURE_K) * rng.normal(size=(8, 3)))
    dynamics = NPTBerendsen(
        atoms,
        4.0 * fs,
        temperature_K=TEMPERATURE_K,
        taut=100 * fs,
        pressure_au=PRESSURE_GPA * GPa,
        taup=300 * fs,
        compressibility_au=1 / (90 * GPa),
    )
    cells = []
    dynamics.attach(lambda: cells.append(atoms.cell[:].copy()), interval=5)
    dynamics.run(4000)
    assert np.abs(z_values(np.array(cells[100:]), *crystal)).max() > 2 * SIGMAS


def test_temperature_and_pressure_meet_their_targets(sampled):
    """BAOAB samples positions exactly for springs; momenta are cold by (omega dt)^2 / 4, here 1.2 %."""
    omega_dt = np.sqrt(8.0 / 28.085) * 4.0 * fs
    temperature = mean_of_series(sampled.temperatures_K)
    assert abs(temperature.value - TEMPERATURE_K * (1 - omega_dt**2 / 4)) < SIGMAS * temperature.standard_error
    pressure = mean_of_series(sampled.pressures_GPa)
    assert abs(pressure.value - PRESSURE_GPA) < SIGMAS * pressure.standard_error + 0.01


def test_the_cell_does_not_spin(crystal, sampled):
    """Strain rates are symmetric; what is left is the slow random walk of non-commuting strains."""
    left, _, right = np.linalg.svd(np.linalg.solve(crystal[0].cell[:], sampled.cells))
    cosine = (np.trace(left @ right, axis1=1, axis2=2) - 1.0) / 2.0
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 15.0


def test_nvt_displacements_are_those_of_springs_even_with_a_long_step(crystal):
    """<u^2> per component = kT / k, with a time step a tenth of the period."""
    reference, calculator = crystal
    settings = ExploreSettings(ensemble="nvt", timestep_fs=11.0 * 0.9, steps=4000, every=8, check_every=1000)
    settings = settings.model_copy(update={"max_temperature_factor": 9.0, "closest_factor": 0.05})
    result = explore(reference, calculator, temperature_K=300.0, settings=settings, rng=stream(1, "nvt"))
    squares = [np.mean((frame.positions - reference.positions) ** 2) for frame in result.frames]
    found = mean_of_series(np.array(squares))
    assert abs(found.value - kB * 300.0 / 8.0) < SIGMAS * found.standard_error
    assert found.standard_error < 0.02 * found.value
