"""The README's own lines are run: LAMMPS and ASE must take them as they stand."""

import re
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from limbeck.labels.serialize import atoms_to_dict
from limbeck.potentials.lammps_calculator import lammps_command
from limbeck.report.forge import build_report
from limbeck.report.reading import read_results, write_results
from limbeck.report.readme import ase_script, lammps_input, readme

# F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985), doi:10.1103/PhysRevB.31.5262: stands in for a student.
STILLINGER_WEBER = "Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n"


@pytest.fixture
def results(tmp_path):
    (tmp_path / "students" / "sw").mkdir(parents=True)
    (tmp_path / "students" / "sw" / "Si.sw").write_text(STILLINGER_WEBER)
    potential = {
        "student_kind": "sw", "folder": "students/sw",
        "pair_style_lines": ["pair_style sw", "pair_coeff * * {folder}/Si.sw Si"],
        "settings_lines": ["newton on", "atom_modify map array"],
        "elements": ["Si"], "files": ["Si.sw"], "teacher_file": "teacher.limbeck",
    }  # fmt: skip
    return write_results(tmp_path, {"name": "a", "potential": potential})


def code_blocks(text, language=""):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def test_lammps_runs_the_readmes_input_on_the_readmes_structure(results, tmp_path):
    text = readme(results)
    bulk("Si", cubic=True).repeat(2).write(tmp_path / "my_structure.cif")
    make_structure = next(b for b in code_blocks(text, "python") if "lammps-data" in b)
    subprocess.run([sys.executable, "-c", make_structure], cwd=tmp_path, check=True)
    script = next(b for b in code_blocks(text) if "read_data" in b)
    assert script == lammps_input(results.potential)
    (tmp_path / "in.lammps").write_text(script)
    done = subprocess.run(
        [*lammps_command(), "-in", "in.lammps", "-log", "log.txt", "-var", "steps", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "ERROR" not in done.stdout
    first = re.search(r"^\s+0\s+300\s+(\S+)", done.stdout, flags=re.M)
    assert float(first[1]) == pytest.approx(-4.336 * 64, rel=1e-3)


@pytest.mark.parametrize("cubic", [True, False])
def test_the_files_beside_the_readme_run_as_they_stand(results, tmp_path, cubic):
    crystal = atoms_to_dict(bulk("Si", a=5.43, cubic=cubic))
    potential = results.potential.model_copy(update={"structure": crystal})
    write_results(tmp_path, results.model_copy(update={"potential": potential}))
    build_report(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "lmp -in in.lammps" in text
    script = (tmp_path / "in.lammps").read_text()
    assert script in code_blocks(text)
    assert script.isascii()
    done = subprocess.run(
        [*lammps_command(), "-in", "in.lammps", "-log", "log.txt", "-var", "steps", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    first = re.search(r"^\s+0\s+300\s+(\S+)", done.stdout, flags=re.M)
    n_atoms = int(re.search(r"Loop time of .* for 20 steps with (\d+) atoms", done.stdout)[1])
    assert n_atoms >= 200
    assert float(first[1]) == pytest.approx(-4.336 * n_atoms, rel=1e-3)


def test_without_a_structure_the_readme_promises_no_file(results, tmp_path):
    build_report(tmp_path)
    assert not (tmp_path / "in.lammps").exists()
    assert "to be saved as `in.lammps`" in readme(results)


def test_the_ase_lines_name_functions_that_exist(results):
    lines = ase_script(results.potential)
    compile(lines, "readme", "exec")
    for module, name in re.findall(r"^from (limbeck\S+) import (\S+)", lines, flags=re.M):
        done = subprocess.run([sys.executable, "-c", f"from {module} import {name}"], check=False)
        assert done.returncode == 0, (module, name)
    assert 'load(Path("students/sw"))' in lines
    assert 'load_teacher(Path("teacher.limbeck"))' in lines


def test_several_elements_keep_their_order_with_masses(results):
    potential = results.potential.model_copy(update={"elements": ("O", "Mg")})
    lines = lammps_input(potential).splitlines()
    assert [line.split()[1:3] for line in lines if line.startswith("mass")] == [["1", "15.9990"], ["2", "24.3050"]]
    assert "# atom types: 1 = O, 2 = Mg" in lines


def test_the_readme_says_where_the_potential_holds_and_what_it_warns_of(run_folder):
    text = (run_folder / "README.md").read_text()
    assert "| Temperatures tested | 300 to 1000 K |" in text
    assert "| Pressures tested | −2 to 5 GPa |" in text
    assert "| Force RMSE, student | 0.0460 ± 0.0023 eV/Å |" in text
    assert "**Warning.** All numbers on this page are synthetic" in text
    assert "pair_coeff * * students/pod-large/Si.pod students/pod-large/Si_coefficients.pod Si" in text
    assert "{folder}" not in text
    for named in re.findall(r"^\| `([^`]+)`", text, flags=re.M):
        assert named.startswith(("students/pod-large/", "stages/", "dataset", "run/", "in.", "struc"))


def test_smoke_labels_are_in_the_readme(synthetic, tmp_path):
    synthetic.make(tmp_path, labels={"engine": "tblite", "production": False, "count": 3})
    assert "Smoke labels" in readme(read_results(tmp_path / "results.json"))


def test_structures_written_for_lammps_keep_the_elements_order(tmp_path, results):
    text = readme(
        results.model_copy(update={"potential": results.potential.model_copy(update={"elements": ("O", "Mg")})})
    )
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((2, 3)))
    atoms.write(tmp_path / "my_structure.cif")
    subprocess.run(
        [sys.executable, "-c", next(b for b in code_blocks(text, "python") if "lammps-data" in b)],
        cwd=tmp_path,
        check=True,
    )
    rows = (tmp_path / "structure.data").read_text().split("Atoms")[1].splitlines()
    types = [row.split()[1] for row in rows if len(row.split()) >= 5]
    assert types == ["2", "1"]
