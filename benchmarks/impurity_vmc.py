"""The same network on the same model, trained by samples and on a growing set: both by limbeck, CPU seconds to 1e-3.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_vmc.py

One orbital, U = 2 D, seven baths of the fixed discretization in natural orbitals, 4900 configurations, exact energy
known. Samples: 512 walkers, stochastic reconfiguration, the rate and damping that did best of a few that were tried;
signs of the chains are taken out beforehand, as on the growing set. The exact energy of the network, by which a run is
judged, is found outside the clock every ten steps. One thread, compilation included, importing not.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
from impurity_ground import one_orbital

from limbeck.core.record import write_json
from limbeck.impurity.network import Architecture, Transformer, tokens_of
from limbeck.impurity.network_problem import Problem, problem
from limbeck.impurity.network_state import network_state
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.subspace import all_configurations, unpacked
from limbeck.impurity.symmetry import chain_signs
from limbeck.impurity.vmc import variational_monte_carlo

EXACT = -4.71485072273
GOOD = 1e-3
SIZES = Architecture(width=16, layers=2, heads=4, feed_forward=32)
RATE, DAMPING = 0.05, 1e-3
EVERY = 10
rows: list[dict] = []


def row(name: str, value: float, error: float | None, unit: str, note: str = "") -> None:
    """Add and show a row."""
    command = shlex.join([".venv/bin/python", "benchmarks/impurity_vmc.py", *sys.argv[1:]])
    rows.append({"id": f"impurity-vmc-{name}", "value": value, "standard_error": error, "unit": unit,
                 "command": command, "note": note})  # fmt: skip
    sys.stdout.write(f"{rows[-1]['id']:32} {value:12.6g} {unit}  {note}\n")
    sys.stdout.flush()


def sampled(given: Problem, seed: int, most_seconds: float) -> tuple[float, float, int]:
    """CPU seconds, error at the end, steps."""
    hamiltonian = given.hamiltonian
    everything = all_configurations(hamiltonian.model)
    matrix, signs = hamiltonian.matrix(everything), chain_signs(given.basis, everything)
    tokens = tokens_of(unpacked(everything, hamiltonian.model.n_spin_orbitals))
    network, known = Transformer(SIZES, tokens.shape[1]), np.zeros((tokens.shape[1], 0))
    began, outside, last = time.process_time(), 0.0, (np.inf, 0)

    def judged(step: int, _: float, parameters: np.ndarray) -> bool:
        nonlocal outside, last
        if step % EVERY:
            return False
        paused = time.process_time()
        psi = network.amplitudes(parameters, tokens, known)[:, 0] * signs
        last = float((psi @ (matrix @ psi) / (psi @ psi) - EXACT) / abs(EXACT)), step
        outside += time.process_time() - paused
        return last[0] < GOOD or paused - began - outside > most_seconds

    variational_monte_carlo(
        given, SIZES, 1_000_000, np.random.default_rng(seed), rate=RATE, damping=DAMPING, tell=judged
    )
    return time.process_time() - began - outside, *last


def grown(given: Problem, seed: int) -> tuple[float, float]:
    """CPU seconds and error of the growing set."""
    began = time.process_time()
    target = EXACT + GOOD * abs(EXACT)
    state = network_state(given, SIZES, 60, target=target, rng=np.random.default_rng(seed)).state
    return time.process_time() - began, (state.energy - EXACT) / abs(EXACT)


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--most-seconds", type=float, default=300.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    given = problem(natural_orbitals(one_orbital(7, 2.0)), first=60)
    times: dict[str, list[float]] = {"grown": [], "sampled": []}
    reached = True
    for seed in arguments.seeds:
        seconds, error = grown(given, seed)
        times["grown"].append(seconds)
        row(f"grown-{seed}-s", seconds, None, "CPU s", f"error {error:.2g}; the first one compiles")
        seconds, error, steps = sampled(given, seed, arguments.most_seconds)
        times["sampled"].append(seconds)
        reached = reached and error <= GOOD
        row(f"sampled-{seed}-s", seconds, None, "CPU s", f"error {error:.2g} after {steps} steps")
        write_json(arguments.output, rows)
    ratio = float(np.median(times["sampled"]) / np.median(times["grown"]))
    row("ratio", ratio, None, "1", "samples over growing set" + ("" if reached else "; a lower bound"))
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
