"""The interpreter that has block2: that of LIMBECK_BLOCK2_PYTHON, or the one that './setup.sh --dev' makes."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[1] / ".venv-block2" / "bin" / "python"
PYTHON = os.environ.get("LIMBECK_BLOCK2_PYTHON") or (str(_BESIDE) if _BESIDE.exists() else None)
# block2 is optional: GPL, and 1 GB with MKL. './setup.sh --dev', with which './check' and CI begin, installs it, so
# only a machine that cannot have it skips, as with GPAW.
needs_block2 = [
    pytest.mark.block2,
    pytest.mark.skipif(PYTHON is None, reason="block2 is not installed (./setup.sh --dev)"),
]
