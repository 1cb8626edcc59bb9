"""Accuracy and speed of all potentials of a run, in the form of ``results.json``."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from limbeck.core.record import hash_file, read_json, write_bytes
from limbeck.core.units import GPA
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import atoms_to_dict
from limbeck.potentials.evaluate import Evaluation
from limbeck.workflows.forge.context import crystal_of
from limbeck.workflows.forge.distil import TEACHER_LABELS
from limbeck.workflows.forge.loop import TEACHER_FILE

ERROR_NAMES = {
    "energy_RMSE_meV_per_atom": "energy_rmse",
    "energy_RMSE_without_offset_meV_per_atom": "energy_rmse_without_offset",
    "force_RMSE_eV_per_A": "force_rmse",
    "stress_RMSE_GPa": "stress_rmse",
    "worst_force_error_eV_per_A": "force_worst_1_percent",
}
ROLE_TITLES = {"zero_shot": "universal teacher", "fine_tuned": "fine-tuned teacher", "student": "student"}
SPEED_GOAL = 100.0
"""How many times faster than its teacher a student should be; drawn as a line on the front."""

POTENTIAL = "potential"
"""Folder of a run with the files to take away: the chosen student and the fine-tuned teacher."""


def evaluations_of(
    run_folder: Path, stages: dict[str, Path], summaries: dict[str, Any], labelled: dict[str, list[Labelled]]
) -> Iterator[dict[str, Any]]:
    """Errors of every potential on every set, with the points behind them in files of the run folder."""
    conditions = {
        frame.trajectory: (frame.atoms.info.get("temperature_K"), frame.atoms.info.get("pressure_GPa"))
        for frames in labelled.values()
        for frame in frames
    }
    found: list[tuple[str, str, str, Path, dict[str, Any]]] = []
    if "30-zero-shot" in summaries:
        for name, errors in summaries["30-zero-shot"]["errors"].items():
            found.append(
                (ROLE_TITLES["zero_shot"], "zero_shot", name, stages["30-zero-shot"] / f"evaluated-{name}.npz", errors)
            )
    tests = sorted(name for name in summaries if name.endswith("-c-test"))
    if tests:
        for name, errors in summaries[tests[-1]]["errors"].items():
            found.append(
                (ROLE_TITLES["fine_tuned"], "fine_tuned", name, stages[tests[-1]] / f"evaluated-{name}.npz", errors)
            )
    if "58-choose" in summaries:
        for student in summaries["58-choose"]["students"]:
            for name, errors in student["errors"].items():
                path = stages["58-choose"] / f"{student['name']}-evaluated-{name}.npz"
                found.append((f"student {student['name']}", "student", name, path, errors))
    for potential, role, name, path, errors in found:
        evaluation = Evaluation.load(path)
        yield {
            "potential": potential,
            "role": role,
            "set": name,
            "errors": {ERROR_NAMES.get(key, key): value for key, value in errors.items() if "[" not in key},
            "by_trajectory": _by_trajectory(evaluation, conditions),
            "points": _write_points(run_folder, path.stem if role == "student" else f"{role}-{name}", evaluation),
        }


def _by_trajectory(evaluation: Evaluation, conditions: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for trajectory in sorted(set(evaluation.trajectories.tolist())):
        frames = evaluation.trajectories == trajectory
        atoms = frames[evaluation.frame_of_atom]
        energy = (evaluation.energies - evaluation.reference_energies)[frames]
        force = (evaluation.forces - evaluation.reference_forces)[atoms]
        temperature_K, pressure_GPa = conditions.get(trajectory, (None, None))
        rows.append(
            {
                "trajectory": trajectory,
                "temperature_K": temperature_K,
                "pressure_GPa": pressure_GPa,
                "energy_rmse": float(np.sqrt(np.mean(energy**2)) * 1e3),
                "force_rmse": float(np.sqrt(np.mean(force**2))),
            }
        )
    return rows


def _write_points(run_folder: Path, name: str, evaluation: Evaluation) -> str:
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        energy_reference=evaluation.reference_energies,
        energy_predicted=evaluation.energies,
        force_reference=evaluation.reference_forces,
        force_predicted=evaluation.forces,
        stress_reference=evaluation.reference_stress / GPA,
        stress_predicted=evaluation.stress / GPA,
        element=np.array([chemical_symbols[z] for z in evaluation.numbers]),
    )
    relative = f"evaluations/{name}.npz"
    write_bytes(run_folder / relative, stream.getvalue())
    return relative


def students_of(run_folder: Path, stages: dict[str, Path], summaries: dict[str, Any]) -> dict[str, Any]:
    """Students with errors, speed and reasons; the chosen one goes into the folder to take away."""
    from limbeck.potentials.students import load

    choice = summaries["58-choose"]
    teacher_us = choice["teacher_speed"]["value"]
    limit = choice["limit_force_RMSE_eV_per_A"]
    rows = []
    for student in choice["students"]:
        speed = student["speed"]
        rows.append(
            {
                "name": student["name"],
                "kind": student["kind"],
                "chosen": student["name"] == choice["chosen"],
                "folder": student["folder"],
                "coefficients": None if student.get("failed") else _coefficients(run_folder / student["folder"]),
                "fit_cpu_s": student["history"]["cpu_s"],
                "microseconds_per_atom_step": speed,
                "speedup_over_teacher": _ratio(choice["teacher_speed"], speed) if speed else None,
                "errors_vs_labels": _named(student["errors"].get("test", {})),
                "errors_vs_teacher": _named(student["errors"].get(TEACHER_LABELS, {})),
                "error_ratio": student["error_ratio"],
                "meets_target": student["meets_target"],
                "why": _why(student, limit),
            }
        )
    chosen = load(run_folder / next(s["folder"] for s in choice["students"] if s["name"] == choice["chosen"]))
    pair = chosen.pair_style()
    fits = sorted(name for name in summaries if name.endswith("-b-fit"))
    publish(run_folder / POTENTIAL, [*chosen.folder.iterdir(), stages[fits[-1]] / TEACHER_FILE])
    return {
        "students": rows,
        "front_target": {
            "force_rmse_eV_per_A": limit,
            "microseconds_per_atom_step": teacher_us / SPEED_GOAL,
            "judged_on": "test",
            "note": f"judged on the labels of the test set; {SPEED_GOAL:g} times the teacher's speed",
        },
        "potential": {
            "student_kind": chosen.kind,
            "folder": POTENTIAL,
            "pair_style_lines": pair.lines,
            "settings_lines": pair.settings,
            "elements": pair.elements,
            "files": pair.files,
            "teacher_file": f"{POTENTIAL}/{TEACHER_FILE}",
            "structure": atoms_to_dict(crystal_of(run_folder)),
        },
    }


def _coefficients(folder: Path) -> int | None:
    count: int | None = read_json(folder / "student.json")["details"].get("n_coefficients")
    return count


def _why(student: dict[str, Any], limit: float) -> str:
    """What speaks for and against a student, in words."""
    if student["unusable_because"]:
        return f"cannot be used: {student['unusable_because']}"
    force = student["errors"]["test"]["force_RMSE_eV_per_A"]["value"]
    stability = "stable at constant energy" if student["stable"] else f"unstable: {student['unstable_because']}"
    return (
        f"force RMSE {force:.4f} eV/Å on the test labels; the limit is {limit:.4f} eV/Å, the teacher's times the "
        f"allowed ratio; {stability}"
    )


def _ratio(over: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    """Quotient of two measured numbers with its standard error."""
    value = over["value"] / under["value"]
    relative = np.hypot(over["standard_error"] / over["value"], under["standard_error"] / under["value"])
    error = float(value * relative)
    return {"value": value, "standard_error": error, "unit": "1", "method": "both timed in the same run"}


def publish(folder: Path, files: list[Path]) -> None:
    """Copies of the files, and nothing else, in a folder; never those of two potentials at once."""
    wanted = {path.name: path for path in files if path.is_file()}
    present = {path.name: path for path in folder.iterdir()} if folder.exists() else {}
    if present.keys() == wanted.keys() and all(hash_file(present[n]) == hash_file(wanted[n]) for n in wanted):
        return
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for name, path in wanted.items():
        write_bytes(new / name, path.read_bytes())
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _named(errors: dict[str, Any]) -> dict[str, Any]:
    return {ERROR_NAMES.get(key, key): value for key, value in errors.items() if "[" not in key}
