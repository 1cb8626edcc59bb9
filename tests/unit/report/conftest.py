"""One synthetic run and its report for all tests of this folder."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from limbeck.report.forge import build_report


def load_synthetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_results", Path(__file__).parent / "synthetic_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return load_synthetic()


@pytest.fixture(scope="session")
def run_folder(synthetic, tmp_path_factory) -> Path:
    """A finished synthetic run with its report."""
    folder = synthetic.make(tmp_path_factory.mktemp("run"))
    build_report(folder)
    return folder
