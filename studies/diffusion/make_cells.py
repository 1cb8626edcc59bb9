"""Write the starting cells of the study: argyrodite Li6PS5Cl, ordered, with all antisites, and half of each.

    .venv/bin/python studies/diffusion/make_cells.py studies/diffusion/data

F-43m, a = 9.859 Å: P on 4b, sulfur of the thiophosphate on 16e (x = 0.618), free sulfur on 4c and chlorine on 4a,
lithium on 24g (x = 0.02) in the cages about 4c (H.-J. Deiseroth et al., Angew. Chem. Int. Ed. 47, 755 (2008),
doi:10.1002/anie.200703900; occupation of 48h, on both sides of 24g, is left to the dynamics). In the antisite cell free
sulfur and chlorine have changed places; the mixed cell is two primitive cells, one of each kind.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from ase.spacegroup import crystal

LATTICE_CONSTANT_A = 9.859
SITES = {
    "Li": (0.02, 0.25, 0.25),
    "P": (0.5, 0.5, 0.5),
    "S": (0.618, 0.618, 0.618),
    "free S": (0.25, 0.25, 0.25),
    "Cl": (0.0, 0.0, 0.0),
}


def argyrodite(*, primitive: bool) -> tuple[Atoms, np.ndarray]:
    """Ordered cell, and the kind of each atom's site as its number in :data:`SITES`."""
    cell = crystal(
        [name.split()[-1] for name in SITES],
        list(SITES.values()),
        spacegroup=216,
        cellpar=[LATTICE_CONSTANT_A] * 3 + [90] * 3,
        primitive_cell=primitive,
    )
    return cell, cell.arrays["spacegroup_kinds"]


def with_antisites(cell: Atoms, kinds: np.ndarray, share: float, rng: np.random.Generator) -> Atoms:
    """Copy in which a share of the free sulfur has changed places with as many chlorine atoms, at random."""
    names = list(SITES)
    changed = cell.copy()
    symbols = np.array(changed.get_chemical_symbols())
    for name, other in (("free S", "Cl"), ("Cl", "S")):
        places = np.flatnonzero(kinds == names.index(name))
        symbols[rng.permutation(places)[: round(share * len(places))]] = other
    changed.set_chemical_symbols(symbols)
    order = np.argsort([["Li", "P", "S", "Cl"].index(s) for s in symbols], kind="stable")
    return changed[order]


def main() -> None:
    """Write the cells."""
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(20251129)
    primitive, kinds = argyrodite(primitive=True)
    double, double_kinds = primitive.repeat((2, 1, 1)), np.tile(kinds, 2)
    cells = {
        "ordered": with_antisites(primitive, kinds, 0.0, rng),
        "antisite": with_antisites(primitive, kinds, 1.0, rng),
        "mixed": with_antisites(double, double_kinds, 0.5, rng),
    }
    conventional, kinds = argyrodite(primitive=False)
    block, block_kinds = conventional.repeat((2, 2, 1)), np.tile(kinds, 4)
    cells["block-208"] = with_antisites(block, block_kinds, 0.5, rng)
    for name, atoms in cells.items():
        atoms.arrays.pop("spacegroup_kinds", None)
        write(folder / f"li6ps5cl-{name}.vasp", atoms, direct=True, vasp5=True)


if __name__ == "__main__":
    main()
