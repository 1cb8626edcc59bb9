"""Sources of labels, one file each. ``EngineSettings`` is their union; :func:`build_engine` makes the engine.

Importing this module is cheap: the codes behind the engines are imported, or started, when a frame is labelled.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from limbeck.labels.engine import LabelEngine
from limbeck.labels.engines.emt import EmtEngine, EmtSettings
from limbeck.labels.engines.gpaw import GpawEngine, GpawSettings
from limbeck.labels.engines.stored import StoredEngine, StoredSettings
from limbeck.labels.engines.tblite import TbliteEngine, TbliteSettings

EngineSettings = Annotated[GpawSettings | StoredSettings | EmtSettings | TbliteSettings, Field(discriminator="kind")]
"""Settings of any label engine, told apart by ``kind``."""

_ADAPTER: TypeAdapter[GpawSettings | StoredSettings | EmtSettings | TbliteSettings] = TypeAdapter(EngineSettings)


def build_engine(settings: GpawSettings | StoredSettings | EmtSettings | TbliteSettings) -> LabelEngine:
    """Engine of the given settings; nothing heavy is imported yet."""
    match settings:
        case GpawSettings():
            return GpawEngine(settings)
        case StoredSettings():
            return StoredEngine(settings)
        case EmtSettings():
            return EmtEngine(settings)
        case TbliteSettings():
            return TbliteEngine(settings)


def engine_from_dict(values: dict[str, Any]) -> LabelEngine:
    """Engine of settings given as plain values (``settings.model_dump(mode="json")``)."""
    return build_engine(_ADAPTER.validate_python(values))
