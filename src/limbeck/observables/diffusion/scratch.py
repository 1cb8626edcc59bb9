"""Unwrapped paths on disk: what does not fit into memory is written while the trajectory is read, once.

A folder holds ``paths.bin`` (:class:`limbeck.observables.diffusion.walkers.StoredWalkers`) and ``state.npz``, which
says how far it is right and how to go on from there. The state is replaced after the data are on disk, so a reader that
was killed goes on from its last stretch, and ends with the same bits (a file that has grown since is read on from where
it ended before, which may change the last digit). One reader at a time holds the folder.
"""

import os
import tempfile
import weakref
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import ExecutionError, StructureError
from limbeck.core.record import disk_full_told, locked, write_bytes
from limbeck.observables.diffusion.walkers import StoredWalkers

PATHS = "paths.bin"
STATE = "state.npz"
LOCK = "paths.lock"


class Scratch:
    """Paths in a folder that grow stretch by stretch.

    Args:
        folder: Where they are kept; ``None`` makes a temporary one that goes with this object.
        identity: What the paths are of; those of something else are discarded.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="limbeck-paths-"))
            self._gone = weakref.finalize(self, rmtree, folder, ignore_errors=True)
        elif folder.exists() and any(folder.iterdir()) and not (folder / STATE).exists() and not _is_ours(folder):
            raise StructureError(f"{folder}: holds files that are not limbeck's; give an empty or a new folder.")
        self.folder, self.identity = folder, identity
        self.stretches: list[int] = []
        self.state: dict[str, np.ndarray] = {}
        folder.mkdir(parents=True, exist_ok=True)
        held = ExitStack()
        try:
            held.enter_context(locked(folder / LOCK, wait_s=0.0))
        except ExecutionError as error:
            raise StructureError(f"{folder}: another process writes paths into this folder; give another.") from error
        weakref.finalize(self, held.close)
        self._resume()

    def discard(self) -> None:
        """Begin anew: what is there is of another trajectory."""
        self.stretches, self.state = [], {}
        (self.folder / PATHS).unlink(missing_ok=True)
        (self.folder / STATE).unlink(missing_ok=True)

    def _resume(self) -> None:
        path, data = self.folder / STATE, self.folder / PATHS
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                state = {name: stored[name] for name in stored.files}
            if str(state.pop("identity")) == self.identity:
                size = int(state.pop("size"))
                if data.exists() and data.stat().st_size >= size:
                    os.truncate(data, size)
                    self.stretches = [int(n) for n in state.pop("stretches")]
                    self.state = state
                    return
        self.discard()

    def append(self, paths: Float[np.ndarray, "n_frames n_particles 3"], state: dict[str, Any]) -> None:
        """Write a stretch, then how to go on after it.

        Raises:
            DiskFullError: If there is no space left; what was written before stays right.
        """
        data = self.folder / PATHS
        with disk_full_told(data), data.open("ab") as handle:
            np.ascontiguousarray(paths.transpose(1, 2, 0), dtype=np.float64).tofile(handle)
            handle.flush()
            os.fsync(handle.fileno())
            size = handle.tell()
        self.stretches.append(len(paths))
        self.state = {name: np.asarray(value) for name, value in state.items()}
        write_bytes(self.folder / STATE, _packed(self.state | {
            "identity": np.asarray(self.identity), "size": np.asarray(size), "stretches": np.asarray(self.stretches),
        }))  # fmt: skip

    def walkers(self, n_stored: int, rows: np.ndarray) -> StoredWalkers:
        """Some of the paths written so far."""
        return StoredWalkers(self.folder / PATHS, tuple(self.stretches), n_stored, rows, keeper=self)


def _is_ours(folder: Path) -> bool:
    """Whether a folder without a state holds what a reader left that was killed before its first one."""
    return all(p.name in (PATHS, LOCK) or p.name.startswith(f".{STATE}") for p in folder.iterdir())


def _packed(state: dict[str, np.ndarray]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **state)
    return buffer.getvalue()
