"""The tables that an evaluation prints."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from rich.console import Console
from rich.table import Table

from levibot.ml import evaluation
from levibot.ml.evaluation import Estimate
from levibot.ml.history import Floats
from levibot.ml.rows import Rows
from levibot.strategies.probability import Stakes, expected_gain
from scripts.evaluate.experiments import COSTS, LEAST_GAIN, LONG_FROM, SHORT_TO


def show_quality(console: Console, rows: Rows, symbols: tuple[str, ...], answers: Mapping[str, Floats]) -> None:
    """Accuracy, AUC, log loss and Brier score of each model, on all symbols and on each."""
    table = Table("symbol", "model", "rows", "days", "accuracy", "AUC", "log loss", "Brier", "gain on base rate")
    for name, chosen in _parts(rows, symbols):
        part = rows.take(chosen)
        for model, probabilities in answers.items():
            found = evaluation.quality(part, probabilities[chosen])
            gained = evaluation.gain(part, probabilities[chosen], answers["base rate"][chosen])
            table.add_row(
                name,
                model,
                f"{found.rows:,}",
                str(found.days),
                _percent(found.accuracy),
                _number(found.auc, 3),
                _number(found.log_loss, 4),
                _number(found.brier, 4),
                "" if model == "base rate" else _number(gained, 4),
            )
        table.add_section()
    console.print(table)


def show_trading(console: Console, rows: Rows, symbols: tuple[str, ...], answers: Mapping[str, Floats]) -> None:
    """What bets beyond the thresholds came to: each by itself, and one at a time for each symbol."""
    table = Table(
        "symbol",
        "model",
        "bets",
        "of the rows",
        "accuracy",
        "touched",
        "net of a bet",
        "one at a time",
        "net of one",
    )
    for name, chosen in _parts(rows, symbols):
        part = rows.take(chosen)
        for model, probabilities in answers.items():
            given = probabilities[chosen]
            every = evaluation.trading(part, given, LONG_FROM, SHORT_TO, COSTS)
            wanted = (given >= LONG_FROM) | (given <= SHORT_TO)
            made = evaluation.one_at_a_time(part, wanted)
            single = evaluation.trading(part.take(made), given[made], LONG_FROM, SHORT_TO, COSTS)
            table.add_row(
                name,
                model,
                f"{every.trades:,}",
                f"{every.coverage:.1%}",
                _percent(every.accuracy),
                f"{every.touched:.0%}" if every.trades else "–",
                _percent(every.expectancy, 3),
                f"{single.trades:,}",
                _percent(single.expectancy, 3),
            )
        table.add_section()
    console.print(table)


def show_calibration(console: Console, rows: Rows, probabilities: Floats) -> None:
    """How often it came true, by tenths of the probabilities."""
    known = ~np.isnan(rows.labels)
    table = Table("said", "came true", "rows")
    for said, came, count in evaluation.calibration_table(rows.labels[known], probabilities[known]):
        table.add_row(f"{said:.3f}", f"{came:.3f}", f"{count:,}")
    console.print(table)


def worthwhile(probabilities: Floats, stakes: Stakes) -> Floats:
    """The probabilities on which the strategy would bet, and one half elsewhere, on which nobody does.

    Parameters
    ----------
    probabilities
        Of a rise; shape (rows,).
    stakes
        Of a bet on a rise, as the calibration span shows them.
    """
    wanted = [_is_worth(probability, stakes) for probability in probabilities.tolist()]
    return np.where(wanted, probabilities, 0.5)


def _is_worth(probability: float, stakes: Stakes) -> bool:
    if probability >= LONG_FROM:
        return expected_gain(probability, stakes, COSTS) > LEAST_GAIN
    return probability <= SHORT_TO and expected_gain(1 - probability, stakes.of_fall, COSTS) > LEAST_GAIN


def _parts(rows: Rows, symbols: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    parts = [("all", np.ones(len(rows.labels), np.bool_))]
    for number, symbol in enumerate(symbols):
        chosen = rows.symbols == number
        if chosen.any():
            parts.append((symbol, chosen))
    return parts


def _percent(estimate: Estimate, digits: int = 1) -> str:
    if math.isnan(estimate.value):
        return "–"
    return f"{estimate.value:.{digits}%} ({estimate.low:.{digits}%} to {estimate.high:.{digits}%})"


def _number(estimate: Estimate, digits: int) -> str:
    if math.isnan(estimate.value):
        return "–"
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"
