"""What documents and remedies name is there: files, commands and their options, keys, targets of make."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from levibot.cli.app import levibotctl

ROOT = Path(__file__).parents[1]
MAP = ROOT / "docs" / "architecture.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [path.name for path in DOCUMENTS]
CODE = ("levibot", "workers")
_COMMAND = re.compile(r"levibotctl((?: [\w/'\"$(){}.,:+=|-]+)*)")


def code_spans(text: str) -> list[str]:
    """What stands between backticks in prose, over the end of a line too."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of one language, without the indentation of the list that they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in body.splitlines()) for indent, body in found]


# ---------------------------------------------------------------------- files


@cache
def files() -> list[str]:
    """Of the code and the tests, as paths below the checkout."""
    parts = (*CODE, "tests", "scripts", "docs", "deploy")
    return [path.relative_to(ROOT).as_posix() for part in parts for path in (ROOT / part).rglob("*.*")]


def is_there(name: str) -> bool:
    """A file or a folder, below the checkout or the package; without a folder, in any. It may hold wildcards."""
    if name.endswith("/"):
        name += "*"
    places = (name, f"levibot/{name}") if "/" in name else (f"*/{name}",)
    return any(fnmatch(path, place) for path in files() for place in places)


def test_every_file_on_the_map_is_there() -> None:
    spans = {span.replace("KIND", "*") for span in code_spans(MAP.read_text(encoding="utf-8"))}
    named = {span for span in spans if re.fullmatch(r"[\w*./-]+(\.py|/)", span) and not span.startswith("var/")}
    assert len(named) > 100
    assert [name for name in sorted(named) if not is_there(name)] == []


# ---------------------------------------------------------------------- commands


def flaw(words: list[str]) -> str:
    """What is wrong with a command line as people read it, where SYMBOL stands for any; empty: nothing."""
    command: click.Command = levibotctl
    context = click.Context(command)
    for word in words:
        if word.startswith("-"):
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {
                "-h",
                "--help",
            }
            if word.partition("=")[0] not in known:
                return f"no option {word}"
        elif isinstance(command, click.Group):
            unknown = [name for name in word.split("|") if command.get_command(context, name) is None]
            if unknown:
                return f"no command {unknown[0]}"
            command = command.get_command(context, word.split("|")[0]) or command
    return ""


def flaws(texts: Iterator[str] | list[str]) -> tuple[int, list[str]]:
    """How many command lines there are, and what is wrong with them."""
    lines = [found for text in texts for found in _COMMAND.findall(re.sub(r"\$\([^)]*\)", "X", text))]
    wrong = [f"levibotctl{line}: {what}" for line in lines if (what := flaw(line.split()))]
    return len(lines), wrong


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_command_in_a_document_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    shown = [line.partition("#")[0] for block in blocks(text, "console") for line in block.splitlines()]
    _, wrong = flaws([*code_spans(text), *shown])
    assert wrong == []


def told(path: Path) -> Iterator[str]:
    """Texts in a module, what is filled in left open."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_command_that_a_remedy_names_is_there() -> None:
    modules = [path for part in CODE for path in (ROOT / part).rglob("*.py")]
    naming = [path for path in modules if "`levibotctl " in path.read_text(encoding="utf-8")]
    count, wrong = flaws([span for path in naming for text in told(path) for span in code_spans(text)])
    assert count > 100
    assert wrong == []


# ---------------------------------------------------------------------- keys


@cache
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "docs" / "supervisor.schema.json").read_text(encoding="utf-8"))
    return loaded


def unknown_keys(document: dict[str, Any], node: dict[str, Any], at: str = "") -> list[str]:
    """Keys that the schema does not have; a section that takes any key has them all."""
    for one in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
        if reference := one.get("$ref"):
            node = schema()["$defs"][reference.rpartition("/")[2]]
    known = node.get("properties")
    if known is None:
        return []
    wrong = [f"{at}{key}" for key in document if key not in known]
    for key, value in document.items():
        if isinstance(value, dict) and key in known:
            wrong += unknown_keys(value, known[key], f"{at}{key}.")
    return wrong


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_key_in_a_document_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wrong = [key for block in blocks(text, "toml") for key in unknown_keys(tomllib.loads(block), schema())]
    for section, key in re.findall(r"`\[([a-z_.]+)\](?: ([a-z_]+))?", text):
        document: dict[str, Any] = {key: 0} if key else {}
        for name in reversed(section.split(".")):
            document = {name: document}
        wrong += unknown_keys(document, schema())
    for name in re.findall(r"LEVIBOT_([A-Z]+__[A-Z_]+)", text):
        first, _, last = name.lower().partition("__")
        wrong += unknown_keys({first: {last: 0}}, schema())
    assert wrong == []


# ---------------------------------------------------------------------- make


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_target_of_make_in_a_document_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    shown = [line for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]
    named = {
        found
        for line in [*code_spans(text), *shown]
        for found in re.findall(r"(?:^|\$ |sudo )make ([a-z-]+)", line)
    }
    assert named - targets == set()
