"""Which exchanges there are, told without loading ccxt, which takes half a second and 100 MB."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from levibot.errors import ConfigError


def streamed_ids() -> frozenset[str]:
    """Ids of all exchanges that ccxt.pro streams: each has a module of its own."""
    spec = find_spec("ccxt")
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    modules = {path.stem for folder in folders for path in Path(folder, "pro").glob("*.py")}
    return frozenset(modules - {"__init__"})


def check_source(source: str, exchange_id: str) -> None:
    """Refuse to stream from an exchange that ccxt.pro does not stream; other sources need none.

    Raises
    ------
    ConfigError
        As `check_id`.
    """
    if source == "ccxt":
        check_id(exchange_id, streamed_ids())


def check_id(exchange_id: str, known: Collection[str]) -> None:
    """Refuse an id that is none of `known`.

    Raises
    ------
    ConfigError
        With the nearest id that there is.
    """
    if exchange_id in known:
        return
    near = difflib.get_close_matches(exchange_id, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "it must be one that ccxt.pro streams"
    raise ConfigError(f"[exchange] id = {exchange_id!r}: no such exchange; {hint}")
