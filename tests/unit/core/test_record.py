import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from disks import fill, small_disk
from limbeck.core.errors import DiskFullError, ExecutionError
from limbeck.core.record import (
    canonical_json,
    hash_file,
    hash_of,
    locked,
    package_versions,
    read_json,
    to_jsonable,
    write_bytes,
    write_json,
    write_text,
)


@dataclass(frozen=True)
class Pair:
    a: int
    b: np.ndarray


def test_values_become_plain_json():
    value = {"x": np.float64(1.5), "y": Pair(1, np.arange(2)), "z": (Path("a"), float("nan"))}
    assert to_jsonable(value) == {"x": 1.5, "y": {"a": 1, "b": [0, 1]}, "z": ["a", None]}


def test_hash_does_not_depend_on_key_order_but_on_every_value():
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert hash_of({"a": 1, "b": 2}) != hash_of({"a": 1, "b": 3})
    assert canonical_json({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'


def test_files_are_written_whole_with_their_folders(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"a": np.int64(3)})
    assert read_json(tmp_path / "deep" / "x.json") == {"a": 3}
    write_text(tmp_path / "t", "å")
    assert (tmp_path / "t").read_text() == "å"
    write_bytes(tmp_path / "empty", b"")
    assert hash_file(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")  # SHA-256 of nothing


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    write_text(tmp_path / "x", "old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "x", "not bytes")  # type: ignore[arg-type]
    assert (tmp_path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_one_clear_error_and_the_old_file_is_whole(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        write_text(disk / "x", "old")
        filler = fill(disk)
        for path in (disk / "x", disk / "new" / "y"):
            with pytest.raises(DiskFullError, match=r"not written: the disk is full.*free some space"):
                write_bytes(path, b"z" * 9000)
        assert (disk / "x").read_text() == "old"
        assert {p.name for p in disk.rglob("*") if p.is_file()} == {"x", "filler"}  # no half file
        filler.unlink()
        write_text(disk / "x", "new")
        assert (disk / "x").read_text() == "new"


def test_names_reach_the_disk_with_their_files(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    write_text(tmp_path / "x", "text")
    assert synced[-1] == str(tmp_path)
    assert len(synced) == 2


def test_a_lock_is_held_by_a_child_that_inherits_it(tmp_path):
    path = tmp_path / "lock"
    with locked(path) as descriptor:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    with pytest.raises(ExecutionError, match=f"taken by process {os.getpid()}.*within 0.1 s"), locked(path, wait_s=0.1):
        pass
    child.communicate(b"\n")
    with locked(path, wait_s=10.0):
        pass


def test_a_killed_writer_never_leaves_half_a_file(tmp_path):
    script = (
        "import sys; from pathlib import Path; from limbeck.core.record import write_text\n"
        f"p = Path({str(tmp_path / 'x')!r})\n"
        "i = 0\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    write_text(p, str(i % 10) * 2_000_000); i += 1\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while not (tmp_path / "x").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    text = (tmp_path / "x").read_text()
    assert len(text) == 2_000_000
    assert len(set(text)) == 1


def test_versions_name_the_package_and_python():
    versions = package_versions()
    assert {"limbeck", "python", "numpy", "ase"} <= set(versions)
    assert os.sep not in "".join(versions.values())
