"""Speed of students against their teacher, measured in one run on this machine.

    python benchmarks/student_speed.py STUDENT_FOLDER [STUDENT_FOLDER ...] [--cell cell.extxyz] [--output FILE]

The teacher is SevenNet-0: one energy-and-forces call of its ASE calculator on 512 atoms, one thread. A student runs
constant-energy dynamics in LAMMPS on 64, 512 and 4096 atoms, with 1 and 2 MPI ranks. Rounds of the teacher and of all
students alternate, so that a change of the machine's load hits both. Written are medians with their spread and, for 512
atoms on one core, the ratio. Nothing asserts a time.
"""

import argparse
import os
import shlex
import sys
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch start their threads

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read

from limbeck.core.estimate import Estimate
from limbeck.core.record import package_versions, write_json
from limbeck.core.rng import stream
from limbeck.potentials.protocols import Student
from limbeck.potentials.students import load
from limbeck.potentials.students.speed import measure_speed

SIZES = (64, 512, 4096)
RANKS = (1, 2)
TEACHER_ATOMS = 512


def repeated(cell: Atoms, n_atoms: int) -> Atoms:
    """Supercell with the number of atoms closest to ``n_atoms``, as cubic as the cell allows."""
    best: tuple[float, Atoms] | None = None
    ideal = (n_atoms / len(cell)) ** (1 / 3)
    around = range(max(1, int(ideal) - 1), int(ideal) + 3)
    for repeats in ((i, j, k) for i in around for j in around for k in around):
        size = len(cell) * repeats[0] * repeats[1] * repeats[2]
        score = abs(np.log(size / n_atoms)) + 0.01 * (max(repeats) - min(repeats))
        if best is None or score < best[0]:
            best = (score, cell.repeat(repeats))
    assert best is not None
    return best[1]


def teacher_calls(atoms: Atoms, repeats: int) -> list[float]:
    """Microseconds per atom of energy-and-forces calls of SevenNet-0, the first one not counted."""
    import torch
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calculator = SevenNetCalculator("7net-0", device="cpu")
    rng = stream(1, "teacher")
    times = []
    for number in range(repeats + 1):
        structure = atoms.copy()
        structure.positions += rng.normal(0, 0.05, structure.positions.shape)
        structure.calc = calculator
        start = time.perf_counter()
        structure.get_forces()
        if number:
            times.append(1e6 * (time.perf_counter() - start) / len(atoms))
    return times


def median(times: list[float], method: str) -> Estimate:
    """Median with the standard error of the median of a normal spread of the same median absolute deviation."""
    values = np.array(times)
    spread = 1.4826 * np.median(np.abs(values - np.median(values)))
    error = float(1.2533 * spread / np.sqrt(len(values)))
    return Estimate(float(np.median(values)), error, float(len(values)), "µs/atom/step", method)


def measure(students: dict[str, Student], cell: Atoms, rounds: int) -> tuple[list[dict], dict[str, Estimate]]:
    """Rows of all measurements, and the estimates at 512 atoms on one core by name (``teacher`` among them)."""
    times: dict[tuple[str, int, int], list[float]] = {}
    large = repeated(cell, TEACHER_ATOMS)
    for number in range(rounds):
        times.setdefault(("teacher", len(large), 1), []).extend(teacher_calls(large, 1))
        for name, student in students.items():
            for size in SIZES:
                atoms = repeated(cell, size)
                for ranks in RANKS:
                    speed = measure_speed(student, atoms, steps=max(20, 40_000 // len(atoms)), ranks=ranks, repeats=3)
                    times.setdefault((name, len(atoms), ranks), []).append(speed.value)
        sys.stderr.write(f"round {number + 1} of {rounds} done\n")
    rows, one_core = [], {}
    for (name, size, ranks), values in times.items():
        estimate = median(values, f"median of {len(values)} rounds")
        rows.append(
            {
                "id": f"student-speed-{name}-{size}-atoms-{ranks}-ranks",
                "value": estimate.value,
                "standard_error": estimate.standard_error,
                "unit": estimate.unit,
                "note": estimate.method,
            }
        )
        if size == len(large) and ranks == 1:
            one_core[name] = estimate
    return rows, one_core


def ratios(one_core: dict[str, Estimate]) -> list[dict]:
    """How many times faster than the teacher each student is, 512 atoms, one core."""
    teacher = one_core["teacher"]
    rows = []
    for name, student in one_core.items():
        if name == "teacher":
            continue
        ratio = teacher.value / student.value
        relative = np.hypot(teacher.standard_error / teacher.value, student.standard_error / student.value)
        rows.append(
            {
                "id": f"student-speedup-{name}",
                "value": ratio,
                "standard_error": float(ratio * relative),
                "unit": "1",
                "note": f"SevenNet-0 {teacher.value:.0f} against {student.value:.2f} µs/atom/step, same run, one core",
            }
        )
    return rows


def main() -> None:
    """Measure, write the rows, show them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of fitted students")
    parser.add_argument("--cell", type=Path, help="periodic cell to repeat; cubic diamond silicon where left out")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of teacher and students")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if arguments.rounds < 3:
        parser.error("--rounds must be at least 3: a median needs a spread")
    cell = read(arguments.cell) if arguments.cell else bulk("Si", "diamond", 5.46, cubic=True)
    students = {folder.resolve().name: load(folder) for folder in arguments.folders}
    load_before = os.getloadavg()[0]
    rows, one_core = measure(students, cell, arguments.rounds)
    rows += ratios(one_core)
    command = shlex.join(["python", "benchmarks/student_speed.py", *sys.argv[1:]])
    for row in rows:
        row["command"] = command
        row["note"] += f"; load before {load_before:.1f} on {os.cpu_count()} cores"
        sys.stdout.write(f"{row['id']:48} {row['value']:10.2f} ± {row['standard_error']:.2g} {row['unit']}\n")
    rows.append({"id": "student-speed-versions", "value": None, "standard_error": None, "unit": "1",
                 "command": command, "note": str(package_versions())})  # fmt: skip
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
