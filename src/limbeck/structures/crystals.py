"""Starting structures: a bulk crystal by name and lattice constant, or a file in any format that ASE reads."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import MissingFileError, StructureError
from limbeck.structures.check import check_structure

Repeat = list[Annotated[int, Field(ge=1)]]
Lattice = Literal[
    "sc", "fcc", "bcc", "hcp", "diamond", "zincblende", "rocksalt", "cesiumchloride", "fluorite", "wurtzite"
]


class BulkSettings(Settings):
    """A perfect crystal."""

    kind: Literal["bulk"] = "bulk"
    formula: str = Field(min_length=1)
    """Chemical formula as :func:`ase.build.bulk` takes it: ``Si``, ``MgO``."""
    lattice: Lattice
    """Structure type."""
    lattice_constant_A: float = Field(gt=0)
    """Length of the conventional cell's first vector."""
    lattice_constant_c_A: float | None = Field(default=None, gt=0)
    """Length of the third vector (hcp, wurtzite); the ideal ratio if left out."""
    cell: Literal["primitive", "conventional"] = "conventional"
    """``conventional`` is the cubic cell (for hcp and wurtzite the orthorhombic one). ``primitive`` is for labels of
    perfect or strained crystals: molecular dynamics of its 1 to 4 atoms samples no phonon but those at Gamma."""
    repeat: Repeat = Field(default=[1, 1, 1], min_length=3, max_length=3)
    """Repetitions along the three cell vectors."""


class FileSettings(Settings):
    """A structure, or several, from a file."""

    kind: Literal["file"]
    path: str = Field(min_length=1)
    """File in any format that ASE reads; relative to the configuration file."""
    index: int = -1
    """Which frame of the file; -1 is the last."""
    format: str | None = None
    """ASE's name of the format; guessed from the file if left out."""
    repeat: Repeat = Field(default=[1, 1, 1], min_length=3, max_length=3)
    """Repetitions along the three cell vectors."""


StructureSettings = Annotated[BulkSettings | FileSettings, Field(discriminator="kind")]
"""One starting structure: ``kind: bulk`` or ``kind: file``."""


def build_structure(settings: BulkSettings | FileSettings, base_folder: Path | str = ".") -> Atoms:
    """Structure described by a block of the configuration.

    Args:
        settings: The block.
        base_folder: Folder that a relative path is relative to.

    Returns:
        Periodic atoms without calculator, constraints or velocities; ``info["trajectory"]`` holds its name.

    Raises:
        MissingFileError: If there is no such file.
        StructureError: If it cannot be read or built, holds NaN, has no cell, or has overlapping atoms.
    """
    atoms = _build_bulk(settings) if isinstance(settings, BulkSettings) else _read_file(settings, Path(base_folder))
    atoms = atoms.repeat(tuple(settings.repeat))
    check_structure(atoms)
    atoms.info = {"trajectory": structure_name(settings)}
    return atoms


def structure_name(settings: BulkSettings | FileSettings) -> str:
    """Short name, unique among sensible inputs: ``si-diamond-conventional``, ``my_file-2x2x1``."""
    if isinstance(settings, BulkSettings):
        name = f"{settings.formula.lower()}-{settings.lattice}-{settings.cell}"
    else:
        name = Path(settings.path).stem + ("" if settings.index == -1 else f"-frame{settings.index}")
    if tuple(settings.repeat) != (1, 1, 1):
        name += "-" + "x".join(str(n) for n in settings.repeat)
    return name


def _build_bulk(settings: BulkSettings) -> Atoms:
    from ase.build import bulk

    shape: dict[str, bool] = {}
    if settings.cell == "conventional":
        shape = {"orthorhombic": True} if settings.lattice in ("hcp", "wurtzite") else {"cubic": True}
    try:
        return bulk(
            settings.formula,
            settings.lattice,
            a=settings.lattice_constant_A,
            c=settings.lattice_constant_c_A,
            **shape,
        )
    except (ValueError, RuntimeError, KeyError) as error:
        why = f"no element is called {error}" if isinstance(error, KeyError) else str(error)
        raise StructureError(
            f"cannot build {settings.formula} in the {settings.lattice} structure ({settings.cell} cell): {why}. "
            "Check formula and lattice (two elements for rocksalt, zincblende, cesiumchloride, wurtzite; CaF2-like "
            "for fluorite), or give the structure as a file."
        ) from error


def _read_file(settings: FileSettings, base_folder: Path) -> Atoms:
    import ase.io

    path = Path(settings.path)
    path = path if path.is_absolute() else base_folder / path
    if not path.is_file():
        raise MissingFileError(f"{path}: no such structure file. A relative path starts at {base_folder}.")
    try:
        read = ase.io.read(path, index=settings.index, format=settings.format)
    except Exception as error:  # every reader of ASE fails in its own way
        raise StructureError(
            f"{path}: not readable as a structure, frame {settings.index}"
            f"{f' ({error})' if str(error) else ''}. The file may be damaged or of another kind than its name "
            "says: open it in a viewer, check 'index', or name the format with 'format'."
        ) from error
    atoms = Atoms(
        numbers=read.get_atomic_numbers(),
        positions=read.get_positions(),
        cell=read.cell[:],
        pbc=read.pbc,
        masses=read.get_masses(),
    )
    if read.has("initial_magmoms"):
        atoms.set_initial_magnetic_moments(read.get_initial_magnetic_moments())
    if not np.any(atoms.pbc) or np.linalg.matrix_rank(atoms.cell[:]) < 3:
        raise StructureError(
            f"{path}: no full periodic cell (pbc {atoms.pbc.tolist()}, cell {atoms.cell[:].tolist()}). "
            "Force fields here are trained on periodic structures: add a cell with vacuum to the file."
        )
    return atoms
