"""From the stages' folders to ``results.json``: what the report reads. Works for a run that is not finished, too."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase.data import chemical_symbols

from limbeck.core.record import hash_file, read_json, write_bytes, write_text
from limbeck.core.units import GPA
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import atoms_to_dict
from limbeck.potentials.evaluate import Evaluation
from limbeck.workflows.forge.context import crystal_of
from limbeck.workflows.forge.distil import TEACHER_LABELS
from limbeck.workflows.forge.frames import read_labelled
from limbeck.workflows.forge.loop import TEACHER_FILE
from limbeck.workflows.stages import finish_time, listed_stages

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

DATASET = "dataset.extxyz"
POTENTIAL = "potential"
"""Folder of a run with the files to take away: the chosen student and the fine-tuned teacher."""


def collect_results(run_folder: Path) -> dict[str, Any]:
    """Everything that the stages of a run have recorded so far, in the form of ``report.schema.ForgeResults``.

    Stages that an earlier configuration left behind have no part in it.
    """
    run_folder = Path(run_folder)
    record = read_json(run_folder / "record.json")
    listed = [stage for stage in listed_stages(run_folder) if stage.done]
    stages = {stage.name: stage.folder for stage in listed}
    done = {stage.name: stage.done for stage in listed if stage.done}
    summaries = {name: content["summary"] for name, content in done.items()}
    config = record["config"]
    results: dict[str, Any] = {
        "name": config["name"],
        "title": config["title"],
        "started": record["started"],
        "finished": finish_time(run_folder),
        "command": record["command"],
        "seed": record["seed"],
        "versions": record["versions"],
        "config_yaml": (run_folder / "config.resolved.yaml").read_text(),
        "iterations": list(_iterations(summaries)),
        "cost": [
            {"stage": name, "wall_s": content["wall_s"], "cpu_s": content["cpu_s"]} for name, content in done.items()
        ],
    }
    labelled = _labelled(stages, summaries)
    if labelled:
        results["labels"] = _labels(labelled, summaries)
        results["warnings"] = _warnings(summaries)
        results["dataset"] = _dataset(run_folder, labelled, stages)
    results["evaluations"] = list(_evaluations(run_folder, stages, summaries, labelled))
    if "58-choose" in summaries:
        results |= _students(run_folder, stages, summaries)
    if "60-properties" in summaries:
        results |= _properties(summaries["60-properties"], config)
    if "70-run" in summaries and "failed" not in summaries["70-run"]:
        results["run"] = _run(run_folder, summaries["70-run"], config)
    results["lineage"] = _lineage(config, summaries)
    return results


def _iterations(summaries: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in sorted(summaries):
        if not name.endswith("-a-labels"):
            continue
        stem = name.removesuffix("-a-labels")
        labels, fit, gate = (summaries.get(f"{stem}-{part}", {}) for part in ("a-labels", "b-fit", "d-gate"))
        reasons = labels["filter_reasons"]
        yield {
            "index": int(stem.rsplit("-", 1)[1]),
            "labels_total": labels["labels_total"],
            "n_train": fit.get("n_train", 0),
            "n_validation": fit.get("n_validation", 0),
            "n_candidates": labels["candidates"],
            "n_filtered_out": sum(reasons.values()),
            "filter_reasons": reasons,
            "selection_gains": labels["selection_gains"],
            "selected_stopped_because": labels["selected_stopped_because"],
            "history": fit.get("history", {}).get("rows", []),
            "gate": gate or None,
        }


def _labelled(stages: dict[str, Path], summaries: dict[str, Any]) -> dict[str, list[Labelled]]:
    """Labelled frames by use: test, train, validation, fresh."""
    frames: dict[str, list[Labelled]] = {}
    if "20-test-set" in summaries:
        frames["test"] = read_labelled(stages["20-test-set"] / "labelled.json")
    fits = sorted(name for name in summaries if name.endswith("-b-fit"))
    if fits:
        for part in ("train", "validation"):
            frames[part] = read_labelled(stages[fits[-1]] / f"{part}.json")
        fresh = stages.get(fits[-1].replace("-b-fit", "-c-test"))
        if fresh and (fresh / "fresh.json").exists():
            frames["fresh"] = read_labelled(fresh / "fresh.json")
    return {role: found for role, found in frames.items() if found}


def _labels(labelled: dict[str, list[Labelled]], summaries: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(labelled.values()))[0].fingerprint
    every = [frame for frames in labelled.values() for frame in frames]
    quarantined = [q for s in summaries.values() for q in s.get("quarantined", [])]
    return {
        "engine": first.engine,
        "version": first.version,
        "production": all(frame.fingerprint.production for frame in every),
        "theory": first.theory,
        "parameters": first.parameters,
        "count": len(every),
        "by_role": {role: len(frames) for role, frames in labelled.items()},
        "reused": sum(s.get("reused", 0) for s in summaries.values()),
        "cpu_s": sum(float(frame.provenance.get("cpu_s", 0.0)) for frame in every),
        "quarantined": [{"frame": frame, "reason": reason} for frame, reason in quarantined],
    }


def _warnings(summaries: dict[str, Any]) -> list[str]:
    """What labels and gate do not say by themselves (the report warns of smoke labels and of a failed gate)."""
    warnings = []
    choice = summaries.get("58-choose")
    if choice and not any(s["meets_target"] and s["stable"] for s in choice["students"]):
        warnings.append(
            "No stable student is within the allowed ratio of its teacher's force error; the most accurate was taken."
        )
    for student in choice["students"] if choice else []:
        if student["unusable_because"]:
            warnings.append(f"Student {student['name']} cannot be used: {student['unusable_because']}")
        elif not student["stable"]:
            warnings.append(
                f"Student {student['name']} is unstable and cannot be chosen: {student['unstable_because']}"
            )
        warnings += [f"Student {student['name']} on {name}: {reason}" for name, reason in student["failures"].items()]
    if failed := summaries.get("70-run", {}).get("failed"):
        warnings.append(f"The run of the student failed: {failed}")
    if failed := summaries.get("60-properties", {}).get("nve", {}).get("failed"):
        warnings.append(f"The student's constant-energy run failed: {failed}")
    for role, rows in summaries.get("60-properties", {}).get("properties", {}).items():
        warnings += [f"{ROLE_TITLES[role]}, {name}: {row['failed']}" for name, row in rows.items() if "failed" in row]
    return warnings


def _dataset(run_folder: Path, labelled: dict[str, list[Labelled]], stages: dict[str, Path]) -> str:
    """Extended XYZ of all labelled frames, for viewers: role, trajectory, conditions and force error in ``info``."""
    from ase.calculators.singlepoint import SinglePointCalculator

    images = []
    for role, frames in labelled.items():
        errors = _force_errors(stages, role, len(frames))
        for number, frame in enumerate(frames):
            atoms = frame.atoms.copy()
            atoms.info["role"] = role
            if number < len(errors):
                atoms.info["force_error"] = errors[number]
            atoms.calc = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.forces)
            images.append(atoms)
    text = io.StringIO()
    ase.io.write(text, images, format="extxyz")
    write_text(run_folder / DATASET, text.getvalue())
    return DATASET


def _force_errors(stages: dict[str, Path], role: str, count: int) -> list[float]:
    """Force RMSE of the last fine-tuned teacher on each frame of a set, in eV/Å; empty where it was not tested."""
    fits = sorted(name for name in stages if name.endswith("-b-fit"))
    test = stages.get(fits[-1].replace("-b-fit", "-c-test")) if fits else None
    path = test / f"evaluated-{role}.npz" if test else None
    if path is None or not path.exists():
        return []
    evaluation = Evaluation.load(path)
    if len(evaluation.atom_counts) != count:
        return []
    squares = np.mean((evaluation.forces - evaluation.reference_forces) ** 2, axis=1)
    frames = evaluation.frame_of_atom
    return [float(np.sqrt(np.mean(squares[frames == i]))) for i in range(len(evaluation.atom_counts))]


def _evaluations(
    run_folder: Path, stages: dict[str, Path], summaries: dict[str, Any], labelled: dict[str, list[Labelled]]
) -> Iterator[dict[str, Any]]:
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


def _students(run_folder: Path, stages: dict[str, Path], summaries: dict[str, Any]) -> dict[str, Any]:
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
    _publish(run_folder / POTENTIAL, [*chosen.folder.iterdir(), stages[fits[-1]] / TEACHER_FILE])
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


def _publish(folder: Path, files: list[Path]) -> None:
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


def _properties(summary: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    known = config["properties"]["reference"]
    table: dict[str, dict[str, Any]] = {}
    for role, rows in summary["properties"].items():
        for row in rows.values():
            for name, quantity in row["values"].items():
                entry = table.setdefault(name, {"name": name, "unit": quantity["unit"]})
                entry[role] = quantity
                if name in known:
                    value, note = known[name]
                    entry |= {"labels_reference": value, "reference_note": note}
    curves: dict[str, list[dict[str, Any]]] = {"equation_of_state": [], "phonons": [], "nve": []}
    for role, rows in summary["properties"].items():
        for source, target in (("equation-of-state", "equation_of_state"), ("phonons", "phonons")):
            if "curve" in rows[source]:
                curves[target].append({"potential": ROLE_TITLES[role], **rows[source]["curve"]})
    nve = summary["nve"]
    if "failed" not in nve:
        curves["nve"].append(
            {
                "potential": "student",
                "temperature_K": config["properties"]["nve_temperature_K"],
                "atoms": nve["atoms"],
                "timestep_fs": config["properties"]["nve_timestep_fs"],
                "time_ps": nve["time_ps"],
                "energy_meV_per_atom": nve["energy_meV_per_atom"],
                "drift_meV_per_atom": nve["drift"],
            }
        )
    if "rdf" in summary:
        curves["rdf"] = summary["rdf"]
    return {"properties": list(table.values()), "curves": curves}


def _run(run_folder: Path, summary: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    thermo, run = summary["thermo"], config["run"]
    return {
        "atoms": summary["atoms"],
        "ensemble": run["ensemble"],
        "temperature_K": run["temperature_K"],
        "pressure_GPa": run["pressure_GPa"],
        "steps": run["steps"],
        "timestep_fs": run["timestep_fs"],
        "ranks": summary["ranks"],
        "microseconds_per_atom_step": summary["us_per_atom_step"],
        "thermo": {
            "time_ps": [t / 1e3 for t in thermo["time_fs"]],
            "temperature_K": thermo["temperature_K"],
            "pressure_GPa": thermo["pressure_GPa"],
            "volume_A3_per_atom": [v / summary["atoms"] for v in thermo["volume_A3"]],
            "potential_energy_eV_per_atom": [e / summary["atoms"] for e in thermo["potential_energy_eV"]],
        },
        "averages": summary["averages"],
        "trajectory_file": summary["trajectory"],
    }


def _lineage(config: dict[str, Any], summaries: dict[str, Any]) -> list[dict[str, Any]]:
    """What was made from what, as far as the run has come."""
    labels, teacher = f"labels ({config['labels']['kind']})", f"universal teacher ({config['teacher']['kind']})"
    steps = [
        ("starting cells", ["configuration"], "10-structures"),
        ("test set", ["starting cells", labels], "20-test-set"),
        ("aligned universal teacher", [teacher, "test set"], "30-zero-shot"),
    ]
    last = "aligned universal teacher"
    for name in sorted(summaries):
        index = name.removeprefix("40-iteration-")[:2]
        if name.endswith("-a-labels"):
            steps.append((f"training labels {index}", ["starting cells", last, labels], name))
        elif name.endswith("-b-fit"):
            steps.append((f"teacher {index}", [teacher, f"training labels {index}"], name))
            last = f"teacher {index}"
    steps += [
        ("teacher's labels", [last, "starting cells"], "50-distil-teacher"),
        ("students", ["teacher's labels"], "55-students-final"),
        ("chosen student", ["students", "test set", last], "58-choose"),
        ("properties", ["chosen student", last, "aligned universal teacher"], "60-properties"),
        ("trajectory", ["chosen student"], "70-run"),
    ]
    return [
        {"product": product, "made_from": sources, "by_stage": stage}
        for product, sources, stage in steps
        if stage in summaries
    ]
