"""``limbeck diffusion`` on files: extended XYZ and LAMMPS dumps, numbers, words, mistakes."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError, MissingFileError, StructureError
from limbeck.core.rng import stream
from limbeck.workflows.diffusion import analyze_diffusion, show_diffusion

N, IONS, SIZE = 400, 10, 12.0


@pytest.fixture(scope="module")
def paths():
    rng = stream(1, "ions")
    steps = 0.3 * rng.normal(size=(N, IONS, 3))
    ions = np.concatenate([np.zeros((1, IONS, 3)), np.cumsum(steps, axis=0)]) + rng.uniform(0, SIZE, (1, IONS, 3))
    host = np.repeat(rng.uniform(0, SIZE, (1, 4, 3)), N + 1, axis=0) + 0.05 * rng.normal(size=(N + 1, 4, 3))
    return np.concatenate([ions, host], axis=1)


@pytest.fixture(scope="module")
def xyz(paths, tmp_path_factory):
    path = tmp_path_factory.mktemp("xyz") / "run.extxyz"
    frames = [Atoms(f"Li{IONS}S4", p, cell=3 * [SIZE], pbc=True) for p in paths]
    for atoms in frames:
        atoms.wrap()
    ase.io.write(path, frames)
    return path


@pytest.fixture(scope="module")
def dump(paths, tmp_path_factory):
    path = tmp_path_factory.mktemp("dump") / "run.lammpstrj"
    with path.open("w") as handle:
        for k, positions in enumerate(paths):
            images = np.floor(positions / SIZE).astype(int)
            handle.write(f"ITEM: TIMESTEP\n{10 * k}\nITEM: NUMBER OF ATOMS\n{len(positions)}\n")
            handle.write("ITEM: BOX BOUNDS pp pp pp\n" + 3 * f"0 {SIZE}\n" + "ITEM: ATOMS id type x y z ix iy iz\n")
            for a, (r, n) in enumerate(zip(positions - SIZE * images, images, strict=True)):
                kind = 1 if a < IONS else 2
                handle.write(f"{a + 1} {kind} {r[0]:.12f} {r[1]:.12f} {r[2]:.12f} {n[0]} {n[1]} {n[2]}\n")
    return path


def test_the_truth_is_inside_and_both_files_say_the_same(xyz, dump):
    found = analyze_diffusion(xyz, ["Li"], temperature_K=600, interval_fs=20.0)
    truth = 0.5 * 0.09 / 20.0 * 0.1  # D = s^2 / (2 dt), in cm^2/s
    row = found["species"]["Li"]
    low, high = row["diffusion"]["interval_95"]
    assert low < truth < high
    assert row["ions"] == IONS
    assert found["reference"] == "host"
    low, high = found["haven_ratio"]["interval_95"]
    assert low < 1.0 < high
    other = analyze_diffusion(dump, ["Li"], temperature_K=600, elements=["Li", "S"], timestep_fs=2.0)
    assert other["species"]["Li"]["diffusion"]["value"] == pytest.approx(row["diffusion"]["value"], rel=1e-6)
    assert other["conductivity"]["value"] == pytest.approx(found["conductivity"]["value"], rel=1e-6)


def test_words_and_json_hold_the_numbers(xyz):
    command = ["diffusion", str(xyz), "--species", "Li", "--temperature_K", "600", "--interval_fs", "20"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    for part in ("Li (10 ions)", "cm^2/s", "mS/cm", "Haven ratio", "Li +1", "the host's center of mass", "95 %:"):
        assert part in said.output
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    assert show_diffusion(found).strip() == said.output.strip()


def test_what_has_no_bound_is_none_in_json_and_said_in_words(tmp_path):
    """A vibration: the conductivity may be zero, so the Haven ratio has no upper end, and JSON knows no infinity."""
    rng = stream(2, "still")
    cell = rng.uniform(0, SIZE, (IONS + 4, 3))
    frames = [
        Atoms(f"Li{IONS}S4", cell + 0.1 * rng.normal(size=cell.shape), cell=3 * [SIZE], pbc=True) for _ in range(80)
    ]
    ase.io.write(tmp_path / "still.extxyz", frames)
    found = analyze_diffusion(tmp_path / "still.extxyz", ["Li"], temperature_K=600, interval_fs=20.0)
    assert None in found["haven_ratio"]["interval_95"]
    assert "no bound" in show_diffusion(found)
    json.dumps(found, allow_nan=False)


def test_without_a_temperature_there_is_no_conductivity(xyz):
    found = analyze_diffusion(xyz, ["Li", "S"], interval_fs=20.0)
    assert set(found["species"]) == {"Li", "S"}
    assert found["reference"] == "total"
    assert "conductivity" not in found


def test_mistakes_are_one_clear_error(xyz, dump, tmp_path):
    with pytest.raises(StructureError, match="no atom is Na"):
        analyze_diffusion(xyz, ["Na"], interval_fs=20.0)
    with pytest.raises(StructureError, match="time_fs"):
        analyze_diffusion(xyz, ["Li"])
    with pytest.raises(StructureError, match="--elements Li,P,S --timestep_fs 1"):
        analyze_diffusion(dump, ["Li"])
    with pytest.raises(StructureError, match="time step must be above zero, got -2 fs"):
        analyze_diffusion(dump, ["Li"], elements=["Li", "S"], timestep_fs=-2.0)
    with pytest.raises(MissingFileError, match=r"none\.xyz"):
        analyze_diffusion(tmp_path / "none.xyz", ["Li"])
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(StructureError):
        analyze_diffusion(tmp_path / "empty.xyz", ["Li"], interval_fs=1.0)
    ase.io.write(tmp_path / "short.extxyz", ase.io.read(xyz, ":5"))
    with pytest.raises(ConfigError, match="at least 9 frames, got 5"):
        analyze_diffusion(tmp_path / "short.extxyz", ["Li"], interval_fs=1.0)
    command = ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20"]
    outcome = CliRunner().invoke(app, [*command, "--charge", "Li"])
    assert isinstance(outcome.exception, ConfigError)
    assert "write it as Li=1" in str(outcome.exception)
    assert CliRunner().invoke(app, [*command, "--reference", "hosts"]).exit_code == 2
