"""What every label engine must do; a new engine is one more subclass. A deliberately wrong one is rejected below."""

import dataclasses
import functools
import json
from importlib import metadata

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from limbeck.core.errors import LabelError, LimbeckError, UnsupportedElementError
from limbeck.labels.dataset import Description, save_set
from limbeck.labels.engine import LabelEngine
from limbeck.labels.engines import build_engine, engine_from_dict
from limbeck.labels.engines.emt import EmtEngine, EmtSettings
from limbeck.labels.engines.gpaw import GpawSettings
from limbeck.labels.engines.stored import StoredEngine, StoredSettings
from limbeck.labels.engines.tblite import TbliteSettings
from limbeck.labels.labelled import Labelled
from limbeck.labels.serialize import (
    canonical,
    label_key,
    labelled_from_dict,
    labelled_to_dict,
    structure_hash,
)

SHEAR = np.array([[0.6, 0.4, 0.2], [0.4, -0.9, 0.3], [0.2, 0.3, 0.3]])
"""A traceless strain: volume and so the set of plane waves stay, all six components of the stress count."""


def energy_of(labelled: Labelled) -> float:
    """The energy whose gradient the forces are: the free energy where an engine smears the occupation."""
    return labelled.energy


def check_forces(engine: LabelEngine, atoms: Atoms, step: float, relative: float) -> None:
    """Forces are minus the derivative of the energy, along a fixed direction in which all atoms move."""
    direction = np.random.default_rng(3).normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction)
    forward, backward = atoms.copy(), atoms.copy()
    forward.positions += step * direction
    backward.positions -= step * direction
    slope = (energy_of(engine.label(forward)) - energy_of(engine.label(backward))) / (2 * step)
    forces = engine.label(atoms).forces
    assert -slope == pytest.approx(float(np.sum(forces * direction)), abs=relative * np.linalg.norm(forces) / 3)


def check_stress(engine: LabelEngine, atoms: Atoms, strain: np.ndarray, step: float, relative: float) -> None:
    """Stress is the strain derivative of the energy over the volume, in ASE's sign and Voigt order."""
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        energies.append(energy_of(engine.label(strained)))
    slope = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
    stress = engine.label(atoms).stress
    assert stress is not None
    full = np.array(
        [[stress[0], stress[5], stress[4]], [stress[5], stress[1], stress[3]], [stress[4], stress[3], stress[2]]]
    )
    assert slope == pytest.approx(
        float(np.sum(full * strain)), abs=relative * np.linalg.norm(full) * np.linalg.norm(strain) / 3
    )


class LabelEngineContract:
    """Provenance, purity and serialization: what holds for any source of labels."""

    production = True

    @pytest.fixture
    def engine(self) -> LabelEngine:
        raise NotImplementedError

    @pytest.fixture
    def structure(self) -> Atoms:
        raise NotImplementedError

    @pytest.fixture
    def unknown(self) -> Atoms:
        """A structure that the engine has no data for."""
        raise NotImplementedError

    @pytest.fixture
    def labelled(self, engine, structure):
        return engine.label(structure)

    def test_input_is_not_changed(self, engine, structure):
        before, calculator = structure.copy(), structure.calc
        engine.label(structure)
        assert structure == before
        assert structure.calc is calculator
        assert structure.info == before.info

    def test_label_belongs_to_canonical_structure(self, labelled, structure):
        assert labelled.atoms == canonical(structure)
        assert labelled.atoms.calc is None
        assert labelled.trajectory == "contract"

    def test_values_are_finite_and_shaped(self, labelled, structure):
        assert np.isfinite(labelled.energy)
        assert labelled.forces.shape == (len(structure), 3)
        assert labelled.stress.shape == (6,)

    def test_fingerprint_is_that_of_the_label(self, engine, structure, labelled):
        assert engine.fingerprint(structure) == labelled.fingerprint
        assert labelled.fingerprint.production is self.production
        assert set(labelled.fingerprint.theory) == {"functional", "hubbard", "dispersion"}
        assert labelled.fingerprint.version
        json.dumps(labelled.fingerprint.parameters)

    def test_provenance_says_what_it_cost(self, labelled):
        assert labelled.provenance["cpu_s"] >= 0

    def test_serialization_is_exact(self, labelled):
        again = labelled_from_dict(json.loads(json.dumps(labelled_to_dict(labelled))))
        assert again.energy == labelled.energy
        np.testing.assert_array_equal(again.forces, labelled.forces)
        np.testing.assert_array_equal(again.stress, labelled.stress)
        assert again.atoms == labelled.atoms
        assert again.fingerprint.hash == labelled.fingerprint.hash
        assert label_key(again.atoms, again.fingerprint) == label_key(labelled.atoms, labelled.fingerprint)

    def test_unknown_structure_is_one_clear_error(self, engine, unknown):
        with pytest.raises((LabelError, UnsupportedElementError), match=r"\w{3,}") as caught:
            engine.label(unknown)
        assert isinstance(caught.value, LimbeckError)


class ComputingEngineContract(LabelEngineContract):
    """What holds for engines that compute: one energy surface, its exact derivatives, its symmetries."""

    force_step_A = 1e-3
    force_tolerance = 1e-4
    strain_step = 1e-4
    stress_tolerance = 1e-3
    energy_tolerance_eV = 1e-8
    invariance_tolerance = 1e-6
    strain = SHEAR + 0.4 * np.eye(3)

    def test_forces_are_minus_the_gradient(self, engine, structure):
        check_forces(engine, structure, self.force_step_A, self.force_tolerance)

    def test_stress_is_the_strain_derivative(self, engine, structure):
        check_stress(engine, structure, self.strain, self.strain_step, self.stress_tolerance)

    def test_order_of_atoms_does_not_matter(self, engine, structure, labelled):
        order = np.random.default_rng(0).permutation(len(structure))[::-1]
        order = order if np.any(order != np.arange(len(order))) else order[::-1]
        shuffled = engine.label(structure[order])
        assert shuffled.energy == pytest.approx(labelled.energy, abs=self.energy_tolerance_eV * len(structure))
        np.testing.assert_allclose(shuffled.forces, labelled.forces[order], atol=self.invariance_tolerance)
        np.testing.assert_allclose(shuffled.stress, labelled.stress, atol=self.invariance_tolerance)

    def test_translation_does_not_matter(self, engine, structure, labelled):
        moved = structure.copy()
        moved.positions += [0.37, -0.21, 0.55]
        moved.wrap()
        other = engine.label(moved)
        assert other.energy == pytest.approx(labelled.energy, abs=self.energy_tolerance_eV * len(structure))
        np.testing.assert_allclose(other.forces, labelled.forces, atol=self.invariance_tolerance)

    def test_forces_sum_to_zero(self, labelled):
        np.testing.assert_allclose(labelled.forces.sum(axis=0), 0, atol=self.invariance_tolerance)

    def test_compression_gives_negative_stress(self, engine, structure):
        squeezed = structure.copy()
        squeezed.set_cell(structure.cell.array * 0.92, scale_atoms=True)
        assert engine.label(squeezed).stress[:3].mean() < -0.005

    def test_settings_travel_as_plain_values(self, engine, structure):
        values = json.loads(json.dumps(engine.settings.model_dump(mode="json")))
        assert engine_from_dict(values).fingerprint(structure).hash == engine.fingerprint(structure).hash


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * SHEAR), scale_atoms=True)
    atoms.rattle(0.15, seed=2)
    atoms.info["trajectory"] = "contract"
    return atoms


def silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43)
    atoms.positions[1] += [0.12, -0.05, 0.08]
    atoms.info["trajectory"] = "contract"
    return atoms


class TestEmt(ComputingEngineContract):
    production = False

    @pytest.fixture
    def engine(self):
        return build_engine(EmtSettings())

    @pytest.fixture
    def structure(self):
        return copper()

    @pytest.fixture
    def unknown(self):
        return silicon()


class TestTblite(ComputingEngineContract):
    production = False
    force_step_A = 5e-3
    force_tolerance = 1e-3
    strain_step = 1e-3
    stress_tolerance = 3e-3
    energy_tolerance_eV = 1e-5
    invariance_tolerance = 1e-4

    @pytest.fixture
    def engine(self):
        return build_engine(TbliteSettings(accuracy=0.01))

    @pytest.fixture
    def structure(self):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=1)
        atoms.info["trajectory"] = "contract"
        return atoms

    @pytest.fixture
    def unknown(self):
        return Atoms("Am", cell=np.eye(3) * 6, pbc=True)


def _has_gpaw() -> bool:
    try:
        return bool(metadata.version("gpaw"))
    except metadata.PackageNotFoundError:
        return False


class _Remembering:
    """An engine that labels equal structures once, so that the tests of a costly one share its labels."""

    def __init__(self, engine):
        self.engine, self.settings, self._known = engine, engine.settings, {}

    def fingerprint(self, atoms):
        return self.engine.fingerprint(atoms)

    def label(self, atoms):
        key = structure_hash(atoms)
        if key not in self._known:
            self._known[key] = self.engine.label(atoms)
        return self._known[key]


@functools.cache
def small_gpaw() -> _Remembering:
    settings = GpawSettings(
        plane_wave_cutoff_eV=250,
        k_spacing_per_A=1.2,
        smearing_eV=0.05,
        density_convergence=1e-6,
        energy_convergence_eV=1e-6,
    )
    return _Remembering(build_engine(settings))


@pytest.mark.gpaw
@pytest.mark.skipif(not _has_gpaw(), reason="GPAW is not installed (pip install gpaw gpaw-data)")
class TestGpaw(ComputingEngineContract):
    """Two silicon atoms, few k points: physics of the interface, not of silicon."""

    force_step_A = 0.01
    force_tolerance = 5e-3
    strain_step = 0.006
    stress_tolerance = 0.06  # at a fixed cutoff the set of plane waves changes with the strain
    energy_tolerance_eV = 2e-4
    invariance_tolerance = 3e-3
    strain = SHEAR

    @pytest.fixture
    def engine(self):
        return small_gpaw()

    @pytest.fixture
    def structure(self):
        return silicon()

    @pytest.fixture
    def unknown(self):
        return Atoms("Am", cell=np.eye(3) * 6, pbc=True)

    def test_provenance_and_files(self, labelled):
        assert list(labelled.fingerprint.files) == ["Si.PBE.gz"]
        assert len(labelled.fingerprint.files["Si.PBE.gz"]) == 64
        assert labelled.provenance["scf_steps"] > 3
        assert labelled.fingerprint.parameters["k_mesh"] == [2, 2, 2]


class TestStored(LabelEngineContract):
    production = False

    @pytest.fixture
    def engine(self, tmp_path):
        path = tmp_path / "copper.extxyz.xz"
        description = Description(title="Copper", what="One rattled cell.", command="pytest", date="2025-01-01")
        save_set(path, [EmtEngine(EmtSettings()).label(copper())], description)
        return StoredEngine(StoredSettings(path=str(path)))

    @pytest.fixture
    def structure(self):
        return copper()

    @pytest.fixture
    def unknown(self):
        return silicon()

    def test_holds_what_the_engine_computed(self, labelled):
        computed = EmtEngine(EmtSettings()).label(copper())
        assert labelled.energy == computed.energy
        np.testing.assert_array_equal(labelled.forces, computed.forces)
        assert labelled.fingerprint.hash == computed.fingerprint.hash


class ForcesTooLarge(EmtEngine):
    """Wrong on purpose: forces 1 % too large."""

    def label(self, atoms: Atoms) -> Labelled:
        right = super().label(atoms)
        return dataclasses.replace(right, forces=right.forces * 1.01)


class StressOfTheOtherSign(EmtEngine):
    """Wrong on purpose: pressure in place of stress."""

    def label(self, atoms: Atoms) -> Labelled:
        right = super().label(atoms)
        return dataclasses.replace(right, stress=-right.stress)


class StressInLammpsOrder(EmtEngine):
    """Wrong on purpose: xx yy zz xy xz yz."""

    def label(self, atoms: Atoms) -> Labelled:
        right = super().label(atoms)
        return dataclasses.replace(right, stress=right.stress[[0, 1, 2, 5, 4, 3]])


class MovesItsInput(EmtEngine):
    """Wrong on purpose: wraps the caller's atoms."""

    def label(self, atoms: Atoms) -> Labelled:
        atoms.positions += 1e-3
        return super().label(atoms)


def test_contract_rejects_wrong_forces():
    with pytest.raises(AssertionError):
        TestEmt().test_forces_are_minus_the_gradient(ForcesTooLarge(EmtSettings()), copper())


@pytest.mark.parametrize("wrong", [StressOfTheOtherSign, StressInLammpsOrder])
def test_contract_rejects_wrong_stress(wrong):
    with pytest.raises(AssertionError):
        TestEmt().test_stress_is_the_strain_derivative(wrong(EmtSettings()), copper())


def test_contract_rejects_changed_input():
    with pytest.raises(AssertionError):
        TestEmt().test_input_is_not_changed(MovesItsInput(EmtSettings()), copper())


@pytest.mark.gpaw
def test_tolerance_of_the_costly_engine_still_tells_one_percent():
    """The looser limits of the plane-wave contract reject forces that are 1 % off, too."""
    structure = copper()
    with pytest.raises(AssertionError):
        check_forces(ForcesTooLarge(EmtSettings()), structure, 1e-3, TestGpaw.force_tolerance)
