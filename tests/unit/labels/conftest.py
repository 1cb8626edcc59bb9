import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from limbeck.labels.labelled import Fingerprint, Labelled


def make_label(seed: int = 0, *, trajectory: str = "run 1", functional: str = "PBE", n: int = 1) -> Labelled:
    """A label with made-up values that use all digits of a double."""
    rng = np.random.default_rng(seed)
    atoms = bulk("NaCl", "rocksalt", a=5.6).repeat((n, 1, 1))
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape).round(8)
    atoms.info["trajectory"] = trajectory
    return Labelled(
        atoms=Atoms(atoms.symbols, positions=atoms.positions.round(8), cell=atoms.cell, pbc=True, info=atoms.info),
        energy=float(rng.normal()),
        forces=rng.normal(size=(len(atoms), 3)),
        stress=rng.normal(size=6),
        fingerprint=Fingerprint(
            "invented", "1", {"cutoff_eV": 300.0}, {"Na": "00"},
            {"functional": functional, "hubbard": {}, "dispersion": "none"},
        ),
        provenance={"cpu_s": 1.5},
    )  # fmt: skip


@pytest.fixture
def label_of():
    return make_label


@pytest.fixture(scope="session")
def label_factory():
    """Cheap labels of one atom, told apart by their trajectory only."""
    fingerprint = Fingerprint("invented", "1", {})

    def make(trajectory: str) -> Labelled:
        atoms = Atoms("Cu", cell=np.eye(3) * 3, pbc=True, info={"trajectory": trajectory})
        return Labelled(atoms, 0.0, np.zeros((1, 3)), np.zeros(6), fingerprint)

    return make
