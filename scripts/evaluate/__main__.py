"""``python -m scripts.evaluate [2025|2018|tuned]``: train on recorded markets, judge on what came after."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from levibot.errors import LeviBotError
from levibot.market.source import parse_time
from levibot.ml import sources
from levibot.ml import train as training
from levibot.ml.history import Floats
from levibot.ml.preparation import Plan, Prepared, prepare
from levibot.ml.rows import describe
from levibot.ml.tuning import Search
from levibot.strategies.probability import Stakes
from scripts.evaluate import baselines, report
from scripts.evaluate.experiments import (
    COSTS,
    DATA,
    EXPERIMENTS,
    LEAST_GAIN,
    LONG_FROM,
    SHORT_TO,
    Experiment,
)

_MAX_GAP_MINUTES = 120


def main(wanted: list[str]) -> int:
    """Run the named experiments, or all; 1 if one failed, 2 if one is unknown."""
    console = Console()
    console.width = max(console.width, 190)
    unknown = [name for name in wanted if name not in EXPERIMENTS]
    if unknown:
        console.print(f"no such experiment: {', '.join(unknown)}; there are: {', '.join(EXPERIMENTS)}")
        return 2
    if not DATA.is_dir():
        console.print(f"{DATA}: there is no recorded data; put candles there to evaluate on them")
        return 1
    for name in wanted or EXPERIMENTS:
        try:
            evaluate(console, EXPERIMENTS[name])
        except LeviBotError as error:
            console.print(f"{name}: {error}")
            return 1
    return 0


def evaluate(console: Console, experiment: Experiment) -> None:
    """Train, freeze, judge once, print."""
    started = time.monotonic()
    found = sources.of_folder(
        DATA / experiment.folder, experiment.symbols, None, None, _MAX_GAP_MINUTES, experiment.context
    )
    plan = Plan(
        name=f"lightgbm-{experiment.exchange}",
        exchange=experiment.exchange,
        horizon_bars=experiment.horizon_bars,
        costs=COSTS,
        test_from_ms=parse_time(experiment.test_from, "test_from"),
    )
    data = prepare(found, plan, _quiet)
    test = data.spans.test
    answers = {
        **_lightgbm(console, experiment, data, plan),
        "logistic regression": baselines.logistic_regression(data.seen.train, data.seen.test),
        "base rate": baselines.base_rate(data.spans.train, test),
    }
    seconds = time.monotonic() - started
    label = data.label
    console.rule(experiment.name)
    console.print(
        f"trained, tuned and calibrated on what came before {experiment.test_from}, judged on the rest; "
        f"{label.kind}, +{label.take_profit:.4g} / -{label.stop_loss:.4g} {label.unit} "
        f"within {label.horizon_bars} bars; {seconds:.0f} s"
    )
    parts = {name: describe(span) for name, span in zip(data.spans._fields, data.spans, strict=True)}
    for name, part in parts.items():
        console.print(
            f"  {name}: {part.from_utc} to {part.until_utc}, {part.rows:,} labels of {part.judged:,} rows, "
            f"{part.positives:.1%} rises, uniqueness {part.uniqueness:.4f}"
        )
    console.print("\nQuality, with intervals of 95 % that draw whole days with all symbols in them:")
    report.show_quality(console, test, data.symbols, answers)
    console.print(f"\nBets at p ≥ {LONG_FROM} or p ≤ {SHORT_TO}, costs of {COSTS:.2%} a round trip taken off:")
    report.show_trading(console, test, data.symbols, answers)
    known = parts["calibration"]
    stakes = Stakes(label.take_profit, label.stop_loss, known.touched, known.untouched_return or 0.0)
    console.print(
        f"\nThe strategy wants an expected gain of more than {LEAST_GAIN:.1%} after costs too. As in the span of "
        f"calibration, {stakes.touched:.0%} of bets come to a barrier; the others bring "
        f"{stakes.untouched_return:+.3%} to a long:"
    )
    kept = {name: report.worthwhile(answers[name], stakes) for name in answers if name.startswith("LightGBM")}
    report.show_trading(console, test, data.symbols, kept)
    console.print("\nCalibration of LightGBM:")
    report.show_calibration(console, test, answers["LightGBM"])


def _lightgbm(console: Console, experiment: Experiment, data: Prepared, plan: Plan) -> dict[str, Floats]:
    """Probabilities of the test rows by the default settings, and by those of a search where one is wanted."""
    params, _ = training.choose_params(data, plan, "", None, _quiet)
    fitted = training.fit_models(data, params, plan, _quiet)
    answers = {"LightGBM": training.predict(fitted, data.spans.test, data.symbols)}
    if experiment.trials:
        with TemporaryDirectory() as folder:
            search = Search(experiment.trials, None, Path(folder, "tuning.sqlite3"), plan.seed, plan.threads)
            started = time.monotonic()
            params, summary = training.choose_params(data, plan, "evaluation", search, _quiet)
            seconds = time.monotonic() - started
        said = ", ".join(f"{name} {value}" for name, value in summary.items())
        console.print(f"{experiment.trials} trials in {seconds:.0f} s on {plan.threads} thread(s): {said}")
        fitted = training.fit_models(data, params, plan, _quiet)
        answers["LightGBM, tuned"] = training.predict(fitted, data.spans.test, data.symbols)
    return answers


def _quiet(_stage: str, _done: int, _total: int | None) -> None:
    """Tables say enough."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
