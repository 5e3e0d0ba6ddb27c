"""`config`: check, show and describe the configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from levibot.cli.target import Target
from levibot.errors import ConfigError

if TYPE_CHECKING:
    from levibot.config import Config
    from levibot.config_file import LoadedConfig
    from levibot.config_market import ExchangeConfig


@click.group()
def config() -> None:
    """Check, show and describe the configuration."""


@config.command()
@click.pass_obj
def check(target: Target) -> None:
    """Tell whether the configuration is valid, strategies and what it names outside of it included."""
    from levibot.cli.config_checks import doubts

    loaded = load_checked(target)
    refuse_faults(loaded.config)
    for warning in [*loaded.warnings, *doubts(loaded.config, os.environ)]:
        click.echo(f"Warning: {warning}", err=True)
    where = loaded.path or "the embedded defaults"
    changed = f", changed by {', '.join(o.variable for o in loaded.overrides)}" if loaded.overrides else ""
    click.echo(f"ok: {where}{changed}; {_symbols(len(loaded.config.symbols))}, source {loaded.config.feed.source}")


@config.command()
@click.pass_obj
def show(target: Target) -> None:
    """Print the settings in force as TOML.

    Defaults, file and environment together.
    """
    from levibot.config_file import load

    loaded = load(target.config_path, os.environ)
    click.echo(f"# from {loaded.path or 'the embedded defaults'}")
    for override in loaded.overrides:
        click.echo(f"# {'.'.join(override.path)} from {override.variable}")
    settings = loaded.config.model_dump(exclude={"overrides"})
    overrides = loaded.config.model_dump(include={"overrides"}, exclude_unset=True)
    overrides = overrides if loaded.config.overrides else {}
    click.echo("\n".join(_toml({**settings, **overrides}, ())))


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from levibot.config_schema import schema_text

    click.echo(schema_text(), nl=False)


def load_checked(target: Target) -> LoadedConfig:
    """The settings in force, if a daemon can run on them.

    Raises
    ------
    ConfigError
        If they are wrong, or name a strategy that cannot be made, or recordings or an exchange that are not there.
    """
    loaded = load_without_strategies(target)
    _check_strategies(loaded.config, loaded.path)
    return loaded


def load_without_strategies(target: Target) -> LoadedConfig:
    """The same, but that no code of the user's runs: a strategy that ends the process ends an engine alone.

    Raises
    ------
    ConfigError
        If the settings are wrong, or name recordings or an exchange that are not there.
    """
    from levibot.config_file import load
    from levibot.exchange.names import check_source

    loaded = load(target.config_path, os.environ)
    if (path := loaded.config.feed.path) is not None and not path.exists():
        raise ConfigError(f"feed.path: {path} does not exist; correct it")
    try:
        check_source(loaded.config.feed.source, loaded.config.exchange_id)
        if loaded.config.feed.source == "ccxt":
            _check_reach(loaded.config.exchange_id, loaded.config.exchange)
    except ConfigError as error:
        raise ConfigError(f"{loaded.path or 'environment'}: {error}") from error
    return loaded


def refuse_faults(config: Config) -> None:
    """Look at what the settings name outside of themselves.

    Raises
    ------
    ConfigError
        Of files and programs that are not there or not fit.
    """
    from levibot.cli.config_checks import faults

    if found := list(faults(config)):
        raise ConfigError("\n".join(found))


def _check_reach(exchange_id: str, exchange: ExchangeConfig) -> None:
    """Try what only ccxt knows; loaded for it alone, since it takes half a second."""
    if not exchange.sandbox and not exchange.urls:
        return
    from levibot.exchange.building import build
    from levibot.exchange.quirks import quirks_of

    build(exchange_id, exchange, quirks_of(exchange_id), swaps=False)


def _symbols(count: int) -> str:
    return "1 symbol" if count == 1 else f"{count} symbols"


def _check_strategies(settings: Any, path: Path | None) -> None:
    from levibot.strategies.loader import load_strategy

    folders = list(dict.fromkeys([Path.cwd(), *([path.parent] if path is not None else [])]))
    for symbol in settings.symbols:
        engine = settings.engine_of(symbol)
        try:
            load_strategy(engine.strategy, engine.strategy_options, folders)
        except ConfigError as error:
            raise ConfigError(f"{symbol}: {error}") from error


def _toml(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Lines of a table; keys that are not set are left out, since TOML has no word for that."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping) and value}
    plain = {key: value for key, value in table.items() if key not in inner and value is not None}
    if path and (plain or not inner):
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_toml_value(value)}"
    for key, value in inner.items():
        yield from _toml(value, (*path, key))


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, Path | Decimal):
        return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)  # for text, numbers and truth values the same as TOML


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)
