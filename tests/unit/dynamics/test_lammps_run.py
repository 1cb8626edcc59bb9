"""LAMMPS runs: right start, whole products, resumed after a kill, clear words after an explosion."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from disks import enlarge, small_disk
from limbeck.core.errors import DiskFullError, DynamicsError, ExecutionError, MissingFileError
from limbeck.core.progress import FileProgress
from limbeck.core.record import locked
from limbeck.dynamics import lammps_run
from limbeck.dynamics.lammps_log import failure, parse_log, restart_is_damaged
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
    assert_same_run(resumed, whole)


def assert_same_run(resumed, whole, tolerance=1e-8):
    """Equal to the last bit in ``nvt`` and ``nve``; ``npt`` scales about the middle of the box that it starts with,
    which rounds differently after a restart. Which image of an atom the first frame shows may differ, too: reading a
    restart file wraps atoms into the box.
    """
    for name, values in whole.thermo.items():
        assert np.allclose(resumed.thermo[name], values, rtol=tolerance, atol=tolerance), name
    assert np.array_equal(resumed.trajectory().times_fs, whole.trajectory().times_fs)
    for ours, theirs in zip(resumed.trajectory().chunks(), whole.trajectory().chunks(), strict=True):
        assert np.allclose(ours.velocities, theirs.velocities, rtol=tolerance, atol=tolerance)
        assert np.allclose(ours.cells, theirs.cells, rtol=tolerance, atol=tolerance)
        assert np.allclose(ours.unwrapped(), theirs.unwrapped(), rtol=0.0, atol=2e-8 + tolerance)


DRIVER = """
import pickle, sys
from pathlib import Path
from limbeck.dynamics.lammps_run import run_lammps
with open(sys.argv[1], "rb") as stream:
    pair, potential, atoms, settings = pickle.load(stream)
run_lammps(pair, potential, atoms, settings, Path(sys.argv[2]), seed=3)
"""


def start_driver(tmp_path, folder, potential, atoms, settings):
    (tmp_path / "arguments").write_bytes(pickle.dumps((*potential, atoms, settings)))
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "arguments"), str(folder)])


def processes_in(folder):
    """Processes that work in a folder -> files that they hold open."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.path.realpath(entry / "cwd") == str(folder.resolve()):
                found[int(entry.name)] = {os.path.realpath(link) for link in (entry / "fd").iterdir()}
        except OSError:
            continue
    return found


def wait_for(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


LONG = SHORT.model_copy(
    update={"ensemble": "nvt", "steps": 4000, "restart_every": 500, "thermo_every": 50, "dump_every": 200}
)


def test_a_driver_killed_in_mid_run_leaves_no_lammps_and_the_rerun_at_once_is_the_same(
    tmp_path, silicon, silicon_potential
):
    folder = tmp_path / "run"
    driver = start_driver(tmp_path, folder, silicon_potential, silicon, LONG)
    wait_for(lambda: any(folder.glob("production.*.restart")), "LAMMPS did not start")
    driver.send_signal(signal.SIGKILL)
    assert not (folder / "run.json").exists()
    resumed = run_lammps(*silicon_potential, silicon, LONG, folder, seed=3)
    driver.wait()
    assert processes_in(folder) == {}
    whole = run_lammps(*silicon_potential, silicon, LONG, tmp_path / "whole", seed=3)
    assert_same_run(resumed, whole, tolerance=0.0)


@pytest.mark.parametrize("ranks", [1, 2])
def test_lammps_holds_the_lock_and_dies_with_who_started_it(tmp_path, silicon, silicon_potential, ranks):
    folder = tmp_path / "run"
    endless = LONG.model_copy(update={"steps": 10**8, "ranks": ranks})
    driver = start_driver(tmp_path, folder, silicon_potential, silicon, endless)
    wait_for(lambda: any(folder.glob("production.*.restart")), "LAMMPS did not start")
    running = processes_in(folder)
    lock = str((folder / "run.lock").resolve())
    assert sum(lock in files for files in running.values()) >= ranks
    with pytest.raises(ExecutionError, match="another process works in this folder"), locked(Path(lock), wait_s=0.0):
        pass
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with locked(Path(lock), wait_s=30.0):
        assert not any(lock in files for files in processes_in(folder).values())
    wait_for(lambda: processes_in(folder) == {}, "a process outlived its driver")


def test_a_folder_in_use_is_told_after_a_while(tmp_path, silicon, silicon_potential, monkeypatch):
    monkeypatch.setattr(lammps_run, "LOCK_WAIT_S", 0.2)
    with locked(tmp_path / "run.lock"):
        with pytest.raises(ExecutionError, match=f"taken by process {os.getpid()}.*Wait for it or end it"):
            run_lammps(*silicon_potential, silicon, SHORT, tmp_path, seed=3)
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


def test_killed_ranks_are_no_fault_of_the_potential(tmp_path, silicon, silicon_potential):
    class KillRanks(FileProgress):
        def set(self, done: float, note: str = "") -> None:
            for pid in processes_in(tmp_path):
                with contextlib.suppress(OSError):  # it has ended in the meantime
                    if Path(os.readlink(f"/proc/{pid}/exe")).name == "lmp":
                        os.kill(pid, signal.SIGKILL)

    for ranks in (1, 2):
        endless = LONG.model_copy(update={"steps": 10**8, "ranks": ranks})
        with pytest.raises(ExecutionError, match=r"killed by SIGKILL .out of memory"):
            run_lammps(*silicon_potential, silicon, endless, tmp_path, seed=3, progress=KillRanks(None, 1))


def test_a_full_disk_keeps_the_restarts_and_the_run_goes_on(tmp_path, whole, silicon, silicon_potential):
    with small_disk(tmp_path / "disk", "130k") as disk:
        with pytest.raises(DiskFullError, match=r"disk is full.*Free some space, then run again"):
            run_lammps(*silicon_potential, silicon, SHORT, disk / "run", seed=3)
        restarts = sorted(path.name for path in (disk / "run").glob("*.restart"))
        assert "production.150.restart" in restarts
        with pytest.raises(DiskFullError):
            run_lammps(*silicon_potential, silicon, SHORT, disk / "run", seed=3)
        assert "production.150.restart" in {path.name for path in (disk / "run").glob("*.restart")}
        enlarge(disk, "10m")
        resumed = run_lammps(*silicon_potential, silicon, SHORT, disk / "run", seed=3)
        assert list((disk / "run").glob("in.resume.production.*"))
        assert_same_run(resumed, whole)


@pytest.mark.parametrize("lost", ["thermo", "frame"])
def test_a_run_with_a_hole_is_not_finished_and_a_rerun_mends_it(tmp_path, whole, silicon, silicon_potential, lost):
    with pytest.raises(Killed):
        run_lammps(*silicon_potential, silicon, SHORT, tmp_path, seed=3, progress=KillAt(100 + 460))
    (log,) = tmp_path.glob("log.*")
    if lost == "thermo":
        lines = log.read_text().splitlines(keepends=True)
        holes = [i for i, line in enumerate(lines) if line.split()[:1] == ["440"]]
        log.write_text("".join(line for i, line in enumerate(lines) if i not in holes))
    else:
        dump = tmp_path / "production.0.lammpstrj"
        dump.write_bytes(dump.read_bytes().split(b"ITEM: TIMESTEP\n440\n")[0])
    told = r"1 thermo rows are missing.*step 440 of 600" if lost == "thermo" else r"1 frames are missing.*step 440"
    with pytest.raises(ExecutionError, match=told):
        run_lammps(*silicon_potential, silicon, SHORT, tmp_path, seed=3)
    assert not (tmp_path / "run.json").exists()
    assert [path.name for path in tmp_path.glob("production.*.restart")] == ["production.300.restart"]
    assert_same_run(run_lammps(*silicon_potential, silicon, SHORT, tmp_path, seed=3), whole)


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


@pytest.mark.parametrize(
    ("said", "damaged"),
    [
        ("ERROR: Incomplete or corrupted LAMMPS restart file (src/src/read_restart.cpp:1046)", True),
        ("ERROR: Invalid LAMMPS restart file (src/src/read_restart.cpp:995)", True),
        (
            "ERROR on proc 0: Cannot open restart file a.restart: Permission denied (src/src/read_restart.cpp:104)",
            False,
        ),
        ("ERROR: I/O error while writing restart (src/src/write_restart.cpp:375)", False),
        ("ERROR: Cannot open file /data/restart/Si.sw (src/src/pair_sw.cpp:400)", False),
        ("Last input line: read_restart production.1.restart", False),
    ],
)
def test_only_a_damaged_restart_file_is_given_up(said, damaged):
    assert restart_is_damaged(f"{said}\nLast input line: read_restart production.1.restart\n") is damaged


@pytest.mark.parametrize(
    ("said", "code", "kind"),
    [
        (
            "ERROR on proc 0: Error writing dump frames: No space left on device (src/src/dump.cpp:543)",
            1,
            DiskFullError,
        ),
        ("ERROR: I/O error while writing restart (src/src/write_restart.cpp:375)", 1, DiskFullError),
        ("100 300 -1", -9, ExecutionError),
        ("YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Terminated (signal 15)", 15, ExecutionError),
        ("100 300 -1", -11, DynamicsError),
        ("ERROR: Lost atoms: original 64 current 60", 1, DynamicsError),
    ],
)
def test_what_says_nothing_about_the_potential_is_told_apart(tmp_path, said, code, kind):
    assert type(failure(f"{said}\n", tmp_path / "log", code)) is kind
