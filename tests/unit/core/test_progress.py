import json

import pytest

from disks import fill, small_disk
from limbeck.core.progress import ConsoleReporter, FileProgress, SilentReporter, format_seconds, read_progress


def test_file_progress_is_read_back_and_its_last_value_is_always_there(tmp_path):
    path = tmp_path / "deep" / "p.json"
    progress = FileProgress(path, 3, "epoch")
    for done in range(1, 4):
        progress.set(done, f"note {done}")
    state = read_progress(path)
    assert state is not None
    assert (state["done"], state["total"], state["unit"], state["note"]) == (3, 3, "epoch", "note 3")


def test_reading_before_the_first_value_or_a_broken_file_gives_nothing(tmp_path):
    assert read_progress(tmp_path / "p.json") is None
    (tmp_path / "p.json").write_text("{")
    assert read_progress(tmp_path / "p.json") is None


def test_a_full_disk_leaves_the_last_value_that_fitted(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        path = disk / "p.json"
        FileProgress(path, 3).set(1)
        fill(disk)
        FileProgress(path, 3).set(2)
        state = read_progress(path)
        assert state is not None
        assert state["done"] == 1


def test_progress_without_a_file_is_harmless():
    FileProgress(None, 3).advance()


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (125, "2 min 05 s"), (7500, "2 h 05 min")])
def test_durations_read_well(seconds, text):
    assert format_seconds(seconds) == text


def test_console_reporter_writes_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(ConsoleReporter, "PLAIN_INTERVAL_S", 0.0)
    reporter = ConsoleReporter()
    reporter.message("hello [not markup]")
    with reporter.bar("work", 4) as bar:
        bar.set(2, "half")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello [not markup]" in captured.err
    assert "work: 50 %" in captured.err
    assert "left" in captured.err


def test_silent_reporter_says_nothing(capsys):
    reporter = SilentReporter()
    reporter.message("x")
    with reporter.bar("work", 1) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_progress_files_are_whole_json(tmp_path):
    progress = FileProgress(tmp_path / "p", 10)
    progress.set(1)
    json.loads((tmp_path / "p").read_text())
