import pytest
from ase.build import bulk

from limbeck.core.errors import LabelError, MissingDependencyError, MissingFileError, UnsupportedElementError
from limbeck.labels.dataset import Description, save_set
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.preflight import check_labels
from recorded_forge import label

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}
ABOUT = Description(title="x", what="x", command="x", date="2025-01-01")


def settings(labels):
    return ForgeSettings.model_validate({"name": "x", "structures": [CELL], "labels": labels})


def stored(path, *roles):
    save_set(path, [label(f"t{n}", role=role) for n, role in enumerate(roles)], ABOUT)
    return settings({"kind": "stored", "path": str(path)})


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
