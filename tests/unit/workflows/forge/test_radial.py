"""Which pairs are shown, and how far: never to where an atom meets its own image."""

import numpy as np
import pytest
from ase.build import bulk

from limbeck.core.record import canonical_json
from limbeck.report.schema import RadialDistribution
from limbeck.workflows.forge.radial import BIN_WIDTH_A, CUTOFF_A, radial_curves


def shaken(atoms, count=6):
    frames = []
    for seed in range(count):
        frame = atoms.copy()
        frame.rattle(0.08, seed=seed)
        frames.append(frame)
    return frames


def test_compounds_have_a_curve_for_every_pair():
    curves = list(radial_curves(shaken(bulk("MgO", "rocksalt", a=4.2, cubic=True).repeat((2, 2, 2))), 10.0))
    assert [c["pair"] for c in curves] == ["Mg–Mg", "Mg–O", "O–O"]
    first = {c["pair"]: c["r_A"][np.argmax(c["g"] > 0.5)] for c in curves}
    assert first["Mg–O"] == pytest.approx(2.1, abs=0.3)
    assert first["Mg–Mg"] == pytest.approx(4.2 / np.sqrt(2), abs=0.35)
    assert all(c["atoms"] == 64 for c in curves)
    for curve in curves:
        RadialDistribution.model_validate_json(canonical_json(curve | {"potential": "student"}))


@pytest.mark.parametrize("repeat", [(2, 1, 1), (2, 2, 2), (4, 4, 4)])
def test_curves_end_below_half_the_smallest_width(repeat):
    (curve,) = radial_curves(shaken(bulk("Si", a=5.43, cubic=True).repeat(repeat), 2), 10.0)
    assert curve["pair"] == ""
    end = curve["r_A"][-1] + BIN_WIDTH_A / 2
    limit = min(CUTOFF_A, 5.43 * min(repeat) / 2)
    assert limit - BIN_WIDTH_A < end <= limit + 1e-9
