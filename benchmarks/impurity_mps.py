"""How many numbers matrix product states need for the ground states of the fixed discretization, by block2.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_mps.py --peers .venv-peers/bin/python

Sites are natural orbitals of the mean field: filled chain from its far end, impurity, partner, empty chain; several
orbitals orbital by orbital, which with three orbitals was better at nearly every bond dimension than by distance from
the impurity (both are tried for 3 x 3). Sweeps begin from a state with the
mean field's occupations, since a random one has been seen to stay in a wrong sector. Two counts for each bond
dimension: all numbers that the block-sparse site tensors of the final one-site canonical state store, gauge freedom
not removed; and those left without the gauge (sum over bonds and quantum numbers of n_q^2) and the norm. In SU(2)
blocks are of reduced elements, one for a multiplet. The energy is that of the stored state. A state of two sites,
whose numbers can be counted by hand (8 with U(1)xU(1), 6 with SU(2)), is counted first.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from impurity_ground import one_orbital, orbitals

from limbeck.core.record import write_json
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.orbitals import NaturalOrbitals, natural_orbitals

WORKER = Path(__file__).parent / "peers" / "mps_peer.py"
SYMMETRIES = ("U(1)xU(1)", "SU(2)")
BY_HAND = {"U(1)xU(1)": (8, 3), "SU(2)": (6, 2)}
"""Two sites, two electrons: numbers stored and free. U(1)xU(1): the left site is empty, up, down or double, one
element each on both sites, and 4 amplitudes less the norm are free. SU(2): empty, single, double."""
SMALL, LARGE, LARGEST = (4, 8, 16, 32, 64), (4, 8, 16, 32, 64, 125, 250), (4, 8, 16, 32, 64, 125, 250, 500)
CASES: dict[str, tuple[ImpurityModel, float | None, tuple[int, ...]]] = {
    "15-u2": (one_orbital(15, 2.0), -8.747676045859, SMALL),
    "31-u8": (one_orbital(31, 8.0), -19.538109938447, SMALL),
    "3x3": (orbitals(3, 3, 2.0, 0.4), -11.2028316702, LARGE),
    "3x5": (orbitals(3, 5, 2.0, 0.4), None, LARGEST),
}
"""Name: model, reference energy (extrapolated selected CI, two rounds of natural orbitals; 3x5: the lowest energy
found here, which is a bound), bond dimensions."""
rows: list[dict] = []


def row(name: str, value: float, error: float | None, unit: str, note: str = "") -> None:
    """Add and show a row."""
    command = shlex.join([".venv/bin/python", "benchmarks/impurity_mps.py", *sys.argv[1:]])
    rows.append({"id": f"impurity-mps-{name}", "value": value, "standard_error": error, "unit": unit,
                 "command": command, "note": note})  # fmt: skip
    sys.stdout.write(f"{rows[-1]['id']:40} {value:14.8g} {unit}  {note}\n")
    sys.stdout.flush()


def orders(basis: NaturalOrbitals) -> dict[str, list[int]]:
    """Orders of the orbitals: by distance from the impurity, and (where there are several) part by part."""
    h = np.abs(basis.model.one_body[::2, ::2])
    m = basis.model.n_impurity // 2
    part = basis.part[::2]
    kind = np.where(basis.is_active[::2], 0, np.where(basis.is_filled[::2], -1, 1))
    distance = np.full(len(h), -1)
    distance[:m] = 0
    for step in range(1, len(h)):
        reached = (h[distance == step - 1] > 0).any(axis=0) & (distance < 0)
        distance[reached] = step
    place = np.where(kind == 0, 0.001 * (np.arange(len(h)) >= m), kind * (1 + distance))
    found = {"by distance": [int(i) for i in np.lexsort((part, place))]}
    if m > 1:
        found["by orbital"] = [int(i) for i in np.lexsort((place, part))]
    return found


def states(peers: str, basis: NaturalOrbitals, order: list[int], bonds: tuple[int, ...]) -> list[dict]:
    """What block2 finds."""
    model, m = basis.model, basis.model.n_impurity // 2
    h = model.one_body[::2, ::2].real[np.ix_(order, order)]
    local = np.zeros((len(h),) * 4)
    local[:m, :m, :m, :m] = model.interaction[0::2, 1::2, 0::2, 1::2].transpose(0, 2, 1, 3)  # (ac|bd) = U_abcd
    occupations = np.where(basis.is_active[::2], 1.0, np.where(basis.is_filled[::2], 2.0, 0.0))[order]
    given = {"one_body": h.tolist(), "two_body": local[np.ix_(order, order, order, order)].tolist(),
             "electrons": model.n_electrons, "occupations": occupations.tolist(), "bonds": list(bonds),
             "symmetries": list(SYMMETRIES), "sweeps": 12}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.json", Path(folder) / "out.json"
        source.write_text(json.dumps(given))
        subprocess.run([peers, str(WORKER), str(source), str(target)], check=True, capture_output=True)
        return json.loads(target.read_text())


def by_hand(peers: str) -> None:
    """Two sites: the counts that can be made by hand.

    Raises:
        RuntimeError: If the count differs.
    """
    basis = natural_orbitals(one_orbital(1, 2.0))
    for state in states(peers, basis, [0, 1], (8,)):
        kind = state["symmetry"]
        if (state["numbers"], state["free"]) != BY_HAND[kind]:
            raise RuntimeError(
                f"two sites, {kind}: counted {state['numbers']}, {state['free']}; by hand {BY_HAND[kind]}"
            )
        row(f"two-sites-{kind}", state["numbers"], None, "numbers", f"by hand {BY_HAND[kind][0]}; {state['free']} free")


def case(peers: str, name: str) -> None:
    """Counts and errors of one model; of several orders the one with the lowest energy at each bond dimension."""
    model, truth, bonds = CASES[name]
    basis = natural_orbitals(model)
    best: dict[tuple[str, int], dict] = {}
    tried = orders(basis)
    if name == "3x5":
        del tried["by distance"]
    for order_name, order in tried.items():
        for state in states(peers, basis, order, bonds):
            key = (state["symmetry"], state["bond"])
            if key not in best or state["energy"] < best[key]["energy"]:
                best[key] = state | {"order": order_name}
    lowest = min(state["energy"] for state in best.values())
    row(f"{name}-lowest", lowest, None, "D", "lowest energy of all")
    truth = lowest if truth is None else truth
    for (kind, bond), state in best.items():
        error = (state["energy"] - truth) / abs(truth)
        note = (
            f"{state['numbers']} numbers, {state['free']} without gauge; {state['order']}; {state['seconds']:.1f} CPU s"
        )
        row(f"{name}-{kind}-{bond}-error", error, None, "1", note)
        row(f"{name}-{kind}-{bond}-numbers", state["numbers"], None, "numbers", f"{state['free']} without gauge")


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="Python of the environment that holds block2")
    parser.add_argument("--only", choices=list(CASES), nargs="*", default=list(CASES))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    by_hand(arguments.peers)
    for name in arguments.only:
        case(arguments.peers, name)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
