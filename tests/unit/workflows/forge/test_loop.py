"""Doubt about the unit of labels."""

import numpy as np
import pytest

from limbeck.potentials.evaluate import Evaluation
from limbeck.workflows.forge.loop import doubt_of_units


def evaluation(factor: float) -> Evaluation:
    """A soft universal teacher (slope 0.75, some noise) against labels that are ``1 / factor`` times too large."""
    rng = np.random.default_rng(1)
    true = rng.normal(size=(40, 3))
    zeros, stress = np.zeros(5), np.zeros((5, 6))
    return Evaluation(
        trajectories=np.array(["a"] * 5), atom_counts=np.full(5, 8), numbers=np.full(40, 14),
        energies=zeros, reference_energies=zeros, forces=0.75 * true + 0.2 * rng.normal(size=(40, 3)),
        reference_forces=true / factor, stress=stress, reference_stress=stress,
    )  # fmt: skip


@pytest.mark.parametrize(("factor", "seen"), [(1.0, None), (0.0434, "0.03"), (51.4, "38"), (-1.0, "-0.7")])
def test_forces_in_another_unit_or_of_the_other_sign_are_doubted(factor: float, seen: str | None) -> None:
    said = doubt_of_units(evaluation(factor))
    if seen is None:
        assert said == ""
    else:
        assert f"are {seen}" in said
        assert "eV/Å" in said


def test_labels_without_forces_are_not_doubted() -> None:
    assert doubt_of_units(evaluation(np.inf)) == ""
