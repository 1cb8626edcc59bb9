"""How many cores this process may use: fewer than the machine has, where a scheduler or a container says so."""

import os


def usable_cpus() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
