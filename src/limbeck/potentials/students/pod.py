"""POD: proper orthogonal descriptors, linear in their coefficients, fitted to energies, forces and stresses.

LAMMPS's ``fitpod`` computes the descriptors and their derivatives; the least-squares problem is solved here
(:mod:`limbeck.potentials.students.linear_fit`). ``fitpod``'s own solver forms the normal equations, has no stress rows,
takes the regularization as given and does not look whether its factorization worked; everything else is the same, so
that with the same weights both give the same potential.

Source: N. C. Nguyen and A. Rohskopf, J. Comput. Phys. 480, 112030 (2023), arXiv:2209.02362; N. C. Nguyen,
Phys. Rev. B 107, 144103 (2023), arXiv:2212.01482.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.core.errors import ExecutionError, TrainingError
from limbeck.core.progress import FileProgress
from limbeck.core.record import write_text
from limbeck.labels.labelled import Labelled
from limbeck.potentials.lammps_calculator import lammps_box, lammps_command
from limbeck.potentials.protocols import PairStyle
from limbeck.potentials.students.linear_fit import (
    LinearFit,
    RowStack,
    RowWeights,
    element_counts,
    reference_energies,
    solve,
    weighted_rows,
)
from limbeck.potentials.students.student import LammpsStudent

FILES = ("param.pod", "coefficients.pod")
"""Files of the potential."""
_STRAIN = 2e-4
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_FRAMES_AT_ONCE = 16


class PodTerms(Settings):
    """Descriptors."""

    cutoff_A: float = Field(default=5.0, gt=0, le=12)
    """Range of the descriptors."""
    inner_cutoff_A: float = Field(default=1.0, ge=0.1)
    """Distance below which no data are expected."""
    bessel_degree: int = Field(default=4, ge=1, le=8)
    """Highest degree of the Bessel functions that the radial basis is made from."""
    inverse_degree: int = Field(default=8, ge=1, le=16)
    """Highest power of 1/r that the radial basis is made from."""
    two_body_radial: int = Field(default=8, ge=1, le=20)
    """Radial functions of the two-body term."""
    three_body_radial: int = Field(default=6, ge=0, le=20)
    """Radial functions of the three-body term."""
    three_body_angular_degree: int = Field(default=5, ge=0, le=12)
    """Highest angular degree of the three-body term."""
    four_body_radial: int = Field(default=4, ge=0, le=20)
    """Radial functions of the four-body term; 0 leaves it out."""
    four_body_angular_degree: int = Field(default=3, ge=0, le=6)
    """Highest angular degree of the four-body term."""
    five_body_radial: int = Field(default=0, ge=0, le=20)
    """Radial functions of the five-body term; 0 leaves it out. Products of three-body functions, so nearly free: 4 and
    degree 3 at a cutoff of 4.5 Å lower silicon's force error by 15 %. They extrapolate worse: hot dynamics beyond the
    temperatures of the data exploded with them and not without."""
    five_body_angular_degree: int = Field(default=0, ge=0, le=6)
    """Highest angular degree of the five-body term."""

    @model_validator(mode="after")
    def _terms_are_nested(self) -> "PodTerms":
        radial = (self.three_body_radial, self.four_body_radial, self.five_body_radial)
        angular = (self.three_body_angular_degree, self.four_body_angular_degree, self.five_body_angular_degree)
        if sorted(radial, reverse=True) != list(radial) or sorted(angular, reverse=True) != list(angular):
            raise ValueError(
                "each body order needs at most as many radial functions and at most the angular degree of the order "
                f"below: three-, four-, five-body radial are {radial}, angular degrees {angular}"
            )
        if self.inner_cutoff_A >= self.cutoff_A:
            raise ValueError(f"inner_cutoff_A {self.inner_cutoff_A} must be below cutoff_A {self.cutoff_A}")
        return self


class PodSettings(PodTerms):
    """POD student, through ``fitpod`` and ``pair_style pod`` of LAMMPS."""

    kind: Literal["pod"] = "pod"
    name: str = "pod"
    """Name of the student; its folder is called so."""
    energy_weight: float = Field(default=100.0, ge=0)
    """Weight of an energy row (eV/atom) against a force row (eV/Å) of weight ``force_weight``."""
    force_weight: float = Field(default=1.0, gt=0)
    """Weight of a force row."""
    stress_weight: float = Field(default=20.0, ge=0)
    """Weight of a stress row, volume per atom times stress in eV/atom; 0 leaves them out, 4x faster."""
    regularization: float | None = Field(default=None, gt=0)
    """Ridge strength, relative to the largest singular value; left out, the validation frames choose it."""
    ranks: int = Field(default=1, ge=1)
    """MPI ranks that compute descriptors."""


def parameter_text(terms: PodTerms, elements: Sequence[str]) -> str:
    """Parameter file of ``pair_style pod`` and ``fitpod``."""
    rows = {
        "species": " ".join(elements),
        "pbc": "1 1 1",
        "rin": terms.inner_cutoff_A,
        "rcut": terms.cutoff_A,
        "bessel_polynomial_degree": terms.bessel_degree,
        "inverse_polynomial_degree": terms.inverse_degree,
        "onebody": 1,
        "twobody_number_radial_basis_functions": terms.two_body_radial,
        "threebody_number_radial_basis_functions": terms.three_body_radial,
        "threebody_angular_degree": terms.three_body_angular_degree,
        "fourbody_number_radial_basis_functions": terms.four_body_radial,
        "fourbody_angular_degree": terms.four_body_angular_degree,
        "fivebody_number_radial_basis_functions": terms.five_body_radial,
        "fivebody_angular_degree": terms.five_body_angular_degree,
        "sixbody_number_radial_basis_functions": 0,
        "sixbody_angular_degree": 0,
        "sevenbody_number_radial_basis_functions": 0,
        "sevenbody_angular_degree": 0,
    }
    return "".join(f"{key} {value}\n" for key, value in rows.items())


def fit(
    settings: PodSettings,
    elements: tuple[str, ...],
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    folder: Path,
    progress: FileProgress,
) -> tuple[LammpsStudent, LinearFit]:
    """Fit and write the LAMMPS files; the record is the caller's."""
    shifts = reference_energies(train, elements)
    weights = RowWeights(settings.energy_weight, settings.force_weight, settings.stress_weight)
    stacks: list[RowStack | None] = [None, None]
    done = 0
    for which, frames in enumerate((train, validation)):
        for frame, d in frame_descriptors(settings, elements, frames, settings.stress_weight > 0, settings.ranks):
            stack = stacks[which]
            if stack is None:
                stack = stacks[which] = RowStack(len(d.energy))
            shift = float(shifts @ element_counts(frame.atoms, elements))
            stack.add(*weighted_rows(frame, shift, weights, d.energy, d.forces, d.virial, d.components))
            done += 1
            progress.set(done, f"descriptors of frame {done}")
    if stacks[0] is None:
        raise TrainingError("a POD fit needs training frames, got none")
    solution = solve(stacks[0], stacks[1], settings.regularization)
    coefficients = solution.coefficients.copy()
    coefficients[one_body_columns(len(coefficients), elements)] += shifts
    names = write_potential(settings, elements, coefficients, folder)
    files = " ".join(f'"{{folder}}/{name}"' for name in names)
    pair = PairStyle(
        lines=("pair_style pod", f"pair_coeff * * {files} {' '.join(elements)}"),
        elements=elements,
        files=names,
    )
    student = LammpsStudent(kind="pod", folder=folder, pair=pair, settings=settings.model_dump())
    return student, solution


def one_body_columns(n_columns: int, elements: Sequence[str]) -> slice:
    """Columns that hold the energy of a single atom, one for each element: the first of its share."""
    return slice(None, None, n_columns // len(elements))


def write_potential(
    terms: PodTerms, elements: Sequence[str], coefficients: Float[np.ndarray, " columns"], folder: Path
) -> tuple[str, ...]:
    """Write the LAMMPS files; returns their names."""
    write_text(folder / FILES[0], parameter_text(terms, elements))
    write_text(folder / FILES[1], coefficient_text(coefficients))
    return FILES


def coefficient_text(coefficients: Float[np.ndarray, " columns"]) -> str:
    """Coefficient file of ``pair_style pod``."""
    return f"model_coefficients: {len(coefficients)} 0 0\n" + "".join(f"{c:.16e}\n" for c in coefficients)


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of one frame, summed over its atoms, with derivatives.

    Attributes:
        energy: (n,) descriptors.
        forces: (3 n_atoms, n) minus their derivative with respect to positions, in the frame's own axes.
        virial: (2, n) derivative with respect to two components of the Voigt strain, or ``None``.
        components: Which two.
    """

    energy: Float[np.ndarray, " n"]
    forces: Float[np.ndarray, "coordinates n"]
    virial: Float[np.ndarray, "2 n"] | None
    components: list[int]


def frame_descriptors(
    terms: PodTerms, elements: tuple[str, ...], frames: Sequence[Labelled], stress: bool, ranks: int = 1
) -> Iterator[tuple[Labelled, Descriptors]]:
    """Each frame with its descriptors, in order.

    Args:
        terms: Descriptors wanted.
        elements: Chemical symbols, in the order of the columns.
        frames: Frames.
        stress: Whether strain derivatives are wanted of frames with a stress; four evaluations more a frame.
        ranks: MPI ranks.
    """
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        batch = frames[first : first + _FRAMES_AT_ONCE]
        copies, owners = [], []
        for number, frame in enumerate(batch):
            components = _components(first + number) if stress and frame.stress is not None else []
            for strain in _strains(frame, components):
                copies.append(_periodic_copy(frame.atoms, strain, terms.cutoff_A))
                owners.append(number)
        results = run_descriptors(terms, elements, copies, ranks)
        mine: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in batch]
        for owner, result in zip(owners, results, strict=True):
            mine[owner].append(result)
        for number, (frame, (plain, *strained)) in enumerate(zip(batch, mine, strict=True)):
            virial = None
            if strained:
                energies = np.array([e for e, _ in strained])
                virial = (energies[0::2] - energies[1::2]) / (2 * _STRAIN)
            yield frame, Descriptors(plain[0], plain[1], virial, _components(first + number))


def _components(number: int) -> list[int]:
    """The two Voigt components whose stress rows a frame gives: all six would cost 13 evaluations a frame, not 5."""
    return [number % 3, number % 3 + 3]


def _strains(frame: Labelled, components: Sequence[int]) -> list[Float[np.ndarray, "3 3"]]:
    """No strain first, then plus and minus along each component, if the frame is periodic in all directions."""
    strains = [np.zeros((3, 3))]
    if frame.atoms.cell.rank == 3:
        for i, j in (_VOIGT[c] for c in components):
            for sign in (1.0, -1.0):
                strain = np.zeros((3, 3))
                strain[i, j] += 0.5 * sign * _STRAIN
                strain[j, i] += 0.5 * sign * _STRAIN
                strains.append(strain)
    return strains


@dataclass(frozen=True)
class _Copy:
    """A structure as ``fitpod`` can take it: right-handed, periodic, repeated where its neighbor search needs that."""

    text: str
    n_atoms: int
    n_repeats: int
    rotation: np.ndarray


def _periodic_copy(atoms: Atoms, strain: np.ndarray, cutoff_A: float) -> _Copy:
    """Structure in ``fitpod``'s frame.

    ``fitpod`` searches ``ceil(cutoff / l)`` images along each box vector, l its x, y or z extent. The distance between
    the cell's faces, which decides, is smaller in a skewed cell; such a cell is repeated until it exceeds the cutoff.
    """
    deformed = atoms.copy()
    deformation = np.eye(3) + strain
    deformed.set_cell(deformed.cell.array @ deformation)
    deformed.positions = deformed.positions @ deformation
    box = lammps_box(deformed, padding_A=0.6 * cutoff_A)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box.cell), axis=0)
    short = np.ceil(cutoff_A / heights) > np.ceil(cutoff_A / np.diag(box.cell))
    repeats = np.where(short, np.ceil(cutoff_A / heights), 1).astype(int)
    shifts = np.stack(np.meshgrid(*[np.arange(r) for r in repeats], indexing="ij"), axis=-1).reshape(-1, 3)
    positions = np.concatenate([box.positions + shift @ box.cell for shift in shifts])
    cell = box.cell * repeats[:, None]
    symbols = atoms.get_chemical_symbols() * len(shifts)
    lattice = " ".join(f"{x:.17g}" for x in cell.ravel())
    lines = [
        str(len(positions)),
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3',
        *(f"{s} {x:.17g} {y:.17g} {z:.17g}" for s, (x, y, z) in zip(symbols, positions, strict=True)),
    ]
    return _Copy("\n".join(lines) + "\n", len(atoms), len(shifts), box.rotation)


def run_descriptors(
    terms: PodTerms, elements: tuple[str, ...], copies: Sequence[_Copy], ranks: int = 1
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Run ``fitpod`` in a scratch folder; descriptors (n,) and minus their gradient (3 n_atoms, n) of each copy.

    Raises:
        TrainingError: With the last error line of LAMMPS.
        ExecutionError: If it died without one, or its files are not whole.
    """
    with tempfile.TemporaryDirectory(prefix="limbeck-pod-") as scratch:
        folder = Path(scratch)
        (folder / "data").mkdir()
        (folder / "data" / "frames.xyz").write_text("".join(c.text for c in copies))
        (folder / "param.pod").write_text(parameter_text(terms, elements))
        (folder / "data.pod").write_text(
            "file_format extxyz\nfile_extension xyz\npath_to_training_data_set data\npath_to_test_data_set data\n"
            "randomize_training_data_set 0\nrandomize_test_data_set 0\ncompute_pod_descriptors 2\n"
        )
        (folder / "in.fitpod").write_text("units metal\nfitpod param.pod data.pod\n")
        command = [*lammps_command(ranks), "-in", "in.fitpod", "-log", "none", "-nocite"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            lines = [line.strip() for line in (run.stdout + run.stderr).splitlines() if "ERROR" in line]
            if lines:
                raise TrainingError(f"fitpod failed: {lines[-1]}")
            raise ExecutionError(f"fitpod died (status {run.returncode}): {(run.stderr or run.stdout)[-300:].strip()}")
        return [_read(folder / "data", number + 1, copy) for number, copy in enumerate(copies)]


def _read(folder: Path, number: int, copy: _Copy) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of one configuration from ``fitpod``'s binary file, for one of the repeats."""
    data = np.fromfile(folder / f"globaldescriptors_config{number}.bin")
    n_all, n_columns = (int(data[0]), int(data[1])) if len(data) > 1 else (0, 0)
    if n_all != copy.n_atoms * copy.n_repeats or len(data) != 2 + n_columns * (1 + 3 * n_all):
        raise ExecutionError(
            f"fitpod wrote {len(data)} numbers for {n_all} atoms: its temporary folder is full, or this is another "
            "version of LAMMPS"
        )
    energy = data[2 : 2 + n_columns] / copy.n_repeats
    gradient = data[2 + n_columns :].reshape(n_columns, n_all, 3)[:, : copy.n_atoms] @ copy.rotation.T
    return energy, gradient.reshape(n_columns, -1).T
