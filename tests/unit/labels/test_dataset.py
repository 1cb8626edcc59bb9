import dataclasses
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from limbeck.core.errors import ConfigError, LabelError, MissingFileError, MixedTheoryError, StoreError
from limbeck.labels.dataset import (
    Description,
    card_path,
    load_set,
    read_labelled,
    require_one_theory,
    require_one_theory_across,
    save_set,
)
from limbeck.labels.engines.stored import StoredEngine, StoredSettings

DESCRIPTION = Description(title="Invented", what="Two runs.", command="pytest", date="2025-01-01")
STUDIES = Path(__file__).parents[3] / "studies"
THEORY = {"functional": "PBE", "hubbard": {}, "dispersion": "none"}


@pytest.fixture
def frames(label_of):
    return [label_of(seed, trajectory=f"run {seed % 2}") for seed in range(5)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_round_trip_is_exact(tmp_path, frames, suffix):
    path = tmp_path / f"set.extxyz{suffix}"
    card = save_set(path, frames, DESCRIPTION)
    loaded, again = load_set(path)
    assert again == card
    assert (card.frames, card.atoms, card.elements) == (5, 10, ["Cl", "Na"])
    assert card.trajectories == {"run 0": 3, "run 1": 2}
    assert card.label_cpu_s == 7.5
    for before, after in zip(frames, loaded, strict=True):
        assert after.atoms == before.atoms
        assert after.atoms.info == before.atoms.info
        assert after.energy == before.energy
        np.testing.assert_array_equal(after.forces, before.forces)
        np.testing.assert_array_equal(after.stress, before.stress)
        assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_equal_frames_give_equal_bytes(tmp_path, frames, suffix):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_set(tmp_path / name / f"set.extxyz{suffix}", frames, DESCRIPTION)
    for file in (f"set.extxyz{suffix}", "set.card.yaml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_changed_file_is_refused(tmp_path, frames):
    path = tmp_path / "set.extxyz"
    save_set(path, frames, DESCRIPTION)
    path.write_text(path.read_text().replace("REF_energy=", "REF_energy=1", 1))
    with pytest.raises(StoreError, match="not the file that the card describes"):
        load_set(path)


def test_missing_card_is_named(tmp_path, frames):
    path = tmp_path / "set.extxyz.xz"
    save_set(path, frames, DESCRIPTION)
    card_path(path).unlink()
    with pytest.raises(MissingFileError, match=r"set\.card\.yaml"):
        load_set(path)


def test_misspelt_card_is_a_clear_error(tmp_path, frames):
    path = tmp_path / "set.extxyz.xz"
    save_set(path, frames, DESCRIPTION)
    card_path(path).write_text(card_path(path).read_text().replace("licence:", "license:"))
    with pytest.raises(ConfigError, match="licence"):
        load_set(path)


def test_theories_are_not_mixed(tmp_path, label_of):
    mixed = [label_of(0), label_of(1, functional="PBEsol")]
    for refused in (lambda: require_one_theory(mixed), lambda: save_set(tmp_path / "set.extxyz", mixed, DESCRIPTION)):
        with pytest.raises(MixedTheoryError, match=r'"PBE".*"PBEsol"'):
            refused()
    assert not list(tmp_path.iterdir())
    require_one_theory(mixed, allow_mixed=True)
    require_one_theory([])
    save_set(tmp_path / "set.extxyz", mixed, DESCRIPTION, allow_mixed=True)
    assert {f.fingerprint.theory["functional"] for f in load_set(tmp_path / "set.extxyz")[0]} == {"PBE", "PBEsol"}


def test_different_k_meshes_are_one_theory(label_of):
    first = label_of(0)
    other = dataclasses.replace(first.fingerprint, parameters={"cutoff_eV": 300.0, "k_mesh": [6, 6, 6]})
    require_one_theory([first, dataclasses.replace(first, fingerprint=other)])


def with_theory(label, symbols, **theory):
    atoms = label.atoms.copy()
    atoms.symbols[:] = symbols
    fingerprint = dataclasses.replace(label.fingerprint, theory={**label.fingerprint.theory, **theory})
    return dataclasses.replace(label, atoms=atoms, fingerprint=fingerprint)


def test_hubbard_u_counts_for_frames_with_its_element(label_of):
    corrected = with_theory(label_of(0), "FeO", hubbard={"Fe": {"d": 4.3}})
    oxide = with_theory(label_of(1), "MgO", hubbard={})
    listed = with_theory(label_of(1), "MgO", hubbard={"Fe": {"d": 4.3}, "Mg": {"s": 0.0}})
    require_one_theory([corrected, oxide, listed])
    for other in ({}, {"Fe": {"d": 4.0}}, {"Fe": {"d": 4.3, "p": 1.0}}, {"Fe": {"d": 4.3}, "O": {"p": 1.0}}):
        with pytest.raises(MixedTheoryError, match=r"differ in Hubbard U of (Fe|O)"):
            require_one_theory([corrected, oxide, with_theory(label_of(2), "FeO", hubbard=other)])


def test_batches_of_different_theory_are_named(label_of):
    batches = {"test set": [label_of(0)], "iteration 0": [label_of(1), label_of(2, functional="PBEsol")]}
    with pytest.raises(
        MixedTheoryError, match=r'"PBE".*\(test set, run 1\).*"PBEsol".*\(iteration 0, run 1\).*functional'
    ):
        require_one_theory_across(batches)
    require_one_theory_across(batches, allow_mixed=True)
    require_one_theory_across({"test set": [label_of(0)], "iteration 0": []})


@pytest.mark.parametrize("path", sorted((STUDIES / "forge" / "data").glob("*.extxyz.xz")), ids=lambda path: path.name)
def test_committed_sets_are_of_one_theory(path):
    loaded, _ = load_set(path)
    require_one_theory(loaded)


def test_empty_set_is_refused(tmp_path):
    with pytest.raises(LabelError, match="without frames"):
        save_set(tmp_path / "set.extxyz", [], DESCRIPTION)


def test_stored_engine_knows_its_frames_only(tmp_path, frames, label_of):
    path = tmp_path / "set.extxyz.xz"
    save_set(path, frames, DESCRIPTION)
    engine = StoredEngine(StoredSettings(path=str(path)))
    assert len(engine.frames()) == 5
    assert engine.label(frames[3].atoms).energy == frames[3].energy
    stranger = label_of(99).atoms
    assert engine.fingerprint(stranger).theory == frames[0].fingerprint.theory
    with pytest.raises(LabelError, match=r"holds no label for this ClNa structure \(5 frames"):
        engine.label(stranger)


@pytest.mark.parametrize("keys", ["reference", "ase"])
def test_files_of_users(tmp_path, keys):
    rng = np.random.default_rng(0)
    images, expected = [], []
    for seed in range(3):
        atoms = bulk("Si")
        atoms.rattle(0.1, seed=seed)
        energy, forces, stress = float(rng.normal()), rng.normal(size=(2, 3)), rng.normal(size=6)
        if keys == "reference":
            atoms.info.update(REF_energy=energy, REF_stress=stress)
            atoms.arrays["REF_forces"] = forces
        else:
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        images.append(atoms)
        expected.append((energy, forces, stress))
    ase.io.write(tmp_path / "mine.extxyz", images)
    found = read_labelled(tmp_path / "mine.extxyz", THEORY)
    for label, (energy, forces, stress) in zip(found, expected, strict=True):
        assert label.energy == pytest.approx(energy, abs=1e-7)
        np.testing.assert_allclose(label.forces, forces, atol=1e-7)
        np.testing.assert_allclose(label.stress, stress, atol=1e-7)
        assert label.trajectory == "mine.extxyz"
        assert label.fingerprint.theory == THEORY


def test_user_file_without_forces_names_the_frame(tmp_path):
    atoms = bulk("Si")
    atoms.info["REF_energy"] = 1.0
    ase.io.write(tmp_path / "mine.extxyz", [atoms])
    with pytest.raises(LabelError, match=r"mine.extxyz, frame 0: no forces"):
        read_labelled(tmp_path / "mine.extxyz", THEORY)
    with pytest.raises(MissingFileError, match=r"other\.extxyz"):
        read_labelled(tmp_path / "other.extxyz", THEORY)


def test_stress_as_matrix_is_put_in_voigt_order(tmp_path):
    atoms = bulk("Si")
    matrix = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) * 1e-2
    atoms.info.update(REF_energy=1.0, REF_stress=matrix)
    atoms.arrays["REF_forces"] = np.zeros((2, 3))
    ase.io.write(tmp_path / "mine.extxyz", [atoms])
    (label,) = read_labelled(tmp_path / "mine.extxyz", THEORY)
    np.testing.assert_allclose(label.stress, np.arange(1, 7) * 1e-2)


def own_file(path, *, role=None, energy=1.0):
    """A user's file of three silicon cells; the first one is marked with a role."""
    images = [bulk("Si") for _ in range(3)]
    for number, atoms in enumerate(images):
        atoms.rattle(0.1, seed=number)
        atoms.info["REF_energy"] = energy
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
    if role:
        images[0].info["role"] = role
    ase.io.write(path, images)
    return images


def own_settings(path):
    return StoredSettings.model_validate({"path": str(path), "theory": {"functional": "PBE"}})


def test_own_file_is_a_set_without_a_card(tmp_path):
    path = tmp_path / "mine.extxyz"
    images = own_file(path, role="test")
    engine = StoredEngine(own_settings(path))
    assert [frame.atoms.info["role"] for frame in engine.frames()] == ["test", "pool", "pool"]
    assert engine.label(images[2]).energy == 1.0
    assert engine.fingerprint(images[2]) == engine.frames()[2].fingerprint
    assert engine.fingerprint(images[2]).theory == THEORY
    assert engine.fingerprint(bulk("Si")).theory == THEORY
    with pytest.raises(LabelError, match="holds no label"):
        engine.label(bulk("Si"))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("missing", MissingFileError, r"mine\.extxyz: no such file"),
        ("nan energy", LabelError, r"mine\.extxyz, frame 0: .*NaN.*Remove the frame"),
        ("no forces", LabelError, r"mine\.extxyz, frame 1: no forces. Expected REF_energy and REF_forces"),
        ("huge force", LabelError, r"mine\.extxyz, frame 2: a force of 2e\+04 eV/Å.*convert the forces"),
        ("not extxyz", LabelError, r"ASE cannot read it.*Expected extended XYZ"),
        ("no theory", MissingFileError, r"mine\.card\.yaml.*for a file of your own, say under 'theory'"),
        ("card and theory", StoreError, r"mine\.card\.yaml. that says its theory. Remove 'theory'"),
    ],
)
def test_own_file_that_cannot_be_used_is_one_clear_error(tmp_path, frames, change, kind, message):
    path, used = tmp_path / "mine.extxyz", own_settings(tmp_path / "mine.extxyz")
    if change == "no forces":
        bare = bulk("Si")
        bare.info["REF_energy"] = 1.0
        ase.io.write(path, [*own_file(path)[:1], bare])
    elif change == "huge force":
        images = own_file(path)
        images[2].arrays["REF_forces"][1, 2] = -2e4
        ase.io.write(path, images)
    elif change == "not extxyz":
        path.write_text("12\nnothing\n")
    elif change == "card and theory":
        save_set(path, frames, DESCRIPTION)
    elif change != "missing":
        own_file(path, energy=float("nan") if change == "nan energy" else 1.0)
    if change == "no theory":
        used = StoredSettings(path=str(path))
    with pytest.raises(kind, match=message):
        StoredEngine(used)
