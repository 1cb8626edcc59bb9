"""Perturbed copies of a structure: random strain, volume and displacements that never make atoms overlap."""

from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float
from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.core.errors import StructureError
from limbeck.structures.check import check_structure


class PerturbSettings(Settings):
    """How copies differ from the structure they start from."""

    copies: int = Field(default=4, ge=0)
    """Perturbed copies per structure."""
    strain: float = Field(default=0.03, ge=0, lt=0.5)
    """Largest strain component (dimensionless); drawn uniformly from [-strain, strain]."""
    strain_mode: Literal["full", "shear", "axes", "none"] = "full"
    """Components that are drawn: all six; the three shears; the three lengths; none."""
    volume_scale_min: float = Field(default=1.0, gt=0.2)
    """Smallest ratio of volumes; applied after the strain."""
    volume_scale_max: float = Field(default=1.0, lt=5.0)
    """Largest ratio of volumes."""
    rattle_A: float = Field(default=0.05, ge=0)
    """Standard deviation of each Cartesian displacement; displacements are cut at three times this, and scaled down
    for a pair of atoms that would come closer than ``closest`` of its distance."""
    closest: float = Field(default=0.75, gt=0, lt=1)
    """Two neighbours never come closer than this fraction of their distance in the strained structure."""
    keep_original: bool = False
    """Also return the structure itself, as copy 000."""

    @model_validator(mode="after")
    def _ordered(self) -> "PerturbSettings":
        if self.volume_scale_min > self.volume_scale_max:
            raise ValueError("volume_scale_min must not be larger than volume_scale_max")
        return self


def perturb(atoms: Atoms, settings: PerturbSettings, rng: np.random.Generator) -> list[Atoms]:
    """Perturbed copies of a structure.

    Args:
        atoms: The structure; not changed.
        settings: How much.
        rng: Random stream; equal streams give equal copies to the bit.

    Returns:
        ``copies`` structures, after the original where ``keep_original`` is set. ``info["trajectory"]`` is
        ``<name>/000``, ``<name>/001`` ...: each copy is a trajectory of its own.

    Raises:
        StructureError: If the structure is unusable, or a copy's lattice itself overlaps (strain too large).
    """
    check_structure(atoms)
    name = str(atoms.info.get("trajectory", atoms.get_chemical_formula(mode="hill").lower()))
    copies = [atoms.copy()] if settings.keep_original else []
    for _ in range(settings.copies):
        copy = atoms.copy()
        copy.set_constraint()
        gradient = random_deformation(settings, rng)
        copy.set_cell(atoms.cell[:] @ gradient.T, scale_atoms=True)
        limited = limit_displacements(copy, random_displacements(len(copy), settings.rattle_A, rng), settings.closest)
        copy.set_positions(copy.get_positions() + limited)
        copies.append(copy)
    for index, copy in enumerate(copies):
        copy.calc = None
        copy.info = {**atoms.info, "trajectory": f"{name}/{index:03d}"}
        try:
            check_structure(copy)
        except StructureError as error:
            raise StructureError(f"perturbed copy {index} of {name}: {error} Lower strain or volume range.") from error
    return copies


def random_deformation(settings: PerturbSettings, rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Symmetric deformation gradient F (new row vectors are old @ F.T), without rotation."""
    drawn = rng.uniform(-settings.strain, settings.strain, 6)
    keep = {"full": [1] * 6, "shear": [0, 0, 0, 1, 1, 1], "axes": [1, 1, 1, 0, 0, 0], "none": [0] * 6}
    xx, yy, zz, yz, xz, xy = drawn * np.array(keep[settings.strain_mode], dtype=float)
    gradient = np.eye(3) + np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
    scale = rng.uniform(settings.volume_scale_min, settings.volume_scale_max)
    return np.asarray(gradient * scale ** (1.0 / 3.0))


def random_displacements(n_atoms: int, rattle_A: float, rng: np.random.Generator) -> Float[np.ndarray, "n_atoms 3"]:
    """Gaussian displacements in Å, none longer than three times ``rattle_A``, their mean removed."""
    steps = rng.normal(size=(n_atoms, 3)) * rattle_A
    if n_atoms > 1:
        steps -= steps.mean(axis=0)
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    return np.asarray(steps * np.minimum(1.0, 3.0 * rattle_A / np.maximum(lengths, 1e-300)))


def limit_displacements(
    atoms: Atoms, displacements: Float[np.ndarray, "n_atoms 3"], closest: float
) -> Float[np.ndarray, "n_atoms 3"]:
    """Displacements scaled per atom so that no pair comes closer than ``closest`` x its present distance.

    Each atom may move by at most half of what its nearest neighbour's bond can give: then no pair, images included,
    can lose more than ``(1 - closest)`` of its length, whatever the directions.
    """
    from ase.neighborlist import neighbor_list

    reach = 4.0 * float(covalent_radii[atoms.get_atomic_numbers()].max())
    first, distance = neighbor_list("id", atoms, reach)
    nearest = np.full(len(atoms), reach)
    np.minimum.at(nearest, first, distance)
    allowed = 0.5 * (1.0 - closest) * nearest
    lengths = np.linalg.norm(displacements, axis=1)
    return np.asarray(displacements * np.minimum(1.0, allowed / np.maximum(lengths, 1e-300))[:, None])
