"""How fast a student is in LAMMPS, measured on this machine."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms

from limbeck.core.errors import DynamicsError, StructureError
from limbeck.core.estimate import Estimate
from limbeck.potentials.lammps_calculator import data_file, lammps_command, pair_lines
from limbeck.potentials.protocols import Student

_LOOP = re.compile(r"Loop time of ([0-9.eE+-]+) on \d+ procs for (\d+) steps with (\d+) atoms")


def measure_speed(
    student: Student,
    atoms: Atoms,
    steps: int,
    ranks: int = 1,
    *,
    repeats: int = 5,
    temperature_K: float = 600.0,
    timestep_fs: float = 1.0,
) -> Estimate:
    """Wall time of a LAMMPS step per atom: constant-energy dynamics in a process of its own, one OpenMP thread a rank.

    Neighbor lists are rebuilt as in a real run; nothing is written. The first, unmeasured run of ``steps`` heats the
    structure and the caches.

    Args:
        student: The student.
        atoms: Fully periodic structure.
        steps: Steps of each repeat.
        ranks: MPI ranks.
        repeats: Measured runs, at least 3.
        temperature_K: Initial temperature, twice of which is given as kinetic energy.
        timestep_fs: Time step.

    Returns:
        Median over repeats in µs/atom/step; the standard error is that of the median of a normal spread whose width is
        taken from the median absolute deviation.

    Raises:
        DynamicsError: If LAMMPS fails; with its own message.
        StructureError: If the structure is not periodic, or ``repeats`` is below 3.
    """
    if not np.all(atoms.pbc):
        raise StructureError("speed is measured on fully periodic structures; set pbc in all three directions")
    if repeats < 3:
        raise StructureError(f"a speed with its spread needs at least 3 repeats, got {repeats}")
    with tempfile.TemporaryDirectory(prefix="limbeck-speed-") as scratch:
        folder = Path(scratch)
        (folder / "atoms.data").write_text(data_file(atoms, student.elements))
        lines = [
            "units metal",
            "atom_style atomic",
            "boundary p p p",
            "newton on",
            "box tilt large",
            "read_data atoms.data",
            *pair_lines(student.pair_style(), Path(student.folder).resolve()),
            "neighbor 1.0 bin",
            "neigh_modify delay 0 every 5 check yes",
            f"velocity all create {2 * temperature_K} 4928 dist gaussian",
            "fix 1 all nve",
            f"timestep {timestep_fs / 1000}",
            f"thermo {steps}",
            *[f"run {steps}"] * (repeats + 1),
        ]
        (folder / "in.speed").write_text("\n".join(lines) + "\n")
        command = [*lammps_command(ranks), "-in", "in.speed", "-log", "none", "-nocite"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = _LOOP.findall(run.stdout)
    if run.returncode != 0 or len(found) != repeats + 1:
        errors = [line.strip() for line in (run.stdout + run.stderr).splitlines() if "ERROR" in line]
        raise DynamicsError(
            f"LAMMPS failed while its speed was measured: {errors[-1] if errors else run.stderr[-300:]}"
        )
    times = np.array([1e6 * float(t) / (int(n) * int(m)) for t, n, m in found[1:]])
    spread = 1.4826 * float(np.median(np.abs(times - np.median(times))))
    error = 1.2533 * spread / np.sqrt(repeats)
    method = f"median of {repeats} LAMMPS runs of {steps} steps, {len(atoms)} atoms, {ranks} MPI rank(s)"
    return Estimate(float(np.median(times)), error, float(repeats), "µs/atom/step", method)
