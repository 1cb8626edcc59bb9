import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from pydantic import TypeAdapter, ValidationError

from limbeck.core.errors import ConfigError, MissingDependencyError, MissingFileError, TrainingError
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.teachers import (
    CHGNetSettings,
    SavedTeacherSettings,
    SevenNetSettings,
    TeacherSettings,
    build_teacher,
    load_teacher,
)
from limbeck.potentials.teachers.teacher import fit_shifts

UPSTREAM = {"energy": 2e-5, "forces": 5e-5, "stress": 2e-6}
"""Agreement (eV/atom, eV/Å, eV/Å^3) with the upstream calculator: both are single precision."""


@cache
def built(settings: Any) -> Any:
    return build_teacher(settings)


def silicon_carbide() -> Atoms:
    atoms = bulk("SiC", "zincblende", a=4.4, cubic=True)
    atoms.rattle(0.08, seed=2)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])), scale_atoms=True)
    return atoms


def labelled(atoms: Atoms, energy: float) -> Labelled:
    return Labelled(atoms, energy, np.zeros((len(atoms), 3)), None, Fingerprint("test", "1", {}))


def assert_same_as(teacher: Any, calculator: Any, atoms: Atoms) -> None:
    (found,) = teacher.predict([atoms])
    other = atoms.copy()
    other.calc = calculator
    assert found.energy / len(atoms) == pytest.approx(other.get_potential_energy() / len(atoms), abs=UPSTREAM["energy"])
    np.testing.assert_allclose(found.forces, other.get_forces(), atol=UPSTREAM["forces"])
    np.testing.assert_allclose(found.stress, other.get_stress(), atol=UPSTREAM["stress"])


@pytest.mark.parametrize(
    "settings",
    [SevenNetSettings(), SevenNetSettings(model="7net-l3i5"), SevenNetSettings(model="7net-mf-0", modality="PBE")],
)
def test_sevennet_is_the_upstream_model(settings: SevenNetSettings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator

        upstream = SevenNetCalculator(settings.model, modal=settings.modality, device="cpu")
        assert_same_as(built(settings), upstream, silicon_carbide())


def test_chgnet_is_the_upstream_model_moments_included() -> None:
    oxide = bulk("FeO", "rocksalt", a=4.3)
    oxide.rattle(0.05, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from chgnet.model.dynamics import CHGNetCalculator

        upstream = CHGNetCalculator(use_device="cpu")
        for atoms in (silicon_carbide(), oxide):
            assert_same_as(built(CHGNetSettings()), upstream, atoms)
        oxide.calc = upstream
        expected = oxide.get_magnetic_moments()
    oxide.calc = built(CHGNetSettings()).calculator()
    np.testing.assert_allclose(oxide.get_magnetic_moments(), expected, atol=1e-4)
    assert 3.0 < oxide.get_magnetic_moments()[0] < 4.5  # Fe2+, high spin


def test_known_elements() -> None:
    assert {"Si", "Li", "Pu"} <= built(CHGNetSettings()).elements
    assert not {"Po", "Rn", "Am"} & built(CHGNetSettings()).elements
    assert built(SevenNetSettings()).elements == built(CHGNetSettings()).elements


def test_a_checkpoint_is_read_from_its_path() -> None:
    import sevenn._const

    by_path = build_teacher(SevenNetSettings(model=sevenn._const.SEVENNET_0_11Jul2024))
    by_name = built(SevenNetSettings())
    assert by_path.predict([silicon_carbide()])[0].energy == by_name.predict([silicon_carbide()])[0].energy
    assert by_path.name == "sevennet:checkpoint_sevennet_0"


def test_models_that_do_not_exist_are_named() -> None:
    with pytest.raises(MissingFileError, match="7net-l3i5"):
        build_teacher(SevenNetSettings(model="7net-zero"))
    with pytest.raises(ConfigError, match="needs a modality"):
        build_teacher(SevenNetSettings(model="7net-mf-0"))
    with pytest.raises(ConfigError, match="no modalities"):
        build_teacher(SevenNetSettings(modality="PBE"))


def test_settings_are_a_closed_union() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(TeacherSettings)
    assert adapter.validate_python({"kind": "sevennet"}) == SevenNetSettings(model="7net-0")
    assert adapter.validate_python({"kind": "chgnet", "model": "0.3.0"}) == CHGNetSettings()
    assert adapter.validate_python({"kind": "saved", "path": "a.pt"}) == SavedTeacherSettings(path="a.pt")
    for wrong in ({"kind": "mace"}, {"kind": "chgnet", "model": "9"}, {"kind": "sevennet", "modle": "7net-0"}, {}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize(("settings", "package"), [(SevenNetSettings(), "sevenn"), (CHGNetSettings(), "chgnet")])
def test_missing_package_gives_the_pip_line(settings: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'limbeck\["):
        build_teacher(settings)


def test_importing_the_settings_does_not_import_torch() -> None:
    code = (
        "import limbeck.potentials.teachers, limbeck.potentials.finetune, limbeck.potentials.evaluate, sys;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'sevenn', 'chgnet', 'pymatgen')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_batches_give_what_single_frames_give() -> None:
    frames = [
        bulk("Si", cubic=True),
        silicon_carbide(),
        Atoms("C", cell=[9, 9, 9], pbc=True),
        bulk("Si") * (2, 2, 2),
    ] * 9
    teacher = built(CHGNetSettings(precision="float64"))
    together = teacher.predict(frames)
    assert [len(p.forces) for p in together] == [len(a) for a in frames]
    for frame, batch in zip(frames[:4], together[-4:], strict=True):
        (alone,) = teacher.predict([frame])
        assert batch.energy == pytest.approx(alone.energy, abs=1e-9)
        np.testing.assert_allclose(batch.forces, alone.forces, atol=1e-9)
        np.testing.assert_allclose(batch.stress, alone.stress, atol=1e-11)
    assert teacher.predict([]) == []


def test_saved_settings_build_the_saved_teacher(tmp_path: Path) -> None:
    teacher = built(CHGNetSettings())
    teacher.save(tmp_path / "teacher.pt")
    again = build_teacher(SavedTeacherSettings(path=str(tmp_path / "teacher.pt")))
    assert again.predict([bulk("Si")])[0].energy == teacher.predict([bulk("Si")])[0].energy


def test_files_that_are_no_teachers_are_named(tmp_path: Path) -> None:
    import sevenn._const

    path = tmp_path / "x.pt"
    with pytest.raises(MissingFileError):
        load_teacher(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="not a file"):
        load_teacher(path)
    with pytest.raises(ConfigError):  # a pickle with classes: refused unread
        load_teacher(Path(sevenn._const.SEVENNET_0_11Jul2024))
    torch.save({"format": "limbeck teacher", "format_version": 99}, path)
    with pytest.raises(ConfigError, match="format 99"):
        load_teacher(path)
    torch.save({"format": "limbeck teacher", "format_version": 1, "kind": "oracle"}, path)
    with pytest.raises(ConfigError, match="oracle"):
        load_teacher(path)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    built(CHGNetSettings()).save(tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:100_000])
    with pytest.raises(ConfigError, match=r"cut\.pt"):
        load_teacher(tmp_path / "cut.pt")


def test_alignment_finds_the_shift_of_every_element() -> None:
    teacher = built(CHGNetSettings())
    frames = [bulk("Si"), silicon_carbide(), bulk("C", "diamond", a=3.57)]
    known = {"Si": -120.5, "C": 33.25}
    labels = [
        labelled(a, teacher.predict([a])[0].energy + sum(known[s] for s in a.get_chemical_symbols())) for a in frames
    ]
    aligned = teacher.aligned_to(labels)
    assert aligned.shifts == pytest.approx(known, abs=1e-6)
    assert teacher.shifts == {}
    for label in labels:
        before, after = teacher.predict([label.atoms])[0], aligned.predict([label.atoms])[0]
        assert after.energy == pytest.approx(label.energy, abs=1e-5)
        np.testing.assert_array_equal(after.forces, before.forces)
    assert aligned.aligned_to(labels).shifts == pytest.approx(known, abs=1e-6)
    with pytest.raises(TrainingError, match="at least one"):
        teacher.aligned_to([])


def test_one_composition_gets_the_smallest_shifts() -> None:
    shifts = fit_shifts([bulk("SiC", "zincblende", a=4.4)] * 3, [5.0, 6.0, 7.0])
    assert shifts == pytest.approx({"Si": 3.0, "C": 3.0})
    ratio = fit_shifts([Atoms("Fe2O3", positions=np.arange(15).reshape(5, 3))], [13.0])
    assert ratio == pytest.approx({"Fe": 2.0, "O": 3.0})  # along the composition: the minimum-norm solution
