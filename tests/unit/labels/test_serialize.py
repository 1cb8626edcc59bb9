import io
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limbeck.core.errors import StoreError, StructureError
from limbeck.labels.extxyz import frame_text, parse_frame, parse_frames
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import (
    atoms_from_dict,
    atoms_to_dict,
    canonical,
    label_key,
    labelled_from_dict,
    labelled_to_dict,
    structure_hash,
)

FINGERPRINT = Fingerprint("invented", "1", {"a": 1})
numbers = st.floats(min_value=-1e4, max_value=1e4, allow_nan=False)
texts = st.text(max_size=20)


@st.composite
def labels(draw):
    n = draw(st.integers(1, 4))
    atoms = Atoms(
        numbers=draw(st.lists(st.integers(1, 86), min_size=n, max_size=n)),
        positions=draw(arrays(float, (n, 3), elements=numbers)),
        cell=draw(arrays(float, (3, 3), elements=numbers)),  # skewed, flat and left-handed ones too
        pbc=draw(st.lists(st.booleans(), min_size=3, max_size=3)),
    )
    if draw(st.booleans()):
        atoms.set_initial_magnetic_moments(draw(arrays(float, n, elements=st.floats(-5, 5))))
    atoms.info.update({"trajectory": draw(texts), "temperature_K": draw(numbers), "step": draw(st.integers(0, 10**9))})
    return Labelled(
        atoms=canonical(atoms),
        energy=draw(st.floats(-1e9, 1e9)),
        forces=draw(arrays(float, (n, 3), elements=st.floats(-1e3, 1e3))),
        stress=draw(st.none() | arrays(float, 6, elements=st.floats(-1e3, 1e3))),
        magnetic_moments=draw(st.none() | arrays(float, n, elements=st.floats(-9, 9))),
        fingerprint=FINGERPRINT,
    )


def same(first, second):
    assert first.energy == second.energy
    assert structure_hash(first.atoms) == structure_hash(second.atoms)
    assert first.atoms.info == second.atoms.info
    for name in ("forces", "stress", "magnetic_moments"):
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(labels())
def test_json_round_trip_is_exact(labelled):
    same(labelled, labelled_from_dict(json.loads(json.dumps(labelled_to_dict(labelled)))))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(labels())
def test_text_round_trip_is_exact(labelled):
    same(labelled, parse_frame(frame_text(labelled)))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(labels())
def test_canonical_is_idempotent_and_survives_ase_files(labelled):
    once = canonical(labelled.atoms)
    assert structure_hash(canonical(once)) == structure_hash(once)
    assert structure_hash(atoms_from_dict(atoms_to_dict(once))) == structure_hash(once)
    np.testing.assert_array_equal([[float(f"{x:.8f}") for x in row] for row in once.positions], once.positions)


def test_other_programs_read_the_text(label_of):
    labelled = label_of(3)
    atoms = ase.io.read(io.StringIO(frame_text(labelled)), format="extxyz")
    assert structure_hash(atoms) == structure_hash(labelled.atoms)
    assert atoms.info["REF_energy"] == labelled.energy
    np.testing.assert_array_equal(atoms.arrays["REF_forces"], labelled.forces)
    np.testing.assert_array_equal(atoms.info["REF_stress"].ravel(), labelled.stress)
    assert atoms.info["trajectory"] == "run 1"


def test_key_sees_everything_that_decides_a_label():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    keys = {label_key(atoms, FINGERPRINT), label_key(atoms, Fingerprint("invented", "2", {"a": 1}))}
    keys.add(label_key(atoms, Fingerprint("invented", "1", {"a": 1}, {"Na": "other file"})))
    for change in ("positions", "cell", "pbc", "numbers", "moments", "order"):
        other = atoms.copy()
        if change == "positions":
            other.positions[0, 0] += 1e-7
        elif change == "cell":
            other.cell[0, 0] += 1e-7
        elif change == "pbc":
            other.pbc = (True, True, False)
        elif change == "numbers":
            other.numbers[0] = 19
        elif change == "moments":
            other.set_initial_magnetic_moments([0, 1])
        else:
            other = other[[1, 0]]
        keys.add(label_key(other, FINGERPRINT))
    assert len(keys) == 9


def test_key_does_not_see_what_does_not_matter():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    other = atoms.copy()
    other.info["trajectory"] = "elsewhere"
    other.positions += 1e-10
    other.positions[0] = -0.0
    other.set_initial_magnetic_moments([0, 0])
    assert label_key(atoms, FINGERPRINT) == label_key(other, FINGERPRINT)


@pytest.mark.parametrize("what", ["positions", "cell"])
def test_nan_is_refused(what):
    atoms = bulk("Cu")
    (atoms.positions if what == "positions" else atoms.cell.array)[0, 0] = np.nan
    with pytest.raises(StructureError, match=what):
        canonical(atoms)


def test_empty_structure_is_refused():
    with pytest.raises(StructureError, match="without atoms"):
        canonical(Atoms())


def test_damaged_text_names_the_line(label_of):
    text = frame_text(label_of(0)) + frame_text(label_of(1))
    assert len(list(parse_frames(text))) == 2
    with pytest.raises(StoreError, match=r"silicon.extxyz: damaged frame at line 5"):
        list(parse_frames(text[:-40].rstrip(), source="silicon.extxyz"))
