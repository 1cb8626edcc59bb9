"""Starting structures from settings and files."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pydantic import TypeAdapter, ValidationError

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.crystals import BulkSettings, FileSettings, StructureSettings, build_structure


def test_conventional_silicon_has_eight_atoms_with_the_right_bond():
    atoms = build_structure(
        BulkSettings(formula="Si", lattice="diamond", lattice_constant_A=5.43, cell="conventional", repeat=[2, 1, 1])
    )
    assert len(atoms) == 16
    assert atoms.cell.lengths() == pytest.approx([10.86, 5.43, 5.43])
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(5.43 * np.sqrt(3) / 4)
    assert atoms.info["trajectory"] == "si-diamond-conventional-2x1x1"


@pytest.mark.parametrize(
    ("formula", "lattice", "n_primitive", "n_conventional"),
    [("MgO", "rocksalt", 2, 8), ("CaF2", "fluorite", 3, 12), ("ZnO", "wurtzite", 4, 8), ("Mg", "hcp", 2, 4)],
)
def test_crystals_build_conventional_unless_told_otherwise(formula, lattice, n_primitive, n_conventional):
    known = {"formula": formula, "lattice": lattice, "lattice_constant_A": 4.5}
    primitive = build_structure(BulkSettings(**known, cell="primitive"))
    atoms = build_structure(BulkSettings(**known))
    assert (len(primitive), len(atoms)) == (n_primitive, n_conventional)
    assert atoms.pbc.all()
    assert atoms.info["trajectory"].endswith("-conventional")


def test_one_element_in_a_two_element_lattice_is_one_clear_error():
    with pytest.raises(StructureError, match="cannot build Si in the rocksalt structure"):
        build_structure(BulkSettings(formula="Si", lattice="rocksalt", lattice_constant_A=5.0))


def test_lattice_constant_far_too_small_is_an_overlap():
    with pytest.raises(StructureError, match=r"overlaps .* expected at least"):
        build_structure(BulkSettings(formula="Si", lattice="diamond", lattice_constant_A=1.5))


def test_union_is_told_by_kind_and_refuses_unknown_keys():
    adapter = TypeAdapter(StructureSettings)
    block = {"kind": "bulk", "formula": "Si", "lattice": "diamond", "lattice_constant_A": 5}
    assert isinstance(adapter.validate_python(block), BulkSettings)
    assert isinstance(adapter.validate_python({"kind": "file", "path": "x.cif"}), FileSettings)
    with pytest.raises(ValidationError):
        adapter.validate_python({**block, "lattice_constant": 5.0})
    with pytest.raises(ValidationError):
        adapter.validate_python({**block, "repeat": [1, 0, 1]})


@pytest.mark.parametrize("name", ["cell.cif", "cell.extxyz", "POSCAR", "cell.traj"])
def test_file_formats_round_trip(tmp_path, name):
    original = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    ase.io.write(tmp_path / name, original)
    read = build_structure(FileSettings(kind="file", path=name), tmp_path)
    assert sorted(read.get_chemical_symbols()) == sorted(original.get_chemical_symbols())
    assert read.get_volume() == pytest.approx(original.get_volume())
    assert read.calc is None


def test_frame_of_a_trajectory_is_chosen_by_index(tmp_path):
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    ase.io.write(tmp_path / "run.extxyz", frames)
    assert build_structure(
        FileSettings(kind="file", path="run.extxyz", index=1), tmp_path
    ).get_volume() == pytest.approx(frames[1].get_volume())
    with pytest.raises(StructureError, match="index"):
        build_structure(FileSettings(kind="file", path="run.extxyz", index=7), tmp_path)


def test_missing_file_names_the_base_folder(tmp_path):
    with pytest.raises(MissingFileError, match="relative path starts at"):
        build_structure(FileSettings(kind="file", path="absent.cif"), tmp_path)


@pytest.mark.parametrize("spoil", ["nan", "no cell", "garbage"])
def test_unusable_files_are_refused(tmp_path, spoil):
    atoms = bulk("Cu", a=3.6)
    if spoil == "nan":
        atoms.positions[0, 0] = np.nan
    elif spoil == "no cell":
        atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    path = tmp_path / "bad.extxyz"
    ase.io.write(path, atoms)
    if spoil == "garbage":
        path.write_text("this is\nno structure\n")
    with pytest.raises(StructureError):
        build_structure(FileSettings(kind="file", path="bad.extxyz"), tmp_path)
