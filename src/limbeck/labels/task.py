"""Labelling one frame as a task of its own: a pure function of plain values that any worker process can run.

The result of a task is a file in a spool folder, one a label key. A lock beside it makes the label computed once: a
second worker on the same key (after the driver was killed and started again, while an orphan still computes) waits
for the lock and then finds the file. The ledger records every computation that started and that finished.
"""

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.core.errors import DiskFullError, LabelError, StoreError, StructureError
from limbeck.core.record import disk_full_told, locked, read_json, sync_folder, write_text
from limbeck.labels.engines import engine_from_dict
from limbeck.labels.serialize import (
    atoms_from_dict,
    atoms_to_dict,
    fingerprint_from_dict,
    fingerprint_to_dict,
    label_key,
    labelled_from_dict,
    labelled_to_dict,
)
from limbeck.labels.store import LabelStore

LEDGER = "ledger.jsonl"
"""Name of the append-only list of computations in a spool folder."""


@dataclass(frozen=True)
class Collected:
    """What came from a spool folder into a store.

    Attributes:
        labelled: Keys of labels, old and new.
        failed: Key -> reason of frames that are now in quarantine.
    """

    labelled: tuple[str, ...]
    failed: dict[str, str]


def label_to_spool(engine_settings: dict[str, Any], frame: dict[str, Any], spool_folder: str) -> dict[str, str]:
    """Label one frame unless its result is in the spool; write the result there.

    Args:
        engine_settings: Settings of the engine as plain values (``settings.model_dump(mode="json")``).
        frame: The structure as plain values (:func:`limbeck.labels.serialize.atoms_to_dict`).
        spool_folder: Where results go; one folder a run, on a disk that all workers share.

    Returns:
        ``key``, ``status`` (``labelled`` or ``failed``) and ``reason`` (empty when labelled).

    Raises:
        MissingDependencyError: If the engine is not installed.
        UnsupportedElementError: If the engine has no data for an element: a mistake of the run, not of the frame.
        ExecutionError: If the calculation was interrupted or ran out of memory.
        DiskFullError: If there is no space left. Nothing is recorded about the frame in all these cases; a rerun
            computes it.
    """
    folder = Path(spool_folder)
    folder.mkdir(parents=True, exist_ok=True)
    engine = engine_from_dict(engine_settings)
    atoms = atoms_from_dict(frame)
    fingerprint = engine.fingerprint(atoms)
    key = label_key(atoms, fingerprint)
    path = folder / f"{key}.json"
    with locked(folder / f"{key}.lock"):
        if path.exists():
            return _summary(read_json(path))
        _append(folder / LEDGER, {"event": "started", "key": key})
        result: dict[str, Any] = {"key": key, "status": "labelled", "reason": ""}
        try:
            result["labelled"] = labelled_to_dict(engine.label(atoms))
        except (LabelError, StructureError) as error:
            result |= {
                "status": "failed",
                "reason": str(error),
                "atoms": atoms_to_dict(atoms),
                "fingerprint": fingerprint_to_dict(fingerprint),
            }
        write_text(path, json.dumps(result))
        _append(folder / LEDGER, {"event": "finished", "key": key, "status": result["status"]})
    return _summary(result)


def _summary(result: dict[str, Any]) -> dict[str, str]:
    return {name: str(result[name]) for name in ("key", "status", "reason")}


def _append(path: Path, entry: dict[str, Any]) -> None:
    """One line at the end of the ledger, whole also when several processes write."""
    line = json.dumps({**entry, "process": os.getpid(), "host": socket.gethostname(), "time_s": time.time()}) + "\n"
    with disk_full_told(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            written = os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    if written < len(line.encode()):
        raise DiskFullError(f"{path}: the disk is full. Free some space, then run again; finished labels are kept.")


def read_ledger(spool_folder: Path | str) -> tuple[dict[str, Any], ...]:
    """Entries of the ledger in order: ``event`` (``started``, ``finished``), ``key``, ``process``, ``time_s``, ...

    A line that a full disk has cut off is left out.
    """
    path = Path(spool_folder) / LEDGER
    entries = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return tuple(entries)


def collect_spool(store: LabelStore, spool_folder: Path | str) -> Collected:
    """Take every result of a spool folder into a store; calling it again changes nothing.

    The files stay: a worker that still waits for one of their locks must find them.

    Returns:
        The keys of labels, and the failed frames with their reasons.

    Raises:
        StoreError: If a result file cannot be read, or the store cannot be written.
    """
    frames, keys, failed = [], [], {}
    for path in sorted(Path(spool_folder).glob("*.json")):
        try:
            result = json.loads(path.read_text())
            if result["status"] == "labelled":
                keys.append(result["key"])
                if result["key"] not in store:
                    frames.append(labelled_from_dict(result["labelled"]))
            else:
                fingerprint = fingerprint_from_dict(result["fingerprint"])
                key = store.quarantine(atoms_from_dict(result["atoms"]), fingerprint, result["reason"])
                failed[key] = result["reason"]
        except (ValueError, KeyError) as error:
            raise StoreError(
                f"{path}: not a label result: {error}. Delete the file; its frame is labelled again."
            ) from error
    store.add_many(frames)
    return Collected(tuple(keys), failed)


def retry_quarantined(store: LabelStore, spool_folder: Path | str) -> tuple[str, ...]:
    """Forget every failure, in the spool folder and in the store, so that those frames are computed again.

    Use it after what made them fail is mended (another ``timeout_s``, more SCF steps); labels stay.

    Returns:
        Keys of the frames that are tried again, in order.

    Raises:
        StoreError: If the store is read-only or cannot be written.
    """
    folder = Path(spool_folder)
    keys = {entry.key for entry in store.quarantined()}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError, KeyError):  # damaged results are told of when they are collected
            if read_json(path)["status"] == "failed":
                path.unlink()
                keys.add(path.stem)
    if folder.is_dir():
        sync_folder(folder)
    for key in sorted(keys):
        store.release(key)
    return tuple(sorted(keys))
