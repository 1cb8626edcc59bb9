import pytest
from ase.build import bulk

from limbeck.core.errors import (
    LabelError,
    MissingDependencyError,
    MissingFileError,
    StructureError,
    UnsupportedElementError,
)
from limbeck.labels.dataset import Description, save_set
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.preflight import build_structures, cautions, check_labels
from recorded_forge import label

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}
ABOUT = Description(title="x", what="x", command="x", date="2025-01-01")


def settings(labels, **loop):
    loop = {"validation_fraction": 0.0, "fresh_frames": 0} | loop
    return ForgeSettings.model_validate({"name": "x", "structures": [CELL], "labels": labels, "loop": loop})


def stored(path, *roles, **loop):
    save_set(path, [label(f"t{n}", role=role) for n, role in enumerate(roles)], ABOUT)
    return settings({"kind": "stored", "path": str(path)}, **loop)


def test_an_engine_that_is_not_installed(monkeypatch):
    def absent(name):
        raise MissingDependencyError(f"{name} is not installed")

    monkeypatch.setattr("limbeck.labels.engines.gpaw._installation", absent)
    with pytest.raises(MissingDependencyError):
        check_labels(settings({"kind": "gpaw"}), [bulk("Cu")])


def test_an_element_without_paw_data(monkeypatch, tmp_path):
    found = {"version": "1", "setup_folders": [str(tmp_path)]}
    monkeypatch.setattr("limbeck.labels.engines.gpaw._installation", lambda python: found)
    with pytest.raises(UnsupportedElementError, match="Cu"):
        check_labels(settings({"kind": "gpaw"}), [bulk("Cu")])


def test_a_stored_set_needs_its_file_its_elements_and_both_roles(tmp_path):
    with pytest.raises(MissingFileError):
        check_labels(settings({"kind": "stored", "path": str(tmp_path / "none.extxyz")}), [bulk("Cu")])
    good = stored(tmp_path / "good.extxyz", "test", "pool")
    check_labels(good, [bulk("Cu")])
    with pytest.raises(UnsupportedElementError, match="does not know Si"):
        check_labels(good, [bulk("Si")])
    with pytest.raises(LabelError, match="no frame of role 'test'"):
        check_labels(stored(tmp_path / "pool.extxyz", "pool"), [bulk("Cu")])
    with pytest.raises(LabelError, match="no frame of role 'pool'"):
        check_labels(stored(tmp_path / "test.extxyz", "test"), [bulk("Cu")])


def test_a_stored_set_holds_what_the_loop_will_ask_for(tmp_path):
    one = stored(tmp_path / "one.extxyz", "test", "pool", validation_fraction=0.2)
    with pytest.raises(LabelError, match=r"one trajectory.*loop\.validation_fraction to 0"):
        check_labels(one, [bulk("Cu")])
    check_labels(stored(tmp_path / "two.extxyz", "test", "pool", "pool", validation_fraction=0.2), [bulk("Cu")])
    with pytest.raises(LabelError, match=r"loop\.fresh_frames is 2, and no frame has the role 'fresh'"):
        check_labels(stored(tmp_path / "stale.extxyz", "test", "pool", fresh_frames=2), [bulk("Cu")])
    check_labels(stored(tmp_path / "fresh.extxyz", "test", "pool", "fresh", fresh_frames=2), [bulk("Cu")])


def test_a_frame_with_an_element_that_no_structure_has_is_named(tmp_path):
    foreign = label("t2", role="pool")
    foreign.atoms.symbols[0] = "Ag"
    save_set(tmp_path / "x.extxyz", [label("t0", role="test"), label("t1", role="pool"), foreign], ABOUT)
    with pytest.raises(LabelError, match="frame 2: holds Ag, which no starting structure has"):
        check_labels(settings({"kind": "stored", "path": str(tmp_path / "x.extxyz")}), [bulk("Cu")])


def test_magnetic_elements_without_spin_are_told_of():
    plain, spin = settings({"kind": "gpaw"}), settings({"kind": "gpaw", "spin_polarized": True})
    assert "Fe may be magnetic" in cautions(plain, [bulk("Fe")])[0]
    assert cautions(spin, [bulk("Fe")]) == cautions(plain, [bulk("Cu")]) == []
    assert cautions(settings({"kind": "emt"}), [bulk("Ni")]) == []


def test_a_structure_that_cannot_be_built_is_named_by_its_place(tmp_path):
    (tmp_path / "x.cif").write_text("nothing")
    for broken, message in (
        ({"kind": "file", "path": str(tmp_path / "x.cif")}, r"structures\.1: .*x\.cif: not readable"),
        (CELL | {"formula": "Xx"}, r"structures\.1: cannot build Xx .* no element is called 'Xx'"),
    ):
        values = {"name": "x", "structures": [CELL, broken], "labels": {"kind": "emt"}}
        with pytest.raises(StructureError, match=message):
            build_structures(ForgeSettings.model_validate(values))
