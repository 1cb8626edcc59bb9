"""Networks as ground states of the fixed discretization: parameters, amplitudes, errors, CPU seconds.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_network.py [case ...]

Each case two or three times, from other random parameters; the row is the median, its error the standard error.
Energies are those of the network itself on its set (an upper bound), relative to the references of impurity_ground.json
and, for several orbitals, those that stand below. Without names all cases are run;
rows of other cases stay as they are.
"""

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from impurity_ground import one_orbital, orbitals
from tables import put_rows

from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.network import Architecture
from limbeck.impurity.network_problem import problem
from limbeck.impurity.network_state import NetworkState, network_state
from limbeck.impurity.orbitals import natural_orbitals

OUTPUT = Path(__file__).with_suffix(".json")
SEEDS = (0, 1, 2)
SMALL, MEDIUM = Architecture(8, 1, 4, 28), Architecture(16, 2, 4, 32)


@dataclass(frozen=True)
class Case:
    """A model and a network.

    Attributes:
        model: In the given orbitals.
        reference: Its ground-state energy.
        architecture: Sizes of the network.
        first: Configurations of the first set.
        most: Of the last.
        steps: By the energy, on the last set.
        boundary: Share of the outside that is trained along.
        use_symmetry: Whether orbits are taken together.
        starts: Random starts of which the best fit goes on.
        seeds: Of the runs.
    """

    model: ImpurityModel
    reference: float
    architecture: Architecture
    first: int
    most: int
    steps: int
    boundary: float = 0.0
    use_symmetry: bool = True
    starts: int = 1
    seeds: tuple[int, ...] = SEEDS


def cases() -> dict[str, Case]:
    """All of them."""
    e7, e15, e31, e33, e35 = -4.714850722736, -8.747676045859, -19.538109938447, -11.2028316702, -14.33953571
    return {
        "7": Case(one_orbital(7, 2.0), e7, SMALL, 250, 250, 100, starts=3),
        "15-1000": Case(one_orbital(15, 2.0), e15, SMALL, 1500, 1500, 1000, starts=3),
        "15-5000": Case(one_orbital(15, 2.0), e15, MEDIUM, 3500, 7000, 100),
        "15-1000-large-set": Case(one_orbital(15, 2.0), e15, SMALL, 3500, 7000, 150),
        "15-1000-no-symmetry": Case(one_orbital(15, 2.0), e15, SMALL, 1500, 1500, 150, use_symmetry=False),
        "15-boundary": Case(one_orbital(15, 2.0), e15, MEDIUM, 1500, 1500, 30, boundary=2.0, seeds=(0, 1)),
        "31-u8": Case(one_orbital(31, 8.0), e31, MEDIUM, 4000, 4000, 60, seeds=(0, 1)),
        "3x3-5000": Case(orbitals(3, 3, 2.0, 0.4), e33, MEDIUM, 7000, 7000, 60),
        "3x3-1000": Case(orbitals(3, 3, 2.0, 0.4), e33, SMALL, 7000, 7000, 400, starts=3),
        "3x3-20000": Case(orbitals(3, 3, 2.0, 0.4), e33, MEDIUM, 20_000, 20_000, 30, seeds=(0, 1)),
        "3x5": Case(orbitals(3, 5, 2.0, 0.4), e35, MEDIUM, 30_000, 30_000, 30, seeds=(0, 1)),
    }


def solved(case: Case, seed: int) -> tuple[NetworkState, float]:
    """State, and CPU seconds with natural orbitals and compilation."""
    began = time.process_time()
    given = problem(natural_orbitals(case.model), first=case.first, use_symmetry=case.use_symmetry)
    state = network_state(
        given, case.architecture, case.most, steps=case.steps, boundary=case.boundary, tolerance=1e-13,
        starts=case.starts,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return state, time.process_time() - began


def rows_of(name: str, case: Case) -> list[dict]:
    """Rows of a case."""
    found = [solved(case, seed) for seed in case.seeds]
    states = [state for state, _ in found]
    one, scale = states[0], abs(case.reference)
    free = f"{one.n_parameters} parameters, {len(one.state.rows)} configurations, {one.rounds[-1].n_orbits} amplitudes"

    def row(label: str, values: list[float], unit: str, note: str) -> dict:
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        result = {
            "id": f"impurity-vit-{name}{label}", "value": float(np.median(values)), "standard_error": error,
            "unit": unit, "command": shlex.join([".venv/bin/python", "benchmarks/impurity_network.py", name]),
            "note": f"{note}; {', '.join(f'{value:.3g}' for value in values)}",
        }  # fmt: skip
        sys.stdout.write(f"{result['id']:42} {result['value']:12.6g} ± {error:.2g} {unit}  {result['note']}\n")
        sys.stdout.flush()
        return result

    beyond = [state.beyond for state in states if state.beyond is not None]
    return [
        row("", [(s.state.energy - case.reference) / scale for s in states], "1", free),
        row("-to-set", [(s.state.energy - s.subspace_energy) / scale for s in states], "1", "above the set's lowest"),
        row("-set", [(s.subspace_energy - case.reference) / scale for s in states], "1", "the set's lowest energy"),
        row("-cpu-s", [seconds for _, seconds in found], "CPU s", "the first with compilation"),
        row("-steps", [float(sum(len(r.energies) - 1 for r in s.rounds)) for s in states], "1", "by the energy"),
        row("-outside-correlation", [b.size_correlation for b in beyond], "1", "log sizes against perturbation theory"),
        row("-outside-signs", [b.right_signs for b in beyond], "1", "share of the weight outside with the right sign"),
        row("-outside-energy", [(b.energy - b.exact_energy) / scale for b in beyond], "1", "on the next larger set"),
    ]  # fmt: skip


def main() -> None:
    """Run cases."""
    known = cases()
    names = sys.argv[1:] or list(known)
    if wrong := [name for name in names if name not in known]:
        sys.exit(f"no case {wrong[0]}; there are {', '.join(known)}")
    if os.environ.get("OMP_NUM_THREADS") != "1":
        sys.stderr.write("set OMP_NUM_THREADS=1: CPU seconds are those of one thread\n")
    for name in names:
        put_rows(OUTPUT, rows_of(name, known[name]))


if __name__ == "__main__":
    main()
