"""Teachers: universal force fields that are fine-tuned and then distilled. One file a family.

Importing this module does not import torch; :func:`build_teacher` and :func:`load_teacher` do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import ConfigError
from limbeck.potentials.teachers.chgnet import CHGNetSettings
from limbeck.potentials.teachers.sevennet import SevenNetSettings

if TYPE_CHECKING:
    from limbeck.potentials.teachers.network import Network
    from limbeck.potentials.teachers.teacher import TorchTeacher

__all__ = [
    "CHGNetSettings", "SavedTeacherSettings", "SevenNetSettings", "TeacherSettings", "build_teacher", "load_teacher",
]  # fmt: skip


class SavedTeacherSettings(Settings):
    """A teacher that was saved by an earlier run."""

    kind: Literal["saved"] = "saved"
    path: str
    """File written by ``save``."""


TeacherSettings = Annotated[SevenNetSettings | CHGNetSettings | SavedTeacherSettings, Field(discriminator="kind")]
"""Closed union of teacher settings, tagged by ``kind``."""


def build_teacher(settings: SevenNetSettings | CHGNetSettings | SavedTeacherSettings) -> "TorchTeacher":
    """Teacher as the settings say, ready to use, without network access.

    Raises:
        MissingDependencyError: If the family's package is not installed.
        MissingFileError: If the model's file does not exist.
        ConfigError: If the settings do not fit the model.
    """
    from limbeck.potentials.teachers import chgnet, sevennet
    from limbeck.potentials.teachers.teacher import TorchTeacher

    if isinstance(settings, SavedTeacherSettings):
        return load_teacher(Path(settings.path))
    if isinstance(settings, SevenNetSettings):
        return TorchTeacher(sevennet.build(settings))
    return TorchTeacher(chgnet.build(settings))


def load_teacher(path: Path) -> "TorchTeacher":
    """Teacher from a file that :meth:`TorchTeacher.save` wrote; equal to the bit, no network, no code run from it.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If it is no teacher file, of a newer version, or of an unknown kind.
        MissingDependencyError: If the family's package is not installed.
    """
    from limbeck.potentials.teachers import chgnet, sevennet
    from limbeck.potentials.teachers.teacher import TorchTeacher, load_file

    content = load_file(path)
    families: dict[str, Callable[..., Network]] = {"sevennet": sevennet.from_state, "chgnet": chgnet.from_state}
    if content["kind"] not in families:
        raise ConfigError(f"{path}: teacher of kind '{content['kind']}'; known kinds are {', '.join(families)}")
    parts = (content["model"], content["precision"], content["architecture"], content["weights"])
    return TorchTeacher(families[content["kind"]](*parts), content["shifts_eV"])
