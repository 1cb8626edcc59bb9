"""The GPAW engine without GPAW: a stand-in program answers, crashes, hangs or is killed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from disks import fill, small_disk
from limbeck.core.errors import (
    DiskFullError,
    ExecutionError,
    LabelError,
    MissingDependencyError,
    UnsupportedElementError,
)
from limbeck.labels.engines import gpaw_worker
from limbeck.labels.engines.gpaw import GpawEngine, GpawSettings, k_mesh

ANSWER = {
    "status": "ok", "energy_eV": -1.0, "free_energy_eV": -1.1, "forces_eV_per_A": [[0.1, 0, 0], [-0.1, 0, 0]],
    "stress_eV_per_A3": [1e-3] * 6, "magnetic_moments_muB": None,
    "total_magnetic_moment_muB": None, "scf_steps": 9, "cpu_s": 2.0, "wall_s": 3.0,
    "peak_memory_MB": 90.0,
}  # fmt: skip


@pytest.fixture
def stand_in(tmp_path):
    """Makes an engine whose interpreter is a script with the given Python body (``request`` is at hand)."""

    def make(body: str, **options) -> GpawEngine:
        (tmp_path / "Si.PBE.gz").write_bytes(b"data set")
        (tmp_path / "Si.small.PBE").write_bytes(b"another data set")
        found = {"version": "26.7.0", "setup_folders": [str(tmp_path)]}
        program = tmp_path / "python"
        program.write_text(
            f"#!{sys.executable}\nimport json, os, signal, sys\n"
            f"if sys.argv[2:] == ['describe']:\n    print({json.dumps(found)!r})\n    sys.exit()\n"
            f"request = json.load(open(sys.argv[2]))\n{body}\n"
        )
        program.chmod(0o755)
        return GpawEngine(GpawSettings(python=str(program), **options))

    return make


def answer_with(changes=None):
    return f"json.dump({ {**ANSWER, **(changes or {})}!r}, open(request['output'], 'w'))"


def test_answer_becomes_a_label(stand_in):
    label = stand_in(answer_with()).label(bulk("Si"))
    np.testing.assert_array_equal(label.forces, ANSWER["forces_eV_per_A"])
    assert label.energy == -1.1  # the energy whose gradient the forces are
    assert label.provenance["extrapolated_energy_eV"] == -1.0
    assert label.provenance["scf_steps"] == 9
    assert label.fingerprint.theory == {"functional": "PBE", "hubbard": {}, "dispersion": "none"}


def test_request_carries_the_settings(stand_in, tmp_path):
    body = f"open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps(request))\n" + answer_with()
    options = {"plane_wave_cutoff_eV": 321.0, "hubbard_U_eV": {"Si": {"p": 2.5}}, "setups": {"Si": "small"}}
    atoms = bulk("Si", cubic=True)[[0, 1]]
    stand_in(body, **options, spin_polarized=True).label(atoms)
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["calculator"]["plane_wave_cutoff_eV"] == 321.0
    assert seen["calculator"]["setups"] == {"Si": "small:p,2.5"}
    assert seen["calculator"]["kpts"] == {"size": [5, 5, 5], "gamma": True}
    assert seen["spin_polarized"] is True
    assert seen["atoms"]["positions"] == atoms.positions.tolist()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.stderr.write('first\\nValueError: too close\\n'); sys.exit(1)", r"exit code 1.*ValueError: too close"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"killed by SIGSEGV"),
        (answer_with({"status": "not_converged", "reason": "no"}), r"Si2: no"),
    ],
)
def test_failures_say_why(stand_in, body, message):
    with pytest.raises(LabelError, match=message):
        stand_in(body).label(bulk("Si"))


def test_hanging_calculation_is_stopped(stand_in):
    body = "open(request['log'], 'w').write('iter: 7\\n')\nwhile os.read(0, 1): pass"
    with pytest.raises(LabelError, match=r"not finished after timeout_s = 1 s.*iter: 7"):
        stand_in(body, timeout_s=1.0).label(bulk("Si"))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_interruption_is_no_fault_of_the_frame(stand_in, name):
    body = f"name = signal.{name}\nif name != signal.SIGKILL: signal.signal(name, signal.SIG_DFL)\n"
    with pytest.raises(ExecutionError, match=f"interrupted from outside by {name}.*Run again"):
        stand_in(body + "os.kill(os.getpid(), name)").label(bulk("Si"))


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("sys.stderr.write('MemoryError: 3 GiB\\n'); sys.exit(3)", ExecutionError, r"out of memory.*3 GiB"),
        ("sys.exit(71)", ExecutionError, r"out of memory.*fewer workers"),
        ("sys.exit(74)", DiskFullError, r"disk is full: free some space in /"),
        (
            "sys.stderr.write('ImportError: libxc.so.12\\n'); sys.exit(69)",
            MissingDependencyError,
            r"libxc.*pip install",
        ),
        ("sys.exit(137)", ExecutionError, r"SIGKILL .out of memory"),
        ("pass", ExecutionError, r"without an answer, exit code 0"),
    ],
)
def test_trouble_of_the_machine_is_no_fault_of_the_frame(stand_in, body, kind, message):
    with pytest.raises(kind, match=message):
        stand_in(body).label(bulk("Si"))


def test_killed_rank_is_no_fault_of_the_frame(stand_in):
    body = "sys.stderr.write('rank 1 exited on signal 9 (Killed).\\n'); sys.exit(1)"
    engine = stand_in(body, cores=2, mpi_command=("env", "RANKS={cores}"))
    with pytest.raises(ExecutionError, match="SIGKILL"):
        engine.label(bulk("Si"))


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("raise MemoryError", gpaw_worker.OUT_OF_MEMORY),
        ("import numpy; numpy.empty(10**17)", gpaw_worker.OUT_OF_MEMORY),
        ("raise OSError(28, 'No space left on device')", gpaw_worker.DISK_FULL),
        ("raise OSError(2, 'No such file')", 1),
        ("import no_such_library", gpaw_worker.CANNOT_IMPORT),
        ("raise ValueError", 1),
    ],
)
def test_worker_tells_trouble_of_the_machine_by_its_exit_code(tmp_path, line, code):
    """The worker is run as it is, with a package in place of GPAW that fails when it is imported."""
    (tmp_path / "gpaw.py").write_text(line)
    (tmp_path / "request.json").write_text("{}")
    command = [sys.executable, gpaw_worker.__file__, str(tmp_path / "request.json")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert b"Error" in worker.stderr.read()  # standard input stays open: its end would end the worker
    assert worker.wait() == code
    worker.stdin.close()
    worker.stderr.close()


def test_full_scratch_disk_is_told(stand_in, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", "64k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        fill(disk)
        with pytest.raises(DiskFullError, match="disk is full"):
            stand_in(answer_with()).label(bulk("Si"))


def test_build_without_mpi_is_named(stand_in):
    engine = stand_in(answer_with({"status": "wrong_build", "reason": "2 cores asked for, GPAW runs on 1"}))
    with pytest.raises(MissingDependencyError, match="built without MPI"):
        engine.label(bulk("Si"))


def test_missing_interpreter_and_missing_gpaw(stand_in, tmp_path):
    with pytest.raises(MissingDependencyError, match="nowhere"):
        GpawEngine(GpawSettings(python=str(tmp_path / "nowhere"))).fingerprint(bulk("Si"))
    engine = stand_in("")
    program = Path(engine.settings.python)
    program.write_text(program.read_text().replace('"26.7.0"', "null"))
    with pytest.raises(MissingDependencyError, match="pip install gpaw"):
        engine.fingerprint(bulk("Si"))


def test_missing_data_set(stand_in):
    with pytest.raises(UnsupportedElementError, match=r"no PAW data set Ge\.PBE"):
        stand_in("").fingerprint(bulk("Ge"))


def test_worker_ends_with_its_parent():
    folder = Path(gpaw_worker.__file__).parent
    program = (
        f"import sys, threading; sys.path.append({str(folder)!r}); import gpaw_worker\n"
        "gpaw_worker.stop_with_parent(); threading.Event().wait()"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    worker.stdin.close()
    assert worker.wait(timeout=60) == 70


def test_fingerprint_sees_all_that_decides(stand_in, tmp_path):
    atoms = bulk("Si")
    changes = [
        {}, {"xc": "PBEsol"}, {"plane_wave_cutoff_eV": 500.0}, {"k_spacing_per_A": 0.5}, {"smearing_eV": 0.2},
        {"density_convergence": 1e-6}, {"force_convergence_eV_per_A": 0.01}, {"spin_polarized": True},
        {"hubbard_U_eV": {"Si": {"p": 1.0}}}, {"setups": {"Si": "small"}}, {"energy_convergence_eV": 1e-6},
    ]  # fmt: skip
    hashes = {stand_in("", **change).fingerprint(atoms).hash for change in changes}
    assert len(hashes) == len(changes)
    same = [{"timeout_s": 5.0}, {"max_scf_steps": 50}, {"hubbard_U_eV": {"Fe": {"d": 4.0}}}]
    assert {stand_in("", **change).fingerprint(atoms).hash for change in same} <= hashes
    engine = stand_in("")
    before = engine.fingerprint(atoms).hash
    (tmp_path / "Si.PBE.gz").write_bytes(b"newer data set")
    assert engine.fingerprint(atoms).hash != before


def test_theory_is_functional_and_hubbard(stand_in):
    first = stand_in("").fingerprint(bulk("Si"))
    finer = stand_in("", plane_wave_cutoff_eV=600.0).fingerprint(bulk("Si"))
    corrected = stand_in("", hubbard_U_eV={"Si": {"p": 1.0}}).fingerprint(bulk("Si"))
    assert first.theory_hash == finer.theory_hash != corrected.theory_hash


def test_theory_is_the_same_for_frames_with_and_without_the_corrected_element(stand_in):
    table = {"Fe": {"d": 4.3}}
    fingerprint = stand_in("", hubbard_U_eV=table).fingerprint(bulk("Si"))
    assert fingerprint.theory["hubbard"] == table
    assert fingerprint.parameters["hubbard_U_eV"] == {}
    assert fingerprint.hash == stand_in("").fingerprint(bulk("Si")).hash  # keys of labels that exist stay


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    cell=st.lists(st.floats(-9, 9), min_size=9, max_size=9).filter(
        lambda c: abs(np.linalg.det(np.reshape(c, (3, 3)))) > 1.0
    ),
    spacing=st.floats(0.1, 1.0),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_k_mesh_is_the_coarsest_within_the_spacing(cell, spacing, pbc):
    atoms = Atoms("Si", cell=np.reshape(cell, (3, 3)), pbc=pbc)
    vectors = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
    for count, vector, periodic in zip(k_mesh(atoms, spacing), vectors, pbc, strict=True):
        length = np.linalg.norm(vector)
        assert count >= 1
        assert not periodic or length / count <= spacing * (1 + 1e-6)
        assert count == 1 or (periodic and length / (count - 1) > spacing * (1 - 1e-6))


def test_k_mesh_of_silicon():
    assert k_mesh(bulk("Si", cubic=True), 0.235) == (5, 5, 5)
    assert k_mesh(bulk("Si"), 0.235) == (9, 9, 9)


@pytest.mark.parametrize("wrong", [{"xc": "pbe"}, {"plane_wave_cutoff_eV": 10}, {"cutoff": 300}, {"cores": 0}])
def test_impossible_settings(wrong):
    with pytest.raises(ValidationError):
        GpawSettings(**wrong)
