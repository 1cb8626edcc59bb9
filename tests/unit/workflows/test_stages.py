import time

import pytest

from limbeck.core.errors import MissingFileError
from limbeck.core.progress import SilentReporter
from limbeck.workflows import stages
from limbeck.workflows.stages import StageRunner, finish_time, is_finished_with, listed_stages, read_done


def runner(folder):
    return StageRunner(folder, SilentReporter())


def test_a_finished_stage_is_not_done_again(tmp_path):
    calls = []

    def work(folder):
        calls.append(folder)
        return {"value": 3}, 1.5

    first = runner(tmp_path).run("10-x", {"a": 1}, work, title="x")
    second = runner(tmp_path).run("10-x", {"a": 1}, work, title="x")
    assert len(calls) == 1
    assert second.summary == first.summary == {"value": 3}
    assert second.hash == first.hash
    assert second.cpu_s >= 1.5


def test_changed_inputs_start_with_an_empty_folder(tmp_path):
    def work(folder):
        leftover = (folder / "product").exists()
        (folder / "product").write_text("x")
        return {"leftover": leftover}, 0.0

    assert runner(tmp_path).run("10-x", 1, work, title="x").summary == {"leftover": False}
    assert runner(tmp_path).run("10-x", 2, work, title="x").summary == {"leftover": False}


def test_an_interrupted_stage_keeps_its_products_and_is_entered_again(tmp_path):
    def breaks(folder):
        (folder / "product").write_text("x")
        raise KeyboardInterrupt

    def goes_on(folder):
        return {"kept": (folder / "product").exists()}, 0.0

    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path).run("10-x", 1, breaks, title="x")
    assert read_done(tmp_path / "stages" / "10-x") is None
    assert runner(tmp_path).run("10-x", 1, goes_on, title="x").summary == {"kept": True}


def test_hashes_of_stages_follow_their_inputs(tmp_path):
    def work(folder):
        return {}, 0.0

    a = runner(tmp_path).run("10-x", 1, work, title="x").hash
    assert runner(tmp_path).run("10-x", 2, work, title="x").hash != a
    assert runner(tmp_path / "other").run("10-x", 1, work, title="x").hash == a


def make(value):
    def work(folder):
        (folder / "product").write_text(str(value))
        return {"value": value}, 0.0

    return work


def test_a_kill_while_a_folder_is_deleted_leaves_nothing_to_be_reused(tmp_path, monkeypatch):
    runner(tmp_path).run("10-x", 1, make(1), title="x")

    def killed(path, **options):
        (path / "inputs.json").unlink()  # the file that tells of other settings goes first
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.workflows.stages.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path).run("10-x", 2, make(2), title="x")
    monkeypatch.undo()

    def work(folder):
        return {"leftover": (folder / "product").exists()}, 0.0

    again = runner(tmp_path)
    again.begin("b")
    assert [p.name for p in (tmp_path / "stages").iterdir()] == []
    assert again.run("10-x", 2, work, title="x").summary == {"leftover": False}


def test_products_of_unknown_inputs_are_stale(tmp_path):
    (tmp_path / "stages" / "10-x").mkdir(parents=True)
    (tmp_path / "stages" / "10-x" / "product").write_text("x")

    def work(folder):
        return {"leftover": (folder / "product").exists()}, 0.0

    assert runner(tmp_path).run("10-x", 2, work, title="x").summary == {"leftover": False}


def test_time_is_summed_over_attempts(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("limbeck.workflows.stages.time.monotonic", lambda: now[0])

    def breaks(folder):
        now[0] += 40.0
        raise KeyboardInterrupt

    def goes_on(folder):
        now[0] += 2.0
        return {}, 1.0

    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path).run("10-x", 1, breaks, title="x")
    assert runner(tmp_path).run("10-x", 1, goes_on, title="x").wall_s == pytest.approx(42.0)
    assert runner(tmp_path).run("10-x", 2, goes_on, title="x").wall_s == pytest.approx(2.0)


def test_time_is_kept_while_a_stage_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.workflows.stages.RENEW_S", 0.005)

    def work(folder):
        deadline = time.monotonic() + 20
        while not (folder / "spent.json").exists() and time.monotonic() < deadline:
            pass
        return {"kept": (folder / "spent.json").exists()}, 0.0

    assert runner(tmp_path).run("10-x", 1, work, title="x").summary == {"kept": True}


def test_only_the_stages_of_the_latest_start_are_listed_and_others_deleted_at_its_end(tmp_path):
    first = runner(tmp_path)
    first.begin("a")
    for name in ("10-x", "20-y"):
        first.run(name, 1, make(1), title=name)
    first.finish()
    finished = finish_time(tmp_path)
    assert finished
    assert is_finished_with(tmp_path, "a")
    assert not is_finished_with(tmp_path, "b")
    second = runner(tmp_path)
    second.begin("b")
    second.run("10-x", 1, make(1), title="x")
    assert [stage.name for stage in listed_stages(tmp_path)] == ["10-x"]
    assert finish_time(tmp_path) == ""
    assert (tmp_path / "stages" / "20-y").exists()
    second.finish()
    assert [p.name for p in (tmp_path / "stages").iterdir()] == ["10-x"]


def test_a_stage_that_is_redone_is_listed_as_not_done(tmp_path):
    first = runner(tmp_path)
    first.begin("a")
    first.run("10-x", 1, make(1), title="x")

    def look(folder):
        return {"done": [stage.done for stage in listed_stages(tmp_path)]}, 0.0

    second = runner(tmp_path)
    second.begin("b")
    assert second.run("10-x", 2, look, title="x").summary == {"done": [None]}


def test_a_folder_without_a_list_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"stages\.json"):
        listed_stages(tmp_path)


def test_a_disk_without_space_does_not_fail_for_the_sake_of_the_time_spent(tmp_path, monkeypatch):
    write = stages.write_json

    def full(path, value):
        if path.name == stages.SPENT:
            raise OSError(28, "No space left on device")
        write(path, value)

    monkeypatch.setattr(stages, "write_json", full)
    assert runner(tmp_path).run("10-x", 1, make(1), title="x").summary == {"value": 1}
