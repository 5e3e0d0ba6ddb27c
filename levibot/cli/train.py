"""`train`: make a model from candles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from levibot.cli.target import Target
from levibot.config_ml import InferenceConfig, TrainingConfig

if TYPE_CHECKING:
    from levibot.bus.messages import ModelKind
    from levibot.ml.material import Material, Progress
    from levibot.ml.preparation import Plan
    from levibot.ml.trained import Trained

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
    "--test-from", help="UTC time at which the test begins, ISO 8601; default: the newest fifth of the time."
)
@click.option(
    "--per-symbol/--no-per-symbol", default=None, help="Trees for each symbol alone, or for all together."
)
@click.option(
    "--label",
    type=click.Choice(["triple_barrier", "fixed_horizon"]),
    help="What is predicted: which barrier comes first, or the sign of the return.",
)
@click.option(
    "--unit",
    type=click.Choice(["fraction", "sigma"]),
    help="Of the distances: a fraction of the price, or the bar's volatility over the horizon.",
)
@click.option(
    "--horizon",
    type=click.IntRange(1, 10_000),
    help=f"Bars within which it must happen. Default: {_HORIZON}, simulated {_SIMULATED_HORIZON}.",
)
@click.option(
    "--take-profit",
    type=click.FloatRange(0, 10, min_open=True, max_open=True),
    help="Distance of the upper barrier, in that unit; default: from volatility and costs.",
)
@click.option(
    "--stop-loss",
    type=click.FloatRange(0, 10, min_open=True, max_open=True),
    help="Distance of the lower barrier, in that unit; default: from volatility and costs.",
)
@click.option(
    "--kind",
    type=click.Choice(["lightgbm", "tft"]),
    default="lightgbm",
    show_default=True,
    help="Of model: trees, or the Temporal Fusion Transformer, which needs the extra tft.",
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Of tft: passes over the training span, at most; default: 20."
)
@click.option(
    "--stride", type=click.IntRange(1), help="Of tft: bars between two sequences; default: by their number."
)
@click.option("--embargo", type=click.IntRange(0, 100_000), help="Bars left out at the beginning of each span.")
@click.option("--tune", type=click.IntRange(0, 100_000), help="Trials of a search for better settings; goes on.")
@click.option(
    "--time-limit", type=click.FloatRange(0, min_open=True), help="Seconds of that search, or of fitting a tft."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of the training.")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU cores to use.")
@click.option(
    "--expires-days",
    type=click.IntRange(0),
    help=f"Days after the newest bar until it opens nothing; 0: never. Default: {_LIFE_DAYS}, simulated 0.",
)
@click.option("--picture/--no-picture", default=True, help="Draw what moves the model, if matplotlib is there.")
@click.option(
    "--promote/--no-promote",
    default=None,
    help="Let it serve, or not; default: if it beats constants and what serves by more than chance, with no leak.",
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
    test_from: str | None,
    kind: ModelKind,
    epochs: int | None,
    stride: int | None,
    picture: bool,
    promote: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model on candles, judge it, and let it serve.

    The newest fifth of the time is the test: nothing is fitted, chosen or calibrated on it. What is not given is
    taken from the section [training]. A running daemon takes a promoted model up within seconds. A search that is
    interrupted goes on where it ended.
    """
    from levibot.cli import promoting
    from levibot.cli.names import exchange_name, symbol_list
    from levibot.cli.train_view import print_result, progress, say_search
    from levibot.config_file import load
    from levibot.market.source import parse_time
    from levibot.market.specs import FEE
    from levibot.ml import contest, sources
    from levibot.ml import train as training
    from levibot.ml.preparation import Plan
    from levibot.ml.store import ModelStore
    from levibot.ml.tft.extra import need_training
    from levibot.ml.tuning import Search, import_optuna

    config = load(target.config_path, os.environ).config
    chosen = _chosen(config.training, options)
    search = None
    if kind == "tft":
        if options["tune"] or options["per_symbol"]:
            raise click.UsageError("--tune and --per-symbol are of --kind lightgbm.")
        need_training()
    elif epochs or stride:
        raise click.UsageError("--epochs and --stride are of --kind tft.")
    elif chosen.tune:
        import_optuna()  # or nothing is begun
        search = Search(
            chosen.tune,
            chosen.time_limit,
            config.supervisor.data_dir / "tuning.sqlite3",
            chosen.seed,
            chosen.threads,
        )
    names = symbol_list(symbols, config.symbols)
    recorded = "replay" if candles and config.feed.is_artificial else config.exchange_id
    exchange = exchange_name(exchange or config.exchange.id or recorded)
    simulated = exchange == "simulated"
    store = ModelStore(config.models_dir)
    test_from_ms = None if test_from is None else parse_time(test_from, "--test-from")  # or nothing is read
    trials: list[int] = []
    with progress(quiet=as_json) as shown:
        report = _counting(shown, trials)
        report("reading candles", 0, None)
        found = sources.choose(config, exchange, names, folder=candles, days=days, until=until)
        plan = Plan(
            name=_model_name(config.inference, kind, exchange),
            exchange=exchange,
            horizon_bars=chosen.horizon or (_SIMULATED_HORIZON if simulated else _HORIZON),
            costs=float(2 * FEE) + config.paper.spread + 2 * config.paper.slippage,
            kind=chosen.label,
            unit=chosen.unit,
            take_profit=chosen.take_profit,
            stop_loss=chosen.stop_loss,
            per_symbol=chosen.per_symbol,
            embargo_bars=chosen.embargo,
            test_from_ms=test_from_ms,
            seed=chosen.seed,
            threads=chosen.threads,
            picture=picture,
            life_days=(0 if simulated else _LIFE_DAYS) if chosen.expires_days is None else chosen.expires_days,
        )
        plan, kept = contest.asked_alike(store, _model_name(config.inference, "lightgbm", exchange), plan)
        if kind == "tft":
            trained = _train_tft(found, plan, chosen.time_limit, epochs, stride, report)
        else:
            trained = training.train(found, plan, report, search)
    for note in (*found.notes, *([kept] if kept else [])):
        click.echo(f"Note: {note}", err=True)
    manifest = store.save(trained.manifest, trained.contents)
    verdict = contest.judge(store, manifest, trained.test, promoting.limits(config), promoting.market_ms(config))
    verdict = promoting.noted(config, manifest, verdict)
    promoted = not verdict.objections if promote is None else promote
    if promoted:
        champion = None if promote else verdict.champion
        who, why = promoting.user(), verdict.summary
        store.promote(manifest.name, manifest.version, who=who, why=why, champion=champion)
    if trials and not as_json:
        say_search(manifest, trials[0])
    print_result(manifest, verdict, promoted=promoted, as_json=as_json)


def _counting(shown: Progress, trials: list[int]) -> Progress:
    """Keep the numbers of trials that a search tells: the first is what was there already."""

    def report(stage: str, done: int, total: int | None) -> None:
        if stage == "tuning":
            trials.append(done)
        shown(stage, done, total)

    return report


def _model_name(config: InferenceConfig, kind: ModelKind, exchange: str) -> str:
    return (config.model if kind == "lightgbm" else config.tft_model) or f"{kind}-{exchange}"


def _train_tft(
    found: Material, plan: Plan, seconds: float | None, epochs: int | None, stride: int | None, report: Progress
) -> Trained:
    """A network instead of trees, on the same rows and labels."""
    from levibot.ml.tft.fit import Effort
    from levibot.ml.tft.train import TftPlan, train

    effort = Effort()
    effort = Effort(seconds=seconds or effort.seconds, epochs=epochs or effort.epochs)
    return train(found, TftPlan(plan, effort, stride), report)


def _chosen(config: TrainingConfig, options: dict[str, Any]) -> TrainingConfig:
    """The section, with what options say put over it."""
    given = {name: value for name, value in options.items() if value is not None}
    return config.model_validate({**config.model_dump(), **given})
