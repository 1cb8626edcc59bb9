"""Which interpreter has block2, and how to get one; nothing heavy is imported here, as 'limbeck doctor' asks, too."""

import os
import sys
from pathlib import Path

INTERPRETER = "LIMBECK_BLOCK2_PYTHON"
"""Variable of the environment: the interpreter that has block2, where a call does not say."""
INSTALL_LINE = (
    "python3 -m venv block2 && block2/bin/pip install block2==0.5.4 (1 GB, with MKL), then set "
    f"ground_state.dmrg.python or {INTERPRETER} to block2/bin/python"
)


def interpreter_with_block2(python: str | None = None) -> str:
    """The interpreter that is asked for block2: as given, that of :data:`INTERPRETER`, or this one."""
    found = os.path.expanduser(python or os.environ.get(INTERPRETER) or sys.executable)
    # not resolved: the link in an environment is what makes it that environment
    return str(Path.cwd() / found) if os.sep in found else found
