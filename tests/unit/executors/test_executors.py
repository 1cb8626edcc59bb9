"""Executors against real worker processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limbeck.core.errors import ExecutionError, LabelError
from limbeck.executors import LocalSettings, SerialSettings, build_executor
from limbeck.workflows.tasking import measured  # an importable function with a plain result


def double(x):
    return 2 * x


def refuse(reason):
    raise LabelError(reason)


def test_serial_executor_hands_on_values_and_errors(tmp_path):
    with build_executor(SerialSettings(kind="serial"), tmp_path) as executor:
        assert executor.submit(double, 3).result() == 6
        with pytest.raises(LabelError, match="no"):
            executor.submit(refuse, "no").result()


@pytest.mark.xdist_group("parsl")
def test_local_executor_runs_in_other_processes_with_the_wanted_threads(tmp_path):
    with build_executor(LocalSettings(workers=2), tmp_path) as executor:
        assert [f.result() for f in [executor.submit(abs, -i) for i in range(20)]] == list(range(20))
        value, used = executor.submit(measured, os.getenv, ("OMP_NUM_THREADS",)).result()
        assert value == "1"
        assert used.own_s >= 0
        assert used.process != os.getpid()
        assert executor.submit(os.getpid).result() != os.getpid()
        with pytest.raises(ExecutionError, match="ZeroDivisionError"):
            executor.submit(divmod, 1, 0).result()
        # a worker that dies is replaced, the task is tried again, and reported if it dies each time
        with pytest.raises(ExecutionError, match="WorkerLost"):
            executor.submit(os.abort).result()
        assert executor.submit(abs, -1).result() == 1


@pytest.mark.xdist_group("parsl")
def test_nothing_is_left_running_after_the_driver_was_killed(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from limbeck.executors import LocalSettings, build_executor\n"
        f"executor = build_executor(LocalSettings(workers=1), Path({str(tmp_path)!r}))\n"
        "print(executor.submit(os.getpid).result(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    worker = int(found.stdout.split()[0])
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline, "the worker of a killed driver is still there after a minute"
        time.sleep(0.5)


@pytest.mark.xdist_group("parsl")
def test_a_busy_worker_and_its_program_end_at_once_with_a_killed_driver(tmp_path):
    """Sooner than heartbeats could tell, and in the middle of a task; a program of the worker, too."""
    os.mkfifo(tmp_path / "up")
    program = f"echo $$ > {tmp_path}/up; exec cat {tmp_path}/up"  # runs for ever
    script = (
        "import subprocess, sys, threading\n"
        "from pathlib import Path\n"
        "from limbeck.executors import LocalSettings, build_executor\n"
        f"executor = build_executor(LocalSettings(workers=1), Path({str(tmp_path)!r}))\n"
        f"executor.submit(subprocess.call, ['sh', '-c', {program!r}])\n"
        "threading.Event().wait()\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script])
    with (tmp_path / "up").open() as stream:
        program_id = int(stream.readline())
    worker = int(Path(f"/proc/{program_id}/stat").read_text().rsplit(")", 1)[1].split()[1])
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{process}").exists() for process in (worker, program_id)):
        assert time.monotonic() < deadline, "a worker of a killed driver goes on with its task"
        time.sleep(0.05)
