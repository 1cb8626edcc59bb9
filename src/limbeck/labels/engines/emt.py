"""ASE's effective medium theory: milliseconds a frame, for smoke runs of fcc metals only. Not for production.

Source: Jacobsen, Stoltze and Nørskov, Surf. Sci. 366, 394 (1996), doi:10.1016/0039-6028(96)00816-3.
"""

import socket
import time
from importlib import metadata
from typing import Literal

import numpy as np
from ase import Atoms

from limbeck.core.config import Settings
from limbeck.core.errors import UnsupportedElementError
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import canonical


class EmtSettings(Settings):
    """Effective medium theory of ASE: a smoke engine, marked as not for production."""

    kind: Literal["emt"] = "emt"
    asap_cutoff: bool = False
    """Cutoff of the ASAP code instead of ASE's own."""


class EmtEngine:
    """The label engine behind :class:`EmtSettings`."""

    def __init__(self, settings: EmtSettings) -> None:
        self.settings = settings

    def fingerprint(self, atoms: Atoms) -> Fingerprint:
        """Version of ASE and the one parameter; ``production`` is False."""
        return Fingerprint(
            engine="emt",
            version=metadata.version("ase"),
            parameters={"asap_cutoff": self.settings.asap_cutoff},
            theory={"functional": "EMT", "hubbard": {}, "dispersion": "none"},
            production=False,
        )

    def label(self, atoms: Atoms) -> Labelled:
        """Label one structure in this process.

        Raises:
            UnsupportedElementError: If effective medium theory has no parameters for an element.
        """
        from ase.calculators.emt import EMT, parameters

        clean = canonical(atoms)
        unknown = sorted(set(clean.get_chemical_symbols()) - set(parameters))
        if unknown:
            raise UnsupportedElementError(
                f"EMT has no parameters for {', '.join(unknown)}; it knows {', '.join(sorted(parameters))}. "
                "Choose another label engine."
            )
        start = time.process_time()
        work = clean.copy()
        work.calc = EMT(asap_cutoff=self.settings.asap_cutoff)
        return Labelled(
            atoms=clean,
            energy=float(work.get_potential_energy()),
            forces=np.array(work.get_forces()),
            stress=np.array(work.get_stress()) if all(clean.pbc) else None,
            fingerprint=self.fingerprint(clean),
            provenance={"host": socket.gethostname(), "cpu_s": time.process_time() - start},
        )
