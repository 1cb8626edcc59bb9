"""The command line: what a user types, sees, and gets wrong."""

import errno
import json
import sys

import pytest

from limbeck import __version__, cli
from limbeck.core.errors import DiskFullError, ExecutionError

CONFIG = """
name: copper
structures:
  - {kind: bulk, formula: Cu, lattice: fcc, lattice_constant_A: 3.61, cell: conventional}
labels: {kind: emt}
"""


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["limbeck", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "copper.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("command", ["forge", "status", "report", "doctor", "export-labels"])
def test_every_command_explains_itself(monkeypatch, capsys, command):
    code, out, _ = run(monkeypatch, capsys, command, "--help")
    assert code == 0
    assert "Usage" in out


def test_version(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--version")[1].strip() == __version__


def test_dry_run_shows_plan_counts_and_cost_and_does_nothing(monkeypatch, capsys, config, tmp_path):
    code, out, _ = run(monkeypatch, capsys, "forge", str(config), "-o", str(tmp_path / "run"), "--dry-run")
    assert code == 0
    assert "at most 44 labels (emt)" in out  # 12 + 2 * (12 + 4)
    assert "Nothing was started" in out
    assert not (tmp_path / "run").exists()


def test_dry_run_as_json(monkeypatch, capsys, config, tmp_path):
    arguments = [
        "forge",
        str(config),
        "-o",
        str(tmp_path / "run"),
        "--dry-run",
        "--json",
        "--set",
        "loop.max_iterations=1",
    ]
    plan = json.loads(run(monkeypatch, capsys, *arguments)[1])
    assert plan["labels_at_most"] == 28
    assert {"20-test-set", "40-iteration-00-b-fit", "70-run"} <= {row["stage"] for row in plan["stages"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CONFIG.replace("labels:", "lables:"), ["unknown key 'lables'", "Did you mean 'labels'", ":5"]),
        (CONFIG + "seed: -1\n", ["seed", "greater than or equal to 0"]),
        (CONFIG + "explore: {temperatures_C: [20]}\n", ["temperatures_C", "Did you mean 'temperatures_K'"]),
        (CONFIG.replace("kind: emt", "kind: gpwa"), ["gpwa", "Did you mean 'gpaw'"]),
        (CONFIG.replace("kind: emt", "kind: stored, path: nowhere.extxyz.xz"), ["nowhere.extxyz.xz", "no such file"]),
        (CONFIG.replace("formula: Cu", "formula: Xx"), ["Xx"]),
    ],
)
def test_mistakes_are_one_clear_error_without_traceback(monkeypatch, capsys, tmp_path, text, expected):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    code, out, err = run(monkeypatch, capsys, "forge", str(path), "--dry-run")
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    for part in expected:
        assert part in err


def test_wrong_assignment_and_missing_file(monkeypatch, capsys, config, tmp_path):
    code, _, err = run(monkeypatch, capsys, "forge", str(config), "--set", "loop.max_iterations", "--dry-run")
    assert (code, "expected KEY=VALUE" in err) == (1, True)
    code, _, err = run(monkeypatch, capsys, "forge", str(tmp_path / "coper.yaml"))
    assert code == 1
    assert "copper.yaml" in err


@pytest.mark.parametrize("command", ["status", "report", "export-labels"])
def test_a_folder_without_a_run_is_named(monkeypatch, capsys, tmp_path, command):
    extra = [str(tmp_path / "x.extxyz.xz")] if command == "export-labels" else []
    code, _, err = run(monkeypatch, capsys, command, str(tmp_path), *extra)
    assert code == 1
    assert str(tmp_path) in err


def test_doctor_as_json_and_exit_status(monkeypatch, capsys):
    from limbeck.workflows import doctor

    part = doctor.Part("no-such-package", "no_such_module", "test", True, "pip install no-such-package")
    monkeypatch.setattr(doctor, "PARTS", (part,))
    monkeypatch.setattr(doctor, "PROGRAMS", ())
    code, out, _ = run(monkeypatch, capsys, "doctor")
    assert code == 1
    assert "MISSING" in out
    assert "pip install no-such-package" in out
    code, out, _ = run(monkeypatch, capsys, "doctor", "--json")
    assert code == 1
    assert json.loads(out)[0]["problem"] == "not installed"


def test_assignments_are_read_like_the_file_and_reach_lists(monkeypatch, capsys, config):
    good = ["--set", "finetune.learning_rate=3e-3", "--set", "structures.0.cell=primitive"]
    assert run(monkeypatch, capsys, "forge", str(config), "--dry-run", *good)[0] == 0
    code, _, err = run(monkeypatch, capsys, "forge", str(config), "--dry-run", "--set", "run.steps=[")
    assert (code, "Traceback" in err, "--set run.steps=[:1: not valid YAML" in err) == (1, False, True)


def fail_with(monkeypatch, place, error):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(place, fail)


FORGE, EXAMINE = "limbeck.workflows.forge.run.forge", "limbeck.workflows.doctor.examine"


def in_a_worker(error):
    wrapped = ExecutionError("task 'explore' failed: OSError")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/run/x.json"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/data/run/x.json"),
        DiskFullError("/data/run/x.json: not written: the disk is full."),
        in_a_worker(OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_full_disk_has_its_own_exit_status_and_says_what_to_do(monkeypatch, capsys, config, error):
    fail_with(monkeypatch, FORGE, error)
    code, _, err = run(monkeypatch, capsys, "forge", str(config))
    assert code == 74
    assert str(error) in err
    assert "Free some space" in err
    assert "the same command goes on" in err


def test_only_the_forge_promises_to_go_on(monkeypatch, capsys, config):
    denied = PermissionError(errno.EACCES, "Permission denied", "/data")
    fail_with(monkeypatch, EXAMINE, denied)
    fail_with(monkeypatch, FORGE, denied)
    code, _, err = run(monkeypatch, capsys, "doctor")
    assert (code, "Permission denied" in err, "goes on" in err) == (1, True, False)
    code, _, err = run(monkeypatch, capsys, "forge", str(config))
    assert (code, "Permission denied" in err, "goes on" in err) == (1, True, True)


def test_an_interrupted_forge_says_that_it_goes_on(monkeypatch, capsys, config):
    fail_with(monkeypatch, FORGE, KeyboardInterrupt())
    code, _, err = run(monkeypatch, capsys, "forge", str(config))
    assert (code, "Interrupted" in err, "goes on" in err) == (130, True, True)


def test_exported_labels_as_json(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("limbeck.workflows.forge.export.export_labels", lambda *_args, **_kwargs: 3)
    code, out, _ = run(monkeypatch, capsys, "export-labels", str(tmp_path), str(tmp_path / "x.extxyz.xz"), "--json")
    assert (code, json.loads(out)) == (0, {"labels": 3, "output": str(tmp_path / "x.extxyz.xz")})


def test_exit_statuses_are_in_the_help(monkeypatch, capsys):
    assert "74 disk or quota full" in " ".join(run(monkeypatch, capsys, "--help")[1].split())
