"""The forge's tasks: pure functions with plain arguments, run by an executor in worker processes.

Each one's product is a file (or a folder) that appears whole; a task whose product stands returns at once. Arguments
are paths and plain values, so the same call runs on this machine or on a cluster's node.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import TypeAdapter

from limbeck.core.errors import DynamicsError, StructureError, TrainingError, UnsupportedElementError
from limbeck.core.progress import FileProgress
from limbeck.core.record import locked, read_json, write_json
from limbeck.core.rng import stream
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import atoms_from_dict, canonical
from limbeck.potentials.protocols import FitHistory
from limbeck.workflows.forge.frames import read_frames, read_labelled, write_frames, write_labelled

Potential = dict[str, str]
"""How a task is told which potential to use: ``{"teacher": FILE}`` or ``{"student": FOLDER}``."""


FINDINGS = (DynamicsError, StructureError, TrainingError, UnsupportedElementError)
"""Errors that tell of a poor potential: a finding, not the end of the run. Any other tells of files or programs."""


ORPHAN_WAIT_S = 120.0
"""How long a fit waits for a process of a killed run that is still at the same folder."""


def load_potential(potential: Potential) -> Any:
    """Saved teacher or student."""
    if "teacher" in potential:
        from limbeck.potentials.teachers import load_teacher

        return load_teacher(Path(potential["teacher"]))
    from limbeck.potentials.students import load

    return load(Path(potential["student"]))


def calculator_of(potential: Potential) -> Calculator:
    """Fresh ASE calculator of a saved teacher or student."""
    calculator: Calculator = load_potential(potential).calculator()
    return calculator


def describe_teacher(settings: dict[str, Any]) -> dict[str, Any]:
    """Name of a universal teacher and the elements that it knows; fails as the teacher does where it is not there."""
    from limbeck.potentials.teachers import TeacherSettings, build_teacher

    teacher = build_teacher(TypeAdapter(TeacherSettings).validate_python(settings))
    return {"name": teacher.name, "elements": sorted(teacher.elements)}


def prepare_teacher(settings: dict[str, Any], frames_path: str | None, output: str) -> dict[str, Any]:
    """Save the universal teacher, its element energies aligned to the labels if there are any."""
    from limbeck.potentials.teachers import TeacherSettings, build_teacher

    if not Path(output).exists():
        teacher = build_teacher(TypeAdapter(TeacherSettings).validate_python(settings))
        if frames_path:
            teacher = teacher.aligned_to(read_labelled(Path(frames_path)))
        teacher.save(Path(output))
    return {"path": output}


def explore(
    potential: Potential,
    start_path: str,
    index: int,
    settings: dict[str, Any],
    temperature_K: float,
    pressure_GPa: float,
    trajectory: str,
    seed: int,
    output: str,
    progress_path: str,
) -> dict[str, Any]:
    """One molecular dynamics trajectory; ``output`` gets its frames, ``output + .record.json`` what happened.

    A student that fails on the start already gives no frames and a reason.
    """
    from limbeck.dynamics.ase_md import ExploreSettings
    from limbeck.dynamics.ase_md import explore as run_md

    record = Path(output).with_suffix(".record.json")
    if record.exists():
        known: dict[str, Any] = read_json(record)
        return known | {"path": output}
    md_settings = ExploreSettings.model_validate_json(TypeAdapter(dict[str, Any]).dump_json(settings))
    atoms = read_frames(Path(start_path))[index]
    frames: list[Atoms] = []
    try:
        result = run_md(
            atoms,
            calculator_of(potential),
            temperature_K=temperature_K,
            pressure_GPa=pressure_GPa,
            settings=md_settings,
            rng=stream(seed, "explore", trajectory),
            progress=FileProgress(progress_path, md_settings.steps, "step"),
        )
        frames, stable, reason = [canonical(frame) for frame in result.frames], result.stable, result.reason
    except FINDINGS as error:
        if "student" not in potential:
            raise
        stable, reason = False, str(error)
    for frame in frames:
        frame.info.update(trajectory=trajectory, temperature_K=temperature_K, pressure_GPa=pressure_GPa)
    write_frames(Path(output), frames)
    summary = {
        "trajectory": trajectory,
        "temperature_K": temperature_K,
        "pressure_GPa": pressure_GPa,
        "frames": len(frames),
        "stable": stable,
        "reason": reason,
        "path": output,
    }
    write_json(record, summary)
    return summary


def fit_teacher(
    teacher_path: str,
    train_path: str,
    validation_path: str,
    settings: dict[str, Any],
    seed: int,
    output: str,
    progress_path: str,
) -> dict[str, Any]:
    """Fine-tune a saved teacher; ``output`` gets the new one, ``output + .history.json`` what the fit did."""
    from limbeck.potentials.finetune import FineTuneSettings
    from limbeck.potentials.teachers import load_teacher

    history_path = Path(output).with_suffix(".history.json")
    if not (Path(output).exists() and history_path.exists()):
        train, validation = read_labelled(Path(train_path)), read_labelled(Path(validation_path))
        teacher = load_teacher(Path(teacher_path)).aligned_to(train)
        tuned, history = teacher.fit(
            train,
            validation,
            FineTuneSettings.model_validate(settings),
            seed=seed,
            progress_path=Path(progress_path),
        )
        tuned.save(Path(output))
        write_json(history_path, asdict(history))
    return {"path": output, "history": read_json(history_path)}


def evaluate(potential: Potential, frames_path: str, output: str) -> dict[str, Any]:
    """Errors of a potential against labels; ``output`` (npz) gets every predicted and reference value.

    For a student that cannot predict a frame, ``failed`` and why.
    """
    from limbeck.potentials.evaluate import error_table
    from limbeck.potentials.evaluate import evaluate as run

    table_path = Path(output).with_suffix(".json")
    if not table_path.exists():
        try:
            evaluation = run(load_potential(potential), read_labelled(Path(frames_path)))
        except FINDINGS as error:
            if "student" not in potential:
                raise
            return {"failed": str(error)}
        evaluation.save(Path(output))
        write_json(table_path, {name: asdict(value) for name, value in error_table(evaluation).items()})
    return {"points": output, "errors": read_json(table_path)}


def teacher_fingerprint(teacher_path: str, teacher_hash: str) -> Fingerprint:
    """Level of theory of labels that a teacher made: the teacher's own file decides."""
    return Fingerprint(
        engine="teacher",
        version="1",
        parameters={},
        files={Path(teacher_path).name: teacher_hash},
        theory={"teacher": teacher_hash},
    )


def label_by_teacher(teacher_path: str, teacher_hash: str, frames_path: str, output: str) -> dict[str, Any]:
    """Label frames with a saved teacher."""
    from limbeck.potentials.teachers import load_teacher

    if not Path(output).exists():
        frames = read_frames(Path(frames_path))
        fingerprint = teacher_fingerprint(teacher_path, teacher_hash)
        labelled = [
            Labelled(atoms, float(p.energy), np.asarray(p.forces), np.asarray(p.stress), fingerprint)
            for atoms, p in zip(frames, load_teacher(Path(teacher_path)).predict(frames), strict=True)
        ]
        write_labelled(Path(output), labelled)
    return {"path": output}


def fit_student(
    settings: dict[str, Any],
    train_path: str,
    validation_path: str,
    seed: int,
    folder: str,
    progress_path: str,
) -> dict[str, Any]:
    """Fit one student into ``folder``; ``failed`` and why, where the family does not suit the data."""
    target, record = Path(folder), Path(folder + ".record.json")
    with locked(Path(folder + ".lock"), wait_s=ORPHAN_WAIT_S):
        if not record.exists() or "failed" not in read_json(record):
            write_json(record, _fit_student(settings, train_path, validation_path, seed, target, progress_path))
    return {"folder": folder, **read_json(record)}


def _fit_student(
    settings: dict[str, Any], train_path: str, validation_path: str, seed: int, target: Path, progress_path: str
) -> dict[str, Any]:
    from limbeck.potentials.students import StudentSettings
    from limbeck.potentials.students import fit_student as fit

    shutil.rmtree(target, ignore_errors=True)
    family: Any = TypeAdapter(StudentSettings).validate_json(TypeAdapter(dict[str, Any]).dump_json(settings))
    train, validation = read_labelled(Path(train_path)), read_labelled(Path(validation_path))
    try:
        _, history = fit(family, train, validation, target, seed=seed, progress_path=Path(progress_path))
    except FINDINGS as error:
        return {"failed": str(error), "history": asdict(FitHistory())}
    return {"failed": "", "history": asdict(history)}


def compute_property(
    name: str, potential: Potential, structure: dict[str, Any], options: dict[str, Any], output: str
) -> dict[str, Any]:
    """One property of the crystal by one potential; see :mod:`limbeck.workflows.forge.properties`."""
    from limbeck.workflows.forge.properties import PROPERTIES

    if not Path(output).exists():
        work: Callable[[Atoms, Calculator, dict[str, Any]], dict[str, Any]] = PROPERTIES[name]
        try:
            found = work(atoms_from_dict(structure), calculator_of(potential), options)
        except FINDINGS as error:
            found = {"values": {}, "failed": str(error)}
        write_json(Path(output), found)
    result: dict[str, Any] = read_json(Path(output))
    return result


def run_student(
    student: str,
    structure: dict[str, Any],
    settings: dict[str, Any],
    folder: str,
    seed: int,
    progress_path: str,
    stable: bool,
) -> dict[str, Any]:
    """Molecular dynamics of a student in LAMMPS; resumes from its restart files.

    A student that is known not to be ``stable`` may fail: ``failed`` and why.
    """
    from limbeck.dynamics.lammps_run import run_lammps
    from limbeck.dynamics.lammps_script import RunSettings
    from limbeck.potentials.students import load

    potential = load(Path(student))
    try:
        result = run_lammps(
            potential.pair_style(),
            potential.folder,
            atoms_from_dict(structure),
            RunSettings.model_validate(settings),
            Path(folder),
            seed=seed,
            progress=Path(progress_path),
        )
    except FINDINGS as error:
        if stable:
            raise
        return {"failed": str(error)}
    return {
        "thermo": {name: values.tolist() for name, values in result.thermo.items()},
        "trajectory": str(result.trajectory_path) if result.trajectory_path else "",
        "elements": list(result.elements),
        "timestep_fs": result.timestep_fs,
        "atoms": result.n_atoms,
        "ranks": result.ranks,
        "us_per_atom_step": result.us_per_atom_step,
    }


def student_speed(student: str, structure: dict[str, Any], steps: int, output: str) -> dict[str, Any]:
    """Speed of a student in LAMMPS on one core, in microseconds per atom and step, or ``failed`` and why.

    It is measured once and kept in ``output``: a choice that rests on it is the same after a kill.
    """
    from limbeck.potentials.students import load
    from limbeck.potentials.students.speed import measure_speed

    if not Path(output).exists():
        try:
            found = asdict(measure_speed(load(Path(student)), atoms_from_dict(structure), steps))
        except FINDINGS as error:
            found = {"failed": str(error)}
        write_json(Path(output), found)
    result: dict[str, Any] = read_json(Path(output))
    return result


TEACHER_CALLS = 3
"""Calls that a teacher's speed is the median of."""
MEDIAN_FACTOR = 1.2533
"""Standard error of a median over that of a mean, for normal noise: sqrt(pi / 2)."""


def teacher_speed(teacher: str, structure: dict[str, Any], output: str) -> dict[str, Any]:
    """Speed of a teacher's energy, forces and stress on one core, in microseconds per atom and call; kept in a file."""
    from limbeck.core.estimate import Estimate
    from limbeck.potentials.teachers import load_teacher

    if not Path(output).exists():
        import torch

        atoms = atoms_from_dict(structure)
        atoms.calc = load_teacher(Path(teacher)).calculator()
        samples, threads = [], torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            atoms.get_potential_energy()
            for _ in range(TEACHER_CALLS):
                atoms.positions = atoms.positions + 0.001
                start = time.perf_counter()
                atoms.get_forces()
                samples.append((time.perf_counter() - start) / len(atoms) * 1e6)
        finally:
            torch.set_num_threads(threads)
        error = MEDIAN_FACTOR * float(np.std(samples, ddof=1) / np.sqrt(len(samples)))
        method = f"median of {TEACHER_CALLS} calls, one thread"
        found = Estimate(float(np.median(samples)), error, len(samples), "µs/atom/step", method)
        write_json(Path(output), asdict(found))
    result: dict[str, Any] = read_json(Path(output))
    return result


def nve_of_student(
    student: str,
    structure: dict[str, Any],
    temperature_K: float,
    time_ps: float,
    timestep_fs: float,
    folder: str,
    seed: int,
    progress_path: str,
    least_atoms: int,
) -> dict[str, Any]:
    """Constant-energy run of a student: drift and the energy along it, or ``failed`` and why."""
    from limbeck.dynamics.lammps_run import load_run
    from limbeck.dynamics.nve import nve_drift
    from limbeck.potentials.students import load

    try:
        drift = nve_drift(
            load(Path(student)),
            atoms_from_dict(structure),
            temperature_K=temperature_K,
            time_ps=time_ps,
            timestep_fs=timestep_fs,
            folder=Path(folder),
            seed=seed,
            least_atoms=least_atoms,
            progress=Path(progress_path),
        )
    except FINDINGS as error:
        return {"failed": str(error)}
    run = load_run(Path(folder))
    energy = run.thermo["total_energy_eV"] / run.n_atoms * 1e3
    stride = max(1, len(energy) // 500)
    return {
        "drift": asdict(drift),
        "atoms": run.n_atoms,
        "time_ps": run.thermo["time_fs"][::stride] / 1e3,
        "energy_meV_per_atom": (energy - energy[0])[::stride],
        "us_per_atom_step": run.us_per_atom_step,
    }
