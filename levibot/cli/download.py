"""`download`: candles of an exchange into Parquet files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from levibot.cli.target import Target
from levibot.errors import ExchangeUnavailableError, UnknownSymbolError
from levibot.locations import make_private

if TYPE_CHECKING:
    from levibot.config import Config
    from levibot.config_market import ExchangeConfig
    from levibot.market.download import Downloaded

_DEFAULT = "mexc"
_REMEDY = "look at this machine's network, [exchange.urls] and proxy, and at the exchange's status page"
_PATIENCE_S = 3600.0  # a download waits for its turn as long as it takes


@click.command()
@click.option("--symbols", help="Comma-separated; default: those of the configuration.")
@click.option("--since", required=True, help="UTC day or time of the first bar, ISO 8601, for example 2024-05-01.")
@click.option("--until", help="UTC time of the first bar left out, ISO 8601; default: now.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the files go; default: candles/EXCHANGE below data_dir.",
)
@click.option("--exchange", help="Any that ccxt.pro knows; default: the configuration's, else mexc.")
@click.option("--again", is_flag=True, help="Ask again for bars that the exchange did not have.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def download(
    target: Target,
    /,
    *,
    symbols: str | None,
    since: str,
    until: str | None,
    folder: Path | None,
    exchange: str | None,
    again: bool,
    as_json: bool,
) -> int:
    """Download one-minute candles, as Parquet by symbol and day.

    What is there already is not fetched again, so a download that was stopped goes on where it was; holes of
    the last days are asked for again, older ones with --again. No keys are needed. It may run beside the
    daemon: it has a share of the rate limit of its own.
    """
    from levibot.cli.download_view import print_result, progress
    from levibot.cli.names import exchange_name, symbol_list
    from levibot.config_file import load
    from levibot.market.source import parse_time

    config = load(target.config_path, os.environ).config
    names = symbol_list(symbols, config.symbols)
    name = exchange_name(exchange or config.exchange.id or _DEFAULT)
    folder = folder or config.candles_dir(name)
    from_ms = parse_time(since, "--since")
    until_ms = None if until is None else parse_time(until, "--until")
    with progress(names, quiet=as_json) as (report, note):
        results = asyncio.run(_run(config, name, folder, names, (from_ms, until_ms), report, note, again=again))
    print_result(results, name, folder, as_json=as_json)
    return 1 if any(result.error for result in results) else 0


async def _run(
    config: Config,
    exchange: str,
    folder: Path,
    symbols: Sequence[str],
    span: tuple[int, int | None],
    report: Callable[[str, int, int], None],
    note: Callable[[str], None],
    *,
    again: bool,
) -> list[Downloaded]:
    from levibot.errors import ConfigError, ExchangeRefusedError
    from levibot.exchange.candles import closed_until_ms
    from levibot.exchange.session import ExchangeSession
    from levibot.market.download import Download

    make_private(config.supervisor.data_dir)
    settings = _settings(config, exchange)
    state_dir = config.model_copy(update={"exchange": settings}).state_dir
    swaps = any(":" in symbol for symbol in symbols)
    session = ExchangeSession(exchange, settings, "download", state_dir, swaps=swaps, patience_s=_PATIENCE_S)
    try:
        await session.open()
        from_ms, until_ms = span
        newest_ms = closed_until_ms(session.exchange_ms())
        end_ms = newest_ms if until_ms is None else min(until_ms, newest_ms)
        if end_ms <= from_ms:
            raise ConfigError("--since is not before --until, or lies in the future; correct one of them")
        return await Download(session, folder, from_ms, end_ms, report, note, again=again).run(symbols)
    except ExchangeRefusedError as error:
        if error.reason == "symbol":
            raise UnknownSymbolError(str(error)) from error
        raise
    except ExchangeUnavailableError as error:
        raise ExchangeUnavailableError(f"{error}; {_REMEDY}") from error
    finally:
        await session.close()


def _settings(config: Config, exchange: str) -> ExchangeConfig:
    """Settings of another exchange than the configured one are its own: URLs and options would not fit."""
    settings = config.exchange
    if exchange != (settings.id or _DEFAULT):
        elsewhere = {"urls": {}, "options": {}, "sandbox": False, "requests_per_minute": None}
        settings = settings.model_copy(update=elsewhere)
    return settings.model_copy(update={"id": exchange})
