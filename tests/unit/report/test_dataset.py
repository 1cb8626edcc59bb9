import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from limbeck.core.errors import MissingFileError, StoreError
from limbeck.report.dataset import frame_properties, read_frames, thin_frames, viewer_input


def frame(scale=1.0, **info):
    atoms = bulk("NaCl", "rocksalt", a=5.6 * scale)
    atoms.info |= {"role": "train", "REF_energy": -7.0, "temperature_K": 300.0} | info
    atoms.set_array("REF_forces", np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]))
    return atoms


def test_properties_carry_unit_and_value_per_atom():
    found = frame_properties([frame(), frame(1.1)])
    assert found["volume"]["values"] == pytest.approx([5.6**3 / 8, 1.331 * 5.6**3 / 8])
    assert found["energy"] == {"target": "structure", "values": [-3.5, -3.5], "units": "eV/atom"}
    assert found["largest force"]["values"] == [5.0, 5.0]
    assert found["temperature"] == {"target": "structure", "values": [300.0, 300.0], "units": "K"}
    assert found["role"]["values"] == ["train", "train"]


def test_labels_of_an_attached_calculator_are_read():
    atoms = bulk("Si")
    atoms.calc = SinglePointCalculator(atoms, energy=-10.0, forces=np.zeros((2, 3)))
    found = frame_properties([atoms])
    assert found["energy"]["values"] == [-5.0]
    assert found["largest force"]["values"] == [0.0]


def test_what_some_frames_lack_or_is_not_finite_is_left_out():
    found = frame_properties([frame(only_here=1.0, bad=np.nan), frame(bad=1.0)])
    assert "only here" not in found
    assert "bad" not in found


def test_molecules_without_cell_have_no_volume_but_a_view():
    frames = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.1 * k]], info={"step": k}) for k in range(3)]
    content = viewer_input(frames, "title", "text")
    assert "volume" not in content["properties"]
    assert len(content["structures"]) == 3


def test_the_view_holds_structures_only_not_the_frames_labels():
    content = viewer_input([frame(), frame()], "title", "text")
    assert content["settings"]["map"]["color"] == {"property": "temperature"}
    assert set(content["structures"][0]) == {"size", "names", "x", "y", "z", "cell"}


def test_a_file_written_by_ase_is_read_back(tmp_path):
    ase.io.write(tmp_path / "a.extxyz", [frame(), frame(1.1)], format="extxyz")
    frames = read_frames(tmp_path / "a.extxyz")
    assert [a.info["role"] for a in frames] == ["train", "train"]


def test_files_that_are_gone_or_damaged(tmp_path):
    with pytest.raises(MissingFileError, match="data set"):
        read_frames(tmp_path / "gone.extxyz")
    (tmp_path / "bad.extxyz").write_text("2\nLattice=oops\nSi 0 0\n")
    with pytest.raises(StoreError, match="not readable"):
        read_frames(tmp_path / "bad.extxyz")


def test_thinning_spreads_evenly_and_keeps_both_ends():
    frames = [Atoms("H", info={"n": n}) for n in range(101)]
    assert [a.info["n"] for a in thin_frames(frames, 5)] == [0, 25, 50, 75, 100]
    assert thin_frames(frames, 200) == frames
