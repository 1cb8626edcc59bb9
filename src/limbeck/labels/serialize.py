"""Plain values of structures and labels: canonical form, structure hash, and an exact JSON round trip.

A structure is *canonical* when its numbers survive every file that limbeck writes: positions and cell rounded to
1e-8 Å (what extended XYZ files of other programs keep), moments to 1e-6 Bohr magnetons, no calculator, constraint or
velocity. Only canonical structures are labelled, so what was computed is what is stored, and the same structure read
back from a file has the same key.
"""

import hashlib
from typing import Any

import numpy as np
from ase import Atoms

from limbeck.core.errors import StructureError
from limbeck.core.record import hash_of
from limbeck.labels.labelled import Fingerprint, Labelled

POSITION_DECIMALS = 8
"""Digits after the point that positions and cells keep, in Å."""

MOMENT_DECIMALS = 6
"""Digits after the point that initial magnetic moments keep, in Bohr magnetons."""

_SCALARS = (str, int, float, bool)


def canonical(atoms: Atoms) -> Atoms:
    """Copy of a structure reduced to what a label depends on, rounded so that file round trips are exact.

    Args:
        atoms: Any structure; not changed.

    Returns:
        Numbers, rounded positions, cell, periodicity and initial magnetic moments (absent if all are zero), and those
        entries of ``info`` that are plain text, numbers or flags (``trajectory``, ``reason``, ...).

    Raises:
        StructureError: If it has no atoms or a number in it is not finite.
    """
    if len(atoms) == 0:
        raise StructureError("a structure without atoms cannot be labelled")
    positions, cell = atoms.get_positions(), np.asarray(atoms.cell.array, dtype=float)
    moments = atoms.get_initial_magnetic_moments()
    if moments.ndim != 1:
        raise StructureError(f"initial magnetic moments have shape {moments.shape}; only collinear ones are supported")
    for name, values in (("positions", positions), ("cell", cell), ("initial magnetic moments", moments)):
        if not np.all(np.isfinite(values)):
            raise StructureError(f"{name} of {atoms.get_chemical_formula()} hold NaN or infinity")
    clean = Atoms(
        numbers=atoms.get_atomic_numbers(),
        positions=_rounded(positions, POSITION_DECIMALS),
        cell=_rounded(cell, POSITION_DECIMALS),
        pbc=atoms.pbc,
    )
    moments = _rounded(moments, MOMENT_DECIMALS)
    if np.any(moments):
        clean.set_initial_magnetic_moments(moments)
    for name, value in atoms.info.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, _SCALARS) and not (isinstance(plain, float) and not np.isfinite(plain)):
            clean.info[str(name)] = plain
    return clean


def _rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    return np.round(np.asarray(values, dtype=float), decimals) + 0.0  # + 0.0 turns -0.0 into 0.0


def structure_hash(atoms: Atoms) -> str:
    """SHA-256 over numbers, positions, cell, periodicity and initial moments of the canonical structure.

    The order of atoms counts; ``info`` does not.
    """
    return _hash_of_canonical(canonical(atoms))


def _hash_of_canonical(clean: Atoms) -> str:
    digest = hashlib.sha256(b"limbeck structure 1")
    digest.update(np.asarray(clean.numbers, dtype="<i8").tobytes())
    for values in (clean.get_positions(), clean.cell.array, clean.get_initial_magnetic_moments()):
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    digest.update(np.asarray(clean.pbc, dtype="u1").tobytes())
    return digest.hexdigest()


def label_key(atoms: Atoms, fingerprint: Fingerprint) -> str:
    """Key of a label: SHA-256 over the canonical structure and the engine's fingerprint (hex, 64 characters)."""
    return hashlib.sha256(f"{structure_hash(atoms)} {fingerprint.hash}".encode()).hexdigest()


def atoms_to_dict(atoms: Atoms) -> dict[str, Any]:
    """JSON-able values of the canonical structure; :func:`atoms_from_dict` gives it back to the last bit."""
    clean = canonical(atoms)
    moments = clean.get_initial_magnetic_moments() if clean.has("initial_magmoms") else None
    return {
        "numbers": clean.numbers.tolist(),
        "positions": clean.positions.tolist(),
        "cell": clean.cell.array.tolist(),
        "pbc": clean.pbc.tolist(),
        "initial_magnetic_moments": None if moments is None else moments.tolist(),
        "info": dict(clean.info),
    }


def atoms_from_dict(values: dict[str, Any]) -> Atoms:
    """Structure from :func:`atoms_to_dict`."""
    atoms = Atoms(numbers=values["numbers"], positions=values["positions"], cell=values["cell"], pbc=values["pbc"])
    if values.get("initial_magnetic_moments") is not None:
        atoms.set_initial_magnetic_moments(values["initial_magnetic_moments"])
    atoms.info.update(values.get("info", {}))
    return atoms


def fingerprint_to_dict(fingerprint: Fingerprint) -> dict[str, Any]:
    """JSON-able values of a fingerprint."""
    return {
        "engine": fingerprint.engine,
        "version": fingerprint.version,
        "parameters": fingerprint.parameters,
        "files": fingerprint.files,
        "theory": fingerprint.theory,
        "production": fingerprint.production,
    }


def fingerprint_id(fingerprint: Fingerprint) -> str:
    """SHA-256 over everything in a fingerprint, also theory and ``production``, which its ``hash`` leaves out."""
    return hash_of(fingerprint_to_dict(fingerprint))


def fingerprint_from_dict(values: dict[str, Any]) -> Fingerprint:
    """Fingerprint from :func:`fingerprint_to_dict`."""
    return Fingerprint(**values)


def labelled_to_dict(labelled: Labelled) -> dict[str, Any]:
    """JSON-able values of a labelled frame; the round trip is exact to the last bit of every number."""
    return {
        "atoms": atoms_to_dict(labelled.atoms),
        "energy_eV": float(labelled.energy),
        "forces_eV_per_A": np.asarray(labelled.forces, dtype=float).tolist(),
        "stress_eV_per_A3": None if labelled.stress is None else np.asarray(labelled.stress, dtype=float).tolist(),
        "magnetic_moments_muB": (
            None if labelled.magnetic_moments is None else np.asarray(labelled.magnetic_moments, dtype=float).tolist()
        ),
        "fingerprint": fingerprint_to_dict(labelled.fingerprint),
        "provenance": labelled.provenance,
    }


def labelled_from_dict(values: dict[str, Any]) -> Labelled:
    """Labelled frame from :func:`labelled_to_dict`."""
    stress, moments = values["stress_eV_per_A3"], values["magnetic_moments_muB"]
    return Labelled(
        atoms=atoms_from_dict(values["atoms"]),
        energy=float(values["energy_eV"]),
        forces=np.array(values["forces_eV_per_A"], dtype=float),
        stress=None if stress is None else np.array(stress, dtype=float),
        fingerprint=fingerprint_from_dict(values["fingerprint"]),
        magnetic_moments=None if moments is None else np.array(moments, dtype=float),
        provenance=dict(values["provenance"]),
    )
