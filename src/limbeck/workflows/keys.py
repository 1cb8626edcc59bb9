"""Every key of a configuration file with its default and what it is for, from the settings themselves."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from limbeck.core.errors import ConfigError


def keys(model: type[BaseModel], prefix: str = "") -> list[dict[str, Any]]:
    """Keys below a prefix in the order of the file: ``key``, ``default`` (``None`` if it must be given) and ``what``.

    Args:
        model: Settings of the file.
        prefix: Part of the file, dotted; all of it where empty.

    Raises:
        ConfigError: If no key begins so.
    """
    rows = list(_walk(model, ""))
    chosen = [
        row for row in rows if not prefix or row["key"].startswith((f"{prefix}.", f"{prefix}[")) or row["key"] == prefix
    ]
    if not chosen:
        parts = ", ".join(dict.fromkeys(row["key"].split(".")[0] for row in rows))
        raise ConfigError(f"no key begins with '{prefix}'. Parts of the file: {parts}.")
    return chosen


def _walk(model: type[BaseModel], path: str) -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            default = None
        inner = list(_models(field.annotation))
        shown = None if inner else default
        yield {
            "key": key,
            "default": shown,
            "needed": field.is_required(),
            "what": " ".join((field.description or "").split()),
        }
        for part in inner:
            kind = part.model_fields["kind"].default if "kind" in part.model_fields else None
            yield from _walk(part, f"{key}[{kind}]" if kind else key)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Settings classes inside a type: itself, or those of a union, a list or a dictionary."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType, list, dict, tuple):
        for part in get_args(annotation):
            yield from _models(part)


def show_keys(rows: list[dict[str, Any]]) -> str:
    """The keys for reading; ``part[kind].key`` belongs to that kind of the part."""
    lines = []
    for row in rows:
        value = "" if row["default"] is None else f" = {row['default']!r}"
        lines.append(f"{row['key']}{' (needed)' if row['needed'] else value}")
        if row["what"]:
            lines.append(f"    {row['what']}")
    return "\n".join(lines)
