"""End processes when the driver ends, also after ``kill -9``, when it cannot clean up after itself.

``python -m limbeck.executors.tether PROGRAM ARG ...`` starts a program that ends when its parent does: on Linux the
kernel sees to it (``prctl(PR_SET_PDEATHSIG)``); on other systems the program is started all the same, untethered.

``python -m limbeck.executors.tether --group-with PROCESS`` waits until a process that is not its parent ends, and then
kills the process group that it is in itself: workers, and the programs that they run.
"""

import ctypes
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1


def tether_to_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends; end at once if the parent is gone already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def end_group_with(process: int) -> None:
    """Wait until another process ends, then kill this one's whole process group; not if both are in one group."""
    try:
        if os.getpgid(process) == os.getpgrp():
            return
        if hasattr(os, "pidfd_open"):
            select.select([os.pidfd_open(process)], [], [])
        else:
            while os.getpgid(process):
                time.sleep(0.5)
    except ProcessLookupError:
        pass  # it has ended already
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "--group-with":
        end_group_with(int(sys.argv[2]))
    else:
        tether_to_parent(os.getppid())
        os.execvp(sys.argv[1], sys.argv[1:])
