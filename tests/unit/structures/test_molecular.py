"""XTC, TRR, DCD, NetCDF and arrays: written by MDAnalysis and NumPy, read as the walks that they were."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from limbeck.core.errors import MissingFileError, StructureError
from limbeck.core.rng import stream
from limbeck.observables.diffusion.paths import read_paths
from limbeck.structures.trajectory import open_trajectory

N, SIZE = 150, 11.0
CELL = np.array([[SIZE, 0, 0], [2.0, SIZE, 0], [1.0, -1.5, SIZE]])
SPECIES = "Li5S2"


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    paths = 4.0 + np.cumsum(0.4 * stream(1, "molecular").normal(size=(N, 7, 3)), axis=0)
    paths[:, 5:] = paths[:1, 5:]
    return paths


@pytest.fixture(scope="module")
def structure(walk: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("molecular") / "start.extxyz"
    ase.io.write(path, Atoms(SPECIES, walk[0], cell=CELL, pbc=True))
    return path


def wrapped(paths: np.ndarray) -> np.ndarray:
    return paths - np.floor(paths @ np.linalg.inv(CELL)) @ CELL


@pytest.mark.filterwarnings("ignore:Could not find netCDF4")
@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "nc"])
def test_formats_of_molecular_dynamics(ending: str, walk: np.ndarray, structure: Path, tmp_path: Path) -> None:
    MDAnalysis = pytest.importorskip("MDAnalysis")
    universe = MDAnalysis.Universe.empty(7, trajectory=True)
    path = tmp_path / f"run.{ending}"
    lengths = np.linalg.norm(CELL, axis=1)
    cosines = [CELL[a] @ CELL[b] / lengths[a] / lengths[b] for a, b in ((1, 2), (0, 2), (0, 1))]
    with MDAnalysis.Writer(str(path), 7, dt=0.02) as writer:
        for number, positions in enumerate(wrapped(walk)):
            frame = universe.trajectory.ts
            frame.positions, frame.dimensions = positions, [*lengths, *np.degrees(np.arccos(cosines))]
            frame.time, frame.frame, frame.data["dt"] = 0.02 * number, number, 0.02
            writer.write(universe.atoms)
    interval = {"interval_fs": 20.0} if ending == "dcd" else {}
    trajectory = open_trajectory(path, structure=structure, **interval)
    assert trajectory.species == ("Li",) * 5 + ("S",) * 2
    found = read_paths(trajectory, ["Li"], "none")
    assert found.interval_fs == pytest.approx(20.0, rel=1e-4)
    assert found.volume_A3 == pytest.approx(abs(np.linalg.det(CELL)), rel=1e-4)
    tolerance = 2e-2 if ending == "xtc" else 1e-4  # XTC keeps hundredths of an ångström, and steps add up
    moved = walk[:, :5] - walk[0, :5]
    np.testing.assert_allclose(np.diff(found.positions, axis=0), np.diff(moved, axis=0), atol=tolerance)
    later = list(trajectory.chunks(16, 100))
    assert sum(map(len, later)) == N - 100
    assert later[-1].share == 1.0


def test_arrays_with_a_structure(walk: np.ndarray, structure: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wrapped.npy", wrapped(walk))
    np.save(tmp_path / "unwrapped.npy", walk)
    for name, unwrapped in (("wrapped", False), ("unwrapped", True)):
        trajectory = open_trajectory(
            tmp_path / f"{name}.npy", structure=structure, interval_fs=5.0, is_unwrapped=unwrapped
        )
        found = read_paths(trajectory, ["Li"], "none")
        np.testing.assert_allclose(found.positions - found.positions[0], walk[:, :5] - walk[0, :5], atol=1e-9)


def test_xyz_without_a_cell_takes_that_of_the_structure(walk: np.ndarray, structure: Path, tmp_path: Path) -> None:
    """As CP2K writes it."""
    with (tmp_path / "run.xyz").open("w") as handle:
        for number, positions in enumerate(wrapped(walk)):
            handle.write(f"7\n i = {number}, time = {number * 0.5:.3f}, E = -1.0\n")
            for symbol, r in zip(["Li"] * 5 + ["S"] * 2, positions, strict=True):
                handle.write(f"{symbol} {r[0]:.10f} {r[1]:.10f} {r[2]:.10f}\n")
    found = read_paths(open_trajectory(tmp_path / "run.xyz", structure=structure), ["Li"], "none")
    assert found.interval_fs == 0.5
    np.testing.assert_allclose(found.positions - found.positions[0], walk[:, :5] - walk[0, :5], atol=1e-6)
    assert found.volume_A3 == pytest.approx(abs(np.linalg.det(CELL)))


def test_xdatcar(walk: np.ndarray, structure: Path, tmp_path: Path) -> None:
    frames = [Atoms(SPECIES, r, cell=CELL, pbc=True) for r in wrapped(walk[:40])]
    ase.io.write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    found = read_paths(open_trajectory(tmp_path / "XDATCAR", interval_fs=2.0), ["Li"], "none")
    np.testing.assert_allclose(found.positions - found.positions[0], walk[:40, :5] - walk[0, :5], atol=1e-5)


def test_vasprun(walk: np.ndarray, structure: Path, tmp_path: Path) -> None:
    """The layout that VASP writes; the file itself is made here, VASP is not to be had."""

    def varray(name: str, rows: np.ndarray) -> str:
        lines = "".join("<v>" + " ".join(f"{x:.12f}" for x in row) + "</v>\n" for row in rows)
        return f'<varray name="{name}">\n{lines}</varray>\n'

    def crystal(positions: np.ndarray, name: str = "") -> str:
        fractions = np.linalg.solve(CELL.T, positions.T).T % 1.0
        label = f' name="{name}"' if name else ""
        cell = f"<crystal>\n{varray('basis', CELL)}</crystal>\n"
        return f"<structure{label}>\n{cell}{varray('positions', fractions)}</structure>\n"

    kinds = "".join(f"<rc><c>{s}</c><c>{1 + (s == 'S')}</c></rc>" for s in ["Li"] * 5 + ["S"] * 2)
    steps = "".join(
        f"<calculation>{crystal(r)}{varray('forces', 0 * r)}{varray('stress', np.zeros((3, 3)))}"
        '<energy><i name="e_fr_energy">-1.0</i><i name="e_wo_entrp">-1.0</i><i name="e_0_energy">-1.0</i></energy>'
        '<scstep><energy><i name="e_fr_energy">-1.0</i><i name="e_wo_entrp">-1.0</i>'
        '<i name="e_0_energy">-1.0</i></energy></scstep></calculation>\n'
        for r in walk[:40]
    )
    (tmp_path / "vasprun.xml").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator><i name="program">vasp</i></generator>\n'
        f"<kpoints>{varray('kpointlist', np.zeros((1, 3)))}{varray('weights', np.ones((1, 1)))}</kpoints>"
        f'<atominfo><atoms>7</atoms><array name="atoms"><set>{kinds}</set></array></atominfo>\n'
        f"{crystal(walk[0], 'initialpos')}{steps}{crystal(walk[39], 'finalpos')}</modeling>\n"
    )
    found = read_paths(open_trajectory(tmp_path / "vasprun.xml", interval_fs=2.0), ["Li"], "none")
    np.testing.assert_allclose(found.positions - found.positions[0], walk[:40, :5] - walk[0, :5], atol=1e-6)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_missing_is_one_clear_error(walk: np.ndarray, structure: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "run.npy", walk)
    with pytest.raises(StructureError, match="--structure"):
        open_trajectory(tmp_path / "run.npy", interval_fs=1.0)
    with pytest.raises(StructureError, match="--interval_fs"):
        open_trajectory(tmp_path / "run.npy", structure=structure)
    with pytest.raises(MissingFileError, match=r"none\.vasp"):
        open_trajectory(tmp_path / "run.npy", structure=tmp_path / "none.vasp", interval_fs=1.0)
    np.save(tmp_path / "other.npy", walk[:, :4])
    with pytest.raises(StructureError, match="7 atoms"):
        open_trajectory(tmp_path / "other.npy", structure=structure, interval_fs=1.0)
    (tmp_path / "bad.dcd").write_bytes(b"no such thing")
    with pytest.raises(StructureError, match="time unit of a DCD"):
        open_trajectory(tmp_path / "bad.dcd", structure=structure)
    with pytest.raises(StructureError, match="not readable as DCD"):
        read_paths(open_trajectory(tmp_path / "bad.dcd", structure=structure, interval_fs=1.0), ["Li"])


def test_the_orientation_of_the_cell_is_that_of_the_structure(tmp_path: Path) -> None:
    """Such files hold lengths and angles only; a face-centered cell does not have its first vector along x."""
    MDAnalysis = pytest.importorskip("MDAnalysis")
    cell = 5.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    paths = np.cumsum(0.3 * stream(2, "fcc").normal(size=(60, 3, 3)), axis=0)
    inside = paths - np.floor(paths @ np.linalg.inv(cell)) @ cell
    ase.io.write(tmp_path / "start.extxyz", Atoms("Li3", inside[0], cell=cell, pbc=False))
    universe = MDAnalysis.Universe.empty(3, trajectory=True)
    with MDAnalysis.Writer(str(tmp_path / "run.xtc"), 3, dt=0.02) as writer:
        for number, positions in enumerate(inside):
            frame = universe.trajectory.ts
            frame.positions, frame.dimensions = positions, [5.5 * np.sqrt(2)] * 3 + [60.0] * 3
            frame.time, frame.frame = 0.02 * number, number
            writer.write(universe.atoms)
    trajectory = open_trajectory(tmp_path / "run.xtc", structure=tmp_path / "start.extxyz", interval_fs=20.0)
    assert trajectory.pbc == (True, True, True)  # the frames have a cell, whatever the structure says
    np.testing.assert_allclose(next(trajectory.chunks()).cells[0], cell, atol=1e-3)
    found = read_paths(trajectory, reference="none")
    np.testing.assert_allclose(np.diff(found.positions, axis=0), np.diff(paths, axis=0), atol=3e-2)
