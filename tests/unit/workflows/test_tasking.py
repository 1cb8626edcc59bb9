import pytest

from limbeck.core.errors import LabelError
from limbeck.core.progress import FileProgress, SilentReporter
from limbeck.executors.serial import SerialExecutor
from limbeck.workflows.tasking import Task, Used, measured, run_tasks


def square(x):
    return {"value": x * x}


def burn(n):
    return {"sum": sum(i * i for i in range(n))}


def refuse(x):
    raise LabelError(f"not {x}")


def test_results_come_in_task_order_and_are_handed_on_at_once():
    seen = []
    results, cpu_s = run_tasks(
        SerialExecutor(),
        SilentReporter(),
        "x",
        [Task(square, (i,)) for i in range(5)],
        lambda i, r: seen.append((i, r)),
    )
    assert results == [{"value": i * i} for i in range(5)]
    assert sorted(seen, key=lambda pair: pair[0]) == list(enumerate(results))
    assert cpu_s >= 0


def test_cpu_time_of_tasks_is_counted():
    assert measured(burn, (2_000_000,))[1].own_s > 0


def test_what_runs_in_this_process_is_left_to_its_own_count():
    _, cpu_s = run_tasks(SerialExecutor(), SilentReporter(), "x", [Task(burn, (2_000_000,))])
    assert cpu_s == 0
    used = Used(process=1, own_s=2.0, children_s=0.5)
    assert (used.outside(1), used.outside(2)) == (0.5, 2.5)


def test_the_first_error_is_raised_as_it_is():
    with pytest.raises(LabelError, match="not 1"):
        run_tasks(SerialExecutor(), SilentReporter(), "x", [Task(square, (0,)), Task(refuse, (1,))])


def test_progress_files_of_running_tasks_count(tmp_path):
    from limbeck.workflows.tasking import _progress

    FileProgress(tmp_path / "p", 10).set(5, "half")
    tasks = [Task(square, (1,)), Task(square, (2,), tmp_path / "p", weight=4.0)]
    assert _progress(tasks, {1}) == (1.0 + 2.0, "half")
