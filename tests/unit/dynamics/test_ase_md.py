"""Exploration: deterministic, labelled, and stopped in time."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from limbeck.core.errors import DynamicsError, StructureError
from limbeck.core.rng import stream
from limbeck.dynamics.ase_md import ExploreSettings, cell_mass, explore
from springs import EinsteinCell


class NoStress(EMT):
    """EMT without stress."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results.pop("stress", None)


class Bomb(Calculator):
    """Springs that turn bad after some calls: NaN forces, or an exception."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, calls: int, how: str) -> None:
        super().__init__()
        self.left, self.how, self.inner = calls, how, springs()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.calc = self.inner
        self.results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces(), "stress": copy.get_stress()}
        self.left -= 1
        if self.left < 0:
            if self.how == "raise":
                raise RuntimeError("neighbor list overflow")
            self.results["forces"] = np.full((len(atoms), 3), np.nan if self.how == "nan" else 500.0)


def springs():
    return EinsteinCell(bulk("Cu", a=3.6, cubic=True), 3.0, 0.5, 0.4)


@pytest.fixture
def copper():
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.info["trajectory"] = "cu/003"
    return atoms


def run(atoms, calculator, seed=1, **changes):
    settings = ExploreSettings(**{"steps": 40, "every": 10, "equilibration_steps": 10, "timestep_fs": 4.0, **changes})
    return explore(
        atoms, calculator, temperature_K=500.0, pressure_GPa=1.0, settings=settings, rng=stream(seed, "explore")
    )


@pytest.mark.parametrize("ensemble", ["npt", "nvt"])
def test_same_seed_same_bits(copper, ensemble):
    first, second, other = (run(copper, springs(), seed, ensemble=ensemble) for seed in (1, 1, 2))
    assert first.stable
    assert not first.reason
    assert np.array_equal(first.frames[-1].positions, second.frames[-1].positions)
    assert np.array_equal(first.cells, second.cells)
    assert not np.allclose(first.frames[-1].positions, other.frames[-1].positions)
    assert np.allclose(first.cells, copper.cell[:]) == (ensemble == "nvt")


def test_frames_carry_their_origin_and_their_labels(copper):
    before = copper.copy()
    result = run(copper, springs())
    assert copper == before
    assert len(result.frames) == 4
    assert np.allclose(result.times_fs, [40.0, 80.0, 120.0, 160.0])
    frame = result.frames[2]
    assert frame.info == {"trajectory": "cu/003", "temperature_K": 500.0, "pressure_GPa": 1.0, "time_fs": 120.0}
    fresh = frame.copy()
    fresh.calc = springs()
    assert frame.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-10)
    assert np.allclose(frame.get_forces(), fresh.get_forces(), atol=1e-10)
    assert np.allclose(frame.get_stress(), fresh.get_stress(), atol=1e-10)
    assert result.potential_energies[2] == frame.get_potential_energy()
    assert result.temperatures_K[2] == pytest.approx(frame.get_temperature())
    pressure = -np.trace(frame.get_stress(voigt=False, include_ideal_gas=True)) / 3 / 0.00624150907
    assert result.pressures_GPa[2] == pytest.approx(pressure, rel=1e-6)


@pytest.mark.parametrize(
    ("how", "words"), [("nan", "NaN"), ("raise", "neighbor list overflow"), ("kick", "temperature")]
)
def test_an_explosion_stops_the_run_and_keeps_what_was_good(copper, how, words):
    result = run(copper, Bomb(33, how), steps=400, check_every=5)
    assert not result.stable
    assert words in result.reason
    assert "step 3" in result.reason
    assert len(result.frames) == 2
    assert all(np.isfinite(f.positions).all() for f in result.frames)


def test_runaway_volume_is_stopped(copper):
    settings = ExploreSettings(steps=2000, every=10, timestep_fs=4.0)
    result = explore(copper, EMT(), temperature_K=300.0, pressure_GPa=-60.0, settings=settings, rng=stream(0))
    assert not result.stable
    assert "volume" in result.reason


def test_overlap_is_stopped():
    atoms = bulk("Ar", a=5.3, cubic=True)
    atoms.positions[0] = atoms.positions[1] + [1.3, 0, 0]
    result = explore(
        atoms,
        LennardJones(sigma=0.5, epsilon=4.0, rc=1.4),  # attracts far inside the atom
        temperature_K=10.0,
        settings=ExploreSettings(ensemble="nvt", steps=500, max_temperature_factor=1e6, closest_factor=0.6),
        rng=stream(0),
    )
    assert not result.stable
    assert "close" in result.reason


def test_npt_without_stress_is_one_clear_error_and_nvt_works(copper):
    with pytest.raises(DynamicsError, match="stress, which npt needs"):
        run(copper, NoStress(), ensemble="npt")
    result = run(copper, NoStress(), ensemble="nvt")
    assert result.stable
    assert np.isnan(result.pressures_GPa).all()


def test_unknown_element_fails_before_the_first_step():
    with pytest.raises(DynamicsError, match="starting structure"):
        run(bulk("Si", a=5.43), EMT())


def test_an_overlapping_start_is_refused(copper):
    copper.positions[1] = copper.positions[0] + 0.1
    with pytest.raises(StructureError, match="overlap"):
        run(copper, EMT())


def test_progress_reaches_the_end(copper, tmp_path):
    settings = ExploreSettings(steps=20, every=10, equilibration_steps=0, ensemble="nvt")
    path = tmp_path / "progress.json"
    explore(copper, springs(), temperature_K=300.0, settings=settings, rng=stream(0), progress=path)
    state = json.loads(path.read_text())
    assert state["done"] == state["total"] == 20


def test_cell_mass_gives_the_period_it_promises():
    """A strained harmonic cell of 100 GPa: W eps'' = -V C eps."""
    from ase.units import GPa, fs

    volume, period = 160.0, 300.0
    omega = np.sqrt(volume * 100 * GPa / cell_mass(volume, period))
    assert 2 * np.pi / omega / fs == pytest.approx(period)
