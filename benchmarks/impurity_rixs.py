"""Inelastic scattering at L edges, ours beside edrixs: the same parameters, one process tree, CPU seconds.

    python3.11 -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/peers/requirements.txt
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_rixs.py --peers .venv-peers/bin/python

Models of impurity_absorption.py; 21 incident energies over L3 and L2 (CoO: one), 601 losses, half widths 0.24 eV (core)
and 0.1 eV (final). edrixs makes four channels of polarization (linear in and across the plane, crossed, circular); ours
the whole tensor, from which those four are taken, and the average over a powder, which edrixs does not have. Times are
at each one's own accuracy; the deviation is from edrixs with tighter solvers. CoO, twelve initial states, is done once
in each process: there first calls are compared. edrixs 0.2.0 has no photoemission.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
from impurity_absorption import COMMON, OXIDES, model_of, run

from limbeck.core.record import write_json

INCIDENT = {"NiO": np.linspace(-8.0, 14.0, 21), "CoO": np.array([-3.4])}
LOSSES = np.linspace(-1.0, 11.0, 601)
ANGLES = [0.6, 0.9]
CHANNELS = [
    ["linear", 0.0, "linear", 0.0],
    ["linear", 0.0, "linear", 1.5707963267948966],
    ["linear", 1.5707963267948966, "linear", 1.5707963267948966],
    ["left", 0.0, "right", 0.0],
]
WORKER = Path(__file__).parent / "peers" / "rixs_peer.py"
REPEATS = 3
FINAL = 0.1
TIGHT = {"nkryl": 400, "linsys_tol": 1e-11}


def ours(p: dict) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Levels, spectra of the channels, and the powder's."""
    from limbeck.impurity.core_level import dipole
    from limbeck.impurity.multiplets import multiplets
    from limbeck.impurity.scattering import scattering

    states = multiplets(model_of(p), p["temperature_K"])
    found = scattering(
        states, dipole(), np.array(p["incident"]), p["temperature_K"], core_half_width=p["half_width"],
        final_half_width=p["final_half_width"], most_loss=60.0,
    )  # fmt: skip
    losses, width = np.array(p["losses"]), p["final_half_width"]
    vectors = [[np.array([complex(*x) for x in e]) for e in pair] for pair in p["polarizations"]]
    spectra = np.stack([found.spectrum(losses, width, *pair) for pair in vectors], axis=2)
    return states.energies.tolist(), spectra, found.powder_in_geometry(losses, width)


def worker(source: str, target: str) -> None:
    """Our side in a process of its own."""
    p = json.loads(Path(source).read_text())
    times = []
    for _ in range(p["repeats"]):
        began = time.process_time()
        levels, spectrum, powder = ours(p)
        times.append(time.process_time() - began)
    found = {"levels": levels, "spectrum": spectrum.tolist(), "powder": powder.tolist(), "cpu_s": times}
    Path(target).write_text(json.dumps(found))


def main() -> None:
    """Measure, show, write."""
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="Python of the environment that holds edrixs")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--only", choices=list(INCIDENT), help="One oxide alone.")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    shown = shlex.join([".venv/bin/python", "benchmarks/impurity_rixs.py", "--peers", ".venv-peers/bin/python"])
    rows: list[dict] = []

    def row(name: str, value: float, error: float, unit: str, note: str = "") -> None:
        rows.append({"id": f"impurity-rixs-{name}", "value": value, "standard_error": error, "unit": unit,
                     "command": shown, "note": note})  # fmt: skip
        sys.stdout.write(f"{rows[-1]['id']:36} {value:10.3g} ± {error:.2g} {unit}  {note}\n")
        sys.stdout.flush()

    for name in [arguments.only] if arguments.only else INCIDENT:
        own = OXIDES[name]
        base = COMMON | own | {
            "n_electrons": own["electrons"] + 10, "incident": INCIDENT[name].tolist(), "losses": LOSSES.tolist(),
            "final_half_width": FINAL, "angles": ANGLES, "channels": CHANNELS, "backend": "scipy", "settings": {},
        }  # fmt: skip
        commands = {
            "edrixs": [arguments.peers, str(WORKER)], "limbeck": [sys.executable, __file__, "--worker"]
        }  # fmt: skip
        exact = run(commands["edrixs"], base | {"repeats": 1, "settings": TIGHT})
        base["polarizations"] = exact["polarizations"]
        times: dict[str, list[float]] = {"edrixs": [], "limbeck": []}
        first: dict[str, list[float]] = {"edrixs": [], "limbeck": []}
        calls = 2 if name == "NiO" else 1
        for _ in range(arguments.repeats):  # in turns; in each process the first call compiles
            results = {side: run(command, base | {"repeats": calls}) for side, command in commands.items()}
            for side, found in results.items():
                first[side].append(found["cpu_s"][0])
                times[side] += found["cpu_s"][1:]
        truth, a, b = (np.array(r["spectrum"]) for r in (exact, results["limbeck"], results["edrixs"]))
        scale = float(np.sum(truth * a) / np.sum(a * a))  # radial integrals are one unit here, another there
        low, peak = name.lower(), truth.max()
        row(f"{low}-deviation", float(np.abs(scale * a - truth).max() / peak), 0.0, "of peak",
            "limbeck from edrixs with tight solvers, four polarizations, elastic line included")  # fmt: skip
        row(f"{low}-edrixs-deviation", float(np.abs(b - truth).max() / peak), 0.0, "of peak", "edrixs by default")
        row(f"{low}-scale", scale, 0.0, "1", "edrixs' intensity over ours, one number for all")
        for side in times:
            for label, values, note in (
                ("s", times[side], "parameters to map, after the first call"),
                ("first-s", first[side], "first call in a fresh process, imports not counted"),
            ):
                if not values:
                    continue
                spread = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
                row(f"{low}-{side}-{label}", float(np.median(values)), spread, "CPU s", note)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
