import pytest

from limbeck.core.progress import SilentReporter
from limbeck.workflows.stages import StageRunner, read_done


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
