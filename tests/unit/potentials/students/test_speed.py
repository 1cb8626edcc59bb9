"""Speed of a student in LAMMPS: a number with a spread, and clear errors."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from ase.build import bulk

from limbeck.core.errors import DynamicsError, StructureError
from limbeck.potentials.lammps_calculator import LammpsCalculator
from limbeck.potentials.protocols import PairStyle
from limbeck.potentials.students.speed import measure_speed


@dataclass(frozen=True)
class LennardJones:
    """A student as small as can be."""

    folder: Path
    coefficient: str = "0.05 2.3"
    kind: str = "lj"
    elements: tuple[str, ...] = ("Cu",)

    def pair_style(self) -> PairStyle:
        return PairStyle(("pair_style lj/cut 5.0", f"pair_coeff * * {self.coefficient}"), ("Cu",), ())

    def calculator(self) -> LammpsCalculator:
        return LammpsCalculator(self.pair_style(), self.folder)


@pytest.mark.parametrize("ranks", [1, 2])
def test_speed_is_a_positive_number_with_its_method(tmp_path: Path, ranks: int) -> None:
    atoms = bulk("Cu", cubic=True).repeat(3)
    speed = measure_speed(LennardJones(tmp_path), atoms, 20, ranks=ranks, repeats=3)
    assert 0 < speed.value < 1e4
    assert speed.standard_error >= 0
    assert speed.unit == "µs/atom/step"
    assert speed.method == f"median of 3 LAMMPS runs of 20 steps, 108 atoms, {ranks} MPI rank(s)"
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_named(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    with pytest.raises(DynamicsError, match="nonsense"):
        measure_speed(LennardJones(tmp_path, "nonsense 1"), atoms, 5)
    with pytest.raises(StructureError, match="repeats"):
        measure_speed(LennardJones(tmp_path), atoms, 5, repeats=1)
    atoms.pbc = (True, True, False)
    with pytest.raises(StructureError, match="periodic"):
        measure_speed(LennardJones(tmp_path), atoms, 5)
