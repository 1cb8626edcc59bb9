import os

import pytest
import yaml

from limbeck.core.errors import ConfigError, ExecutionError, MissingFileError
from limbeck.core.progress import SilentReporter
from limbeck.core.record import hash_file, locked, read_json, write_json
from limbeck.labels.store import LabelStore
from limbeck.workflows.forge import run
from limbeck.workflows.forge.identity import named_files, run_identity
from limbeck.workflows.stages import StageRunner
from recorded_forge import label

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}
VALUES = {"name": "x", "structures": [CELL], "labels": {"kind": "emt"}, "executor": {"kind": "serial"}}


class Said(SilentReporter):
    def __init__(self):
        self.lines = []

    def message(self, text):
        self.lines.append(text)


def config(folder, **values):
    path = folder / "x.yaml"
    path.write_text(yaml.safe_dump(VALUES | values))
    return path


@pytest.mark.parametrize("teacher", [{"kind": "saved", "path": "my.limbeck"}, {"kind": "sevennet", "model": "my.pth"}])
def test_the_file_of_a_teacher_is_looked_for_beside_the_configuration_and_recorded(tmp_path, teacher):
    path = config(tmp_path, teacher=teacher)
    with pytest.raises(MissingFileError, match=rf"my\.(limbeck|pth): no such file, named in .*\({teacher['kind']}\)"):
        run.read_settings(path)
    name = teacher.get("path", teacher.get("model"))
    (tmp_path / name).write_bytes(b"weights")
    settings = run.read_settings(path)
    assert named_files(settings) == {str(tmp_path / name): hash_file(tmp_path / name)}


def test_models_in_the_wheel_need_no_file(tmp_path):
    assert named_files(run.read_settings(config(tmp_path, teacher={"kind": "sevennet", "model": "7net-l3i5"}))) == {}


def test_a_second_command_leaves_the_record_of_the_first_alone(tmp_path):
    folder = tmp_path / "run"
    write_json(folder / "record.json", {"versions": {}, "command": "first"})
    with locked(folder / run.LOCK), pytest.raises(ExecutionError, match=rf"process {os.getpid()}\b"):
        run.forge(run.read_settings(config(tmp_path)), folder, command="second")
    assert read_json(folder / "record.json")["command"] == "first"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    settings = run.read_settings(config(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my notes")
    with pytest.raises(ConfigError, match=r"holds other files \(README\.md\).*--run-folder"):
        run.forge(settings, tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "my notes"
    write_json(tmp_path / "other" / "record.json", {"versions": {}, "config": {"name": "y"}})
    with pytest.raises(ConfigError, match="holds the run 'y', the configuration is 'x'"):
        run.forge(settings, tmp_path / "other")


def test_a_folder_that_cannot_be_made_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written.*--run-folder"):
        run.forge(run.read_settings(config(tmp_path)), tmp_path / "file" / "run")


def finished(folder, settings):
    stages = StageRunner(folder, SilentReporter())
    stages.begin(run_identity(settings))
    stages.run("40-iteration-00-d-gate", 1, lambda folder: ({"passed": True}, 0.0), title="gate")
    stages.finish()
    write_json(folder / "record.json", {"versions": {"limbeck": "0.0.0"}, "started": "then"})
    (folder / "report.html").write_text("x")


def test_a_finished_run_changes_nothing_and_says_so(tmp_path):
    settings, said = run.read_settings(config(tmp_path)), Said()
    folder = tmp_path / "run"
    finished(folder, settings)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != run.LOCK}
    outcome = run.forge(settings, folder, reporter=said)
    assert outcome.passed
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != run.LOCK} == before
    assert said.lines[-1] == "finished before, nothing to do"


def test_a_folder_that_another_version_made_is_told_in_one_line(tmp_path):
    settings, said = run.read_settings(config(tmp_path)), Said()
    finished(tmp_path / "run", settings)
    run.forge(settings, tmp_path / "run", reporter=said)
    assert [line for line in said.lines if "limbeck 0.0.0 made this run folder" in line]


def test_frames_in_quarantine_are_tried_again_when_asked(tmp_path):
    said, stages = Said(), StageRunner(tmp_path, SilentReporter())
    for name, failed in (("20-test-set", []), ("40-iteration-00-a-labels", [["t", "no convergence"]])):
        stages.run(name, 1, lambda folder, failed=failed: ({"quarantined": failed}, 0.0), title=name)
    frame = label("t")
    with LabelStore(tmp_path / "labels") as store:
        store.quarantine(frame.atoms, frame.fingerprint, "no convergence")
        run._release_quarantined(tmp_path, store, said)
        assert store.quarantined() == ()
    assert {p.parent.name for p in tmp_path.glob("stages/*/done.json")} == {"20-test-set"}
    assert said.lines == ["1 quarantined frames are tried again"]
