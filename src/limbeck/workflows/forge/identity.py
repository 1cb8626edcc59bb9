"""What of the settings decides results: files by their bytes and not by their place, so that a run can be moved."""

from pathlib import Path
from typing import Any

from limbeck.core.config import Settings
from limbeck.core.record import hash_file, hash_of
from limbeck.labels.dataset import card_path
from limbeck.labels.engines import StoredSettings
from limbeck.potentials.teachers.sevennet import SHIPPED, SevenNetSettings
from limbeck.workflows.forge.config import ForgeSettings

WHERE = ("python", "mpi_command")
"""Keys of engines that say where they run."""


def file_of(settings: Settings) -> Path | None:
    """The file that a block of settings names, or ``None`` if it names none."""
    if isinstance(settings, SevenNetSettings):
        return None if settings.model in SHIPPED else Path(settings.model)
    path = getattr(settings, "path", None)
    return Path(path) if path is not None else None


def content_of(settings: Settings) -> dict[str, Any]:
    """Plain values of a block of settings; the file that it names stands with the hash of its bytes."""
    values = settings.model_dump(mode="json", exclude=set(WHERE))
    path = file_of(settings)
    if path is None:
        return values
    values.pop("path", None)
    values["file"] = hash_file(path)
    if isinstance(settings, StoredSettings) and settings.theory is None:
        values["card"] = hash_file(card_path(path))
    if isinstance(settings, SevenNetSettings):
        values["model"] = path.stem
    return values


def named_files(settings: ForgeSettings) -> dict[str, str]:
    """Every file that the settings name -> SHA-256 of its bytes."""
    blocks: list[Settings] = [
        *settings.structures, settings.teacher, settings.labels, *settings.report_on.values(),
    ]  # fmt: skip
    paths = [path for block in blocks if (path := file_of(block))]
    return {str(path): hash_file(path) for path in paths}


def run_identity(settings: ForgeSettings) -> str:
    """Hash of all that decides the results of a run; where it runs and where its files lie does not."""
    values = settings.model_dump(mode="json", exclude={"executor", "label_store"})
    values["structures"] = [content_of(s) for s in settings.structures]
    values["teacher"], values["labels"] = content_of(settings.teacher), content_of(settings.labels)
    values["report_on"] = {name: content_of(s) for name, s in settings.report_on.items()}
    return hash_of(values)
