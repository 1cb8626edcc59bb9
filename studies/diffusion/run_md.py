"""Molecular dynamics of the study: a fitted student, a disordered block of Li6PS5Cl, several temperatures and seeds.

    .venv/bin/python studies/diffusion/run_md.py runs/argyrodite runs/argyrodite-md 450 525 600 700 800 --time_ps 1000
    .venv/bin/python studies/diffusion/run_md.py runs/argyrodite runs/argyrodite-independent 700 --runs 10 --time_ps 250

Each run is a folder ``TK-SEED`` that ``limbeck diffusion`` reads; started again, finished runs are kept and killed ones
go on. Constant pressure, 2 fs, a frame every 0.1 ps, after 50 ps. STUDENT is the folder of a forge run (its chosen
student) or a folder that holds a student.
"""

import argparse
from pathlib import Path

from ase.io import read

from limbeck.core.progress import ConsoleReporter
from limbeck.core.record import read_json
from limbeck.core.rng import integer_seed
from limbeck.dynamics.lammps_run import RunSettings
from limbeck.executors.parsl_local import ParslLocalExecutor
from limbeck.labels.serialize import atoms_to_dict
from limbeck.workflows.forge import tasks
from limbeck.workflows.tasking import Task, run_tasks

BLOCK = Path(__file__).parent / "data" / "li6ps5cl-block-208.vasp"
TIMESTEP_FS, EQUILIBRATION_PS, FRAME_PS = 2.0, 50.0, 0.1


def student_of(folder: Path) -> Path:
    """Folder of a student, or of the one that a forge run chose."""
    results = folder / "results.json"
    if not results.exists():
        return folder
    return folder / next(s["folder"] for s in read_json(results)["students"] if s["chosen"])


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("temperatures_K", type=float, nargs="+")
    parser.add_argument("--time_ps", type=float, default=1000.0)
    parser.add_argument("--runs", type=int, default=1, help="independent runs at each temperature")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    atoms, student = atoms_to_dict(read(BLOCK)), student_of(arguments.student)
    work = []
    for number in range(1, arguments.runs + 1):
        for temperature in arguments.temperatures_K:
            settings = RunSettings(
                ensemble="npt", temperature_K=temperature, timestep_fs=TIMESTEP_FS, repeat=[1, 1, 1],
                steps=round(1e3 * arguments.time_ps / TIMESTEP_FS),
                equilibration_steps=round(1e3 * EQUILIBRATION_PS / TIMESTEP_FS),
                dump_every=round(1e3 * FRAME_PS / TIMESTEP_FS), thermo_every=500, restart_every=50000,
            )  # fmt: skip
            folder = arguments.folder / f"{temperature:g}K-{number}"
            progress = folder / "lammps.progress"
            seed = integer_seed(number, "argyrodite", str(temperature))
            values = settings.model_dump(mode="json")
            work.append(
                Task(tasks.run_student, (str(student), atoms, values, str(folder), seed, str(progress), True), progress)
            )
    with ParslLocalExecutor(arguments.folder / "executor", arguments.workers) as executor:
        run_tasks(executor, ConsoleReporter(), "LAMMPS", work)


if __name__ == "__main__":
    main()
