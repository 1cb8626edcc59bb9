"""From the stages' folders to ``results.json``: what the report reads. Works for a run that is not finished, too."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from limbeck.core.record import read_json, write_text
from limbeck.labels.labelled import Labelled
from limbeck.potentials.evaluate import Evaluation
from limbeck.workflows.forge.accuracy import ROLE_TITLES, evaluations_of, students_of
from limbeck.workflows.forge.frames import read_labelled
from limbeck.workflows.stages import finish_time, listed_stages

DATASET = "dataset.extxyz"


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
    results["evaluations"] = list(evaluations_of(run_folder, stages, summaries, labelled))
    if "58-choose" in summaries:
        results |= students_of(run_folder, stages, summaries)
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
    if doubt := summaries.get("30-zero-shot", {}).get("doubt"):
        warnings.append(f"{doubt[0].upper()}{doubt[1:]}")
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
