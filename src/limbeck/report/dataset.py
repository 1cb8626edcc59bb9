"""Interactive view of all labelled frames: structures beside a map of their properties (chemiscope, in the same file).

Source of the viewer: G. Fraux, R. Cersonsky, M. Ceriotti, J. Open Source Softw. 5, 2117 (2020),
doi:10.21105/joss.02117.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from limbeck.core.errors import MissingDependencyError, MissingFileError, StoreError

MAX_FRAMES = 1500
"""Frames embedded at most; a larger set is thinned evenly, which the report says."""

SMALL_CELL = 20
"""Cells of up to so many atoms are shown twice along each direction."""

UNITS_IN_NAMES = {
    "_meV_per_atom": "meV/atom",
    "_eV_per_atom": "eV/atom",
    "_eV_per_A": "eV/Å",
    "_A3_per_atom": "Å³/atom",
    "_GPa": "GPa",
    "_fs": "fs",
    "_ps": "ps",
    "_K": "K",
}
_X, _Y = "volume", "energy"
_COLORS = ("force error", "temperature", "largest force")


def read_frames(path: Path) -> list[Atoms]:
    """Frames of an extended XYZ file.

    Raises:
        MissingFileError: If there is no such file.
        StoreError: If it cannot be read or is empty.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"{path}: the data set named by the results is not there. Run the stage again.")
    try:
        frames = read(path, index=":", format="extxyz")
    except Exception as error:  # the reader raises whatever its parser met
        raise StoreError(f"{path}: not readable as extended XYZ ({type(error).__name__}: {error})") from error
    if not frames:
        raise StoreError(f"{path}: holds no frame")
    return list(frames) if isinstance(frames, list) else [frames]


def frame_properties(frames: Sequence[Atoms]) -> dict[str, dict[str, Any]]:
    """Properties of frames for the map: volume, energy, largest force, and what ``info`` says of every frame.

    Args:
        frames: Frames, with labels as ``REF_energy`` (eV) and ``REF_forces`` (eV/Å) or as an attached calculator.

    Returns:
        Name -> ``{target, values, units}``; only what every frame has, so that the map has no holes.
    """
    found: dict[str, dict[str, Any]] = {
        _X: _property([abs(a.cell.volume) / len(a) for a in frames if a.cell.rank == 3], "Å³/atom"),
        _Y: _property([e / len(a) for a in frames if (e := _energy(a)) is not None], "eV/atom"),
        "largest force": _property([f for a in frames if (f := _largest_force(a)) is not None], "eV/Å"),
        "atoms": _property([len(a) for a in frames], ""),
        "composition": _property([a.get_chemical_formula() for a in frames], ""),
    }
    for key in dict.fromkeys(k for a in frames for k in a.info):
        values = [a.info[key] for a in frames if isinstance(a.info.get(key), str | bool | int | float | np.generic)]
        if key.startswith("REF_") or not values:
            continue
        if any(isinstance(v, str | bool) for v in values):
            values = [str(v) for v in values]
        name, unit = _name_and_unit(key)
        found.setdefault(name, _property(values, unit))
    return {name: p for name, p in found.items() if _complete(p["values"], len(frames))}


def _property(values: list[Any], unit: str) -> dict[str, Any]:
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    return {"target": "structure", "values": plain, **({"units": unit} if unit else {})}


def _complete(values: list[Any], n_frames: int) -> bool:
    numbers = [v for v in values if not isinstance(v, str)]
    return len(values) == n_frames and bool(np.all(np.isfinite(numbers)) if numbers else True)


def _name_and_unit(key: str) -> tuple[str, str]:
    for ending, unit in UNITS_IN_NAMES.items():
        if key.endswith(ending):
            return key.removesuffix(ending).replace("_", " "), unit
    return key.replace("_", " "), "eV/Å" if key == "force_error" else ""


def _energy(atoms: Atoms) -> float | None:
    if "REF_energy" in atoms.info:
        return float(atoms.info["REF_energy"])
    results = getattr(atoms.calc, "results", {})
    return float(results["energy"]) if "energy" in results else None


def _largest_force(atoms: Atoms) -> float | None:
    forces = atoms.arrays.get("REF_forces", getattr(atoms.calc, "results", {}).get("forces"))
    return None if forces is None else float(np.linalg.norm(forces, axis=1).max())


def viewer_input(frames: Sequence[Atoms], title: str, description: str) -> dict[str, Any]:
    """Input of the viewer: structures, their properties, and a first choice of axes.

    Args:
        frames: Frames of one data set.
        title: Name shown in the viewer.
        description: One sentence shown with it.

    Returns:
        Plain values for JSON.

    Raises:
        MissingDependencyError: If chemiscope is not installed.
    """
    properties = frame_properties(frames)
    numeric = [n for n, p in properties.items() if not isinstance(p["values"][0], str)]
    x, y = (name if name in numeric else numeric[0] for name in (_X, _Y))
    color = next((c for c in _COLORS if c in numeric), y)
    bare = [Atoms(a.symbols, positions=a.positions, cell=a.cell, pbc=a.pbc) for a in frames]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import chemiscope
        except ImportError as error:
            raise MissingDependencyError(
                "the data-set view needs chemiscope, which is not installed: pip install 'chemiscope>=1.1'"
            ) from error
        settings = chemiscope.quick_settings(
            x=x, y=y, map_color=color, symbol="role" if "role" in properties else None, periodic=True,
            structure_settings={"supercell": [2, 2, 2] if len(frames[0]) <= SMALL_CELL else [1, 1, 1]},
        )  # fmt: skip
        made: dict[str, Any] = chemiscope.create_input(
            bare, properties=properties, settings=settings, metadata={"name": title, "description": description}
        )
    return made


def viewer_script() -> str:
    """JavaScript of the viewer, from the installed package.

    Raises:
        MissingDependencyError: If chemiscope is not installed, or without its script.
    """
    from importlib.util import find_spec

    spec = find_spec("chemiscope")
    script = Path(spec.origin).parent / "sphinx" / "static" / "chemiscope.min.js" if spec and spec.origin else None
    if script is None or not script.is_file():
        raise MissingDependencyError(
            "the data-set view needs chemiscope with its script, which was not found: pip install 'chemiscope>=1.1'"
        )
    return script.read_text(encoding="utf-8")


def thin_frames(frames: Sequence[Atoms], limit: int = MAX_FRAMES) -> list[Atoms]:
    """At most ``limit`` frames, spread evenly over the set, in order."""
    if len(frames) <= limit:
        return list(frames)
    return [frames[i] for i in np.linspace(0, len(frames) - 1, limit).round().astype(int)]
