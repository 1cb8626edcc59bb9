"""The label store: a SQLite catalogue and content-addressed frames. A label that exists is never computed again.

Layout of a store folder::

    catalogue.sqlite     rows, fingerprints, quarantine (write-ahead log, one writer)
    writer.lock          held by the writer (flock)
    frames/ab/ab12….extxyz   shards: the frames of one commit, named by the SHA-256 of the bytes

A shard is on disk before its rows are committed, so every committed row has its frame, whatever is killed when; a
shard without rows (killed in between) is harmless. Each row holds the SHA-256 of its frame's text, checked on reading.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ase import Atoms

from limbeck.core.errors import DiskFullError, LimbeckError, StoreError
from limbeck.core.record import canonical_json, disk_full_told, write_bytes
from limbeck.labels.extxyz import frame_text, parse_frame
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import (
    atoms_from_dict,
    atoms_to_dict,
    fingerprint_from_dict,
    fingerprint_id,
    fingerprint_to_dict,
    label_key,
)

SCHEMA_VERSION = 1
"""Version of the catalogue's tables (SQLite ``user_version``)."""

_APPLICATION_ID = 0x6C6D626B  # "lmbk"
_TABLES = """
CREATE TABLE fingerprints (
    hash TEXT PRIMARY KEY, theory_hash TEXT NOT NULL, production INTEGER NOT NULL, content TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE labels (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL REFERENCES fingerprints (hash),
    formula TEXT NOT NULL, n_atoms INTEGER NOT NULL, trajectory TEXT NOT NULL, energy_eV REAL NOT NULL,
    shard TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, frame_hash TEXT NOT NULL,
    provenance TEXT NOT NULL, added_s REAL NOT NULL
);
CREATE TABLE quarantine (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, structure TEXT NOT NULL, reason TEXT NOT NULL,
    added_s REAL NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Row:
    """Catalogue entry of one label, without its frame.

    Attributes:
        key: Key of the label.
        fingerprint_id: Engine, parameters and theory (:func:`limbeck.labels.serialize.fingerprint_id`).
        formula: Chemical formula.
        n_atoms: Number of atoms.
        trajectory: Trajectory that the frame came from.
        energy: Total energy in eV.
        added_s: Unix time of the commit.
    """

    key: str
    fingerprint_id: str
    formula: str
    n_atoms: int
    trajectory: str
    energy: float
    added_s: float


@dataclass(frozen=True)
class Quarantined:
    """A frame that could not be labelled.

    Attributes:
        key: Key that its label would have had.
        atoms: The structure.
        reason: Why there is no label.
    """

    key: str
    atoms: Atoms
    reason: str


class LabelStore:
    """One folder of labels. Use it as a context manager, or call :meth:`close`.

    Args:
        folder: Where the store is; made if it is not there (unless ``read_only``).
        read_only: Open beside a writer, on any number of readers; sees what was committed before each query.

    Raises:
        StoreError: If another process writes, or the store is missing, damaged or of a newer version.
        DiskFullError: If there is no space left; as from every method that writes.
    """

    def __init__(self, folder: Path | str, *, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self.read_only = read_only
        self._lock: int | None = None
        self._catalogue = self.folder / "catalogue.sqlite"
        if read_only and not self._catalogue.is_file():
            raise StoreError(f"{self.folder}: no label store here (no catalogue.sqlite). Check the path.")
        if not read_only:
            self._lock = _take_lock(self.folder / "writer.lock")
        try:
            self._connection = self._connect()
        except BaseException:
            self._release()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            target = f"{self._catalogue.resolve().as_uri()}?mode={'ro' if self.read_only else 'rwc'}"
            connection = sqlite3.connect(target, uri=True, isolation_level=None, timeout=30.0)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                connection.close()
                raise StoreError(
                    f"{self.folder}: the store has version {version}, this limbeck reads up to {SCHEMA_VERSION}. "
                    "Update limbeck."
                )
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            if application != _APPLICATION_ID and (tables or self.read_only):
                connection.close()
                raise StoreError(f"{self._catalogue} is an SQLite file, but not a label store. Choose another folder.")
            if not self.read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                if not tables:
                    connection.executescript(
                        f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION};"
                        f"PRAGMA application_id = {_APPLICATION_ID}; COMMIT;"
                    )
            return connection
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error) -> LimbeckError:
        """What an error of SQLite means: a damaged catalogue, a full disk, or something that passes."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreError(
                f"{self._catalogue}: {error}. The catalogue cannot be used: restore it from a copy, or move the folder "
                "away and start again (the frames under frames/ are plain extended XYZ)."
            )
        if code == sqlite3.SQLITE_FULL:
            return DiskFullError(
                f"{self._catalogue}: {error}. All labels that were stored before are kept: free some space, then run "
                "again."
            )
        return StoreError(
            f"{self._catalogue}: {error}. Nothing that was stored is lost: see that there is free space, that the "
            "folder can be written and that no other program holds the file, then run again."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalogue and give up the writer's lock; a second call does nothing."""
        self._connection.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def __len__(self) -> int:
        return int(self._query("SELECT count(*) FROM labels")[0][0])

    def __contains__(self, key: str) -> bool:
        return bool(self._query("SELECT 1 FROM labels WHERE key = ?", (key,)))

    def keys(self) -> tuple[str, ...]:
        """Keys of all labels, in the order in which they were added."""
        return tuple(row[0] for row in self._query("SELECT key FROM labels ORDER BY number"))

    def rows(self) -> tuple[Row, ...]:
        """Catalogue entries of all labels, in the order in which they were added."""
        sql = "SELECT key, fingerprint, formula, n_atoms, trajectory, energy_eV, added_s FROM labels ORDER BY number"
        return tuple(Row(*values) for values in self._query(sql))

    def get(self, key: str) -> Labelled | None:
        """Label of a key, or ``None`` if there is none yet.

        Raises:
            StoreError: If the frame's file is missing or its bytes are not those that were written.
        """
        found = list(self._load("WHERE labels.key = ?", (key,)))
        return found[0] if found else None

    def find(self, atoms: Atoms, fingerprint: Fingerprint) -> Labelled | None:
        """Label of a structure at a fingerprint, or ``None`` if there is none yet."""
        return self.get(label_key(atoms, fingerprint))

    def labels(self) -> tuple[Labelled, ...]:
        """All labels, in the order in which they were added."""
        return tuple(self._load("ORDER BY labels.number", ()))

    def _load(self, condition: str, values: Sequence[Any]) -> Iterator[Labelled]:
        sql = (
            "SELECT labels.key, shard, start, length, frame_hash, provenance, content FROM labels "
            f"JOIN fingerprints ON fingerprints.hash = labels.fingerprint {condition}"
        )
        for key, shard, start, length, frame_hash, provenance, content in self._query(sql, values):
            path = self._shard_path(shard)
            try:
                with path.open("rb") as stream:
                    stream.seek(start)
                    data = stream.read(length)
            except OSError as error:
                raise StoreError(f"label {key}: its frame cannot be read: {error}. Restore {path}.") from error
            if hashlib.sha256(data).hexdigest() != frame_hash:
                raise StoreError(
                    f"label {key}: the bytes in {path} were changed since they were written. Restore the file."
                )
            frame = parse_frame(data.decode(), source=str(path))
            if frame.energy is None or frame.forces is None:
                raise StoreError(f"label {key}: {path} holds a frame without energy or forces")
            yield Labelled(
                atoms=frame.atoms,
                energy=frame.energy,
                forces=frame.forces,
                stress=frame.stress,
                magnetic_moments=frame.magnetic_moments,
                fingerprint=fingerprint_from_dict(json.loads(content)),
                provenance=json.loads(provenance),
            )

    def _shard_path(self, shard: str) -> Path:
        return self.folder / "frames" / shard[:2] / f"{shard}.extxyz"

    def add(self, labelled: Labelled) -> str:
        """Add one label and return its key; if the key is there already, nothing changes."""
        return self.add_many([labelled])[0]

    def add_many(self, frames: Iterable[Labelled]) -> tuple[str, ...]:
        """Add labels in one commit: after return all of them survive a crash, before it none is visible.

        Returns:
            The key of each frame. Frames whose key is there already are left as they are, and leave quarantine.

        Raises:
            StoreError: If the store was opened read-only.
        """
        self._require_writer()
        items = [(label_key(frame.atoms, frame.fingerprint), frame) for frame in frames]
        present = self._present({key for key, _ in items})
        new = {key: frame for key, frame in reversed(items) if key not in present}
        order = [key for key in dict.fromkeys(key for key, _ in items) if key in new]
        if order:
            self._commit([(key, new[key]) for key in order])
        return tuple(key for key, _ in items)

    def _present(self, keys: set[str]) -> set[str]:
        return {key for key in keys if key in self}

    def _commit(self, items: list[tuple[str, Labelled]]) -> None:
        texts = [frame_text(frame).encode() for _, frame in items]
        data = b"".join(texts)
        shard = hashlib.sha256(data).hexdigest()
        path = self._shard_path(shard)
        if not path.exists():
            write_bytes(path, data)
        rows, fingerprints, start, now = [], {}, 0, time.time()
        for (key, frame), text in zip(items, texts, strict=True):
            f, identity = frame.fingerprint, fingerprint_id(frame.fingerprint)
            fingerprints[identity] = (
                identity, f.theory_hash, int(f.production), canonical_json(fingerprint_to_dict(f)),
            )  # fmt: skip
            rows.append((
                key, identity, frame.atoms.get_chemical_formula(), len(frame.atoms), frame.trajectory,
                float(frame.energy), shard, start, len(text), hashlib.sha256(text).hexdigest(),
                canonical_json(frame.provenance), now,
            ))  # fmt: skip
            start += len(text)
        with _Transaction(self):
            self._connection.executemany("INSERT OR IGNORE INTO fingerprints VALUES (?,?,?,?)", fingerprints.values())
            self._connection.executemany(f"INSERT INTO labels VALUES (NULL{',?' * 12})", rows)
            self._connection.executemany("DELETE FROM quarantine WHERE key = ?", [(key,) for key, _ in items])

    def quarantine(self, atoms: Atoms, fingerprint: Fingerprint, reason: str) -> str:
        """Keep a frame that could not be labelled, with the reason; a label of the same key wins over it.

        Returns:
            The key.
        """
        self._require_writer()
        key = label_key(atoms, fingerprint)
        if key not in self:
            row = (key, canonical_json(fingerprint_to_dict(fingerprint)), canonical_json(atoms_to_dict(atoms)), reason)
            with _Transaction(self):
                self._connection.execute("INSERT OR REPLACE INTO quarantine VALUES (?,?,?,?,?)", (*row, time.time()))
        return key

    def quarantined(self) -> tuple[Quarantined, ...]:
        """Frames that could not be labelled, in the order of their keys."""
        rows = self._query("SELECT key, structure, reason FROM quarantine ORDER BY key")
        return tuple(Quarantined(key, atoms_from_dict(json.loads(text)), reason) for key, text, reason in rows)

    def release(self, key: str) -> None:
        """Take a frame out of quarantine, so that it is tried again.

        A spool folder that still holds the failure puts it back: :func:`limbeck.labels.task.retry_quarantined`.
        """
        self._require_writer()
        with _Transaction(self):
            self._connection.execute("DELETE FROM quarantine WHERE key = ?", (key,))

    def _require_writer(self) -> None:
        if self.read_only:
            raise StoreError(f"{self.folder}: the label store is open for reading only. Open it without read_only.")


class _Transaction:
    """All or nothing: begins at once, commits at the end of the block, rolls back on any error."""

    def __init__(self, store: LabelStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._do("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._do("COMMIT")
            return
        self._roll_back()
        if isinstance(value, sqlite3.Error):
            raise self._store._trouble(value) from value

    def _do(self, sql: str) -> None:
        try:
            self._store._connection.execute(sql)
        except sqlite3.Error as error:
            self._roll_back()
            raise self._store._trouble(error) from error

    def _roll_back(self) -> None:
        """Undo what is open; SQLite may have done so itself, and the error that led here is the one to be told."""
        if self._store._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._store._connection.execute("ROLLBACK")


def _take_lock(path: Path) -> int:
    """Descriptor that holds the writer's lock until it is closed or the process ends."""
    with disk_full_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"{path.parent}: another process (id {holder}) is writing to this label store. Wait for it, or open the "
            "store read-only."
        ) from error
    with contextlib.suppress(OSError):  # who holds it is a courtesy
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
