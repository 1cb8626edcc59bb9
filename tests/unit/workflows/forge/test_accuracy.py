"""Errors and students as the report wants them."""

import pytest

from limbeck.core.record import write_text
from limbeck.workflows.forge import accuracy


def test_two_potentials_are_never_mixed_in_the_folder_to_take_away(tmp_path, monkeypatch):
    for name in ("old", "new"):
        write_text(tmp_path / name / "student.json", name)
        write_text(tmp_path / name / f"{name}.coefficients", name)
    target = tmp_path / "potential"
    accuracy.publish(target, list((tmp_path / "old").iterdir()))

    def killed(path, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        accuracy.publish(target, list((tmp_path / "new").iterdir()))
    assert {p.name: p.read_text() for p in target.iterdir()} == {"student.json": "old", "old.coefficients": "old"}
    monkeypatch.undo()
    accuracy.publish(target, list((tmp_path / "new").iterdir()))
    assert {p.name: p.read_text() for p in target.iterdir()} == {"student.json": "new", "new.coefficients": "new"}
    assert {p.name for p in tmp_path.iterdir()} == {"old", "new", "potential"}
