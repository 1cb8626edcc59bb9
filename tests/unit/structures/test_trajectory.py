"""Readers give the same frames from memory, extended XYZ and LAMMPS dumps, as a stream."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.units import fs

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.lammps_dump import LammpsTrajectory
from limbeck.structures.trajectory import FileTrajectory, MemoryTrajectory, frame_atoms


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
