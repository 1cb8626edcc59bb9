"""Configurations that the ground-state energy needs, by the orbitals of the bath.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_bases.py

One orbital, U = 2 D, semicircular hybridization, half filled (the discretization of impurity_ground.py). Selected
configuration interaction grows its set in the natural orbitals of the mean field, in those of a correlated density
matrix (one round of 2000 configurations), in the bath's own levels (star) and in a chain that begins at the impurity.
The number stated is that at which the energy is within 1e-6 of the truth, on a line of the logarithms between two sets
of the growth; where the largest set does not get there, the note says how far it is. The truth is exact diagonalization
for 7 levels; for 15 the energy of 40 000 configurations in iterated natural orbitals, continued to PT2 = 0.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from limbeck.core.record import write_json
from limbeck.impurity.bases import orbitals_of
from limbeck.impurity.bath import semicircle
from limbeck.impurity.exact import exact_ground
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.orbitals import NaturalOrbitals, natural_orbitals
from limbeck.impurity.selected_ci import iterated, selected_ci

GOOD = 1e-6


def one_orbital(n_bath: int, u: float) -> ImpurityModel:
    """The fixed discretization."""
    energies, couplings = semicircle(n_bath)
    return anderson(np.array([[-u / 2]]), energies, couplings, kanamori(1, u), n_bath + 1)


def basis_of(model: ImpurityModel, name: str) -> NaturalOrbitals:
    """The model in the orbitals of this name."""
    if name == "iterated":
        return natural_orbitals(model, iterated(natural_orbitals(model), 0, 0, 2000).given_density())
    return orbitals_of(model, "star" if name == "star" else "chain" if name == "chain" else "natural")


def needed(model: ImpurityModel, name: str, truth: float, most: int) -> tuple[float, str]:
    """Configurations to 1e-6, and a note."""
    began = time.process_time()
    steps = selected_ci(basis_of(model, name), most).steps
    n, error = np.array([s.n for s in steps]), np.array([(s.energy - truth) / abs(truth) for s in steps])
    note = f"largest set {n[-1]}, error {error[-1]:.2g}; {time.process_time() - began:.1f} CPU s"
    good = np.flatnonzero(error < GOOD)
    if len(good) == 0:
        return float(n[-1]), f"more than this are needed; {note}"
    k = int(good[0])
    if k == 0:
        return float(n[0]), note
    share = np.log(error[k - 1] / GOOD) / np.log(error[k - 1] / max(error[k], 1e-15))
    return float(np.exp(np.log(n[k - 1]) + share * np.log(n[k] / n[k - 1]))), note


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=200_000, help="largest set in the orbitals that are slow")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    command = shlex.join([".venv/bin/python", "benchmarks/impurity_bases.py", *sys.argv[1:]])
    rows = []
    for n_bath in (7, 15):
        model = one_orbital(n_bath, 2.0)
        basis = natural_orbitals(model)
        truth = exact_ground(basis).energy if n_bath == 7 else iterated(basis, 2, 4000, 40_000).extrapolated[0]
        for name in ("natural", "iterated", "star", "chain"):
            most = 20_000 if name in ("natural", "iterated") else arguments.most
            value, note = needed(model, name, truth, most)
            rows.append({"id": f"impurity-bases-{n_bath}-{name}", "value": value, "standard_error": None,
                         "unit": "configurations", "command": command, "note": note})  # fmt: skip
            sys.stdout.write(f"{rows[-1]['id']:34} {value:10.4g}  {note}\n")
            sys.stdout.flush()
            write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
