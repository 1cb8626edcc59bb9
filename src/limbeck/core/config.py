"""Strict YAML configuration: one clear error per mistake, with file, line, key and the nearest valid name.

Settings are frozen pydantic models derived from :class:`Settings`; choices are closed unions with a ``kind`` tag. A
scalar that carries a unit has it in its name (``timestep_fs``), so a wrong unit is an unknown key.
"""

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from limbeck.core.errors import ConfigError, MissingFileError


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no silent conversion of text to numbers, finite numbers only."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


EXPECTED = {
    "string_pattern_mismatch": "letters, digits, '.', '-' and '_' are allowed, beginning with a letter or a digit",
    "model_type": "expected a block of 'key: value' lines, or {key: value, ...}",
    "model_attributes_type": "expected a block of 'key: value' lines, or {key: value, ...}",
    "dict_type": "expected a block of 'key: value' lines, or {key: value, ...}",
    "list_type": "expected a list: [first, second], or lines that begin with '-'",
}
"""Our words for mistakes that pydantic tells of in terms of Python, by its name of the mistake."""

SettingsType = TypeVar("SettingsType", bound=BaseModel)
Location = tuple[str | int, ...]


class _LineLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice and remembers on which line each key stands."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.lines: dict[int, dict[Any, int]] = {}
        self.duplicate: tuple[Any, int] | None = None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Mapping with the line of every key kept aside, by identity of the mapping."""
        mapping = super().construct_mapping(node, deep=True)
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in lines and self.duplicate is None:
                self.duplicate = (key, key_node.start_mark.line + 1)
            lines[key] = key_node.start_mark.line + 1
        self.lines[id(mapping)] = lines
        return mapping


# PyYAML reads 1e-3 as text (YAML 1.1 wants 1.0e-3); every user of numbers expects a number.
_LineLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _construct_mapping(loader: Any, node: Any) -> dict[Any, Any]:
    mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_LineLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def load(path: Path, model: type[SettingsType], overrides: Mapping[str, Any] | None = None) -> SettingsType:
    """Read and validate a YAML file.

    Args:
        path: The file.
        model: Settings class that it must fit.
        overrides: Dotted key -> value, applied after the file (``{"run.steps": 100}``).

    Returns:
        The validated settings. Relative paths inside are left as written; see the workflow for their base folder.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file is not UTF-8 or YAML or does not fit; the message lists every mistake with its line.
    """
    path = Path(path)
    if not path.is_file():
        near = (
            difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=1)
            if path.parent.is_dir()
            else []
        )
        hint = f" Did you mean {path.parent / near[0]}?" if near else " Check the path."
        raise MissingFileError(f"{path}: no such configuration file.{hint}")
    data, lines = _parse(_read_text(path), str(path))
    if not isinstance(data, dict):
        found = "the file is empty" if data is None else f"found {type(data).__name__}"
        raise ConfigError(f"{path}: expected a block of 'key: value' lines at the top, {found}.")
    for dotted, value in (overrides or {}).items():
        _set_dotted(data, dotted, value)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        explained = _explain(error, model, data, lines, str(path), tuple(overrides or ()))
        raise ConfigError("\n".join(explained)) from None


def checked(values: Mapping[str, Any], model: type[SettingsType]) -> SettingsType:
    """Settings from the options of a command line.

    Raises:
        ConfigError: If they do not fit; every mistake is told with the name of its option.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, model, dict(values), {}, "command line"))) from None


def read_assignment(text: str) -> tuple[str, Any]:
    """Dotted key and value of ``KEY=VALUE``; the value is read as it would be in a file.

    Raises:
        ConfigError: If there is no key or no value, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ConfigError(f"--set {text}: expected KEY=VALUE, for example --set loop.max_iterations=3")
    return key.strip(), _parse(value, f"--set {text}")[0]


def _read_text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8. Save the file as UTF-8 text."
        ) from None


def _parse(text: str, source: str) -> tuple[Any, dict[int, dict[Any, int]]]:
    """Value of a YAML text, and the line of every key by identity of its mapping.

    Raises:
        ConfigError: If it is not YAML, or a key is given twice in one block; the message begins with ``source:line``.
    """
    try:
        loader = _LineLoader(text)
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a bare ValueError
        mark = getattr(error, "problem_mark", None)
        position = getattr(error, "position", None)
        line = mark.line + 1 if mark else text.count("\n", 0, position) + 1 if position is not None else None
        where = f"{source}:{line}" if line else source
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(
            f"{where}: not valid YAML: {problem}. Check brackets, quotes and indentation there."
        ) from error
    if loader.duplicate:
        key, line = loader.duplicate
        raise ConfigError(f"{source}:{line}: key '{key}' is given twice in one block. Keep one of them.")
    return data, loader.lines


def _set_dotted(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value at a dotted key: names of blocks, and numbers (from 0) of list items."""
    target: Any = data
    *parents, last = dotted.split(".")
    for depth, name in enumerate(parents):
        below: type = list if isinstance(target, list) else dict
        key = _item(target, name, dotted) if below is list else name
        if below is dict and target.get(key) is None:
            target[key] = {}
        target = target[key]
        if not isinstance(target, dict | list):
            block = ".".join(parents[: depth + 1])
            raise ConfigError(f"--set {dotted}: '{block}' is not a block, so nothing can be set below it.")
    target[_item(target, last, dotted) if isinstance(target, list) else last] = value


def _item(items: list[Any], name: str, dotted: str) -> int:
    if not (name.isdecimal() and int(name) < len(items)):
        allowed = f"a number from 0 to {len(items) - 1}" if items else "nothing, the list is empty"
        raise ConfigError(f"--set {dotted}: '{name}' stands for an item of a list; expected {allowed}.")
    return int(name)


def _explain(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    lines: dict[int, dict[Any, int]],
    file: str,
    overrides: Sequence[str] = (),
) -> Iterator[str]:
    """One line per mistake: ``file:line: key: what was seen, what was expected, the nearest valid name``.

    A mistake in a value that an override gave is told of that override, not of the file.
    """
    for item in error.errors():
        keys = _drop_tags(item["loc"], data)
        dotted = ".".join(str(k) for k in keys) or "(top)"
        told = f"{dotted}.kind." if item["type"] == "union_tag_invalid" else f"{dotted}."
        given = next((o for o in overrides if told.startswith(f"{o}.")), None)
        line = None if given else _line_of(keys, data, lines)
        source = f"--set {given}" if given else file
        where = f"{source}:{line}" if line else source
        if item["type"] == "extra_forbidden":
            valid = sorted(valid_names(model, item["loc"][:-1]))
            unknown = str(keys[-1])
            yield f"{where}: unknown key '{dotted}'.{_nearest(unknown, valid)}"
        elif item["type"] == "missing":
            yield f"{where}: key '{dotted}' is required and missing."
        elif item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            context = item.get("ctx", {})
            expected = sorted({str(tag) for m in _models_at(model, item["loc"]) for tag in _tags(m)})
            seen = str(context.get("tag", ""))
            kind_line = None if given else _line_of((*keys, "kind"), data, lines) or line
            where = f"{source}:{kind_line}" if kind_line else source
            if item["type"] == "union_tag_invalid":
                yield f"{where}: '{dotted}.kind' is '{seen}', which is none of the choices.{_nearest(seen, expected)}"
            else:
                yield f"{where}: '{dotted}' needs a 'kind'.{_nearest('', expected)}"
        else:
            seen = item.get("input")
            shown = "" if isinstance(seen, dict | list) else f" (seen: {seen!r})"
            message = EXPECTED.get(item["type"], item["msg"].removeprefix("Value error, "))
            yield f"{where}: '{dotted}': {message}{shown}."


def _nearest(word: str, valid: list[str]) -> str:
    if not valid:
        return ""
    stem = word.rsplit("_", 1)[0]
    close = (
        difflib.get_close_matches(word, valid, n=1, cutoff=0.6)
        or [v for v in valid if stem and v.rsplit("_", 1)[0] == stem][:1]
    )
    return (
        f" Did you mean '{close[0]}'? Valid here: {', '.join(valid)}." if close else f" Valid here: {', '.join(valid)}."
    )


def _drop_tags(location: Location, data: Any) -> Location:
    """Location without the union tags that pydantic inserts: what stands in the file, and a last new key."""
    kept: list[str | int] = []
    here: Any = data
    for position, key in enumerate(location):
        last = position == len(location) - 1
        if isinstance(here, dict) and key in here:
            here = here[key]
            kept.append(key)
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            here = here[key]
            kept.append(key)
        elif isinstance(here, dict) and here.get("kind") == key:
            continue
        elif last:
            kept.append(key)
    return tuple(kept)


def _line_of(keys: Location, data: Any, lines: dict[int, dict[Any, int]]) -> int | None:
    found: int | None = None
    here = data
    for key in keys:
        if isinstance(here, dict):
            found = lines.get(id(here), {}).get(key, found)
            if key not in here:
                break
            here = here[key]
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            here = here[key]
            if isinstance(here, dict):
                first = min(lines.get(id(here), {}).values(), default=None)
                found = first if first is not None else found
        else:
            break
    return found


def _models_at(model: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    """Settings classes that can stand at a location (union tags may be part of it)."""
    candidates: list[Any] = [model]
    for key in location:
        found: list[Any] = []
        for candidate in candidates:
            if key in candidate.model_fields:
                found += _models_in(candidate.model_fields[str(key)].annotation)
            elif key in _tags(candidate):
                found.append(candidate)
        candidates = found or candidates
    return candidates


def valid_names(model: type[BaseModel], location: Location) -> set[str]:
    """Names of the fields allowed at a location of a settings class (union tags may stand in the location)."""
    return {name for candidate in _models_at(model, location) for name in candidate.model_fields}


def _tags(model: Any) -> tuple[Any, ...]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or "kind" not in model.model_fields:
        return ()
    return get_args(model.model_fields["kind"].annotation)


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    origin = get_origin(annotation)
    parts = get_args(annotation)
    if origin is Annotated:
        parts = parts[:1]
    if origin in (Union, types.UnionType, Annotated, list, tuple, dict) or parts:
        return [m for part in parts if part is not type(None) for m in _models_in(part)]
    return []


def dump(settings: BaseModel) -> str:
    """YAML text of resolved settings, defaults filled in."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
