"""Errors of a potential against labels: predictions kept frame by frame, and the table made from them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.data import chemical_symbols
from jaxtyping import Float, Int

from limbeck.core.errors import ConfigError, MissingFileError, TrainingError
from limbeck.core.estimate import Estimate, root_mean_square
from limbeck.core.record import write_bytes
from limbeck.core.units import GPA
from limbeck.labels.labelled import Labelled

FORMAT_VERSION = 1
WORST_FRACTION = 0.01
"""Part of the atoms, those with the largest force errors, that the worst-case row averages over."""
FEWEST_TRAJECTORIES = 3
"""With fewer trajectories than this the jackknife runs over frames, which ignores correlation along a trajectory."""


@dataclass(frozen=True)
class Evaluation:
    """Predicted and reference values of labelled frames.

    Attributes:
        trajectories: Trajectory of every frame, (n_frames,), text.
        atom_counts: Number of atoms of every frame, (n_frames,).
        numbers: Atomic numbers of all atoms, frame after frame, (n_atoms,).
        energies: Predicted energy per atom, (n_frames,) in eV/atom.
        reference_energies: The same of the labels.
        forces: Predicted forces, (n_atoms, 3) in eV/Å.
        reference_forces: The same of the labels.
        stress: Predicted stress, (n_frames, 6), Voigt, eV/Å^3; NaN where the potential or the label has none.
        reference_stress: The same of the labels.
    """

    trajectories: np.ndarray
    atom_counts: Int[np.ndarray, " n_frames"]
    numbers: Int[np.ndarray, " n_atoms"]
    energies: Float[np.ndarray, " n_frames"]
    reference_energies: Float[np.ndarray, " n_frames"]
    forces: Float[np.ndarray, "n_atoms 3"]
    reference_forces: Float[np.ndarray, "n_atoms 3"]
    stress: Float[np.ndarray, "n_frames 6"]
    reference_stress: Float[np.ndarray, "n_frames 6"]

    @property
    def frame_of_atom(self) -> Int[np.ndarray, " n_atoms"]:
        """Index of the frame that every atom belongs to."""
        return np.repeat(np.arange(len(self.atom_counts)), self.atom_counts)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file (atomically)."""
        stream = io.BytesIO()
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        np.savez_compressed(stream, format_version=np.array(FORMAT_VERSION), **arrays)
        write_bytes(Path(path), stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        """Read a file that :meth:`save` wrote.

        Raises:
            MissingFileError: If there is no such file.
            ConfigError: If it is no evaluation, or of a newer format version.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"{path}: no such evaluation. Check the path.")
        try:
            with np.load(path, allow_pickle=False) as data:
                version = int(data["format_version"])
                arrays = {f.name: data[f.name] for f in fields(cls)} if version <= FORMAT_VERSION else {}
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise ConfigError(f"{path}: not a file that Evaluation.save wrote ({error})") from error
        if version > FORMAT_VERSION:
            raise ConfigError(f"{path}: evaluation format {version}; this limbeck reads up to {FORMAT_VERSION}")
        return cls(**arrays)


def evaluate(potential: Any, frames: Sequence[Labelled]) -> Evaluation:
    """Predict labelled frames.

    Args:
        potential: An ASE calculator, or anything with ``predict(frames)`` that gives ``energy``, ``forces`` and
            ``stress`` of many structures at once (every teacher), or anything with ``calculator()``.
        frames: Labelled structures; they are not changed.

    Returns:
        Predicted and reference values.

    Raises:
        TrainingError: If there are no frames, or a prediction is not finite.
    """
    if not frames:
        raise TrainingError("there are no labelled frames to evaluate a potential on; give at least one")
    if hasattr(potential, "predict"):
        found = [(p.energy, p.forces, p.stress) for p in potential.predict([frame.atoms for frame in frames])]
    else:
        calculator = potential if isinstance(potential, Calculator) else potential.calculator()
        found = [_with_calculator(calculator, frame) for frame in frames]
    nothing = np.full(6, np.nan)
    evaluation = Evaluation(
        trajectories=np.array([frame.trajectory for frame in frames]),
        atom_counts=np.array([len(frame.atoms) for frame in frames]),
        numbers=np.concatenate([frame.atoms.numbers for frame in frames]),
        energies=np.array([e / len(frame.atoms) for (e, _, _), frame in zip(found, frames, strict=True)]),
        reference_energies=np.array([frame.energy / len(frame.atoms) for frame in frames]),
        forces=np.concatenate([f for _, f, _ in found]).astype(float),
        reference_forces=np.concatenate([frame.forces for frame in frames]).astype(float),
        stress=np.stack([nothing if s is None else s for _, _, s in found]).astype(float),
        reference_stress=np.stack([nothing if frame.stress is None else frame.stress for frame in frames]),
    )
    if not (np.all(np.isfinite(evaluation.energies)) and np.all(np.isfinite(evaluation.forces))):
        bad = int(np.flatnonzero(~np.isfinite(evaluation.energies))[:1].sum())
        raise TrainingError(f"the potential gave NaN or infinity (first in frame {bad}); it is not usable as it is")
    return evaluation


def _with_calculator(calculator: Calculator, frame: Labelled) -> tuple[float, np.ndarray, np.ndarray | None]:
    atoms = frame.atoms.copy()
    atoms.calc = calculator
    energy, forces = float(atoms.get_potential_energy()), atoms.get_forces().copy()
    if frame.stress is None:
        return energy, forces, None
    try:
        return energy, forces, np.array(atoms.get_stress())
    except PropertyNotImplementedError:
        return energy, forces, None


def error_table(evaluation: Evaluation) -> dict[str, Estimate]:
    """Errors of a potential with standard errors.

    Standard errors come from a delete-one jackknife over trajectories, since frames of one trajectory are correlated;
    over frames where there are fewer than three trajectories (``method`` says which).

    Returns:
        ``energy_RMSE_meV_per_atom``; ``energy_RMSE_without_offset_meV_per_atom`` (mean deviation removed);
        ``force_RMSE_eV_per_A`` over components; ``force_RMSE_<element>_eV_per_A``; ``stress_RMSE_GPa`` over components,
        where any frame has one; ``worst_force_error_eV_per_A``: mean norm of the force error of the worst 1 % of the
        atoms, at least one. With more than one trajectory also ``<row>[<trajectory>]`` of energy, force and stress
        RMSE, their standard errors from frames.
    """
    names = sorted(set(evaluation.trajectories.tolist()))
    over_trajectories = len(names) >= FEWEST_TRAJECTORIES
    labels = evaluation.trajectories if over_trajectories else np.arange(len(evaluation.atom_counts))
    groups = [np.flatnonzero(labels == name) for name in (names if over_trajectories else labels)]
    table = _basic_rows(evaluation, groups, "trajectories" if over_trajectories else "frames")
    energy = 1000 * (evaluation.energies - evaluation.reference_energies)
    force_norm = np.linalg.norm(evaluation.forces - evaluation.reference_forces, axis=1)
    kind = "trajectories" if over_trajectories else "frames"
    atom_groups = [np.flatnonzero(np.isin(evaluation.frame_of_atom, group)) for group in groups]
    table["energy_RMSE_without_offset_meV_per_atom"] = _jackknife(
        [energy[g] for g in groups],
        lambda x: float(np.std(x)),
        "meV/atom",
        f"standard deviation, jackknife over {kind}",
    )
    for number in sorted(set(evaluation.numbers.tolist())):
        chosen = [group[evaluation.numbers[group] == number] for group in atom_groups]
        deviations = [_force_deviation(evaluation)[atoms] for atoms in chosen if len(atoms)]
        table[f"force_RMSE_{chemical_symbols[number]}_eV_per_A"] = _named(root_mean_square(deviations, "eV/Å"), kind)
    table["worst_force_error_eV_per_A"] = _jackknife(
        [force_norm[g] for g in atom_groups], _mean_of_worst, "eV/Å", f"mean of the worst 1 %, jackknife over {kind}"
    )
    if len(names) > 1:
        for name in names:
            frames = [np.array([i]) for i in np.flatnonzero(evaluation.trajectories == name)]
            rows = _basic_rows(evaluation, frames, "frames")
            table |= {f"{key}[{name}]": value for key, value in rows.items()}
    return table


def force_error_ratio(first: Evaluation, second: Evaluation) -> Estimate:
    """Force RMSE of one potential over that of another on the same labels.

    The jackknife leaves the same trajectory out of both, so that what makes a trajectory hard for both cancels.

    Raises:
        ConfigError: If the two are not of the same labelled frames.
        TrainingError: If the second has no error, so that there is no ratio.
    """
    reference = second.reference_forces
    if first.reference_forces.shape != reference.shape or not np.array_equal(first.reference_forces, reference):
        raise ConfigError("errors of two potentials can only be compared on the same labelled frames; these differ")
    names = sorted(set(first.trajectories.tolist()))
    over_trajectories = len(names) >= FEWEST_TRAJECTORIES
    labels = first.trajectories if over_trajectories else np.arange(len(first.atom_counts))
    group_of_atom = labels[first.frame_of_atom]
    squares = [np.sum(_force_deviation(e) ** 2, axis=1) for e in (first, second)]
    if squares[1].sum() == 0:
        raise TrainingError("the potential to compare with has no force error at all; a ratio to it has no meaning")
    pairs = np.stack(squares, axis=1)
    return _jackknife(
        [pairs[group_of_atom == label] for label in dict.fromkeys(labels.tolist())],
        lambda x: float(np.sqrt(x[:, 0].sum() / x[:, 1].sum())),
        "1",
        f"ratio of RMS, paired jackknife over {'trajectories' if over_trajectories else 'frames'}",
    )


def _force_deviation(evaluation: Evaluation) -> np.ndarray:
    return evaluation.forces - evaluation.reference_forces


def _basic_rows(evaluation: Evaluation, groups: Sequence[np.ndarray], kind: str) -> dict[str, Estimate]:
    """RMSE of energy, force and stress over the frames of the groups."""
    energy = 1000 * (evaluation.energies - evaluation.reference_energies)
    force, frame_of_atom = _force_deviation(evaluation), evaluation.frame_of_atom
    stress = (evaluation.stress - evaluation.reference_stress) / GPA
    rows = {
        "energy_RMSE_meV_per_atom": root_mean_square([energy[g] for g in groups], "meV/atom"),
        "force_RMSE_eV_per_A": root_mean_square([force[np.isin(frame_of_atom, g)] for g in groups], "eV/Å"),
    }
    known = [stress[g][np.isfinite(stress[g]).all(axis=1)] for g in groups]
    if any(len(values) for values in known):
        rows["stress_RMSE_GPa"] = root_mean_square([values for values in known if len(values)], "GPa")
    return {key: _named(value, kind) for key, value in rows.items()}


def _named(estimate: Estimate, kind: str) -> Estimate:
    method = estimate.method.replace("over groups", f"over {kind}")
    return Estimate(estimate.value, estimate.standard_error, estimate.n_effective, estimate.unit, method)


def _mean_of_worst(values: np.ndarray) -> float:
    count = max(1, int(np.ceil(WORST_FRACTION * len(values))))
    return float(np.mean(np.sort(values)[-count:]))


def _jackknife(
    groups: Sequence[np.ndarray], statistic: Callable[[np.ndarray], float], unit: str, method: str
) -> Estimate:
    """Any statistic of all values, with a delete-one jackknife over the groups."""
    value, n = statistic(np.concatenate(groups)), len(groups)
    if n < 2:
        return Estimate(value, float("nan"), float(n), unit, method)
    left = np.array([statistic(np.concatenate([g for j, g in enumerate(groups) if j != i])) for i in range(n)])
    error = float(np.sqrt((n - 1) / n * np.sum((left - left.mean()) ** 2)))
    return Estimate(value, error, float(n), unit, method)
