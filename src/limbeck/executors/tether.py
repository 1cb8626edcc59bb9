"""Start a program that ends when its parent does: ``python -m limbeck.executors.tether PROGRAM ARG ...``.

A driver killed with ``kill -9`` cannot clean up after itself; on Linux the kernel does it for us
(``prctl(PR_SET_PDEATHSIG)``). On other systems the program is started all the same, without the tether.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tether_to_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends; end at once if the parent is gone already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    tether_to_parent(os.getppid())
    os.execvp(sys.argv[1], sys.argv[1:])
