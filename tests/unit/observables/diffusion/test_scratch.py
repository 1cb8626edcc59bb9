"""Paths beyond memory: read once, equal to the bit, and gone on with after a kill."""

from pathlib import Path

import numpy as np
import pytest

from limbeck.core.errors import StructureError
from limbeck.core.rng import stream
from limbeck.observables.diffusion import paths as module
from limbeck.observables.diffusion.paths import read_paths
from limbeck.observables.diffusion.scratch import Scratch
from limbeck.observables.diffusion.transport import transport
from limbeck.observables.diffusion.walkers import StoredWalkers
from limbeck.structures.chunks import Chunk

N, ATOMS = 1000, 12


class Walk:
    """Wrapped walkers, some of them a host; dies where it is told to."""

    pbc, species = (True, True, True), ("Li",) * 8 + ("S",) * 4

    def __init__(self, dies_after: int = N, seed: int = 1) -> None:
        steps = 0.3 * stream(seed, "stream").normal(size=(N, ATOMS, 3))
        self.positions, self.dies_after, self.read = np.cumsum(steps, axis=0) % 10.0, dies_after, []
        self.times_fs = 5.0 * np.arange(N)

    def chunks(self, frames_per_chunk: int = 64, first_frame: int = 0):
        for first in range(first_frame, N, frames_per_chunk):
            if first >= self.dies_after:
                raise KeyboardInterrupt
            part = slice(first, first + frames_per_chunk)
            self.read.append(first)
            positions = self.positions[part]
            yield Chunk(positions, np.broadcast_to(10.0 * np.eye(3), (len(positions), 3, 3)))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_BYTES", 30_000)
    monkeypatch.setattr("limbeck.observables.diffusion.walkers.VALUES_AT_ONCE", 7000)


def results(paths) -> list[np.ndarray]:
    found = transport(paths, 600.0, {"Li": 1.0})
    li = found.tracer["Li"]
    numbers = [
        li.coefficient.value, li.coefficient.standard_error, found.conductivity.value,
        found.haven_ratio.standard_error, li.time_ratio, paths.volume_A3, paths.longest_step,
    ]  # fmt: skip
    seen = li.displacements
    return [seen.tensor, seen.products, seen.fourth, seen.places, li.fit.covariance, np.array(numbers)]


def test_what_is_streamed_to_disk_is_equal_to_the_bit(tmp_path: Path) -> None:
    expected = results(read_paths(Walk(), ["Li"]))
    stored = read_paths(Walk(), ["Li"], scratch=tmp_path / "paths")
    assert isinstance(stored.walkers, StoredWalkers)
    assert len(stored.walkers.stretches) > 3
    spilled = read_paths(Walk(), ["Li"], memory_GB=4e-5)
    assert isinstance(spilled.walkers, StoredWalkers)
    for found in (stored, spilled):
        for one, other in zip(expected, results(found), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_temporary_folder_goes_with_the_paths() -> None:
    paths = read_paths(Walk(), ["Li"], memory_GB=4e-5)
    folder = paths.walkers.file.parent
    assert folder.exists()
    del paths
    assert not folder.exists()


@pytest.mark.parametrize("dies_after", [64, 300, 640, 960])
def test_a_killed_reader_goes_on_and_ends_with_the_same_bits(tmp_path: Path, dies_after: int) -> None:
    expected = results(read_paths(Walk(), ["Li"]))
    with pytest.raises(KeyboardInterrupt):
        read_paths(Walk(dies_after), ["Li"], scratch=tmp_path)
    if (tmp_path / "paths.bin").exists():  # what a kill in the middle of a write leaves
        with (tmp_path / "paths.bin").open("ab") as handle:
            handle.write(b"half a stretch")
    again = Walk()
    for one, other in zip(expected, results(read_paths(again, ["Li"], scratch=tmp_path)), strict=True):
        np.testing.assert_array_equal(one, other)
    if dies_after > 200:
        assert again.read[1] > 0  # after the first frame, which tells what it is, not from the beginning


def test_paths_of_another_run_or_species_are_not_gone_on_with(tmp_path: Path) -> None:
    read_paths(Walk(), ["Li"], scratch=tmp_path)
    for source, species in ((Walk(seed=2), ["Li"]), (Walk(), ["S"])):
        expected = read_paths(type(source)(seed=2 if species == ["Li"] else 1), species)
        found = read_paths(source, species, scratch=tmp_path)
        np.testing.assert_array_equal(found.positions, expected.positions)
        del found  # holds the folder


def test_a_finished_folder_is_used_as_it_is(tmp_path: Path) -> None:
    first = read_paths(Walk(), ["Li"], scratch=tmp_path).positions
    source = Walk()
    np.testing.assert_array_equal(read_paths(source, ["Li"], scratch=tmp_path).positions, first)
    assert source.read == [0, N - 1]  # what it is, and whether its last frame is still there


class Changed(Walk):
    """Another run from the same first frames on."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = self.positions.copy()
        self.positions[2:] = (self.positions[2:] + 1.0) % 10.0


class Slower(Walk):
    """The same frames, said to be further apart."""

    def __init__(self) -> None:
        super().__init__()
        self.times_fs = 2 * self.times_fs


@pytest.mark.parametrize("other", [Changed, Slower])
def test_runs_that_begin_alike_are_told_apart(other: type[Walk], tmp_path: Path) -> None:
    """Temperatures that start from one structure, and a time step that was corrected."""
    read_paths(Walk(), ["Li"], scratch=tmp_path)
    found, expected = read_paths(other(), ["Li"], scratch=tmp_path), read_paths(other(), ["Li"])
    np.testing.assert_array_equal(found.positions, expected.positions)
    assert found.interval_fs == expected.interval_fs


def test_one_reader_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    held = read_paths(Walk(), ["Li"], scratch=tmp_path)
    with pytest.raises(StructureError, match="another process writes"):
        read_paths(Walk(), ["Li"], scratch=tmp_path)
    of_lithium = held.of("Li")
    del held
    assert of_lithium.read(slice(0, 1)).shape == (1, 3, N)


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StructureError, match="not limbeck's"):
        Scratch(tmp_path, "x")
    assert (tmp_path / "thesis.tex").read_text() == "x"
