"""Readers give the same frames from memory, extended XYZ and LAMMPS dumps, as a stream."""

import gzip

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import fs

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.lammps_dump import LammpsTrajectory
from limbeck.structures.trajectory import FileTrajectory, MemoryTrajectory, frame_atoms, open_trajectory


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    made = []
    for index in range(7):
        atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
        atoms.set_cell(atoms.cell[:] * (1 + 0.01 * index), scale_atoms=True)
        atoms.positions += rng.normal(size=atoms.positions.shape)
        atoms.set_velocities(rng.normal(size=atoms.positions.shape))
        atoms.info["time_fs"] = 4.0 * index
        made.append(atoms)
    return made


@pytest.mark.parametrize("source", ["memory", "file"])
def test_streams_give_what_went_in(tmp_path, frames, source):
    trajectory = MemoryTrajectory(frames)
    if source == "file":
        ase.io.write(tmp_path / "run.extxyz", frames)
        trajectory = FileTrajectory(tmp_path / "run.extxyz")
    assert np.allclose(trajectory.times_fs, 4.0 * np.arange(7))
    assert trajectory.species == tuple(frames[0].get_chemical_symbols())
    assert trajectory.pbc == (True, True, True)
    chunks = list(trajectory.chunks(frames_per_chunk=3))
    assert [len(c) for c in chunks] == [3, 3, 1]
    assert np.allclose(np.concatenate([c.positions for c in chunks]), [a.positions for a in frames], atol=1e-7)
    assert np.allclose(np.concatenate([c.cells for c in chunks]), [a.cell[:] for a in frames], atol=1e-7)
    assert np.allclose(chunks[0].velocities, [a.get_velocities() for a in frames[:3]], atol=1e-6)
    assert len(list(frame_atoms(trajectory))) == 7


def test_other_atoms_in_a_later_frame_are_refused(tmp_path, frames):
    del frames[4][0]
    ase.io.write(tmp_path / "run.extxyz", frames)
    with pytest.raises(StructureError, match="frame"):
        list(FileTrajectory(tmp_path / "run.extxyz").chunks())


def test_times_must_be_known(tmp_path, frames):
    del frames[0].info["time_fs"]
    with pytest.raises(StructureError, match="time_fs"):
        _ = MemoryTrajectory(frames).times_fs
    assert np.allclose(MemoryTrajectory(frames, interval_fs=2.0).times_fs, 2.0 * np.arange(7))


FRAME = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp pp
-1.0 {xhi} 1.0
2.0 7.5 -2.0
0.0 4.0 0.5
ITEM: ATOMS id type x y z ix iy iz vx vy vz
2 1 1.5 3.0 1.0 0 1 0 10.0 0.0 0.0
1 2 0.0 2.0 0.0 -1 0 0 0.0 -20.0 0.0
"""


@pytest.fixture
def dump(tmp_path):
    # box: low (1, 2, 0), lengths (5, 5, 4), xy = 1, xz = -2, yz = 0.5, so bounds -1 .. 7 and 2 .. 7.5
    text = FRAME.format(step=1000, xhi=7.0) + FRAME.format(step=1100, xhi=7.0)
    path = tmp_path / "run.lammpstrj"
    path.write_text(text)
    return path


def test_dump_gives_cell_images_and_velocities(dump):
    trajectory = LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0, first_step=1000)
    assert np.allclose(trajectory.times_fs, [0.0, 200.0])
    assert trajectory.species == ("O", "Si")
    (chunk,) = trajectory.chunks()
    assert np.allclose(chunk.cells[0], [[5, 0, 0], [1, 5, 0], [-2, 0.5, 4]])
    assert np.allclose(chunk.positions[0], [[-1.0, 0.0, 0.0], [0.5, 1.0, 1.0]])
    assert np.allclose(chunk.unwrapped()[0], [[-6.0, 0.0, 0.0], [1.5, 6.0, 1.0]])
    assert np.allclose(chunk.velocities[0, 1] * fs * 1e3, [10.0, 0.0, 0.0])


def test_a_cut_off_last_frame_is_left_out_at_every_byte(dump):
    whole = dump.read_bytes()
    one_frame = len(whole) // 2
    for length in range(one_frame, len(whole), 37):
        dump.write_bytes(whole[:length])
        trajectory = LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0)
        assert len(trajectory.times_fs) == 1
    dump.write_bytes(whole)
    assert len(LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0).times_fs) == 2


def test_dump_with_nan_or_of_another_kind_is_refused(dump):
    text = dump.read_text()
    dump.write_text(text.replace("1.5 3.0", "nan 3.0"))
    with pytest.raises(StructureError, match="exploded"):
        list(LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0).chunks())
    dump.write_text("hello\n" + text)
    with pytest.raises(StructureError, match="not a LAMMPS dump"):
        list(LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0).chunks())
    dump.write_text(text)
    with pytest.raises(StructureError, match="atom type 2"):
        _ = LammpsTrajectory(dump, ("Si",), timestep_fs=2.0).species


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingFileError):
        FileTrajectory(tmp_path / "absent.extxyz")
    with pytest.raises(MissingFileError):
        LammpsTrajectory(tmp_path / "absent.lammpstrj", ("Si",), 1.0)


def dump_of(path, columns: str, rows, header: str = "") -> None:
    """Two frames of a dump with columns of one's own, in a box that breathes about its center."""
    with path.open("w") as handle:
        for step, half in ((0, 5.0), (10, 5.5)):
            handle.write(header)
            handle.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(rows)}\n")
            handle.write("ITEM: BOX BOUNDS pp pp pp\n" + 3 * f"{-half} {half}\n" + f"ITEM: ATOMS {columns}\n")
            handle.writelines(row.replace("HALF", str(0.5)) + "\n" for row in rows)


def test_dumps_with_scaled_columns_elements_and_more_headers(tmp_path):
    rows = ["2 S 0.5 0.5 0.5", "1 Li 0.25 0.5 0.75"]
    dump_of(tmp_path / "s.lammpstrj", "id element xs ys zs", rows, "ITEM: UNITS\nmetal\nITEM: TIME\n0.5\n")
    trajectory = open_trajectory(tmp_path / "s.lammpstrj", timestep_fs=2.0)
    assert trajectory.species == ("Li", "S")
    chunk = next(trajectory.chunks())
    np.testing.assert_allclose(chunk.positions[:, 1], [[5.0, 5, 5], [5, 5, 5]])  # at rest in a box about it
    np.testing.assert_allclose(chunk.positions[:, 0, 0], [2.5, 2.25])
    np.testing.assert_allclose(chunk.times_fs, [0, 20])


@pytest.mark.parametrize(
    ("columns", "rows", "told"),
    [
        ("type xs ys zs", ["1 0.5 0.5 0.5"], "'id' is needed"),
        ("id type x y z", ["1 1 0.5 what 0.5"], "rows of 5 numbers"),
        ("id type x y z", ["1 1 0.5 0.5"], "rows of 5 numbers"),
    ],
)
def test_dumps_that_cannot_be_read_are_one_clear_error(tmp_path, columns, rows, told):
    dump_of(tmp_path / "d.lammpstrj", columns, rows)
    with pytest.raises(StructureError, match=told):
        list(open_trajectory(tmp_path / "d.lammpstrj", elements=["Li"], timestep_fs=1.0).chunks())


def test_a_dump_that_loses_atoms_and_options_that_do_not_apply_are_told(tmp_path):
    path = tmp_path / "d.lammpstrj"
    dump_of(path, "id type x y z", ["1 1 0 0 0", "2 1 1 1 1"])
    whole = path.read_text()
    path.write_text(whole + whole.replace("ATOMS\n2", "ATOMS\n1").replace("2 1 1 1 1\n", ""))
    with pytest.raises(StructureError, match="lost atoms"):
        list(open_trajectory(path, elements=["Li"], timestep_fs=1.0).chunks())
    with pytest.raises(StructureError, match="needs no --interval_fs"):
        open_trajectory(path, elements=["Li"], timestep_fs=1.0, interval_fs=2.0)
    with pytest.raises(StructureError, match=r"no element is called Lix\. Did you mean Li"):
        open_trajectory(path, elements=["Lix"], timestep_fs=1.0)


def test_other_atoms_later_in_a_file_are_told_with_the_frame(tmp_path):
    atoms = Atoms("LiS", [[0, 0, 0], [2, 2, 2]], cell=[9, 9, 9], pbc=True)
    ase.io.write(tmp_path / "run.extxyz", [atoms] * 70 + [atoms[[1, 0]]])
    with pytest.raises(StructureError, match="frame 70 has other atoms"):
        list(open_trajectory(tmp_path / "run.extxyz", interval_fs=1.0).chunks())


def test_a_compressed_dump_is_the_same_and_a_damaged_one_is_told(dump):
    packed = dump.with_name("run.lammpstrj.gz")
    packed.write_bytes(gzip.compress(dump.read_bytes()))
    plain = open_trajectory(dump, elements=["Si", "O"], timestep_fs=2.0)
    trajectory = open_trajectory(packed, elements=["Si", "O"], timestep_fs=2.0)
    for a, b in zip(plain.chunks(), trajectory.chunks(), strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.times_fs, b.times_fs)
    assert 0 < next(iter(trajectory.chunks())).share <= 1
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-20])
    with pytest.raises(StructureError, match="no complete frame"):
        list(open_trajectory(packed, elements=["Si", "O"], timestep_fs=2.0).chunks())
    packed.write_bytes(whole[:-8] + bytes(4) + whole[-4:])
    with pytest.raises(StructureError, match="damaged"):
        list(open_trajectory(packed, elements=["Si", "O"], timestep_fs=2.0).chunks())


def test_units_of_a_dump_that_says_them(dump):
    text = dump.read_text()
    dump.write_text("ITEM: UNITS\nreal\n" + text)
    (chunk,) = LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0).chunks()
    assert np.allclose(chunk.velocities[:, 1] * fs, [10.0, 0.0, 0.0])  # Å/fs, in all frames
    dump.write_text("ITEM: UNITS\nlj\n" + text)
    with pytest.raises(StructureError, match="LAMMPS units 'lj'; metal and real"):
        list(LammpsTrajectory(dump, ("Si", "O"), timestep_fs=2.0).chunks())
