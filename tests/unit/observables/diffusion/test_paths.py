"""Unwrapping in any cell, frames of reference, and trajectories that are not what they should be."""

import numpy as np
import pytest
from ase import Atoms, units

from limbeck.core.errors import StructureError
from limbeck.core.rng import stream
from limbeck.observables.diffusion.paths import read_paths, read_velocities
from limbeck.structures.chunks import Chunk
from limbeck.structures.trajectory import MemoryTrajectory
from strategies import CELL_SHAPES, cell_of_shape


class Recorded:
    """A trajectory from arrays, with or without image flags."""

    def __init__(self, positions, cells, species, times_fs=None, images=None, pbc=(True, True, True)):
        self.positions, self.cells, self.species, self.images, self.pbc = positions, cells, species, images, pbc
        self.times_fs = 10.0 * np.arange(len(positions)) if times_fs is None else np.asarray(times_fs, dtype=float)

    def chunks(self, frames_per_chunk: int = 7, first_frame: int = 0):
        frames_per_chunk = min(frames_per_chunk, 7)
        for first in range(first_frame, len(self.positions), frames_per_chunk):
            part = slice(first, first + frames_per_chunk)
            images = None if self.images is None else self.images[part]
            yield Chunk(self.positions[part], self.cells[part], None, images)


def walk(n: int, atoms: int, step: float, seed: int) -> np.ndarray:
    return np.cumsum(stream(seed, "walk").uniform(-step, step, (n, atoms, 3)), axis=0)


def wrap(paths: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fractions = np.einsum("fai,fij->faj", paths, np.linalg.inv(cells))
    images = np.floor(fractions).astype(int)
    return paths - np.einsum("fai,fij->faj", images, cells), images


@pytest.mark.parametrize("shape", CELL_SHAPES)
def test_wrapped_walks_are_unwrapped_in_every_family_of_cells(shape: str) -> None:
    cell = cell_of_shape(shape, 400.0, np.random.default_rng(1))
    width = (1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min()
    paths = walk(200, 4, 0.25 * width, 2)
    cells = np.broadcast_to(cell, (200, 3, 3))
    found = read_paths(Recorded(wrap(paths, cells)[0], cells, ("Li",) * 4), reference="none")
    np.testing.assert_allclose(found.positions - found.positions[0], paths - paths[0], atol=1e-9)
    assert found.volume_A3 == pytest.approx(400.0)
    assert 0 < found.longest_step < 0.5


def test_image_flags_are_honored_where_steps_are_longer_than_the_cell() -> None:
    cells = np.broadcast_to(4.0 * np.eye(3), (50, 3, 3))
    paths = walk(50, 3, 9.0, 3)
    wrapped, images = wrap(paths, cells)
    found = read_paths(Recorded(wrapped, cells, ("Li",) * 3, images=images), reference="none")
    np.testing.assert_allclose(found.positions, paths, atol=1e-9)
    assert found.warnings == ()


@pytest.mark.parametrize("flags", [True, False])
def test_a_breathing_cell_moves_nobody_that_has_crossed_a_boundary(flags: bool) -> None:
    """Steps are known; atoms are wrapped in a cell whose size fluctuates, far from the image in which they began."""
    n = 400
    cells = (10.0 * (1 + 0.03 * np.sin(np.arange(n))))[:, None, None] * np.eye(3)
    steps = np.diff(walk(n, 2, 1.5, 4), axis=0) + np.array([0.7, 0.0, 0.0])
    wrapped, images = np.zeros((n, 2, 3)), np.zeros((n, 2, 3), dtype=int)
    wrapped[0] = 4.0
    for k in range(1, n):
        place = wrapped[k - 1] + steps[k - 1]
        crossed = np.floor(place @ np.linalg.inv(cells[k])).astype(int)
        wrapped[k], images[k] = place - crossed @ cells[k], images[k - 1] + crossed
    assert images.max() > 20
    found = read_paths(Recorded(wrapped, cells, ("Li", "Li"), images=images if flags else None), reference="none")
    np.testing.assert_allclose(np.diff(found.positions, axis=0), steps, atol=1e-9)


def test_a_step_that_can_hardly_be_unwrapped_is_told_of() -> None:
    cells = np.broadcast_to(10.0 * np.eye(3), (3, 3, 3))
    paths = np.array([[[0.0, 0, 0]], [[4.5, 0, 0]], [[9.0, 0, 0]]])
    found = read_paths(Recorded(wrap(paths, cells)[0], cells, ("Li",)), reference="none")
    assert "0.45 of the cell's smallest width" in found.warnings[0]


def test_frames_of_reference_take_out_the_drift_they_say() -> None:
    n = 40
    cells = np.broadcast_to(20.0 * np.eye(3), (n, 3, 3))
    own = walk(n, 3, 0.5, 5)
    drift = np.arange(n)[:, None] * np.array([0.3, -0.2, 0.1])
    host = np.broadcast_to(np.array([[1.0, 2, 3], [4, 5, 6]]), (n, 2, 3)) + drift[:, None]
    positions = np.concatenate([own + drift[:, None], host], axis=1)
    source = Recorded(wrap(positions, cells)[0], cells, ("Li", "Li", "Li", "O", "O"))
    found = read_paths(source, ["Li"])
    assert (found.reference, found.species) == ("host", ("Li",) * 3)
    np.testing.assert_allclose(found.positions - found.positions[0], own - own[0], atol=1e-9)
    total = read_paths(source, ["Li"], "total").positions
    masses = np.array([6.94, 6.94, 6.94, 15.999, 15.999])
    expected = positions[:, :3] - np.einsum("a,fax->fx", masses / masses.sum(), positions)[:, None]
    np.testing.assert_allclose(total - total[0], expected - expected[0], atol=1e-6)


def test_slabs_and_clusters_are_wrapped_along_periodic_directions_only() -> None:
    paths = walk(80, 2, 1.0, 6)
    cells = np.broadcast_to(np.diag([6.0, 6.0, 0.0]), (80, 3, 3))
    wrapped = paths.copy()
    wrapped[:, :, :2] %= 6.0
    found = read_paths(Recorded(wrapped, cells, ("Li", "Li"), pbc=(True, True, False)), reference="none")
    np.testing.assert_allclose(found.positions - found.positions[0], paths - paths[0], atol=1e-9)
    assert np.isnan(found.volume_A3)


def test_a_frame_that_a_restart_wrote_twice_is_left_out() -> None:
    paths = walk(6, 1, 0.5, 7)
    twice = paths[[0, 1, 2, 2, 3, 4, 5]]
    cells = np.broadcast_to(9.0 * np.eye(3), (7, 3, 3))
    found = read_paths(Recorded(twice, cells, ("Li",), times_fs=[0, 5, 10, 10, 15, 20, 25]), reference="none")
    np.testing.assert_allclose(found.positions, paths, atol=1e-12)
    assert found.interval_fs == 5.0


@pytest.mark.parametrize("times", [[0, 5, 10, 20, 25], [0, 5, 10, 5, 10], [0, 0, 0, 0, 0], [20, 15, 10, 5, 0]])
def test_gaps_and_times_that_run_back_are_one_clear_error(times: list[int]) -> None:
    cells = np.broadcast_to(9.0 * np.eye(3), (5, 3, 3))
    with pytest.raises(StructureError, match="time"):
        read_paths(Recorded(walk(5, 1, 0.5, 8), cells, ("Li",), times_fs=times))


def test_other_mistakes_are_one_clear_error() -> None:
    atoms = Atoms("LiO", [[0, 0, 0], [2, 2, 2]], cell=[9, 9, 9], pbc=True)
    with pytest.raises(StructureError, match="at least two frames"):
        read_paths(MemoryTrajectory([atoms], 1.0))
    two = MemoryTrajectory([atoms, atoms], 1.0)
    with pytest.raises(StructureError, match="no atom is Na; the trajectory has Li, O"):
        read_paths(two, ["Na"])
    with pytest.raises(StructureError, match="no host"):
        read_paths(two, ["Li", "O"], "host")
    bad = atoms.copy()
    bad.positions[0, 0] = np.nan
    with pytest.raises(StructureError, match="NaN"):
        read_paths(MemoryTrajectory([atoms, bad], 1.0))


def test_what_is_skipped_and_thinned_is_unwrapped_all_the_same(tmp_path) -> None:
    """Steps of several frames are longer than half the cell; every frame is read, some are kept."""
    n = 300
    cells = np.broadcast_to(8.0 * np.eye(3), (n, 3, 3))
    steps = stream(9, "thin").uniform(0.5, 2.0, (n, 2, 3))
    paths = np.cumsum(steps, axis=0)
    source = Recorded(wrap(paths, cells)[0], cells, ("Li", "Li"))
    for scratch in (None, tmp_path / "scratch"):
        found = read_paths(source, reference="none", skip_fs=250.0, every=7, scratch=scratch)
        kept = paths[25:][::7]
        assert found.n_frames == len(kept)
        assert found.interval_fs == 70.0
        np.testing.assert_allclose(np.diff(found.positions, axis=0), np.diff(kept, axis=0), atol=1e-9)
    with pytest.raises(StructureError, match="two frames"):
        read_paths(source, reference="none", skip_fs=2995.0)


def test_velocities_are_those_of_the_frame_of_reference() -> None:
    frames = []
    rng = stream(10, "velocities")
    for k in range(30):
        atoms = Atoms("Li2S", [[0, 0, 0], [2, 2, 2], [4, 4, 4]], cell=[9, 9, 9], pbc=True)
        atoms.set_velocities(rng.normal(size=(3, 3)) + 0.5)
        atoms.info["time_fs"] = 2.0 * k
        frames.append(atoms)
    found, symbols, interval_fs = read_velocities(MemoryTrajectory(frames), ["Li"], "host", skip_fs=10.0)
    expected = np.array([a.get_velocities()[:2] - a.get_velocities()[2] for a in frames[5:]]) * units.fs
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert symbols == ("Li", "Li")
    assert interval_fs == 2.0
    with pytest.raises(StructureError, match="no velocities"):
        read_velocities(MemoryTrajectory([Atoms("Li2S", cell=[9, 9, 9], pbc=True)] * 3, 1.0), ["Li"], "host")
    with pytest.raises(StructureError, match="no host"):
        read_velocities(MemoryTrajectory(frames), ["Li", "S"], "host")


def solid(flags: bool) -> Recorded:
    """A crystal at rest in a cell that breathes: atoms rattle about planes at the cell's boundary."""
    n = 3000
    rng = stream(11, "solid")
    lengths = 12.0 * (1 + 0.004 * rng.normal(size=(n, 1)))
    sites = np.array([[0.0, 0, 0], [0.5, 0.5, 0], [0.0, 0.5, 0.5], [0.5, 0, 0.5], [0.25, 0.25, 0.0], [0.0, 0.25, 0.25]])
    fractions = sites + 0.15 / 12 * rng.normal(size=(n, 6, 3))
    cells = lengths[:, :, None] * np.eye(3)
    wrapped, images = wrap(np.einsum("fai,fij->faj", fractions, cells), cells)
    return Recorded(wrapped, cells, ("Li",) * 3 + ("S",) * 3, images=images if flags else None)


@pytest.mark.parametrize("flags", [True, False])
def test_a_crystal_at_rest_does_not_diffuse_in_a_cell_that_breathes(flags: bool) -> None:
    found = read_paths(solid(flags), ["Li"])
    moved = found.positions[-500:] - found.positions[:500]
    assert np.sqrt(np.mean(moved**2)) < 0.35  # the rattle of both ends and of the host's center
    toroidal = read_paths(solid(flags), ["Li"], "none")
    assert np.abs(toroidal.positions[-1] - toroidal.positions[0]).max() > 0.5  # what the scheme of liquids makes of it


def test_what_its_writer_unwrapped_is_taken_back_step_by_step() -> None:
    """Whole cells of the present size were added: the same walk as with image flags."""
    n = 400
    cells = (10.0 * (1 + 0.01 * np.sin(np.arange(n))))[:, None, None] * np.eye(3)
    paths = walk(n, 3, 1.5, 12) + np.arange(n)[:, None, None] * 0.5
    wrapped, images = wrap(paths, cells)

    class Unwrapped(Recorded):
        def chunks(self, frames_per_chunk: int = 7, first_frame: int = 0):
            for chunk in super().chunks(frames_per_chunk, first_frame):
                yield Chunk(chunk.positions, chunk.cells, None, None, True)

    flagged = read_paths(Recorded(wrapped, cells, ("Li",) * 3, images=images), reference="none")
    found = read_paths(Unwrapped(paths, cells, ("Li",) * 3), reference="none")
    np.testing.assert_allclose(np.diff(found.positions, axis=0), np.diff(flagged.positions, axis=0), atol=1e-9)


def test_ions_far_from_home_take_the_same_steps_whoever_unwrapped_them() -> None:
    """A hundred cells away in a cell that breathes by a percent: relative to a host, in fractional coordinates."""
    n = 600
    rng = stream(15, "far")
    cells = (10.0 * (1 + 0.01 * np.sin(0.7 * np.arange(n))))[:, None, None] * np.eye(3)
    fractions = rng.uniform(0, 1, (1, 4, 3)) + np.cumsum(0.02 * rng.normal(size=(n, 4, 3)), axis=0)
    fractions[:, :2] += 0.2 * np.arange(n)[:, None, None]
    fractions[:, 2:] = fractions[:1, 2:]
    paths = np.einsum("fai,fij->faj", fractions, cells)
    wrapped, images = wrap(paths, cells)

    class Unwrapped(Recorded):
        def chunks(self, frames_per_chunk: int = 7, first_frame: int = 0):
            for chunk in super().chunks(frames_per_chunk, first_frame):
                yield Chunk(chunk.positions, chunk.cells, None, None, True)

    species = ("Li", "Li", "S", "S")
    expected = np.diff(fractions[:, :2], axis=0) @ cells.mean(axis=0)
    for source in (Recorded(wrapped, cells, species, images=images), Recorded(wrapped, cells, species),
                   Unwrapped(paths, cells, species)):  # fmt: skip
        found = read_paths(source, ["Li"]).positions
        np.testing.assert_allclose(np.diff(found, axis=0), expected, atol=1e-9)


def test_times_of_single_precision_keep_the_interval_or_are_refused() -> None:
    cells = np.broadcast_to(9.0 * np.eye(3), (500, 3, 3))

    def from_ps(start_ps: float) -> Recorded:
        times = 1e3 * np.float32(start_ps + 0.02 * np.arange(500)).astype(float)
        return Recorded(walk(500, 1, 0.5, 13), cells, ("Li",), times_fs=times)

    assert read_paths(from_ps(5_000.0), reference="none").interval_fs == pytest.approx(20.0, rel=1e-3)
    for start in (100_000.0, 1_000_000.0):
        with pytest.raises(StructureError, match="too few digits"):
            read_paths(from_ps(start), reference="none")


def test_a_host_that_flows_and_a_missing_cell_are_told_of() -> None:
    n = 2000
    cells = np.broadcast_to(9.0 * np.eye(3), (n, 3, 3))
    paths = walk(n, 6, 0.3, 14)
    found = read_paths(Recorded(wrap(paths, cells)[0], cells, ("Li", "Li", "S", "S", "S", "S")), ["Li"])
    assert any("no solid" in w for w in found.warnings)
    bare = Recorded(paths, np.zeros((n, 3, 3)), ("Li",) * 6, pbc=(False, False, False))
    assert any("no periodic cell" in w for w in read_paths(bare, reference="none").warnings)
