"""LAMMPS runs: right start, whole products, resumed after a kill, clear words after an explosion."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from limbeck.core.errors import DynamicsError, MissingFileError
from limbeck.core.progress import FileProgress
from limbeck.dynamics import lammps_run
from limbeck.dynamics.lammps_log import failure, parse_log
from limbeck.dynamics.lammps_run import load_run, run_lammps
from limbeck.dynamics.lammps_script import RunSettings
from limbeck.potentials.protocols import PairStyle
from strategies import cell_of_shape

LJ = PairStyle(("pair_style lj/cut 6.0", "pair_modify shift yes", "pair_coeff * * 0.01 2.3"), ("Cu",), ())
SHORT = RunSettings(
    least_atoms=64,
    steps=600,
    equilibration_steps=100,
    restart_every=150,
    thermo_every=10,
    dump_every=20,
    timestep_fs=1.0,
)


class Killed(Exception):
    """Stands for the moment of a kill."""


class KillAt(FileProgress):
    """Progress that ends the run (LAMMPS is killed with signal 9) once it has come far enough."""

    def __init__(self, step: int) -> None:
        super().__init__(None, 1)
        self.step = step

    def set(self, done: float, note: str = "") -> None:
        if done >= self.step:
            raise Killed


@pytest.fixture(scope="module")
def silicon():
    return bulk("Si", a=5.431, cubic=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, silicon, silicon_potential):
    folder = tmp_path_factory.mktemp("whole")
    return run_lammps(*silicon_potential, silicon, SHORT, folder, seed=3, progress=folder / "progress.json")


@pytest.mark.parametrize("shape", ["left_handed", "skewed", "thin", "general"])
def test_any_cell_has_the_same_energy_in_lammps(tmp_path, shape):
    rng = np.random.default_rng(1)
    cell = cell_of_shape(shape, 48.0, rng)
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.set_cell(cell, scale_atoms=True)
    atoms.positions += rng.normal(size=(4, 3)) * 0.05 + 3.0 * cell[0]
    run = RunSettings(
        ensemble="nve", repeat=[1, 1, 1], steps=1, equilibration_steps=0, thermo_every=1, dump_every=1, timestep_fs=1e-4
    )
    result = run_lammps(LJ, tmp_path, atoms, run, tmp_path, seed=1)
    atoms.calc = LennardJones(sigma=2.3, epsilon=0.01, rc=6.0)
    assert result.thermo["potential_energy_eV"][0] == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3 / 0.00624150907
    kinetic = 2.0 * result.thermo["kinetic_energy_eV"][0] / 3 / atoms.get_volume() / 0.00624150907
    assert result.thermo["pressure_GPa"][0] == pytest.approx(pressure + kinetic, rel=1e-4, abs=1e-6)
    chunk = next(result.trajectory().chunks())
    assert abs(np.linalg.det(chunk.cells[0])) == pytest.approx(atoms.get_volume(), rel=1e-6)


def test_products_are_complete(whole):
    assert whole.n_atoms == 64
    assert np.array_equal(whole.thermo["step"], np.arange(0, 601, 10))
    assert np.allclose(whole.thermo["time_fs"], np.arange(0, 601, 10))
    trajectory = whole.trajectory()
    assert np.allclose(trajectory.times_fs, np.arange(0, 601, 20))
    chunk = next(trajectory.chunks())
    assert chunk.velocities is not None
    assert chunk.images is not None
    kinetic = 0.5 * 28.085 * np.sum(chunk.velocities[0] ** 2)
    assert kinetic == pytest.approx(whole.thermo["kinetic_energy_eV"][0], rel=1e-3)
    assert whole.us_per_atom_step > 0
    assert not list(whole.folder.glob("*.restart"))
    state = json.loads((whole.folder / "progress.json").read_text())
    assert state["done"] == state["total"] == 700


def test_a_finished_run_is_read_back_and_not_repeated(whole, silicon, silicon_potential, monkeypatch):
    monkeypatch.setattr(lammps_run, "_execute", lambda *_: pytest.fail("LAMMPS was started again"))
    again = run_lammps(*silicon_potential, silicon, SHORT, whole.folder, seed=3)
    assert np.array_equal(again.thermo["total_energy_eV"], whole.thermo["total_energy_eV"])


@pytest.mark.parametrize("corrupt", [False, True])
def test_a_killed_run_goes_on_from_its_restart(tmp_path, whole, silicon, silicon_potential, corrupt):
    with pytest.raises(Killed):
        run_lammps(*silicon_potential, silicon, SHORT, tmp_path, seed=3, progress=KillAt(100 + 460))
    restarts = sorted(p.name for p in tmp_path.glob("production.*.restart"))
    assert "production.450.restart" in restarts
    assert not (tmp_path / "run.json").exists()
    if corrupt:
        broken = tmp_path / restarts[-1]
        broken.write_bytes(broken.read_bytes()[:400])
    resumed = run_lammps(*silicon_potential, silicon, SHORT, tmp_path, seed=3)
    assert list(tmp_path.glob("in.resume.production.*"))
    assert np.array_equal(resumed.thermo["step"], whole.thermo["step"])
    assert np.allclose(resumed.thermo["total_energy_eV"], whole.thermo["total_energy_eV"], atol=1e-6)
    assert np.allclose(resumed.trajectory().times_fs, whole.trajectory().times_fs)
    last, expected = (list(r.trajectory().chunks())[-1] for r in (resumed, whole))
    difference = last.unwrapped()[-1] - expected.unwrapped()[-1]
    assert np.allclose(difference, 0.0, atol=1e-4)


def test_other_inputs_in_the_same_folder_start_over(tmp_path, silicon, silicon_potential):
    short = SHORT.model_copy(update={"steps": 40, "equilibration_steps": 0})
    first = run_lammps(*silicon_potential, silicon, short, tmp_path, seed=3)
    second = run_lammps(*silicon_potential, silicon, short, tmp_path, seed=4)
    assert not np.allclose(first.thermo["total_energy_eV"][1:], second.thermo["total_energy_eV"][1:], rtol=0, atol=1e-6)
    assert len(list(tmp_path.glob("log.*"))) == 1


def test_two_ranks_give_the_same_run(tmp_path, silicon, silicon_potential):
    short = SHORT.model_copy(update={"steps": 40, "equilibration_steps": 0})
    one = run_lammps(*silicon_potential, silicon, short, tmp_path / "one", seed=3)
    two = run_lammps(*silicon_potential, silicon, short.model_copy(update={"ranks": 2}), tmp_path / "two", seed=3)
    assert two.ranks == 2
    assert np.allclose(one.thermo["total_energy_eV"], two.thermo["total_energy_eV"], atol=1e-6)


def test_an_explosion_is_told_with_advice(tmp_path, silicon, silicon_potential):
    wild = SHORT.model_copy(update={"temperature_K": 60000.0, "timestep_fs": 10.0, "equilibration_steps": 0})
    with pytest.raises(DynamicsError, match=r"LAMMPS stopped: ERROR.*(flew away|ran away|NaN|collapsed).*log"):
        run_lammps(*silicon_potential, silicon, wild, tmp_path, seed=3)
    assert not (tmp_path / "run.json").exists()


def test_a_wrong_pair_line_is_told_in_lammps_own_words(tmp_path, silicon):
    with pytest.raises(DynamicsError, match="pair style"):
        run_lammps(PairStyle(("pair_style none_such",), ("Si",), ()), tmp_path, silicon, SHORT, tmp_path, seed=1)


def test_missing_potential_file_is_named(tmp_path, silicon, silicon_potential):
    with pytest.raises(MissingFileError, match=r"Si\.sw"):
        run_lammps(silicon_potential[0], tmp_path / "nowhere", silicon, SHORT, tmp_path, seed=1)
    with pytest.raises(MissingFileError, match="no finished run"):
        load_run(tmp_path)


LOG = """Step Temp PotEng
0 300 -10
10 301 -9
Loop time of 0.5 on 2 procs for 10 steps with 64 atoms
90.0% CPU use with 2 MPI tasks x 1 OpenMP threads
   Step          Temp          PotEng
        10   301            -9
WARNING: something
        20   302            -8
        30   30"""


def test_log_of_a_cut_off_run_gives_its_complete_rows(tmp_path):
    path = tmp_path / "log"
    path.write_text(LOG)
    log = parse_log(path)
    assert [len(section) for section in log.sections] == [2, 2]
    assert log.loop_s == (0.5,)
    assert log.loop_cpu_s == pytest.approx((0.9,))
    assert log.n_atoms == 64


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("ERROR: Lost atoms: original 64 current 60", "flew away"),
        ("ERROR on proc 0: Non-numeric atom coords - simulation unstable", "too close"),
        ("ERROR: Fix halt condition for fix-id explosion met on step 100", "ran away"),
        ("Killed", "See the log"),
    ],
)
def test_each_failure_has_its_advice(tmp_path, said, advice):
    message = str(failure(f"some line\n{said}\n", tmp_path / "log"))
    assert said in message
    assert advice in message
