"""`features`: what models are given, and the store of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from levibot.cli.money import configuration
from levibot.cli.target import Target

if TYPE_CHECKING:
    from levibot.config import Config
    from levibot.ml.feature_store import Built, FeatureStore
    from levibot.ml.material import Material, Progress


@click.group()
def features() -> None:
    """Show the features that models are given; compute them once."""


@features.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_features(*, as_json: bool) -> None:
    """Show every feature: what it is made from, how many bars it looks at, and what it means."""
    from rich.table import Table

    from levibot.cli.view import stdout_console
    from levibot.ml.features import FEATURE_SET, REGISTRY

    if as_json:
        rows = [{**asdict(feature), "optional": feature.is_optional} for feature in REGISTRY]
        click.echo(json.dumps({"feature_set": FEATURE_SET, "features": rows}, indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("FEATURE")
    table.add_column("GROUP")
    table.add_column("BARS", justify="right")
    table.add_column("VERSION", justify="right")
    table.add_column("MEANING")
    for feature in REGISTRY:
        table.add_row(
            feature.name, feature.group, str(feature.window or "-"), str(feature.version), feature.meaning
        )
    stdout_console().print(table)
    click.echo(f"{FEATURE_SET}; all but those of the group bars may be missing")


@features.command()
@click.option("--symbols", help="Comma-separated; default: those of the configuration.")
@click.option(
    "--candles",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of candle files; default: as of `levibotctl train`.",
)
@click.option("--exchange", help="Whose markets these are; default: as of `levibotctl train`.")
@click.option("--days", type=click.IntRange(1), help="The newest days only.")
@click.option("--until", help="UTC time, ISO 8601: its day is the last; default: that of the newest candle.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def build(
    target: Target,
    /,
    *,
    symbols: str | None,
    candles: Path | None,
    exchange: str | None,
    days: int | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Compute the features of candles and store them by symbol and day.

    What is there already and still right is left alone, so it may be run again at any time.
    """
    from levibot.cli.names import exchange_name, symbol_list
    from levibot.cli.train_view import progress
    from levibot.ml.feature_store import FeatureStore

    config = configuration(target)
    names = symbol_list(symbols, config.symbols)
    recorded = "replay" if candles and config.feed.is_artificial else config.exchange_id
    exchange = exchange_name(exchange or config.exchange.id or recorded)
    store = FeatureStore(config.features_dir, exchange)
    with progress(quiet=as_json) as report:
        found = _material(config, exchange, names, candles, days, until)
        built = _build(store, found, days, report)
    for note in found.notes:
        click.echo(f"Note: {note}", err=True)
    if as_json:
        click.echo(json.dumps({"folder": str(store.folder), **built._asdict()}))
    else:
        click.echo(f"{built.written:,} days written, {built.kept:,} found as they should be, in {store.folder}")


def _material(
    config: Config, exchange: str, names: list[str], candles: Path | None, days: int | None, until: str | None
) -> Material:
    """What whole days are made from, with a day before to warm up."""
    from levibot.market.source import parse_time
    from levibot.ml import sources
    from levibot.ml.feature_store import DAY_MS
    from levibot.ml.manifest import utc

    end = None if until is None else utc(-(-parse_time(until, "--until") // DAY_MS) * DAY_MS)
    asked = None if days is None else days + 1
    return sources.choose(config, exchange, names, folder=candles, days=asked, until=end)


def _build(store: FeatureStore, found: Material, days: int | None, report: Progress) -> Built:
    from levibot.ml.feature_store import DAY_MS, Built

    parts = [part for part in found.sources("reading candles", report) if len(part[1].bars)]
    newest_ms = max(int(source.bars["open_ms"][-1]) for _, source in parts)
    from_ms = 0 if days is None else (newest_ms // DAY_MS - days + 1) * DAY_MS
    total = sum(int(source.bars["open_ms"].ge(from_ms).sum()) for _, source in parts)
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        report("computing features", done, total)

    built = [store.build(symbol, source, from_ms, tell) for symbol, source in parts]
    return Built(sum(one.written for one in built), sum(one.kept for one in built))
