"""The door behind which every source of labels stands: DFT codes, smoke engines, and a teacher acting as one."""

from typing import Protocol

from ase import Atoms

from limbeck.labels.labelled import Fingerprint, Labelled


class LabelEngine(Protocol):
    """Something that labels one structure. See ``docs/howto/add-a-label-engine.md``."""

    def fingerprint(self, atoms: Atoms) -> Fingerprint:
        """Everything that decides the label's value; cheap, computed without running the engine.

        It takes the structure since k meshes and potential files can depend on cell and elements.
        """
        ...

    def label(self, atoms: Atoms) -> Labelled:
        """Label one structure.

        Raises:
            LabelError: If the calculation failed or did not converge; says why.
            UnsupportedElementError: If the engine has no data for an element.
        """
        ...
