"""A scan of the interaction with one network that is told it, against a network that is trained anew for each value.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_scan.py

One orbital, 15 levels of the fixed discretization, 20 values of U from 0.5 to 4 D, about 400 configurations each. The
conditioned network is trained on six of the values' neighbours (0.4 to 4.1 D, none of the 20). Steps to 1e-6 above the
lowest energy on the same set: for a new network those of both fits and those by the energy, for the conditioned one
those by the energy, which is all it takes. Natural orbitals and sets are made for each value.
"""

import sys
import time
from pathlib import Path

import numpy as np
from impurity_ground import one_orbital

from limbeck.core.record import write_json
from limbeck.impurity.conditioned import features_of, train_conditioned
from limbeck.impurity.network import Architecture
from limbeck.impurity.network_problem import Problem, problem
from limbeck.impurity.network_state import network_state, task_on
from limbeck.impurity.orbitals import natural_orbitals

N_BATH, N, GOOD = 15, 400, 1e-6
TRAINED = (0.4, 0.9, 1.5, 2.3, 3.2, 4.1)
SCANNED = np.linspace(0.5, 4.0, 20)
ARCHITECTURE = Architecture(16, 2, 4, 32)


def of(u: float) -> Problem:
    """The model at one interaction."""
    return problem(natural_orbitals(one_orbital(N_BATH, u)), first=N)


def main() -> None:
    """Train, scan, write."""
    began = time.process_time()
    network = train_conditioned([of(u) for u in TRAINED], ARCHITECTURE, np.random.default_rng(0), 150)
    training = time.process_time() - began
    above = (network.energies - network.subspace_energies) / np.abs(network.subspace_energies)
    sys.stdout.write(f"trained in {training:.0f} CPU s, above the sets' lowest by {np.round(np.log10(above), 1)}\n")
    points = []
    for u in SCANNED:
        given = of(float(u))
        lowest = task_on(given, features_of(given))[1]
        target = lowest + GOOD * abs(lowest)
        warm = network.state(given, N, 200, target)
        cold = network_state(given, ARCHITECTURE, N, steps=400, target=target, starts=1, rng=np.random.default_rng(1))
        point = {"u": float(u), "start": float((warm.rounds[0].energies[0] - lowest) / abs(lowest))}
        for name, state in (("warm", warm), ("cold", cold)):
            last = state.rounds[-1]
            point[name] = last.fit_steps + len(last.energies) - 1
            point[f"{name}_reached"] = last.energies[-1] <= target
        points.append(point)
        sys.stdout.write(f"{point}\n")
        sys.stdout.flush()
    command = ".venv/bin/python benchmarks/impurity_scan.py"
    ratio = np.array([point["cold"] / max(point["warm"], 1) for point in points])
    total = sum(point["cold"] for point in points) / max(sum(point["warm"] for point in points), 1)
    note = f"{sum(p['warm'] for p in points)} steps against {sum(p['cold'] for p in points)}; reached in "
    note += f"{sum(p['warm_reached'] for p in points)} and {sum(p['cold_reached'] for p in points)} of {len(points)}"
    rows = [
        {"id": "impurity-scan-steps-saved", "value": total, "unit": "1", "command": command, "note": note,
         "standard_error": float(ratio.std(ddof=1) / np.sqrt(len(ratio)))},
        {"id": "impurity-scan-start", "value": float(np.median([p["start"] for p in points])), "standard_error": None,
         "unit": "1", "command": command, "note": "energy of the conditioned network before any step, median"},
        {"id": "impurity-scan-training-s", "value": training, "standard_error": None, "unit": "CPU s",
         "command": command, "note": f"six models at once, worst {above.max():.1g} above its set's lowest energy"},
    ]  # fmt: skip
    write_json(Path(__file__).with_suffix(".json"), rows)
    write_json(Path(__file__).parent / "impurity_scan_points.json", points)


if __name__ == "__main__":
    main()
