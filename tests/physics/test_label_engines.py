"""Numbers behind the defaults of the plane-wave engine: convergence, and stress against energies at finite strain."""

import json
from importlib import metadata

import numpy as np
import pytest
from ase.build import bulk

from limbeck.core.errors import LabelError
from limbeck.core.units import ev_per_a3_to_gpa
from limbeck.labels.engines.gpaw import GpawEngine, GpawSettings
from limbeck.labels.serialize import atoms_to_dict
from limbeck.labels.task import label_to_spool, read_ledger


def _has_gpaw() -> bool:
    try:
        return bool(metadata.version("gpaw"))
    except metadata.PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.gpaw,
    pytest.mark.skipif(not _has_gpaw(), reason="GPAW is not installed (pip install gpaw gpaw-data)"),
]


def engine(**options):
    return GpawEngine(GpawSettings(**{"k_spacing_per_A": 0.8, "smearing_eV": 0.05, **options}))


def distorted(formula, lattice, constant):
    atoms = bulk(formula, lattice, a=constant)
    atoms.positions[1] += [0.08, -0.05, 0.03]
    return atoms


def test_scf_that_does_not_converge_is_quarantined(tmp_path):
    """The real engine, stopped after two steps: one failed frame with its reason, one finished computation."""
    settings = {"kind": "gpaw", "plane_wave_cutoff_eV": 150, "k_spacing_per_A": 3, "max_scf_steps": 2}
    result = label_to_spool(json.loads(json.dumps(settings)), atoms_to_dict(bulk("Si")), str(tmp_path))
    assert result["status"] == "failed"
    assert "did not converge in 2 SCF steps" in result["reason"]
    assert [entry["event"] for entry in read_ledger(tmp_path)] == ["started", "finished"]


def test_spin_gives_the_moment_of_an_atom():
    """Nitrogen in a small box: three unpaired electrons, and no stress without three periodic directions."""
    from ase import Atoms

    atoms = Atoms("N", positions=[[2.5, 2.5, 2.5]], cell=np.eye(3) * 5, pbc=False)
    atoms.set_initial_magnetic_moments([3.0])
    label = engine(plane_wave_cutoff_eV=200, spin_polarized=True, smearing_eV=0.01).label(atoms)
    assert label.provenance["total_magnetic_moment_muB"] == pytest.approx(3.0, abs=0.02)
    assert label.magnetic_moments is not None
    assert 0.3 < label.magnetic_moments[0] < 3.0  # inside the augmentation sphere
    assert label.stress is None
    assert np.linalg.norm(label.forces) < 0.05


def test_timeout_of_the_real_engine():
    with pytest.raises(LabelError, match="not finished after timeout_s"):
        engine(timeout_s=0.5).label(bulk("Si"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "lattice", "constant", "cutoff_eV", "force_limit", "stress_limit_GPa"),
    [("Si", "diamond", 5.43, 300, 0.002, 0.1), ("MgO", "rocksalt", 4.25, 800, 0.002, 0.3)],
)
def test_recommended_cutoff_is_converged(formula, lattice, constant, cutoff_eV, force_limit, stress_limit_GPa):
    """Forces and stress at the recommended cutoff against those at 900 eV, equal k points."""
    atoms = distorted(formula, lattice, constant)
    used, reference = (engine(plane_wave_cutoff_eV=cutoff).label(atoms) for cutoff in (cutoff_eV, 900))
    assert np.abs(used.forces - reference.forces).max() < force_limit
    assert ev_per_a3_to_gpa(np.abs(used.stress - reference.stress).max()) < stress_limit_GPa


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "lattice", "constant", "cutoff_eV"), [("Si", "diamond", 5.3, 300), ("MgO", "rocksalt", 4.1, 800)]
)
def test_pressure_agrees_with_finite_volume_change(formula, lattice, constant, cutoff_eV):
    """Hydrostatic stress against dE/dV of compressed crystals, where the fixed set of plane waves matters most."""
    atoms = bulk(formula, lattice, a=constant)
    used = engine(plane_wave_cutoff_eV=cutoff_eV)
    free_energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1 + 0.005 * sign), scale_atoms=True)
        free_energies.append(used.label(strained).energy)
    slope = (free_energies[0] - free_energies[1]) / (2 * 0.005 * 3 * atoms.get_volume())
    assert ev_per_a3_to_gpa(used.label(atoms).stress[:3].mean()) == pytest.approx(ev_per_a3_to_gpa(slope), abs=0.6)
