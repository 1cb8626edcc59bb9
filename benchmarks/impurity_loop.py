"""Steps of a network in the loop of dynamical mean-field theory: begun from the iteration before, and anew each time.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_loop.py

Bethe lattice, U = 2 D, 15 levels, eight iterations from the metal; a network of 4706 parameters on about 400
configurations, to 1e-6 above the set's lowest energy. Steps of fits and by the energy together. Z of both loops beside
that of selected configurations on sets of the same size.
"""

import sys
import time
from pathlib import Path

import numpy as np

from limbeck.core.record import write_json
from limbeck.impurity.conditioned import Follower
from limbeck.impurity.dmft import Accuracy, Problem, iterate, metallic
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.network import Architecture

N, ITERATIONS, SEEDS = 400, 8, (0, 1, 2)
SIZES = Architecture(16, 2, 4, 32)


def loop(follower: Follower | None) -> tuple[float, float]:
    """Z and CPU seconds."""
    began = time.process_time()
    problem = Problem(kanamori(1, 2.0), sites=15, accuracy=Accuracy(N, excited=1500), ground=follower)
    last = iterate(problem, metallic(problem), ITERATIONS, 1e-9)
    return last.quasiparticle_weight()[0], time.process_time() - began


def main() -> None:
    """Measure, show, write."""
    command, rows, ratios = ".venv/bin/python benchmarks/impurity_loop.py", [], []

    def row(name: str, value: float, error: float | None, unit: str, note: str) -> None:
        rows.append({"id": f"impurity-loop-{name}", "value": value, "standard_error": error, "unit": unit,
                     "command": command, "note": note})  # fmt: skip
        sys.stdout.write(f"{rows[-1]['id']:28} {value:10.4g} {unit}  {note}\n")
        sys.stdout.flush()

    for seed in SEEDS:
        steps = {}
        for name, is_warm in (("warm", True), ("cold", False)):
            follower = Follower(SIZES, N, np.random.default_rng(seed), is_warm=is_warm)
            z, seconds = loop(follower)
            steps[name] = follower.steps_taken()
            above = max((s.state.energy - s.subspace_energy) / abs(s.subspace_energy) for s in follower.states)
            note = f"{seconds:.0f} CPU s; steps {steps[name]}; worst {above:.1g} above the set's lowest energy"
            row(f"{name}-{seed}-Z", z, None, "1", note)
        ratios.append(sum(steps["cold"]) / sum(steps["warm"]))
        row(f"steps-saved-{seed}", ratios[-1], None, "1", f"{sum(steps['cold'])} steps against {sum(steps['warm'])}")
    row("selected-Z", loop(None)[0], None, "1", f"selected configurations, {N}")
    spread = float(np.std(ratios, ddof=1) / np.sqrt(len(ratios)))
    row("steps-saved", float(np.median(ratios)), spread, "1", "median of three seeds")
    write_json(Path(__file__).with_suffix(".json"), rows)


if __name__ == "__main__":
    main()
