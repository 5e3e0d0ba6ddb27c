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
    import polars

    from levibot.config import Config
    from levibot.ml.feature_store import FeatureStore
    from levibot.ml.preparation import Progress


@click.group()
def features() -> None:
    """Show the features that models are given, and compute them once for many trainings."""


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
        frames = _frames(config, exchange, names, candles, days, until, report)
        written, kept = _build(store, config, {name: frames[name] for name in names}, frames, days, report)
    if as_json:
        click.echo(json.dumps({"folder": str(store.folder), "written": written, "kept": kept}))
    else:
        click.echo(f"{written:,} days written, {kept:,} found as they should be, in {store.folder}")


def _frames(
    config: Config,
    exchange: str,
    names: list[str],
    candles: Path | None,
    days: int | None,
    until: str | None,
    report: Progress,
) -> dict[str, polars.DataFrame]:
    """Bars of the symbols and, where there are any, of their context, with a day before to warm up."""
    from levibot.errors import MarketDataError
    from levibot.market.source import parse_time
    from levibot.ml import sources
    from levibot.ml.feature_store import DAY_MS
    from levibot.ml.history import read_bars
    from levibot.ml.manifest import utc

    end = None if until is None else utc(-(-parse_time(until, "--until") // DAY_MS) * DAY_MS)
    asked = None if days is None else days + 1
    report("reading candles", 0, None)
    found = sources.choose(config, exchange, names, folder=candles, days=asked, until=end)
    by_symbol = dict(found.by_symbol)
    context = config.feed.context
    if context and context not in names:
        try:
            leading = sources.choose(config, exchange, [context], folder=candles, days=asked, until=end)
            by_symbol |= leading.by_symbol
        except MarketDataError:
            click.echo(f"Note: no candles of {context}: features of the context are missing", err=True)
    return {name: read_bars(items, lambda _more: None) for name, items in by_symbol.items()}


def _build(
    store: FeatureStore,
    config: Config,
    wanted: dict[str, polars.DataFrame],
    frames: dict[str, polars.DataFrame],
    days: int | None,
    report: Progress,
) -> tuple[int, int]:
    from levibot.altdata.history import History
    from levibot.ml.feature_store import DAY_MS, Source

    newest_ms = max(int(frame["open_ms"][-1]) for frame in wanted.values() if len(frame))
    from_ms = 0 if days is None else (newest_ms // DAY_MS - days + 1) * DAY_MS
    total = sum(int(frame["open_ms"].ge(from_ms).sum()) for frame in wanted.values())
    done = written = kept = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        report("computing features", done, total)

    values = History(config.altdata_dir)
    for name, frame in wanted.items():
        known = values.values(["", name.partition("/")[0]], 0, newest_ms)
        built = store.build(name, Source(frame, frames.get(config.feed.context), known), from_ms, tell)
        written, kept = written + built.written, kept + built.kept
    return written, kept
