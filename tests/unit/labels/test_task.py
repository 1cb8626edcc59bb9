import fcntl
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from ase.build import bulk

from disks import fill, small_disk
from limbeck.core.errors import (
    DiskFullError,
    ExecutionError,
    MissingDependencyError,
    StoreError,
    UnsupportedElementError,
)
from limbeck.labels.engines import engine_from_dict
from limbeck.labels.serialize import atoms_to_dict, label_key
from limbeck.labels.store import LabelStore
from limbeck.labels.task import collect_spool, label_to_spool, read_ledger, retry_quarantined

EMT = {"kind": "emt"}
WORKER = """
import json, sys
from limbeck.labels.task import label_to_spool
settings, frame = json.loads(sys.argv[1]), json.loads(sys.argv[2])
print("ready", flush=True)
print(json.dumps(label_to_spool(settings, frame, sys.argv[3])), flush=True)
"""


def copper(seed=0, repeat=1):
    atoms = bulk("Cu", cubic=True) * repeat
    atoms.rattle(0.05, seed=seed)
    atoms.info["trajectory"] = f"run {seed}"
    return atoms


def key_of(atoms, engine=EMT):
    return label_key(atoms, engine_from_dict(engine).fingerprint(atoms))


def start(frame, folder, settings=EMT):
    command = [sys.executable, "-c", WORKER, json.dumps(settings), json.dumps(frame), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_second_call_computes_nothing(tmp_path):
    frame = atoms_to_dict(copper())
    first = label_to_spool(EMT, frame, str(tmp_path))
    assert first == {"key": key_of(copper()), "status": "labelled", "reason": ""}
    assert label_to_spool(EMT, frame, str(tmp_path)) == first
    assert [entry["event"] for entry in read_ledger(tmp_path)] == ["started", "finished"]


def test_two_processes_on_one_key_compute_once(tmp_path):
    frames = [atoms_to_dict(copper(repeat=5))] * 2
    workers = [start(frame, tmp_path) for frame in frames]
    answers = [worker.communicate()[0].splitlines()[1] for worker in workers]
    assert answers[0] == answers[1]
    assert Counter(entry["event"] for entry in read_ledger(tmp_path)) == {"started": 1, "finished": 1}


def test_worker_waits_for_an_orphan_and_takes_its_result(tmp_path):
    """The lock is held as an orphan would hold it; the worker must not compute beside it."""
    atoms = copper()
    key = key_of(atoms)
    done = tmp_path / "elsewhere"
    label_to_spool(EMT, atoms_to_dict(atoms), str(done))
    result = json.loads((done / f"{key}.json").read_text())
    result["reason"] = "made by the orphan"
    spool = tmp_path / "spool"
    spool.mkdir()
    descriptor = os.open(spool / f"{key}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    worker = start(atoms_to_dict(atoms), spool)
    assert worker.stdout.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=0.5)
    assert read_ledger(spool) == ()
    (spool / f"{key}.json").write_text(json.dumps(result))
    os.close(descriptor)
    assert json.loads(worker.communicate()[0])["reason"] == "made by the orphan"
    assert read_ledger(spool) == ()


def test_killed_worker_leaves_nothing_and_the_next_one_finishes(tmp_path):
    """kill -9 in mid-label: the lock falls, no half result stays, and the label finishes exactly once."""
    program = tmp_path / "slow_gpaw"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$2" = describe ]; then echo \'{"version": "1", "setup_folders": ["' + str(tmp_path) + "\"]}'; exit; fi\n"
        f"echo up > {tmp_path}/up\n"
        "cat > /dev/null\n"  # computes until the parent is gone
    )
    program.chmod(0o755)
    (tmp_path / "Cu.PBE").write_text("data")
    os.mkfifo(tmp_path / "up")
    settings = {"kind": "gpaw", "python": str(program)}
    worker = start(atoms_to_dict(copper()), tmp_path / "spool", settings)
    assert (tmp_path / "up").read_text() == "up\n"  # the calculation runs
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert [entry["event"] for entry in read_ledger(tmp_path / "spool")] == ["started"]
    assert list((tmp_path / "spool").glob("*.json")) == []
    program.write_text(program.read_text().replace("cat > /dev/null", "exit 3").replace(f"echo up > {tmp_path}/up", ""))
    second = label_to_spool(settings, atoms_to_dict(copper()), str(tmp_path / "spool"))
    assert second["status"] == "failed"
    assert Counter(entry["event"] for entry in read_ledger(tmp_path / "spool")) == {"started": 2, "finished": 1}


def test_failure_is_recorded_and_quarantined(tmp_path):
    atoms = bulk("Si")
    tblite = {"kind": "tblite", "max_scf_steps": 1, "accuracy": 1e-4}
    result = label_to_spool(tblite, atoms_to_dict(atoms), str(tmp_path / "spool"))
    assert result["status"] == "failed"
    assert "tblite" in result["reason"]
    assert label_to_spool(tblite, atoms_to_dict(atoms), str(tmp_path / "spool")) == result
    assert len(read_ledger(tmp_path / "spool")) == 2
    with LabelStore(tmp_path / "store") as store:
        assert collect_spool(store, tmp_path / "spool").failed == {result["key"]: result["reason"]}
        assert [entry.reason for entry in store.quarantined()] == [result["reason"]]


def test_element_without_data_stops_the_run(tmp_path):
    with pytest.raises(UnsupportedElementError, match="no parameters for Si"):
        label_to_spool(EMT, atoms_to_dict(bulk("Si")), str(tmp_path))
    assert [entry["event"] for entry in read_ledger(tmp_path)] == ["started"]
    assert list(tmp_path.glob("*.json")) == []


def stand_in_for_gpaw(tmp_path, body):
    """Settings of the GPAW engine with a shell script in place of its interpreter."""
    program = tmp_path / "gpaw"
    found = json.dumps({"version": "1", "setup_folders": [str(tmp_path)]})
    program.write_text(f"#!/bin/sh\nif [ \"$2\" = describe ]; then echo '{found}'; exit; fi\n{body}\n")
    program.chmod(0o755)
    (tmp_path / "Cu.PBE").write_text("data")
    return {"kind": "gpaw", "python": str(program)}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("kill -9 $$", ExecutionError),
        ("exit 71", ExecutionError),
        ("exit 74", DiskFullError),
        ("exit 69", MissingDependencyError),
    ],
)
def test_trouble_of_the_machine_quarantines_nothing(tmp_path, body, kind):
    settings = stand_in_for_gpaw(tmp_path, body)
    for _ in range(2):  # a rerun tries again
        with pytest.raises(kind):
            label_to_spool(settings, atoms_to_dict(copper()), str(tmp_path / "spool"))
    assert [entry["event"] for entry in read_ledger(tmp_path / "spool")] == ["started"] * 2
    with LabelStore(tmp_path / "store") as store:
        assert collect_spool(store, tmp_path / "spool").failed == {}
        assert store.quarantined() == ()


def test_full_spool_disk_loses_no_label_and_names_the_cause(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        first = label_to_spool(EMT, atoms_to_dict(copper()), str(disk))
        filler = fill(disk)
        with pytest.raises(DiskFullError, match="free some space"):
            label_to_spool(EMT, atoms_to_dict(copper(1, repeat=4)), str(disk))
        filler.unlink()
        assert label_to_spool(EMT, atoms_to_dict(copper()), str(disk)) == first
        assert label_to_spool(EMT, atoms_to_dict(copper(1)), str(disk))["status"] == "labelled"


def test_line_of_the_ledger_that_was_cut_off_is_left_out(tmp_path):
    label_to_spool(EMT, atoms_to_dict(copper()), str(tmp_path))
    with (tmp_path / "ledger.jsonl").open("a") as stream:
        stream.write('{"event": "sta')
    assert [entry["event"] for entry in read_ledger(tmp_path)] == ["started", "finished"]


def test_quarantined_frames_can_be_tried_again(tmp_path):
    spool, failing = tmp_path / "spool", stand_in_for_gpaw(tmp_path, "exit 3")
    failed = label_to_spool(failing, atoms_to_dict(copper()), str(spool))
    labelled = label_to_spool(EMT, atoms_to_dict(copper(1)), str(spool))
    with LabelStore(tmp_path / "store") as store:
        collect_spool(store, spool)
        store.release(failed["key"])
        collect_spool(store, spool)
        assert [entry.key for entry in store.quarantined()] == [failed["key"]]  # the spool remembers
        assert retry_quarantined(store, spool) == (failed["key"],)
        assert collect_spool(store, spool).failed == {}
        assert store.quarantined() == ()
        assert store.keys() == (labelled["key"],)
        assert label_to_spool(failing, atoms_to_dict(copper()), str(spool)) == failed
        assert [entry["event"] for entry in read_ledger(spool)] == ["started", "finished"] * 3
        assert retry_quarantined(store, tmp_path / "no spool yet") == ()


def test_missing_setup_stops_the_run(tmp_path):
    with pytest.raises(UnsupportedElementError, match=r"Am\.PBE"):
        label_to_spool({"kind": "gpaw"}, atoms_to_dict(bulk("Am", "fcc", a=5)), str(tmp_path))
    assert read_ledger(tmp_path) == ()


def test_collecting_is_idempotent(tmp_path):
    frames = [copper(seed) for seed in range(3)]
    for atoms in frames:
        label_to_spool(EMT, atoms_to_dict(atoms), str(tmp_path / "spool"))
    with LabelStore(tmp_path / "store") as store:
        first = collect_spool(store, tmp_path / "spool")
        assert collect_spool(store, tmp_path / "spool") == first
        assert sorted(store.keys()) == sorted(first.labelled) == sorted(key_of(atoms) for atoms in frames)
        assert {label.trajectory for label in store.labels()} == {"run 0", "run 1", "run 2"}


def test_damaged_result_is_named(tmp_path):
    (tmp_path / "abc.json").write_text('{"key": ')
    with LabelStore(tmp_path / "store") as store, pytest.raises(StoreError, match=r"abc\.json"):
        collect_spool(store, tmp_path)
