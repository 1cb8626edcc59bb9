"""POD: descriptors of ``fitpod`` against the pair style, and our solution against ``fitpod``'s own."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from pydantic import ValidationError

from limbeck.core.errors import ExecutionError, TrainingError
from limbeck.core.progress import FileProgress
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.potentials.lammps_calculator import LammpsCalculator, lammps_box, lammps_command
from limbeck.potentials.protocols import PairStyle
from limbeck.potentials.students import pod
from limbeck.potentials.students.pod import PodSettings
from strategies import CELL_SHAPES, cell_of_shape

SMALL = PodSettings(
    cutoff_A=4.5, two_body_radial=4, three_body_radial=3, three_body_angular_degree=2, four_body_radial=2,
    four_body_angular_degree=1, five_body_radial=1, five_body_angular_degree=1,
)  # fmt: skip
ELEMENTS = ("Ge", "Si")
SW = PairStyle(
    lines=("pair_style sw", 'pair_coeff * * "{folder}/SiGe.sw" Ge Si'), elements=ELEMENTS, files=("SiGe.sw",)
)
# Stillinger and Weber (1985) for Si; germanium and the mixed rows only need to be another smooth potential.
_ROW = "{0} {1} {2} {eps} {sigma} 1.80 {lam} 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> LammpsCalculator:
    """Stillinger-Weber potential of two elements."""
    folder = tmp_path_factory.mktemp("sw")
    sizes = {"Si": (2.1683, 2.0951), "Ge": (1.93, 2.181)}
    text = ""
    for a in ELEMENTS:
        for b in ELEMENTS:
            for c in ELEMENTS:
                eps = (sizes[b][0] * sizes[c][0]) ** 0.5
                sigma = 0.5 * (sizes[a][1] + sizes[b][1])
                text += _ROW.format(a, b, c, eps=eps, sigma=sigma, lam=21.0)
    (folder / "SiGe.sw").write_text(text)
    return LammpsCalculator(SW, folder)


def structures(n: int, seed: int) -> list[Atoms]:
    """Random alloys in all families of cells, few atoms, none too close."""
    rng = np.random.default_rng(seed)
    made: list[Atoms] = []
    while len(made) < n:
        shape = CELL_SHAPES[len(made) % len(CELL_SHAPES)]
        count = int(rng.integers(1, 5))
        atoms = Atoms(rng.choice(ELEMENTS, count), cell=cell_of_shape(shape, 45.0 * count, rng), pbc=True)
        atoms.set_scaled_positions(rng.uniform(size=(count, 3)))
        if len(neighbor_list("i", atoms, 1.7)) == 0:
            made.append(atoms)
    return made


def label(atoms: Atoms, calculator: LammpsCalculator) -> Labelled:
    frame = atoms.copy()
    frame.calc = calculator
    values = (frame.get_potential_energy(), frame.get_forces(), frame.get_stress())
    frame.calc = None
    return Labelled(frame, *values, Fingerprint("sw", "1", {}, production=False))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[LammpsCalculator, np.ndarray]:
    """Pair style with random coefficients: a wrong order or sign of any descriptor shows."""
    folder = tmp_path_factory.mktemp("pod")
    n = len(
        pod.run_descriptors(SMALL, ELEMENTS, [pod._periodic_copy(structures(1, 0)[0], np.zeros((3, 3)), 4.5)])[0][0]
    )
    coefficients = np.random.default_rng(8).normal(size=n)
    (folder / "param.pod").write_text(pod.parameter_text(SMALL, ELEMENTS))
    (folder / "coefficients.pod").write_text(pod.coefficient_text(coefficients))
    pair = PairStyle(
        lines=("pair_style pod", "pair_coeff * * {folder}/param.pod {folder}/coefficients.pod Ge Si"),
        elements=ELEMENTS,
        files=("param.pod", "coefficients.pod"),
    )
    return LammpsCalculator(pair, folder), coefficients


def test_descriptors_times_coefficients_are_what_lammps_computes(
    model: tuple[LammpsCalculator, np.ndarray],
) -> None:
    calculator, coefficients = model
    frames = [label(atoms, calculator) for atoms in structures(18, 1)]
    for frame, d in pod.frame_descriptors(SMALL, ELEMENTS, frames, stress=True):
        assert d.energy @ coefficients == pytest.approx(frame.energy, rel=1e-9, abs=1e-9)
        scale = 1 + np.abs(frame.forces).max()
        np.testing.assert_allclose(d.forces @ coefficients, frame.forces.ravel(), atol=1e-8 * scale)
        assert d.virial is not None
        assert frame.stress is not None
        virial = frame.atoms.get_volume() * frame.stress[d.components]
        np.testing.assert_allclose(d.virial @ coefficients, virial, atol=2e-5 * (1 + np.abs(virial).max()))


def test_partly_periodic_frames_feel_no_images(model: tuple[LammpsCalculator, np.ndarray]) -> None:
    calculator, coefficients = model
    frames = []
    for atoms, pbc in zip(
        structures(6, 2), [(1, 1, 0), (0, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 1), (0, 0, 0)], strict=True
    ):
        atoms.pbc = pbc
        frames.append(label(atoms, calculator))
    for frame, d in pod.frame_descriptors(SMALL, ELEMENTS, frames, stress=True):
        assert d.energy @ coefficients == pytest.approx(frame.energy, rel=1e-9, abs=1e-9)


def test_ranks_do_not_change_a_bit() -> None:
    copies = [pod._periodic_copy(atoms, np.zeros((3, 3)), SMALL.cutoff_A) for atoms in structures(5, 3)]
    one = pod.run_descriptors(SMALL, ELEMENTS, copies)
    two = pod.run_descriptors(SMALL, ELEMENTS, copies, ranks=2)
    for (energy, forces), (energy_two, forces_two) in zip(one, two, strict=True):
        assert np.array_equal(energy, energy_two)
        assert np.array_equal(forces, forces_two)


def test_solution_is_that_of_fitpod(truth: LammpsCalculator, tmp_path: Path) -> None:
    """Same weights, no stress, next to no ridge: ``fitpod``'s own solver and ours predict the same.

    Cells that ``pod`` repeats are left out, since ``fitpod`` itself searches too few images of them.
    """
    settings = SMALL.model_copy(update={"stress_weight": 0.0, "regularization": 1e-9, "energy_weight": 10.0})
    unrepeated = [
        atoms for atoms in structures(60, 4)
        if pod._periodic_copy(atoms, np.zeros((3, 3)), settings.cutoff_A).n_repeats == 1
    ]  # fmt: skip
    frames = [label(atoms, truth) for atoms in unrepeated[:30]]
    assert len(frames) > 20
    student, _ = pod.fit(settings, ELEMENTS, frames, [], tmp_path / "ours", FileProgress(None, 1))
    theirs = tmp_path / "theirs"
    (theirs / "data").mkdir(parents=True)
    text = ""
    for frame in frames:
        box = lammps_box(frame.atoms)
        rows = zip(frame.atoms.symbols, box.positions, frame.forces @ box.rotation, strict=True)
        lattice = " ".join(repr(float(x)) for x in box.cell.ravel())
        text += f'{len(frame.atoms)}\nLattice="{lattice}" energy={frame.energy!r} Properties=species:S:1:pos:R:3\n'
        text += "".join(f"{s} {' '.join(repr(float(v)) for v in (*x, *f))}\n" for s, x, f in rows)
    (theirs / "data" / "frames.xyz").write_text(text)
    (theirs / "param.pod").write_text(pod.parameter_text(settings, ELEMENTS))
    (theirs / "data.pod").write_text(
        "path_to_training_data_set data\npath_to_test_data_set data\nfitting_weight_energy 10.0\n"
        "fitting_weight_force 1.0\nfitting_regularization_parameter 1e-12\nprecision_for_pod_coefficients 14\n"
        "randomize_training_data_set 0\nrandomize_test_data_set 0\nerror_analysis_for_training_data_set 0\n"
        "error_analysis_for_test_data_set 0\nbasename_for_output_files model\n"
    )
    (theirs / "in.fit").write_text("units metal\nfitpod param.pod data.pod\n")
    subprocess.run([*lammps_command(), "-in", "in.fit", "-log", "none"], cwd=theirs, check=True, capture_output=True)
    (theirs / "model_coefficients.pod").rename(theirs / "coefficients.pod")
    calculators = [student.calculator(), LammpsCalculator(student.pair, theirs)]
    errors = []
    for calculator in calculators:
        errors.append(np.concatenate([(label(f.atoms, calculator).forces - f.forces).ravel() for f in frames]))
    rms = [float(np.sqrt(np.mean(e**2))) for e in errors]
    assert rms[0] == pytest.approx(rms[1], rel=0.02)
    assert np.sqrt(np.mean((errors[0] - errors[1]) ** 2)) < 0.1 * rms[1]


def test_failure_of_fitpod_is_passed_on() -> None:
    copy = pod._periodic_copy(structures(1, 5)[0], np.zeros((3, 3)), 4.5)
    wrong = SMALL.model_copy(update={"four_body_radial": 5})
    with pytest.raises(TrainingError, match="four-body radial"):
        pod.run_descriptors(wrong, ELEMENTS, [copy])


def test_a_killed_fitpod_and_a_cut_off_file_are_no_verdict_on_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = pod._periodic_copy(structures(1, 5)[0], np.zeros((3, 3)), 4.5)
    monkeypatch.setattr(pod, "lammps_command", lambda ranks: ["sh", "-c", "kill -9 $$", "sh"])
    with pytest.raises(ExecutionError, match="fitpod died"):
        pod.run_descriptors(SMALL, ELEMENTS, [copy])
    cut = "mkdir -p data; head -c 16 /dev/zero > data/globaldescriptors_config1.bin"
    monkeypatch.setattr(pod, "lammps_command", lambda ranks: ["sh", "-c", cut, "sh"])
    with pytest.raises(ExecutionError, match="folder is full"):
        pod.run_descriptors(SMALL, ELEMENTS, [copy])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"four_body_radial": 7}, "body order"),
        ({"four_body_angular_degree": 6}, "body order"),
        ({"inner_cutoff_A": 6.0}, "inner_cutoff_A"),
        ({"cutoff_A": -1.0}, "greater than 0"),
        ({"three_body_radials": 3}, "Extra"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PodSettings(**values)


@pytest.mark.parametrize("atoms", [Atoms("Si"), Atoms("GeSi", [[0, 0, 0], [2.3, 0, 0]])], ids=["atom", "dimer"])
def test_atoms_with_few_neighbors_do_not_crash_lammps(model: tuple[LammpsCalculator, np.ndarray], atoms: Atoms) -> None:
    """A fresh instance whose atoms have at most one neighbor: the pair style's own buffers are too small for them."""
    calculator = LammpsCalculator(model[0]._pair_style, model[0]._folder)
    fresh, used = atoms.copy(), atoms.copy()
    fresh.calc = calculator
    used.calc = model[0]
    assert fresh.get_potential_energy() == used.get_potential_energy()
