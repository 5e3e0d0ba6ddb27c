"""Settings given by environment variables: ``LEVIBOT_SECTION__KEY``."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from levibot.config import Config
from levibot.config_base import Section
from levibot.errors import ConfigError
from levibot.locations import FILE_VARIABLE

KeyPath = tuple[str, ...]
_PREFIX = "LEVIBOT_"
_SEPARATOR = "__"


@dataclass(frozen=True)
class Override:
    """One setting that the environment gives."""

    variable: str
    path: KeyPath
    value: Any


def read_overrides(environ: Mapping[str, str]) -> list[Override]:
    """Settings in `environ`; empty variables count as not set.

    Raises
    ------
    ConfigError
        If a variable with a section names no setting; the text names the nearest.
    """
    overrides: list[Override] = []
    refused: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable == FILE_VARIABLE or not environ[variable]:
            continue
        path = tuple(variable.removeprefix(_PREFIX).lower().split(_SEPARATOR))
        annotation = _annotation(path)
        if annotation is not None:
            overrides.append(Override(variable, path, _parse(environ[variable], annotation)))
        elif len(path) > 1:  # a name without a section may be somebody else's
            refused.append(_unknown(variable))
    if refused:
        raise ConfigError("\n".join(refused))
    return overrides


def apply_overrides(tables: dict[str, Any], overrides: list[Override]) -> dict[str, Any]:
    """`tables` with the overrides laid over them; `tables` itself is left as it is."""
    result = tables
    for override in overrides:
        result = _laid_over(result, override.path, override.value)
    return result


def key_paths(model: type[Section] = Config) -> Iterator[tuple[KeyPath, Any]]:
    """Path and type of every key of a section and of those below it."""
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        yield (name,), field.annotation
        if inner is not None:
            yield from (((name, *path), annotation) for path, annotation in key_paths(inner))


def takes_text_only(annotation: Any) -> bool:
    """Whether a key of this type is written as text, so that ``123`` means the text and no number."""
    members = [member for member in _members(annotation) if member is not types.NoneType]
    return all(member in (str, Path) or get_origin(member) is Literal for member in members)


def _annotation(path: KeyPath) -> Any:
    known = dict(key_paths())
    for length in range(len(path), 0, -1):
        annotation = known.get(path[:length])
        if annotation is not None:
            free_form = get_origin(annotation) is dict
            return annotation if length == len(path) else (object if free_form else None)
    return None


def _parse(text: str, annotation: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if takes_text_only(annotation) and not isinstance(value, str | None):
        return text
    return value


def _laid_over(tables: Any, path: KeyPath, value: Any) -> Any:
    table = dict(tables) if isinstance(tables, dict) else {}
    if path:
        return {**table, path[0]: _laid_over(table.get(path[0]), path[1:], value)}
    if isinstance(value, dict):
        return {**table, **{key: _laid_over(table.get(key), (), inner) for key, inner in value.items()}}
    return value


def _unknown(variable: str) -> str:
    names = [_PREFIX + _SEPARATOR.join(path).upper() for path, _ in key_paths()]
    near = difflib.get_close_matches(variable, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "see `levibotctl config show` for the keys there are"
    return f"{variable}: no such setting; {hint}"


def _section(annotation: Any) -> type[Section] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]
