"""Every error that limbeck raises on purpose.

Each is a :class:`LimbeckError` and also the builtin kind that fits, so ``except ValueError`` keeps working.
A message says what was seen, what was expected, and what to do.
"""


class LimbeckError(Exception):
    """Base of all errors that a user can mend; the command line shows its message without a traceback."""


class ConfigError(LimbeckError, ValueError):
    """A configuration file has an unknown key, a wrong type or unit, or an impossible value."""


class MissingDependencyError(LimbeckError, ImportError):
    """An optional package or program is not installed; the message holds the line that installs it."""


class MissingFileError(LimbeckError, FileNotFoundError):
    """A file that the run needs is not there."""


class StructureError(LimbeckError, ValueError):
    """A structure cannot be used: overlapping atoms, NaN, a flat cell, no periodicity where it is needed."""


class UnsupportedElementError(LimbeckError, ValueError):
    """A potential or an engine does not know one of the chemical elements."""


class LabelError(LimbeckError, RuntimeError):
    """A first-principles calculation failed or did not converge; the frame is quarantined with this reason."""


class MixedTheoryError(LimbeckError, ValueError):
    """Labels of different functionals, Hubbard U or dispersion settings were about to enter one set."""


class StoreError(LimbeckError, RuntimeError):
    """The label store is damaged, locked by another writer, or of a newer version."""


class DiskFullError(LimbeckError, OSError):
    """A disk or a quota is full; what was there before is whole, and a rerun goes on once there is space."""


class TrainingError(LimbeckError, RuntimeError):
    """A fit diverged, had no data, or gave a potential that fails its own checks."""


class DynamicsError(LimbeckError, RuntimeError):
    """A molecular dynamics run exploded, lost atoms, or its engine failed."""


class ExecutionError(LimbeckError, RuntimeError):
    """A task was lost: its worker died or it raised an error that is not one of the above."""
