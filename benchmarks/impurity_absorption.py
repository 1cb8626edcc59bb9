"""L edges of NiO, CoO, FeO and MnO beside edrixs: the same parameters, one process tree, CPU seconds.

    python3.11 -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/peers/requirements.txt
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_absorption.py --peers .venv-peers/bin/python

One ligand shell, full multiplets at 300 K, half width 0.24 eV, 1501 energies. NiO with the parameters of M. W.
Haverkort, M. Zwierzycki, O. K. Andersen, Phys. Rev. B 85, 165113 (2012), arXiv:1111.4940; the others are made up on
their pattern, with the same Slater integrals: they measure programs, not oxides. Both sides do all from parameters to
spectrum, in turns; the first call of each process compiles and stands by itself. Times are at each one's own accuracy
(edrixs: its default Krylov space); the deviation is from edrixs with 1200 Krylov vectors, and that of its default is
given beside it.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tables import put_rows

from limbeck.impurity.model import ImpurityModel

OXIDES = {
    "NiO": {"electrons": 8, "delta": 4.7, "u": 7.3, "u_core": 8.5, "ten_dq": 0.56, "ten_dq_ligand": 1.44, "v_eg": 2.06,
            "v_t2g": 1.21, "field": [0.0, 0.0, 0.12], "states": 3},
    "NiO-hole": {"electrons": 8, "delta": 4.7, "u": 7.3, "u_core": 8.5, "ten_dq": 0.56, "ten_dq_ligand": 1.44,
                 "v_eg": 2.06, "v_t2g": 1.21, "field": [0.0, 0.0, 0.12], "states": 3, "F2_dd_hole": 10.405,
                 "F4_dd_hole": 6.467, "zeta_d_hole": 0.102},
    "CoO": {"electrons": 7, "delta": 5.5, "u": 6.5, "u_core": 8.0, "ten_dq": 0.55, "ten_dq_ligand": 1.4, "v_eg": 1.9,
            "v_t2g": 1.1, "field": [0.0, 0.0, 0.0], "states": 12},
    "FeO": {"electrons": 6, "delta": 6.5, "u": 6.0, "u_core": 7.5, "ten_dq": 0.5, "ten_dq_ligand": 1.4, "v_eg": 1.85,
            "v_t2g": 1.05, "field": [0.0, 0.0, 0.0], "states": 15},
    "MnO": {"electrons": 5, "delta": 8.0, "u": 5.5, "u_core": 7.2, "ten_dq": 0.5, "ten_dq_ligand": 1.3, "v_eg": 1.8,
            "v_t2g": 1.0, "field": [0.0, 0.0, 0.0], "states": 6},
}  # fmt: skip
COMMON = {
    "F2_dd": 9.787, "F4_dd": 6.078, "F2_pd": 6.177, "G1_pd": 4.630, "G3_pd": 2.633, "zeta_d": 0.083, "zeta_p": 11.507,
    "half_width": 0.24, "temperature_K": 300.0,
}  # fmt: skip
ENERGIES = np.linspace(-20.0, 25.0, 1501)
WORKER = Path(__file__).parent / "peers" / "absorption_peer.py"
REPEATS = 3
KRYLOV = 1200


def model_of(p: dict, hole: str = "") -> ImpurityModel:
    """The ion of the parameters; with ``_hole`` that whose d shell is tighter."""
    from limbeck.impurity.core_level import ChargeTransfer, core_model, core_monopole, cubic, monopole

    f2, f4, zeta = (p.get(key + hole, p[key]) for key in ("F2_dd", "F4_dd", "zeta_d"))
    shell, exchange = {2: f2, 4: f4}, {1: p["G1_pd"], 3: p["G3_pd"]}
    levels = ChargeTransfer(p["electrons"], p["delta"], p["u"], p["u_core"])
    field, ligand = (x * cubic(0.6, -0.4) for x in (p["ten_dq"], p["ten_dq_ligand"]))
    return core_model(
        levels.valence * np.eye(5) + field, levels.core, [levels.ligand * np.eye(5) + ligand],
        [cubic(p["v_eg"], p["v_t2g"])], {0: monopole(shell, p["u"]), **shell},
        {0: core_monopole(exchange, p["u_core"]), 2: p["F2_pd"]}, exchange, p["electrons"] + 10,
        valence_spin_orbit=zeta, core_spin_orbit=p["zeta_p"], field=tuple(p["field"]),
    )  # fmt: skip


def ours(p: dict) -> tuple[list[float], np.ndarray]:
    """Levels and isotropic spectrum."""
    from limbeck.impurity.absorption import absorption
    from limbeck.impurity.core_level import dipole
    from limbeck.impurity.multiplets import multiplets

    with_hole = model_of(p, "_hole") if "F2_dd_hole" in p else None
    states = multiplets(model_of(p), p["temperature_K"], with_hole=with_hole)
    found = absorption(states, dipole(), p["temperature_K"], half_width=p["half_width"]).isotropic(
        ENERGIES, p["half_width"]
    )
    return states.energies.tolist(), found


def worker(source: str, target: str) -> None:
    """Our side in a process of its own."""
    p = json.loads(Path(source).read_text())
    times = []
    for _ in range(p["repeats"]):
        began = time.process_time()
        levels, spectrum = ours(p)
        times.append(time.process_time() - began)
    Path(target).write_text(json.dumps({"levels": levels, "spectrum": spectrum.tolist(), "cpu_s": times}))


def run(command: list[str], parameters: dict) -> dict:
    """Results of one side; the CPU time of the whole process with them."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.json", Path(folder) / "out.json"
        source.write_text(json.dumps(parameters))
        before = os.times()
        subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
        after = os.times()
        found = json.loads(target.read_text())
    found["process_s"] = after.children_user + after.children_system - before.children_user - before.children_system
    return found


def main() -> None:
    """Measure, show, write."""
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="Python of the environment that holds edrixs")
    parser.add_argument("--only", nargs="+", choices=OXIDES, default=list(OXIDES), help="Some of them.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    shown = shlex.join([".venv/bin/python", "benchmarks/impurity_absorption.py", *sys.argv[1:]])
    rows: list[dict] = []

    def row(name: str, value: float, error: float, unit: str, note: str = "") -> None:
        rows.append({"id": f"impurity-{name}", "value": value, "standard_error": error, "unit": unit, "command": shown,
                     "note": note})  # fmt: skip
        sys.stdout.write(f"{rows[-1]['id']:34} {value:10.3g} ± {error:.2g} {unit}  {note}\n")
        sys.stdout.flush()

    for name in arguments.only:
        own = OXIDES[name]
        base = (
            COMMON
            | own
            | {"n_electrons": own["electrons"] + 10, "energies": ENERGIES.tolist(), "backend": "scipy", "krylov": 0}
        )
        times: dict[str, list[float]] = {"limbeck": [], "edrixs": []}
        first: dict[str, list[float]] = {"limbeck": [], "edrixs": []}
        commands = {
            "limbeck": [sys.executable, __file__, "--worker"], "edrixs": [arguments.peers, str(WORKER)]
        }  # fmt: skip
        for _ in range(REPEATS):  # in turns; in each process the first of two calls compiles
            results = {side: run(command, base | {"repeats": 2}) for side, command in commands.items()}
            for side, found in results.items():
                first[side].append(found["cpu_s"][0])
                times[side].append(found["cpu_s"][1])
        exact = run(commands["edrixs"], base | {"repeats": 1, "krylov": KRYLOV})
        truth, a, b = (np.array(r["spectrum"]) for r in (exact, results["limbeck"], results["edrixs"]))
        truth, a, b = truth / truth.max(), a / a.max(), b / b.max()
        low = name.lower()
        row(f"{low}-deviation", float(np.abs(a - truth).max()), 0.0, "of peak", "limbeck from converged edrixs")
        row(
            f"{low}-edrixs-deviation",
            float(np.abs(b - truth).max()),
            0.0,
            "of peak",
            "edrixs by default from converged",
        )
        for side in times:
            for label, values, note in (
                ("s", times[side], "parameters to spectrum, after the first call"),
                ("first-s", first[side], "first call in a fresh process, imports not counted"),
            ):
                spread = float(np.std(values, ddof=1) / np.sqrt(REPEATS))
                row(f"{low}-{side}-{label}", float(np.median(values)), spread, "CPU s", note)
    put_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
