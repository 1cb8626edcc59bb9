"""Runs a student in LAMMPS as a process of its own, resumably, and reads back what it did."""

import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import DynamicsError, ExecutionError, MissingFileError
from limbeck.core.progress import FileProgress
from limbeck.core.record import (
    disk_full_told,
    hash_file,
    hash_of,
    locked,
    read_json,
    sync_folder,
    write_json,
    write_text,
)
from limbeck.dynamics.lammps_log import failure, parse_log, restart_is_damaged, thermo_table
from limbeck.dynamics.lammps_script import (
    DATA_FILE,
    POTENTIAL_FOLDER,
    Phase,
    RunSettings,
    dump_name,
    input_script,
    restart_name,
    supercell,
)
from limbeck.potentials.lammps_calculator import data_file, lammps_process
from limbeck.structures.check import check_structure
from limbeck.structures.lammps_dump import LammpsTrajectory, iterate_dump

if TYPE_CHECKING:
    from limbeck.potentials.protocols import PairStyle

PRODUCT = "run.json"
TRAJECTORY = "trajectory.lammpstrj"
THERMO = "thermo.csv"
LOCK = "run.lock"
LOCK_WAIT_S = 120.0
"""How long an earlier process in the same folder is waited for: longer than an orphan of a killed driver lives."""


@dataclass(frozen=True)
class RunResult:
    """A finished LAMMPS run. Tables and trajectory cover production only; time zero is its start.

    Attributes:
        folder: Where script, data file, potential, logs and products lie.
        thermo: Column name with unit -> values, one a row: ``time_fs``, ``step``, ``temperature_K``,
            ``potential_energy_eV``, ``total_energy_eV``, ``pressure_GPa``, ``volume_A3`` ...
        trajectory_path: LAMMPS dump with ``id type x y z ix iy iz vx vy vz``, or ``None`` if none was asked for.
        elements: Chemical symbols of the types in the dump.
        timestep_fs: Time step.
        n_atoms: Number of atoms.
        ranks: MPI ranks.
        wall_s: Wall seconds of the process that finished the run; of processes killed before, their time loops.
        cpu_s: CPU seconds inside the time loops, all ranks.
        loop_s: Wall seconds inside the time loops.
        us_per_atom_step: ``loop_s`` per atom and step, in microseconds.
    """

    folder: Path
    thermo: dict[str, Float[np.ndarray, " n_rows"]]
    trajectory_path: Path | None
    elements: tuple[str, ...]
    timestep_fs: float
    n_atoms: int
    ranks: int
    wall_s: float
    cpu_s: float
    loop_s: float
    us_per_atom_step: float

    def trajectory(self) -> LammpsTrajectory:
        """The trajectory as observables take it.

        Raises:
            MissingFileError: If the run wrote none (``dump_every: 0``).
        """
        if self.trajectory_path is None:
            raise MissingFileError(f"{self.folder}: the run wrote no trajectory. Set dump_every above 0.")
        return LammpsTrajectory(self.trajectory_path, self.elements, self.timestep_fs)


def run_lammps(
    pair: "PairStyle",
    potential_folder: Path,
    atoms: Atoms,
    settings: RunSettings,
    folder: Path,
    *,
    seed: int,
    progress: FileProgress | Path | None = None,
) -> RunResult:
    """Run molecular dynamics with LAMMPS.

    The folder afterwards holds ``in.lammps``, ``start.data`` and ``potential/``, which a user can rerun by hand, and
    the products. A finished run is read back, not repeated; a killed one goes on from its last restart file; a run
    with other inputs in the same folder starts over. Two processes never work in one folder: LAMMPS itself holds the
    folder's lock as long as it lives.

    Args:
        pair: The potential as LAMMPS is told of it.
        potential_folder: Folder that holds ``pair.files``.
        atoms: The structure; repeated as the settings say.
        settings: The run.
        folder: Where to work; made if needed.
        seed: Seed of the velocities.
        progress: A bar, or the path of a progress file.

    Returns:
        The result.

    Raises:
        DynamicsError: If the run explodes, loses atoms, becomes NaN, or LAMMPS refuses the input, with its words.
        DiskFullError: If there is no space left; restart files are kept.
        ExecutionError: If another process works in the folder and does not end, if LAMMPS was killed, or if steps are
            missing in what it wrote; says nothing about the potential.
        MissingFileError: If a file of the potential is not there.
        MissingDependencyError: If ``lmp`` (or ``mpiexec``) is not installed.
        UnsupportedElementError: If the potential does not know an element.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = supercell(atoms, settings)
    check_structure(start)
    with disk_full_told(folder), locked(folder / LOCK, wait_s=LOCK_WAIT_S) as lock:
        key = _prepare(pair, Path(potential_folder), start, settings, folder, seed)
        product = folder / PRODUCT
        if not product.is_file():
            total = settings.equilibration_steps + settings.steps
            bar = FileProgress(progress, total, "steps") if isinstance(progress, Path) else progress
            last_wall_s = _run_to_end(pair, start, settings, folder, seed, bar or FileProgress(None, total), lock)
            _finish(pair, start, settings, folder, key, last_wall_s)
        return load_run(folder)


def load_run(folder: Path) -> RunResult:
    """Result of a finished run.

    Raises:
        MissingFileError: If there is none in the folder.
    """
    folder = Path(folder)
    if not (folder / PRODUCT).is_file():
        raise MissingFileError(f"{folder}: no finished run ({PRODUCT} is missing). Run it again; it resumes.")
    saved = read_json(folder / PRODUCT)
    rows = np.loadtxt(folder / THERMO, delimiter=",", skiprows=1, ndmin=2)
    names = (folder / THERMO).read_text().split("\n", 1)[0].split(",")
    return RunResult(
        folder=folder,
        thermo={name: rows[:, index] for index, name in enumerate(names)},
        trajectory_path=folder / TRAJECTORY if saved["has_trajectory"] else None,
        elements=tuple(saved["elements"]),
        timestep_fs=saved["timestep_fs"],
        n_atoms=saved["n_atoms"],
        ranks=saved["ranks"],
        wall_s=saved["wall_s"],
        cpu_s=float("nan") if saved["cpu_s"] is None else saved["cpu_s"],
        loop_s=saved["loop_s"],
        us_per_atom_step=saved["us_per_atom_step"],
    )


def _prepare(
    pair: "PairStyle", potential_folder: Path, start: Atoms, settings: RunSettings, folder: Path, seed: int
) -> str:
    """Write what does not depend on progress; clear the folder of another run's files. Returns the run's hash."""
    data = data_file(start, pair.elements)
    script = input_script(pair, start, settings, seed=seed)
    hashes = {}
    for name in pair.files:
        if not (potential_folder / name).is_file():
            raise MissingFileError(f"{potential_folder / name}: a file of the potential is missing. Fit it again.")
        hashes[name] = hash_file(potential_folder / name)
    key = hash_of([data, script, hashes, settings.ranks, settings.threads])
    marker = folder / "run.key"
    if not (marker.is_file() and marker.read_text() == key):
        for pattern in ("*.restart", "*.lammpstrj", "log.*", PRODUCT, THERMO, "in.*"):
            for path in folder.glob(pattern):
                path.unlink()
        (folder / POTENTIAL_FOLDER).mkdir(exist_ok=True)
        for name in pair.files:
            with disk_full_told(folder / POTENTIAL_FOLDER / name):
                shutil.copyfile(potential_folder / name, folder / POTENTIAL_FOLDER / name)
        write_text(folder / DATA_FILE, data)
        write_text(folder / "in.lammps", script)
        write_text(marker, key)
    return key


def _restarts(folder: Path) -> list[tuple[Phase, int]]:
    """Restart files there are, the furthest first."""
    found: list[tuple[Phase, int]] = []
    for path in folder.glob("*.restart"):
        match = re.fullmatch(r"(equilibration|production)\.(\d+)\.restart", path.name)
        if match:
            found.append((match[1], int(match[2])))  # type: ignore[arg-type]
    return sorted(found, key=lambda item: (item[0] == "production", item[1]), reverse=True)


def _run_to_end(
    pair: "PairStyle", start: Atoms, settings: RunSettings, folder: Path, seed: int, bar: FileProgress, lock: int
) -> float:
    """Run what is left to run; returns the wall seconds that it took."""
    for stale in _restarts(folder)[2:]:
        (folder / restart_name(*stale)).unlink()
    resume = next(iter(_restarts(folder)), None)
    if resume == ("production", settings.steps):
        return 0.0
    phase, step = resume or ("equilibration", 0)
    script = "in.lammps"
    if resume:
        script = f"in.resume.{phase}.{step}"
        write_text(folder / script, input_script(pair, start, settings, seed=seed, resume=resume))
    for part in folder.glob("production.*.lammpstrj"):
        if phase == "equilibration" or int(part.name.split(".")[1]) >= step:
            part.unlink()  # will be written again
    log = folder / f"log.{len(list(folder.glob('log.*'))):03d}.{phase}.{step}"
    began = time.perf_counter()
    code, said = _execute(["-in", script, "-log", log.name], folder, settings, _watcher(settings, phase, bar), lock)
    if code != 0:
        if resume and restart_is_damaged(said):
            (folder / restart_name(*resume)).unlink()  # the one before it is tried
            return _run_to_end(pair, start, settings, folder, seed, bar, lock)
        raise failure(said, log, code)
    bar.set(settings.equilibration_steps + settings.steps, "done")
    return time.perf_counter() - began


def _watcher(settings: RunSettings, phase: Phase, bar: FileProgress) -> Callable[[str], None]:
    """Follows the thermo rows on the screen; production starts where the step falls back to zero."""
    state = {"offset": 0 if phase == "equilibration" else settings.equilibration_steps, "last": -1}

    def watch(line: str) -> None:
        words = line.split()
        if len(words) < 10 or not words[0].isdigit():
            return
        step = int(words[0])
        if step < state["last"]:
            state["offset"] = settings.equilibration_steps
        state["last"] = step
        bar.set(state["offset"] + step, f"T {float(words[1]):.0f} K")

    return watch


def _execute(
    arguments: Sequence[str], folder: Path, settings: RunSettings, watch: Callable[[str], None], lock: int
) -> tuple[int, str]:
    """Run LAMMPS in a folder, hand on its lines, return its exit code and the last lines.

    It inherits the descriptor of the folder's lock; ranks under ``mpiexec`` do, too.
    """
    command, environment = lammps_process(settings.ranks, settings.threads)
    tail: list[str] = []
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
        preexec_fn=functools.partial(_die_with, os.getpid()) if sys.platform == "linux" else None,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            watch(line)
            tail = [*tail[-400:], line]
        return process.wait(), "".join(tail)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with(parent: int) -> None:
    """Ask Linux to end LAMMPS when this process is killed, so that no orphan goes on writing into the folder."""
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it was killed a moment ago


def _finish(pair: "PairStyle", start: Atoms, settings: RunSettings, folder: Path, key: str, last_wall_s: float) -> None:
    """Join the parts of all attempts and write the products, ``run.json`` last."""
    production: dict[int, np.ndarray] = {}
    columns: tuple[str, ...] = ()
    loop_s, cpu_s, steps, earlier_s = 0.0, 0.0, 0, 0.0
    for path in sorted(folder.glob("log.*")):
        log = parse_log(path)
        earlier_s = loop_s
        columns = log.columns or columns
        loop_s, cpu_s, steps = loop_s + sum(log.loop_s), cpu_s + sum(log.loop_cpu_s), steps + sum(log.loop_steps)
        in_production = ".production." in path.name or settings.equilibration_steps == 0
        last_step = -1.0
        for index, section in enumerate(log.sections):
            if index and len(section) and section[0, 0] < last_step:
                in_production = True
            last_step = section[-1, 0] if len(section) else last_step
            if in_production:
                production.update({int(row[0]): row for row in section})
    rows = np.array([production[step] for step in sorted(production) if step <= settings.steps])
    if not np.all(np.isfinite(rows)):
        raise DynamicsError(
            f"the run became NaN (logs in {folder}). Lower timestep_fs or temperature, or check the potential."
        )
    _require_complete(production, settings, folder)
    table = thermo_table(rows, columns, settings.timestep_fs)
    has_trajectory = settings.dump_every > 0
    header = ",".join(table)
    body = "\n".join(",".join(f"{value:.12g}" for value in row) for row in np.stack(list(table.values()), axis=1))
    write_text(folder / THERMO, f"{header}\n{body}\n")
    write_json(
        folder / PRODUCT,
        {
            "key": key,
            "has_trajectory": has_trajectory,
            "elements": list(pair.elements),
            "timestep_fs": settings.timestep_fs,
            "n_atoms": len(start),
            "ranks": settings.ranks,
            "settings": settings.model_dump(mode="json"),
            "wall_s": last_wall_s + earlier_s,
            "cpu_s": cpu_s,
            "loop_s": loop_s,
            "us_per_atom_step": 1e6 * loop_s / max(steps * len(start), 1),
        },
    )
    for path in [*folder.glob("*.restart"), *folder.glob("production.*.lammpstrj")]:
        path.unlink()


def _require_complete(production: dict[int, np.ndarray], settings: RunSettings, folder: Path) -> None:
    """Join the trajectory, and refuse a run in which a thermo row or a frame is missing.

    Restart files beyond the first missing step are removed, so that a rerun writes it.
    """
    wanted = [*range(0, settings.steps, settings.thermo_every), settings.steps]
    missing = {"thermo rows": [step for step in wanted if step not in production]}
    if settings.dump_every:
        there = set(join_dumps(folder))
        missing["frames"] = [step for step in range(0, settings.steps + 1, settings.dump_every) if step not in there]
    missing = {what: steps for what, steps in missing.items() if steps}
    if not missing:
        return
    first = min(steps[0] for steps in missing.values())
    for phase, step in _restarts(folder):
        if phase == "production" and step > first:
            (folder / restart_name(phase, step)).unlink()
    told = " and ".join(f"{len(steps)} {what}" for what, steps in missing.items())
    raise ExecutionError(
        f"{folder}: LAMMPS reached the end, but {told} are missing in its files, the first at step {first} of "
        f"{settings.steps}. Was the disk full, or a file removed? Free some space, then run again: it goes on from "
        "the last restart file before that step."
    )


def join_dumps(folder: Path) -> tuple[int, ...]:
    """Join the parts of the trajectory of all attempts into one file, each step once, in order.

    Returns:
        Steps of the frames in the joined file, which appears whole or not at all.

    Raises:
        DiskFullError: If there is no space left.
    """
    parts = sorted(int(p.name.split(".")[1]) for p in folder.glob("production.*.lammpstrj"))
    unfinished = folder / f".{TRAJECTORY}.unfinished"
    steps: list[int] = []
    with disk_full_told(folder / TRAJECTORY):
        try:
            with unfinished.open("wb") as joined:
                for index, first in enumerate(parts):
                    end = parts[index + 1] if index + 1 < len(parts) else None
                    steps += _copy_frames(folder / dump_name(first), joined, end)
                joined.flush()
                os.fsync(joined.fileno())
            os.replace(unfinished, folder / TRAJECTORY)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    sync_folder(folder)
    return tuple(steps)


def _copy_frames(path: Path, joined: IO[bytes], end: int | None) -> list[int]:
    steps = []
    with path.open("rb") as handle:
        position = 0
        for frame in iterate_dump(handle):
            if end is not None and frame.step >= end:
                break
            after = handle.tell()
            handle.seek(position)
            joined.write(handle.read(after - position))
            position = after
            steps.append(frame.step)
    return steps
