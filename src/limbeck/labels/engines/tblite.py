"""GFN tight binding through tblite: seconds a frame, for smoke runs only. Not for production.

Source: Bannwarth et al., WIREs Comput. Mol. Sci. 11, e1493 (2021), doi:10.1002/wcms.1493.
"""

import socket
import time
from importlib import metadata
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import LabelError, MissingDependencyError, UnsupportedElementError
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import canonical

HEAVIEST = 86
"""Atomic number of the heaviest element that the GFN methods know (radon)."""


class TbliteSettings(Settings):
    """GFN1-xTB or GFN2-xTB: a smoke engine, marked as not for production. One k point (Gamma) only."""

    kind: Literal["tblite"] = "tblite"
    method: Literal["GFN1-xTB", "GFN2-xTB"] = "GFN1-xTB"
    """Parametrization. Rare-earth oxides come out absurd with either."""
    accuracy: float = Field(default=0.1, gt=0, le=100)
    """tblite's accuracy factor: smaller is tighter."""
    electronic_temperature_K: float = Field(default=300.0, ge=0)
    """Fermi smearing."""
    max_scf_steps: int = Field(default=250, ge=1)
    """SCF steps after which the frame is given up and quarantined."""


class TbliteEngine:
    """The label engine behind :class:`TbliteSettings`."""

    def __init__(self, settings: TbliteSettings) -> None:
        self.settings = settings

    def fingerprint(self, atoms: Atoms) -> Fingerprint:
        """Version of tblite and all parameters; ``production`` is False.

        Raises:
            MissingDependencyError: If tblite is not installed.
        """
        try:
            version = metadata.version("tblite")
        except metadata.PackageNotFoundError as error:
            raise MissingDependencyError("tblite is not installed. Install it: pip install tblite==0.8.0") from error
        return Fingerprint(
            engine="tblite",
            version=version,
            parameters=self.settings.model_dump(mode="json", exclude={"kind", "max_scf_steps"}),
            theory={"functional": self.settings.method, "hubbard": {}, "dispersion": "built in"},
            production=False,
        )

    def label(self, atoms: Atoms) -> Labelled:
        """Label one structure in this process.

        Raises:
            LabelError: If the charges did not converge.
            MissingDependencyError: If tblite is not installed.
            UnsupportedElementError: If an element is heavier than radon.
        """
        clean = canonical(atoms)
        fingerprint = self.fingerprint(clean)
        if max(clean.numbers) > HEAVIEST:
            raise UnsupportedElementError(f"{self.settings.method} knows elements up to radon, not {clean.symbols}.")
        from ase.calculators.calculator import CalculationFailed, InputError

        try:
            from tblite.ase import TBLite
        except ImportError as error:
            raise MissingDependencyError(
                f"tblite cannot be imported: {error}. Install it anew: pip install tblite==0.8.0"
            ) from error

        start = time.process_time()
        work = clean.copy()
        work.calc = TBLite(
            method=self.settings.method,
            accuracy=self.settings.accuracy,
            electronic_temperature=self.settings.electronic_temperature_K,
            max_iterations=self.settings.max_scf_steps,
            verbosity=0,
        )
        try:
            energy, forces = float(work.get_potential_energy()), np.array(work.get_forces())
            stress = np.array(work.get_stress()) if all(clean.pbc) else None
        except (CalculationFailed, InputError, RuntimeError) as error:
            raise LabelError(f"tblite, {clean.get_chemical_formula()}: {error}") from error
        return Labelled(
            atoms=clean,
            energy=energy,
            forces=forces,
            stress=stress,
            fingerprint=fingerprint,
            provenance={"host": socket.gethostname(), "cpu_s": time.process_time() - start},
        )
