"""What LAMMPS said: thermo tables, loop times, and errors turned into advice."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import DiskFullError, DynamicsError, ExecutionError, LimbeckError
from limbeck.dynamics.lammps_script import BAR_PER_GPA, THERMO_COLUMNS

_LOOP = re.compile(r"Loop time of (\S+) on (\d+) procs for (\d+) steps with (\d+) atoms")
_CPU = re.compile(r"([\d.]+)% CPU use")
_SIGNAL = re.compile(r"EXIT STRING: .*\(signal (\d+)\)")  # what mpiexec says of a rank
_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "I/O error while writing", "Error writing dump")

ADVICE = (
    (("Lost atoms", "lost atoms"), "Atoms flew away: lower timestep_fs or temperature, or check the potential."),
    (
        ("Non-numeric", "non-numeric", "nan", "NaN", "Out of range atoms", "out of range atoms"),
        "Forces or positions became NaN: two atoms came too close for the potential. Lower timestep_fs, or fit the "
        "potential on frames of this temperature and density.",
    ),
    (
        ("halt condition", "fix halt", "Fix halt"),
        "The temperature ran away: the potential is unstable here. Lower timestep_fs or temperature, or add "
        "frames from such runs to the training set.",
    ),
    (("LAMMPS restart file",), "The restart file is not usable."),
    (("Unrecognized pair style", "Unknown pair style"), "This LAMMPS was built without that pair style."),
    (("Box bounds", "box too small", "skew", "tilt"), "The cell collapsed or sheared: check pressure and potential."),
)


@dataclass(frozen=True)
class LogTable:
    """Thermo rows and timing of one LAMMPS log.

    Attributes:
        columns: Names as in the log's header.
        sections: One table (n_rows, n_columns) per ``run`` (and per restart interval inside it).
        loop_s: Wall seconds inside the loop of each finished section.
        loop_cpu_s: CPU seconds of all ranks in the loop of each finished section.
        loop_steps: Steps of each finished section.
        n_atoms: Atoms.
    """

    columns: tuple[str, ...]
    sections: tuple[Float[np.ndarray, "n_rows n_columns"], ...]
    loop_s: tuple[float, ...]
    loop_cpu_s: tuple[float, ...]
    loop_steps: tuple[int, ...]
    n_atoms: int


def parse_log(path: Path) -> LogTable:
    """Thermo tables of a LAMMPS log, also of one that was cut off; an incomplete last row is left out."""
    columns: tuple[str, ...] = ()
    sections: list[list[list[float]]] = []
    loop_s, loop_cpu_s, loop_steps, n_atoms, processes = [], [], [], 0, 1
    inside = False
    for line in path.read_text(errors="replace").splitlines(keepends=True):
        words = line.split()
        if words[:2] == ["Step", "Temp"]:
            columns, inside = tuple(words), True
            sections.append([])
        elif match := _LOOP.search(line):
            inside = False
            loop_s.append(float(match[1]))
            processes, n_atoms = int(match[2]), int(match[4])
            loop_steps.append(int(match[3]))
        elif match := _CPU.search(line):
            loop_cpu_s.append(loop_s[-1] * processes * float(match[1]) / 100.0)
        elif inside and len(words) == len(columns) and line.endswith("\n"):
            try:
                sections[-1].append([float(word) for word in words])
            except ValueError:
                continue
    tables = tuple(np.array(rows, dtype=float).reshape(-1, len(columns)) for rows in sections)
    loop_cpu_s += [float("nan")] * (len(loop_s) - len(loop_cpu_s))
    return LogTable(columns, tables, tuple(loop_s), tuple(loop_cpu_s), tuple(loop_steps), n_atoms)


def thermo_table(
    rows: Float[np.ndarray, "n_rows n_columns"], columns: tuple[str, ...], timestep_fs: float
) -> dict[str, Float[np.ndarray, " n_rows"]]:
    """Columns by name with unit (:data:`~limbeck.dynamics.lammps_script.THERMO_COLUMNS` and ``time_fs``)."""
    table = {THERMO_COLUMNS[name]: rows[:, index].copy() for index, name in enumerate(columns)}
    for name in table:
        if name.startswith("pressure"):
            table[name] = table[name] / BAR_PER_GPA
    return {"time_fs": table["step"] * timestep_fs, **table}


def failure(text: str, where: Path, code: int = 1) -> LimbeckError:
    """Error that says what LAMMPS said and what to do.

    Args:
        text: What LAMMPS wrote.
        where: Its log, named in the message.
        code: Its exit code, negative for the signal that ended it.

    Returns:
        A :class:`DiskFullError` where there was no space left, an :class:`ExecutionError` where LAMMPS was killed from
        outside (neither says anything about the potential), else a :class:`DynamicsError`.
    """
    said = error_lines(text)
    last = said[0] if said else (text.strip().splitlines() or ["nothing"])[-1]
    if any(words in last for words in _NO_SPACE):
        return DiskFullError(
            f"LAMMPS stopped: {last} The disk is full, or cannot be written. Free some space, then run again: it goes "
            f"on from the last restart file. (log: {where})"
        )
    ended_by = -code if code < 0 else next((int(n) for n in _SIGNAL.findall(text)), 0)
    if not said and ended_by in _OUTSIDE:
        name = signal.Signals(ended_by).name
        memory = " (out of memory?)" if ended_by == signal.SIGKILL else ""
        return ExecutionError(
            f"LAMMPS was killed by {name}{memory}. Run again: it goes on from the last restart file. (log: {where})"
        )
    advice = next((what for words, what in ADVICE if any(w in last for w in words)), "See the log.")
    return DynamicsError(f"LAMMPS stopped: {last} {advice} (log: {where})")


def error_lines(text: str) -> list[str]:
    """Lines in which LAMMPS tells an error."""
    return [line.strip() for line in text.splitlines() if line.lstrip().startswith("ERROR")]


def restart_is_damaged(text: str) -> bool:
    """Whether LAMMPS stopped since the restart file that it was reading is damaged (not: cannot be opened)."""
    said = error_lines(text)[:1]
    return any("read_restart.cpp" in line and "Cannot open" not in line for line in said)
