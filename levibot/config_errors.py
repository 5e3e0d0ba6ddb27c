"""What is wrong with a configuration, in the words of the file: line, key, what was expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from levibot.config import Config
from levibot.config_base import SettingsError
from levibot.config_environment import Override, key_paths

_Location = tuple[str | int, ...]
_HEADER = re.compile(r"\s*\[\[?\s*(?P<key>[^\]]*?(?:\"[^\"]*\"|'[^']*'|[^\]\"'])*)\s*\]")
_KEY_PART = re.compile(r"\s*(?:\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.|=|$)")
_MULTILINE = ('"""', "'''")


@dataclass(frozen=True)
class Source:
    """What a configuration was read from, to name the place of an error."""

    path: Path | None
    text: str
    overrides: tuple[Override, ...]

    def place(self, location: _Location, value: object) -> str:
        """``FILE:LINE`` or the name of the variable where `location` was set."""
        for override in self.overrides:
            if override.path == location[: len(override.path)]:
                return override.variable
        line = find_line(self.text, location, value)
        if line is not None:
            return f"{self.path}:{line}"
        inside = [override for override in self.overrides if override.path[: len(location)] == location]
        return inside[0].variable if inside else str(self.path or "environment")

    def place_of_either(self, location: _Location, because_of: _Location) -> str:
        """The place of `location`, or where neither it nor its table is there, that of what asks for it."""
        known = find_line(self.text, location) or any(o.path[:1] == location[:1] for o in self.overrides)
        return self.place(location if known else because_of, None)


def describe(error: ValidationError, source: Source) -> str:
    """One line for each thing that is wrong, in the order of the file."""
    details = list(_significant(error.errors(include_url=False)))
    lines = dict.fromkeys(_sentence(detail, source) for detail in details)
    return "\n".join(sorted(lines, key=_file_order))


def find_line(text: str, location: _Location, value: object = None) -> int | None:
    """Number of the line that sets `location`, or the nearest table above it; None if there is none.

    TOML parsers keep no positions, so this scans for headers and keys.
    """
    keys = tuple(part for part in location if isinstance(part, str))
    positions: dict[tuple[str, ...], int] = {}
    for path, line in _positions(text):
        for length in range(1, len(path) + 1):  # [policy.engine] makes the table `policy` too
            positions.setdefault(path[:length], line)
    for length in range(len(keys), 0, -1):
        found = positions.get(keys[:length])
        if found is not None:
            in_list = len(keys) != len(location)
            return _line_of_item(text, found, value) if in_list and length == len(keys) else found
    return None


def _positions(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    table: tuple[str, ...] = ()
    inside = ""  # the quotes of a text that goes over several lines
    for number, line in enumerate(text.splitlines(), 1):
        if inside:
            inside = "" if inside in line else inside
            continue
        header = _HEADER.match(line)
        if header and "=" not in line.partition("]")[0]:
            table = _key_parts(header["key"]) or table
            yield table, number
        elif key := _key_parts(line, until="="):
            yield (*table, *key), number
            inside = next((quotes for quotes in _MULTILINE if line.count(quotes) == 1), "")


def _key_parts(text: str, until: str = "") -> tuple[str, ...] | None:
    parts: list[str] = []
    position = 0
    while match := _KEY_PART.match(text, position):
        parts.append(next(group for group in match.groups()[:3] if group is not None))
        if match[4] == until:
            return tuple(parts)
        if match[4] != ".":
            return None
        position = match.end()
    return None


def _line_of_item(text: str, start: int, value: object) -> int:
    if isinstance(value, str):
        for number, line in enumerate(text.splitlines()[start - 1 :], start):
            if f'"{value}"' in line or f"'{value}'" in line:
                return number
    return start


def _significant(details: Iterable[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out what only follows: "too short" of a list whose items were refused."""
    found = list(details)
    refused = {detail["loc"][:-1] for detail in found}
    for detail in found:
        if not (detail["type"] == "too_short" and detail["loc"] in refused):
            yield detail


def _sentence(detail: ErrorDetails, source: Source) -> str:
    location, node = _in_schema(detail["loc"])
    place = source.place(location, detail["input"])
    key = _dotted(location)
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, SettingsError):
        return f"{source.place_of_either(error.location, error.because_of)}: {_dotted(error.location)}: {error}"
    if not key:
        return f"{place}: {error or detail['msg']}"
    if detail["type"] == "extra_forbidden":
        return f"{place}: {key}: no such key; {_hint(location, node)}"
    if detail["type"] == "value_error":
        return f"{place}: {key}: {error}"
    expected = _expected(node) if node else detail["msg"]
    return f"{place}: {key}: expected {expected}, found {_shown(detail['input'])}"


def _in_schema(location: tuple[str | int, ...]) -> tuple[_Location, Mapping[str, Any]]:
    """Key path without the validator's own parts (members of a union, ``[key]``), and its schema.

    For a key that does not exist, the schema is that of the section around it.
    """
    node: Mapping[str, Any] = _schema()
    path: list[str | int] = []
    for part in location:
        if part == "[key]":
            continue
        inner = _child(node, part)
        if inner is None:
            unknown_key = isinstance(part, str) and "properties" in node
            return (*path, part) if unknown_key else tuple(path), node
        path.append(part)
        node = inner
    return tuple(path), node


def _child(node: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    if isinstance(part, int):
        return _resolved(node["items"]) if "items" in node else None
    if part in node.get("properties", {}):
        return _resolved(node["properties"][part])
    free_form = node.get("additionalProperties")
    return _resolved(free_form) if isinstance(free_form, dict) else None


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    return _schema()["$defs"][reference.rpartition("/")[2]] if reference else node


def _expected(node: Mapping[str, Any]) -> str:
    if "enum" in node or "const" in node:
        return "one of " + ", ".join(json.dumps(word) for word in node.get("enum", [node.get("const")]))
    if "anyOf" in node:
        members = [member for member in node["anyOf"] if member.get("type") != "null"]
        if {member.get("type") for member in members} == {"number", "string"}:  # money, which may come as text
            members = [member for member in members if member["type"] == "number"]
        return " or ".join(_expected(_resolved(member)) for member in members)
    kind = node.get("type")
    if kind in ("number", "integer"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(node)
    if kind == "array":
        return f"a list, each {_expected(_resolved(node['items']))}" + _at_least(node)
    if kind == "string":
        pattern = f" that matches {node['pattern']}" if "pattern" in node else ""
        return ("a path" if node.get("format") == "path" else "text") + pattern
    return {"boolean": "true or false", "object": "a table"}.get(str(kind), "another value")


def _bounds(node: Mapping[str, Any]) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']:g} to {node['maximum']:g}"
    words = [
        f"{word} {node[name]:g}"
        for name, word in (
            ("exclusiveMinimum", "greater than"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "less than"),
            ("maximum", "at most"),
        )
        if name in node
    ]
    return " " + " and ".join(words) if words else ""


def _at_least(node: Mapping[str, Any]) -> str:
    return f", with at least {node['minItems']} of them" if "minItems" in node else ""


def _hint(location: _Location, section: Mapping[str, Any]) -> str:
    name = str(location[-1])
    siblings = sorted(section["properties"])
    near = difflib.get_close_matches(name, siblings, n=1)
    if near:
        return f"did you mean {_dotted((*location[:-1], near[0]))}?"
    elsewhere = {path[-1]: path for path, _ in key_paths()}
    near = difflib.get_close_matches(name, elsewhere, n=1, cutoff=0.75)
    if near:
        return f"did you mean {_dotted(elsewhere[near[0]])}?"
    return f"known here: {', '.join(siblings)}"


def _dotted(location: _Location) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part))
    return text


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _file_order(line: str) -> tuple[int, str]:
    place = re.search(r":(\d+): ", line)
    return (int(place[1]) if place else 0, line)
