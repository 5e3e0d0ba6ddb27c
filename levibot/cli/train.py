"""`train`: make a model from candles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from levibot.cli.target import Target

_HORIZON, _SIMULATED_HORIZON = 240, 20  # bars; a third of the simulated market's cycle: one leg of a swing
_LIFE_DAYS = 30  # of a model of real prices


@click.command()
@click.option("--symbols", help="Comma-separated; default: those of the configuration.")
@click.option(
    "--candles",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of candle files (BTCUSDT-1m.csv.gz, .csv, .parquet); default: what the feed plays, or "
    "what `levibotctl download` has fetched of a live exchange.",
)
@click.option(
    "--exchange",
    help="Whose markets these are; default: the configuration's; of --candles without a live one: replay.",
)
@click.option("--days", type=click.IntRange(1), help="The newest days only.")
@click.option("--until", help="UTC time of the first bar left out, ISO 8601; default: when the feed goes live.")
@click.option(
    "--horizon",
    type=click.IntRange(1, 10_000),
    help=f"Bars within which the price must touch a barrier. Default: {_HORIZON}, simulated {_SIMULATED_HORIZON}.",
)
@click.option(
    "--take-profit",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Distance of the upper barrier, as a fraction; default: from volatility and costs.",
)
@click.option(
    "--stop-loss",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Distance of the lower barrier, as a fraction; default: from volatility and costs.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of the training.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="CPU cores to use.")
@click.option(
    "--expires-days",
    type=click.IntRange(0),
    help=f"Days after the newest bar until it opens nothing; 0: never. Default: {_LIFE_DAYS}, simulated 0.",
)
@click.option(
    "--promote/--no-promote",
    default=None,
    help="Let the model serve, or not; default: if by more than chance it beats each constant and what serves.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.pass_obj
def train(
    target: Target,
    /,
    *,
    symbols: str | None,
    candles: Path | None,
    exchange: str | None,
    days: int | None,
    until: str | None,
    horizon: int | None,
    expires_days: int | None,
    promote: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model on candles, judge it, and let it serve.

    The newest fifth of the time is the test: nothing is fitted or chosen on it. A running daemon takes a
    promoted model up within seconds.
    """
    from levibot.cli import promoting
    from levibot.cli.names import exchange_name, symbol_list
    from levibot.cli.train_view import print_result, progress
    from levibot.config_file import load
    from levibot.market.specs import FEE
    from levibot.ml import contest, sources
    from levibot.ml import train as training
    from levibot.ml.store import ModelStore

    config = load(target.config_path, os.environ).config
    names = symbol_list(symbols, config.symbols)
    recorded = "replay" if candles and config.feed.is_artificial else config.exchange_id
    exchange = exchange_name(exchange or config.exchange.id or recorded)
    simulated = exchange == "simulated"
    with progress(quiet=as_json) as report:
        report("reading candles", 0, None)
        found = sources.choose(config, exchange, names, folder=candles, days=days, until=until)
        plan = training.Plan(
            name=config.inference.model or f"lightgbm-{exchange}",
            exchange=exchange,
            horizon_bars=horizon or (_SIMULATED_HORIZON if simulated else _HORIZON),
            costs=float(2 * FEE) + config.paper.spread + 2 * config.paper.slippage,
            life_days=(0 if simulated else _LIFE_DAYS) if expires_days is None else expires_days,
            **options,
        )
        trained = training.train(found.by_symbol, found.bars, plan, report)
    for note in found.notes:
        click.echo(f"Note: {note}", err=True)
    store = ModelStore(config.models_dir)
    manifest = store.save(trained.manifest, trained.contents)
    verdict = contest.judge(store, manifest, trained.test, promoting.limits(config), promoting.market_ms(config))
    promoted = not verdict.objections if promote is None else promote
    if promoted:
        champion = None if promote else verdict.champion
        who, why = promoting.user(), verdict.summary
        store.promote(manifest.name, manifest.version, who=who, why=why, champion=champion)
    print_result(manifest, verdict, promoted=promoted, as_json=as_json)
