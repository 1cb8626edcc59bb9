"""``limbeck diffusion`` on files: extended XYZ and LAMMPS dumps, numbers, words, mistakes."""

import json
import subprocess
import sys

import ase.io
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError, MissingFileError, StructureError
from limbeck.core.rng import stream
from limbeck.workflows.diffusion.analyze import analyze_run
from limbeck.workflows.diffusion.config import AnalysisSettings, SourceSettings
from limbeck.workflows.diffusion.show import show_run

N, IONS, SIZE = 400, 10, 12.0


def analyze(path, species, **source):
    """Analysis of one file."""
    return analyze_run(SourceSettings(path=str(path), **source), AnalysisSettings(species=species))


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
    found = analyze(xyz, ["Li"], temperature_K=600.0, interval_fs=20.0)
    truth = 0.5 * 0.09 / 20.0 * 0.1  # D = s^2 / (2 dt), in cm^2/s
    row = found["species"]["Li"]
    low, high = row["diffusion"]["interval_95"]
    assert low < truth < high
    assert row["ions"] == IONS
    assert found["reference"] == "host"
    low, high = found["haven_ratio"]["interval_95"]
    assert low < 1.0 < high
    other = analyze(dump, ["Li"], temperature_K=600.0, elements=["Li", "S"], timestep_fs=2.0)
    assert other["species"]["Li"]["diffusion"]["value"] == pytest.approx(row["diffusion"]["value"], rel=1e-6)
    assert other["conductivity"]["value"] == pytest.approx(found["conductivity"]["value"], rel=1e-6)


def test_words_and_json_hold_the_numbers(xyz):
    command = ["diffusion", str(xyz), "--species", "Li", "--temperature_K", "600", "--interval_fs", "20"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    for part in ("Li (10 ions, ", "cm^2/s", "mS/cm", "Haven ratio", "Li +1", "the host's center of mass", "95 %:"):
        assert part in said.output
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert show_run(found).strip() == said.stdout.strip()


def test_what_has_no_bound_is_none_in_json_and_said_in_words(tmp_path):
    """A vibration: the conductivity may be zero, so the Haven ratio has no upper end, and JSON knows no infinity."""
    rng = stream(2, "still")
    cell = rng.uniform(0, SIZE, (IONS + 4, 3))
    frames = [
        Atoms(f"Li{IONS}S4", cell + 0.1 * rng.normal(size=cell.shape), cell=3 * [SIZE], pbc=True) for _ in range(80)
    ]
    ase.io.write(tmp_path / "still.extxyz", frames)
    found = analyze(tmp_path / "still.extxyz", ["Li"], temperature_K=600.0, interval_fs=20.0)
    assert None in found["haven_ratio"]["interval_95"]
    assert "no bound" in show_run(found)
    json.dumps(found, allow_nan=False)


def test_without_a_temperature_there_is_no_conductivity(xyz):
    found = analyze(xyz, ["Li", "S"], interval_fs=20.0)
    assert set(found["species"]) == {"Li", "S"}
    assert found["reference"] == "total"
    assert "conductivity" not in found


def test_mistakes_are_one_clear_error(xyz, dump, tmp_path):
    with pytest.raises(StructureError, match="no atom is Na"):
        analyze(xyz, ["Na"], interval_fs=20.0)
    with pytest.raises(StructureError, match="time_fs"):
        analyze(xyz, ["Li"])
    with pytest.raises(StructureError, match="--elements Li,P,S --timestep_fs 1"):
        analyze(dump, ["Li"])
    command = ["diffusion", str(dump), "--species", "Li", "--elements", "Li,S", "--timestep_fs", "-2"]
    outcome = CliRunner().invoke(app, command)
    assert isinstance(outcome.exception, ConfigError)
    assert "timestep_fs" in str(outcome.exception)
    with pytest.raises(MissingFileError, match=r"none\.xyz"):
        analyze(tmp_path / "none.xyz", ["Li"])
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(StructureError):
        analyze(tmp_path / "empty.xyz", ["Li"], interval_fs=1.0)
    ase.io.write(tmp_path / "short.extxyz", ase.io.read(xyz, ":5"))
    with pytest.raises(ConfigError, match="at least 9 frames, got 5"):
        analyze(tmp_path / "short.extxyz", ["Li"], interval_fs=1.0)
    command = ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20"]
    outcome = CliRunner().invoke(app, [*command, "--charge", "Li"])
    assert isinstance(outcome.exception, ConfigError)
    assert "write it as Li=1" in str(outcome.exception)
    assert CliRunner().invoke(app, [*command, "--reference", "hosts"]).exit_code == 2


def test_several_temperatures_give_laws_and_a_report(tmp_path, paths):
    rng = stream(3, "laws")
    steps = 0.3 * rng.normal(size=(N, IONS + 4, 3))
    steps[:, IONS:] = 0
    walk = np.concatenate([paths[:1], paths[:1] + np.cumsum(steps, axis=0)])
    runs = []
    ase.io.write(tmp_path / "start.extxyz", Atoms(f"Li{IONS}S4", paths[0], cell=3 * [SIZE], pbc=True))
    for t in (500, 600, 700, 800, 900):
        scale = np.exp(-0.1 / 8.617333262e-5 * (1 / t - 1 / 900))
        sign = rng.choice([-1.0, 1.0], size=(1, IONS + 4, 3))
        np.save(tmp_path / f"{t}.npy", walk[:1] + sign * scale * (walk - walk[:1]))
        runs.append(f"  - {{path: {t}.npy, temperature_K: {t}.0, interval_fs: 20.0, structure: start.extxyz}}")
    config = tmp_path / "li.yaml"
    config.write_text("name: li\nspecies: [Li]\nruns:\n" + "\n".join(runs) + "\n")
    said = CliRunner().invoke(app, ["diffusion", str(config), "-o", str(tmp_path / "out")])
    assert said.exit_code == 0, said.output
    assert "at 300 K" in said.stdout
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    energy = found["laws"]["D_Li"]["energy"]
    assert energy["value"] == pytest.approx(0.2, abs=1e-6)  # the same walk scaled: D has no scatter about the law
    assert found["laws"]["D_Li"]["vtf"]["verdict"]
    rows = {row["id"]: row for row in json.loads((tmp_path / "out" / "metrics.json").read_text())}
    assert {"li-500K-D-Li", "li-conductivity-activation", "li-conductivity-300K"} <= set(rows)
    page = (tmp_path / "out" / "report.html").read_text()
    for part in ("activation energy", "Haven ratio", "figure-msd", "figure-law-conductivity", "95 %"):
        assert part in page
    for name in ("table.md", "table.tex", "figures/msd.pdf", "figures/arrhenius-D_Li.png"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    assert r"\toprule" in (tmp_path / "out" / "table.tex").read_text()
    stamp = (tmp_path / "out" / "runs" / "002.json").stat().st_mtime_ns
    CliRunner().invoke(app, ["diffusion", str(config), "-o", str(tmp_path / "out")])
    assert (tmp_path / "out" / "runs" / "002.json").stat().st_mtime_ns == stamp


def test_a_typo_in_the_file_is_told_with_its_line(tmp_path):
    (tmp_path / "li.yaml").write_text("name: li\nspecies: [Li]\nruns:\n  - {path: a.npy, temprature_K: 500.0}\n")
    outcome = CliRunner().invoke(app, ["diffusion", str(tmp_path / "li.yaml")])
    assert isinstance(outcome.exception, ConfigError)
    assert "temperature_K" in str(outcome.exception)
    assert "li.yaml:4" in str(outcome.exception)


def test_velocities_agree_with_displacements(tmp_path):
    """Langevin particles: both relations give kT / (m gamma)."""
    rng = stream(4, "langevin")
    n, ions, step, memory, speed = 6000, 24, 2.0, 100.0, 0.005
    keep = np.exp(-step / memory)
    v = np.empty((n, ions + 1, 3))
    v[0] = speed * rng.normal(size=(ions + 1, 3))
    for k in range(1, n):
        v[k] = keep * v[k - 1] + speed * np.sqrt(1 - keep**2) * rng.normal(size=(ions + 1, 3))
    v[:, ions:] = 0
    r = rng.uniform(0, SIZE, (ions + 1, 3)) + np.cumsum(v, axis=0) * step
    frames = []
    for position, velocity in zip(r, v, strict=True):
        atoms = Atoms(f"Li{ions}S", position, cell=3 * [SIZE], pbc=True)
        atoms.set_velocities(velocity / ase.units.fs)
        frames.append(atoms)
    ase.io.write(tmp_path / "run.traj", frames)
    source = SourceSettings(path=str(tmp_path / "run.traj"), interval_fs=step)
    result = analyze_run(source, AnalysisSettings(species=["Li"], green_kubo=True))
    found = result["species"]["Li"]["green_kubo"]
    assert found["coefficient"]["value"] == pytest.approx(0.1 * speed**2 * memory, rel=0.15)
    assert found["is_converged"]
    assert abs(found["differs_by_standard_errors"]) < 3
    assert "from velocities" in show_run(result)


def test_the_folder_of_a_run_of_limbeck_says_all_that_is_needed(dump, tmp_path):
    (tmp_path / "trajectory.lammpstrj").write_bytes(dump.read_bytes())
    record = {"elements": ["Li", "S"], "timestep_fs": 2.0, "settings": {"temperature_K": 600.0}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    said = CliRunner().invoke(app, ["diffusion", str(tmp_path), "--species", "Li"])
    assert said.exit_code == 0, said.output
    assert "at 600 K" in said.stdout
    other = CliRunner().invoke(app, ["diffusion", str(tmp_path), "--species", "Li", "--temperature_K", "700"])
    assert "at 700 K" in other.stdout
    (tmp_path / "run.json").unlink()
    outcome = CliRunner().invoke(app, ["diffusion", str(tmp_path), "--species", "Li"])
    assert isinstance(outcome.exception, MissingFileError)
    assert "no finished run" in str(outcome.exception)


def test_a_window_of_ones_own_is_used_and_judged(xyz):
    command = ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20", "--window_fs", "40,1000", "--json"]
    row = json.loads(CliRunner().invoke(app, command).stdout)["species"]["Li"]
    assert row["window_fs"] == [40.0, 1000.0]
    assert row["window_reason"].startswith("as given")
    for wrong in ("1000,40", "40", "x,50", "40,1e9", "40,50"):
        outcome = CliRunner().invoke(app, [*command[:-2], wrong])
        assert isinstance(outcome.exception, ConfigError), wrong


def test_options_beside_a_file_and_charges_of_others_are_told(tmp_path, xyz):
    (tmp_path / "li.yaml").write_text("name: li\nspecies: [Li]\nruns:\n  - {path: a.npy}\n")
    outcome = CliRunner().invoke(app, ["diffusion", str(tmp_path / "li.yaml"), "--species", "Li", "--every", "2"])
    assert "--species, --every cannot be given beside a file" in str(outcome.exception)
    command = ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20", "--temperature_K", "600"]
    outcome = CliRunner().invoke(app, [*command, "--charge", "Na=1"])
    assert "a charge is given for Na" in str(outcome.exception)
    outcome = CliRunner().invoke(app, [*command, "--charge", "Li=0"])
    assert isinstance(outcome.exception, StructureError)
    outcome = CliRunner().invoke(app, ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20", "--green-kubo"])
    assert isinstance(outcome.exception, StructureError)


def test_an_error_that_is_its_own_cause_does_not_hang(xyz):
    """The command as a process: the message, exit status 1, and an end."""
    command = [sys.executable, "-m", "limbeck", "diffusion", str(xyz), "--species", "Li", "--interval_fs", "20",
               "--temperature_K", "600", "--charge", "Li=0"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Error:" in done.stderr


def test_what_is_not_diffusive_or_not_above_its_error_is_in_no_law(tmp_path):
    rng = stream(5, "laws")
    start = Atoms("Li10S4", rng.uniform(0, SIZE, (14, 3)), cell=3 * [SIZE], pbc=True)
    ase.io.write(tmp_path / "start.extxyz", start)
    runs = []
    for t, scale in ((500, 0.1), (700, 0.3), (900, 0.6)):
        steps = (
            scale * rng.normal(size=(N, 14, 3))
            if t > 500
            else np.broadcast_to(0.1 * rng.normal(size=(14, 3)), (N, 14, 3))
        )
        steps = np.array(steps)
        steps[:, IONS:] = 0
        np.save(tmp_path / f"{t}.npy", start.positions + np.cumsum(steps, axis=0))
        runs.append(f"  - {{path: {t}.npy, temperature_K: {t}.0, interval_fs: 20.0, structure: start.extxyz}}")
    (tmp_path / "li.yaml").write_text("name: li\nspecies: [Li]\nextrapolate_K: []\nruns:\n" + "\n".join(runs) + "\n")
    said = CliRunner().invoke(app, ["diffusion", str(tmp_path / "li.yaml"), "-o", str(tmp_path / "out")])
    assert said.exit_code == 0, said.output
    law = json.loads((tmp_path / "out" / "results.json").read_text())["laws"]["D_Li"]
    assert [p["temperature_K"] for p in law["points"]] == [700, 900]
    assert any("500 K is left out: not diffusive" in w for w in law["warnings"])


def test_line_and_error_that_were_asked_for_are_those_that_count(xyz):
    command = ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20", "--temperature_K", "600", "--json"]
    best = json.loads(CliRunner().invoke(app, command).stdout)["species"]["Li"]
    assert set(best["errors_cm2_per_s"]) == {"covariance", "particles", "time", "both"}
    for kind, error in best["errors_cm2_per_s"].items():
        found = json.loads(CliRunner().invoke(app, [*command, "--errors", kind]).stdout)
        row = found["species"]["Li"]["diffusion"]
        assert row["value"] == best["diffusion"]["value"]
        assert row["standard_error"] == pytest.approx(error, rel=1e-9), kind
        assert {"both": "together", "time": "of time", "particles": "of particles", "covariance": "walks"}[kind] in (
            row["method"]
        )
        assert found["conductivity"]["standard_error"] > 0  # of one coordinate: no blocks of particles
    window = ["--window_fs", "400,4000"]
    customary = json.loads(CliRunner().invoke(app, [*command, *window, "--line", "ordinary"]).stdout)["species"]["Li"]
    ours = json.loads(CliRunner().invoke(app, [*command, *window]).stdout)["species"]["Li"]
    assert customary["diffusion"]["method"].startswith("ordinary least squares")
    assert customary["errors_cm2_per_s"]["covariance"] > 1.2 * ours["errors_cm2_per_s"]["covariance"]
    few = [*command[:-1], "--every", "20"]  # 21 frames: no blocks of time
    outcome = CliRunner().invoke(app, [*few, "--errors", "both"])
    assert isinstance(outcome.exception, ConfigError)
    assert "the run is too short" in str(outcome.exception)


def test_options_of_a_hop_and_of_the_wanted_error(xyz):
    command = ["diffusion", str(xyz), "--species", "Li", "--interval_fs", "20", "--json"]
    found = json.loads(CliRunner().invoke(app, [*command, "--hop_length_A", "4", "--target", "0.05"]).stdout)
    usual = json.loads(CliRunner().invoke(app, command).stdout)
    row, other = found["species"]["Li"], usual["species"]["Li"]
    assert row["hop_length_A"] == 4.0
    assert row["hops"] < other["hops"]
    assert row["forecast"]["target"] == 0.05
    assert row["forecast"]["total_fs"] > other["forecast"]["total_fs"]


def test_an_analysis_is_made_again_only_if_file_or_settings_changed(xyz, tmp_path, monkeypatch):
    """Counted by the calls of the analysis itself."""
    from limbeck.workflows.diffusion import run as workflow

    calls = []
    monkeypatch.setattr(workflow, "analyze_run", lambda *a, **k: calls.append(1) or analyze_run(*a, **k))
    copy = tmp_path / "run.extxyz"
    copy.write_bytes(xyz.read_bytes())

    def once(**more):
        settings = workflow.single(
            SourceSettings(path=str(copy), interval_fs=20.0), AnalysisSettings(species=["Li"], **more), "again"
        )
        before = len(calls)
        found = workflow.run_diffusion(settings, tmp_path / "out")["runs"][0]["species"]["Li"]
        return len(calls) - before, found

    assert once()[0] == 1
    n, same = once()
    assert n == 0
    n, wider = once(hop_length_A=4.0)
    assert n == 1
    assert wider["hops"] < same["hops"]
    frames = ase.io.read(copy, ":300")
    ase.io.write(copy, frames)
    n, shorter = once(hop_length_A=4.0)
    assert n == 1
    assert shorter["diffusion"]["value"] != wider["diffusion"]["value"]
