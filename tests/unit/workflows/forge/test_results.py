import ase.io

from limbeck.core.record import locked, write_json
from limbeck.workflows.forge import accuracy, results
from limbeck.workflows.forge.export import labels_of
from limbeck.workflows.forge.frames import write_labelled
from limbeck.workflows.stages import LOCK
from limbeck.workflows.status import show_status, status_of
from recorded_forge import label


def run_of(folder, listed, stages):
    """A run folder: stages with hash ``new``, those not listed left by an earlier start."""
    write_json(folder / "record.json", {"config": {"name": "x"}})
    entries = [{"stage": name, "hash": "new"} for name in listed]
    write_json(folder / "stages.json", {"limbeck": "0", "identity": "i", "finished": "", "stages": entries})
    for name, digest in stages.items():
        done = {"hash": digest, "summary": {}, "wall_s": 1.0, "cpu_s": 1.0}
        write_json(folder / "stages" / name / "done.json", done)
        write_labelled(folder / "stages" / name / "labelled.json", [label(name)])
    return folder


def test_only_labels_of_this_configuration_are_exported(tmp_path):
    test, first, second = "20-test-set", "40-iteration-00-c-test", "40-iteration-01-c-test"
    run_of(tmp_path, [test, first], {test: "new", first: "new", second: "new"})
    assert [frame.trajectory for frame in labels_of(tmp_path)] == [test, first]
    run_of(tmp_path, [test, first, second], {second: "old"})
    assert [frame.trajectory for frame in labels_of(tmp_path)] == [test, first]


def test_status_tells_a_stopped_run_from_one_that_runs(tmp_path):
    run_of(tmp_path, ["20-test-set"], {"20-test-set": "new"})
    assert "stopped; the same 'limbeck forge' goes on" in show_status(status_of(tmp_path))
    with locked(tmp_path / LOCK):
        state = status_of(tmp_path)
        assert state["running"]
        assert "not finished, running" in show_status(state)
    assert not status_of(tmp_path)["running"]


def test_a_run_that_was_stopped_between_stages_is_not_finished(tmp_path):
    run_of(tmp_path, ["20-test-set"], {"20-test-set": "new", "70-run": "new"})
    write_json(tmp_path / "results.json", {})
    state = status_of(tmp_path)
    assert (state["finished"], state["finished_at"]) == (False, "")
    assert [stage["stage"] for stage in state["stages"]] == ["20-test-set"]
    assert "not finished" in show_status(state)


def test_the_data_set_for_viewers_appears_whole(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(results, "write_text", lambda path, text: written.append((path, text)))
    name = results._dataset(tmp_path, {"train": [label("a"), label("b")]}, {})
    assert list(tmp_path.iterdir()) == []
    [(path, text)] = written
    assert path == tmp_path / name
    path.write_text(text)
    assert [atoms.info["trajectory"] for atoms in ase.io.read(path, ":")] == ["a", "b"]


def test_a_student_that_could_not_be_used_is_told(tmp_path):
    student = {
        "name": "uf3", "unusable_because": "NaN in frame 3", "stable": False, "unstable_because": "NaN in frame 3",
        "meets_target": False, "failures": {"beyond": "lost atoms"},
    }  # fmt: skip
    said = results._warnings({"58-choose": {"students": [student]}, "70-run": {"failed": "it exploded"}})
    assert "Student uf3 cannot be used: NaN in frame 3" in said
    assert "Student uf3 on beyond: lost atoms" in said
    assert "The run of the student failed: it exploded" in said
    assert accuracy._why(student, 0.1) == "cannot be used: NaN in frame 3"
