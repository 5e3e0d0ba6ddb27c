"""Names that several commands take: symbols and exchanges."""

from __future__ import annotations

import re

import click

from levibot.errors import ConfigError, UnknownSymbolError
from levibot.symbols import is_canonical, resolve

_PROCESS = "levi-"  # what a worker's name begins with in `ps`
_POOL, _SEQUENCES = "inference-", "tft-"  # the lanes of the pool
_SHARED = re.compile(rf"feed|broker|notifier|altdata|({_POOL}|{_SEQUENCES})\d+")


def symbol_list(written: str | None, configured: tuple[str, ...]) -> list[str]:
    """Canonical symbols of ``--symbols``; data may be of others than are traded.

    Parameters
    ----------
    written
        Comma-separated; None: those of the configuration.
    configured
        The symbols of the configuration.

    Raises
    ------
    UnknownSymbolError
        If one is neither configured nor written as BASE/QUOTE.
    """
    if written is None:
        return list(configured)
    names = []
    for part in filter(None, (part.strip() for part in written.split(","))):
        try:
            names.append(resolve(part, configured))
        except UnknownSymbolError:
            if not is_canonical(part.upper()):
                raise
            names.append(part.upper())
    if not names:
        raise click.UsageError("--symbols names none; write them as BTC/USDT,ETH/USDT")
    return list(dict.fromkeys(names))


def worker_name(written: str) -> str:
    """Name of a worker that may be written as `ps` shows it, ``levi-infer-0``; a symbol stays as it is."""
    return re.sub("^infer-", _POOL, written.removeprefix(_PROCESS))


def serves_all(worker: str) -> bool:
    """Whether this is the name of a worker that serves all symbols."""
    return _SHARED.fullmatch(worker) is not None


def exchange_name(name: str) -> str:
    """Check ``--exchange``; `ConfigError` if it cannot be one."""
    if not (name.isascii() and name.isalnum() and name == name.lower()):
        raise ConfigError(f"--exchange = {name!r}: expected lower-case letters and digits, for example binance")
    return name
