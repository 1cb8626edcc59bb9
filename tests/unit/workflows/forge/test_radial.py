"""Which pairs are shown, and how far: never to where an atom meets its own image."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from limbeck.core.progress import SilentReporter
from limbeck.core.record import canonical_json
from limbeck.executors.serial import SerialExecutor
from limbeck.report.schema import RadialDistribution
from limbeck.workflows.forge import tasks
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.context import Forge, explore_tasks
from limbeck.workflows.forge.distil import EXPLORATION
from limbeck.workflows.forge.radial import BIN_WIDTH_A, CUTOFF_A, compare_radial, radial_curves
from limbeck.workflows.stages import StageResult


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


def test_teacher_and_student_are_compared_in_equal_cells_and_the_student_alone_in_a_wide_one(tmp_path, monkeypatch):
    """The same potential on both sides gives the same curves to the bit: starts, conditions and noise are equal."""
    monkeypatch.setattr(tasks, "calculator_of", lambda _potential: EMT())
    explore = {"temperatures_K": [300.0, 600.0], "pressures_GPa": [0.0, 5.0], "equilibration_steps": 2, "steps": 4,
               "every": 2}  # fmt: skip
    settings = ForgeSettings.model_validate(
        {
            "name": "copper",
            "structures": [{"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.61}],
            "labels": {"kind": "emt"},
            "distil": {"explore": explore, "trajectories": 4},
        }
    )
    forge = Forge(settings, tmp_path, None, SerialExecutor(), None, SilentReporter())
    crystal = bulk("Cu", a=3.61, cubic=True)
    starts = shaken(crystal.repeat((2, 1, 1)), 2)
    teacher, place = tmp_path / "teacher", tmp_path / "student"
    plan = explore_tasks(forge, teacher, {"teacher": "x"}, starts, settings.distil.explore, 4, EXPLORATION)
    forge.run_tasks("teacher", plan)
    taught = StageResult("50-distil-teacher", teacher, "", {}, 0.0, 0.0)
    curves, _ = compare_radial(forge, place, crystal, taught, {"student": "y"})
    kinds = [(c["potential"], c["temperature_K"], c["compared"], c["atoms"]) for c in curves]
    assert kinds == [
        ("fine-tuned teacher", 300.0, True, 8), ("fine-tuned teacher", 600.0, True, 8),
        ("student", 300.0, True, 8), ("student", 600.0, True, 8),
        ("student", 300.0, False, 256), ("student", 600.0, False, 256),
    ]  # fmt: skip
    assert np.array_equal(curves[0]["g"], curves[2]["g"])
    assert curves[0]["r_A"][-1] < 3.61 / 2
    assert curves[4]["r_A"][-1] > 6.0
