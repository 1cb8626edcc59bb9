"""One labelled frame, and the level of theory it was labelled at."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from limbeck.core.errors import StructureError
from limbeck.core.record import hash_of


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides a label's value, apart from the structure.

    Attributes:
        engine: Name of the engine, for example ``gpaw``.
        version: Its version.
        parameters: All parameters that it was given, as plain values.
        files: Potential or set-up file -> SHA-256.
        theory: Functional, Hubbard U, dispersion: what must agree within one training set
            (``{"functional": "PBE", "hubbard": {}, "dispersion": "none"}``).
        production: False for smoke engines, whose labels must never reach production unseen.
    """

    engine: str
    version: str
    parameters: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    theory: dict[str, Any] = field(default_factory=dict)
    production: bool = True

    @property
    def hash(self) -> str:
        """SHA-256 over engine, version, parameters and files."""
        return hash_of([self.engine, self.version, self.parameters, self.files])

    @property
    def theory_hash(self) -> str:
        """SHA-256 over the level of theory only."""
        return hash_of(self.theory)


@dataclass(frozen=True)
class Labelled:
    """A structure with its label: one row of the store.

    Attributes:
        atoms: The structure (no calculator attached). ``atoms.info`` carries ``trajectory`` (which run it came from:
            the unit of every split) and may carry ``reason``.
        energy: Total energy in eV, the one whose gradient the forces are: with electronic smearing, the free energy.
        forces: Minus the gradient of the energy, (n_atoms, 3) in eV/Å.
        stress: Strain derivative of the energy over the volume, Voigt order xx, yy, zz, yz, xz, xy, in eV/Å^3, ASE's
            sign (compression gives negative values); ``None`` where the engine has none.
        magnetic_moments: (n_atoms,) in Bohr magnetons, or ``None``.
        fingerprint: Engine and parameters.
        provenance: Host, CPU seconds, SCF steps, parents: what does not change the value.
    """

    atoms: Atoms
    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    stress: Float[np.ndarray, " 6"] | None
    fingerprint: Fingerprint
    magnetic_moments: Float[np.ndarray, " n_atoms"] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.atoms)
        if self.forces.shape != (n, 3):
            raise StructureError(f"forces have shape {self.forces.shape}, expected ({n}, 3)")
        if self.stress is not None and self.stress.shape != (6,):
            raise StructureError(f"stress has shape {self.stress.shape}, expected (6,) in Voigt order")
        values = [np.atleast_1d(self.energy), self.forces] + ([] if self.stress is None else [self.stress])
        if not all(np.all(np.isfinite(v)) for v in values):
            raise StructureError("a label holds NaN or infinity; the calculation that made it did not work")

    @property
    def trajectory(self) -> str:
        """Trajectory that the frame came from; frames of one trajectory never stand on both sides of a split."""
        return str(self.atoms.info.get("trajectory", "unnamed"))
