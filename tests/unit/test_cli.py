"""The command line: what a user types, sees, and gets wrong."""

import json
import sys

import pytest

from limbeck import __version__, cli

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


def test_doctor_finds_what_the_main_job_needs(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "doctor")
    assert code == 0
    assert "All that the main job needs is here" in out


def test_doctor_gives_the_line_that_mends(monkeypatch, capsys):
    from limbeck.workflows import doctor

    part = doctor.Part("no-such-package", "no_such_module", "test", True, "pip install no-such-package")
    monkeypatch.setattr(doctor, "PARTS", (part,))
    code, out, _ = run(monkeypatch, capsys, "doctor")
    assert code == 1
    assert "MISSING" in out
    assert "pip install no-such-package" in out
