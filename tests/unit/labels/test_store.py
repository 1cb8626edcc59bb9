import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from disks import fill, small_disk
from limbeck.core.errors import DiskFullError, StoreError
from limbeck.labels.serialize import label_key
from limbeck.labels.store import LabelStore

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import make_label
from limbeck.labels.store import LabelStore
with LabelStore(sys.argv[1]) as store:
    for batch in range(10000):
        keys = store.add_many([make_label(batch * 7 + i) for i in range(7)])
        print(" ".join(keys), flush=True)
"""


def test_reopen_gives_everything_back(tmp_path, label_of):
    frames = [label_of(seed, trajectory=f"run {seed % 2}") for seed in range(5)]
    with LabelStore(tmp_path) as store:
        keys = store.add_many(frames)
        assert len(store) == 5
    with LabelStore(tmp_path) as store:
        assert store.keys() == keys
        for frame, key, loaded in zip(frames, keys, store.labels(), strict=True):
            assert key == label_key(frame.atoms, frame.fingerprint)
            assert loaded.atoms == frame.atoms
            assert loaded.energy == frame.energy
            np.testing.assert_array_equal(loaded.forces, frame.forces)
            np.testing.assert_array_equal(loaded.stress, frame.stress)
            assert loaded.fingerprint == frame.fingerprint
            assert loaded.provenance == frame.provenance
            assert store.find(frame.atoms, frame.fingerprint).energy == frame.energy
        assert [row.trajectory for row in store.rows()] == [f"run {seed % 2}" for seed in range(5)]
        assert store.get("0" * 64) is None


def test_label_that_exists_is_not_replaced(tmp_path, label_of):
    first = label_of(0)
    with LabelStore(tmp_path) as store:
        key = store.add(first)
        assert store.add(dataclasses.replace(first, energy=99.0)) == key
        assert len(store) == 1
        assert store.get(key).energy == first.energy


def test_copies_within_one_batch_enter_once(tmp_path, label_of):
    with LabelStore(tmp_path) as store:
        keys = store.add_many([label_of(0), label_of(1), label_of(0)])
        assert keys[0] == keys[2]
        assert store.keys() == keys[:2]


def test_theory_is_kept_where_parameters_agree(tmp_path, label_of):
    frames = [label_of(0), label_of(1, functional="PBEsol")]
    with LabelStore(tmp_path) as store:
        store.add_many(frames)
        assert [label.fingerprint.theory["functional"] for label in store.labels()] == ["PBE", "PBEsol"]


def test_second_writer_is_refused_and_reader_is_not(tmp_path, label_of):
    with LabelStore(tmp_path) as store:
        store.add(label_of(0))
        with pytest.raises(StoreError, match=f"another process .id {os.getpid()}. is writing"):
            LabelStore(tmp_path)
        with LabelStore(tmp_path, read_only=True) as reader:
            assert len(reader) == 1
            store.add(label_of(1))
            assert len(reader) == 2
            assert reader.labels()[1].energy == label_of(1).energy
            with pytest.raises(StoreError, match="reading only"):
                reader.add(label_of(2))
    with LabelStore(tmp_path) as store:
        assert len(store) == 2


def test_kill_in_mid_write_loses_nothing_committed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    committed = [process.stdout.readline().split() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    committed += [line.split() for line in process.stdout.read().splitlines()]
    process.stdout.close()
    with LabelStore(tmp_path) as store:
        present = store.keys()
        told = [key for line in committed for key in line if len(key) == 64]
        assert len(told) >= 140
        assert set(told) <= set(present)
        assert len(present) % 7 == 0  # batches are all or nothing
        assert len(store.labels()) == len(present)
        store.add_many([])


def test_changed_frame_is_found(tmp_path, label_of):
    with LabelStore(tmp_path) as store:
        key = store.add(label_of(0))
        shard = next(tmp_path.glob("frames/*/*.extxyz"))
        shard.write_text(shard.read_text().replace("REF_energy=", "REF_energy=1"))
        with pytest.raises(StoreError, match="changed since"):
            store.get(key)
        shard.unlink()
        with pytest.raises(StoreError, match="cannot be read"):
            store.get(key)


def test_damaged_catalogue_is_one_clear_error(tmp_path):
    LabelStore(tmp_path).close()
    for leftover in tmp_path.glob("catalogue.sqlite-*"):
        leftover.unlink()
    (tmp_path / "catalogue.sqlite").write_bytes(b"not a database at all" * 300)
    with pytest.raises(StoreError, match="cannot be used"):
        LabelStore(tmp_path)
    with pytest.raises(StoreError, match="cannot be used"):  # the lock was given up
        LabelStore(tmp_path)


def test_full_catalogue_keeps_what_is_stored_and_takes_the_rest_later(tmp_path, label_of):
    with LabelStore(tmp_path) as store:
        kept = store.add(label_of(0))
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DiskFullError, match=r"disk is full.*are kept: free some space") as caught:
            store.add_many([label_of(seed) for seed in range(1, 60)])
        assert caught.value.__cause__.sqlite_errorname == "SQLITE_FULL"  # the first error, not that of the rollback
        assert store.keys() == (kept,)
        with pytest.raises(DiskFullError):
            store.quarantine(label_of(60).atoms, label_of(60).fingerprint, "did not converge " * 10000)
        store._connection.execute("PRAGMA max_page_count = 1000000")
        assert len(store.add_many([label_of(seed) for seed in range(60)])) == len(store) == 60
    with LabelStore(tmp_path) as store:
        assert len(store.labels()) == 60


def test_store_on_a_full_disk(tmp_path, label_of):
    with small_disk(tmp_path / "disk", "320k") as disk:
        filler = fill(disk)
        with pytest.raises((DiskFullError, StoreError), match="free"):
            LabelStore(disk / "store")
        filler.unlink()
        with LabelStore(disk / "store") as store:
            kept = [store.add(label_of(0))]
            filler = fill(disk)
            with pytest.raises((DiskFullError, StoreError), match="free") as caught:
                kept += [store.add(label_of(seed)) for seed in range(1, 200)]
            assert "cannot be used" not in str(caught.value)
            assert set(kept[:1]) <= set(store.keys())
            filler.unlink()
            again = store.add_many([label_of(seed) for seed in range(1, 5)])
            assert set(again) < set(store.keys())
            assert len(store.labels()) == len(store)
            fill(disk)
        with LabelStore(disk / "store", read_only=True) as store:
            assert len(store.labels()) == len(store) >= 5


def test_busy_catalogue_is_not_called_damaged(tmp_path, label_of):
    with LabelStore(tmp_path) as store:
        store._connection.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked. Nothing that was stored is lost"):
            store.add(label_of(0))
        other.execute("ROLLBACK")
        other.close()
        store.add(label_of(0))


def test_newer_version_is_refused(tmp_path):
    LabelStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "catalogue.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        LabelStore(tmp_path)


def test_foreign_database_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "catalogue.sqlite")
    connection.execute("CREATE TABLE systems (id)")
    connection.close()
    with pytest.raises(StoreError, match="not a label store"):
        LabelStore(tmp_path)


def test_reading_where_nothing_is(tmp_path):
    with pytest.raises(StoreError, match="no label store here"):
        LabelStore(tmp_path / "nowhere", read_only=True)


def test_quarantine_keeps_the_reason_until_there_is_a_label(tmp_path, label_of):
    frame = label_of(0)
    with LabelStore(tmp_path) as store:
        key = store.quarantine(frame.atoms, frame.fingerprint, "did not converge")
        (entry,) = store.quarantined()
        assert (entry.key, entry.reason) == (key, "did not converge")
        assert entry.atoms == frame.atoms
        assert key not in store
        store.release(key)
        assert store.quarantined() == ()
        store.quarantine(frame.atoms, frame.fingerprint, "did not converge")
        store.add(frame)
        assert store.quarantined() == ()
        store.quarantine(frame.atoms, frame.fingerprint, "too late")
        assert store.quarantined() == ()
