"""What happened after a bar: the event that models predict, and what a bet on it would have brought.

A label is the triple barrier (López de Prado 2018, chapter 3) or the sign of the return at a fixed horizon.
Barriers lie around the close of the judged bar, where the engine's protection lies too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.market.bars import MINUTE_MS
from levibot.ml.features import FEATURES
from levibot.ml.history import BarColumns, Floats, History
from levibot.ml.manifest import FURTHEST, VOLATILITY, Label

UP, DOWN, NONE = 1, 0, -1
_MOST_SYNTHETIC = 0.1  # of the bars that a label looks at
REACH = 0.7  # of σ·√h: most rows touch a barrier of a random walk that is as near as this
LEAST_IN_COSTS = 3.0


class Outcomes(NamedTuple):
    """What came after each judged bar of one symbol; all of shape (rows,).

    A bet enters at the open of the bar after the judged one. It ends at a barrier: a stop at its own price, or at
    the open where the market opens beyond; a target at its own. Where one bar touches both, the stop counts,
    which is the lower barrier for a long and the upper one for a short. Else it ends at the open of the bar
    after the horizon, where an engine's market order fills; at the last close where no such bar is known.
    """

    complete: NDArray[np.bool_]  # whether all bars of the horizon are there, and nearly all real
    labels: NDArray[np.int8]  # UP, DOWN or NONE; NONE where it is not complete
    ends: NDArray[np.int64]  # place of the bar at which the barriers are decided: a touch, or the horizon's last
    long: Floats  # gross return of a bet on a rise, as a fraction of the entry; NaN where not complete
    short: Floats  # of one on a fall


def outcomes(history: History, label: Label) -> Outcomes:
    """What came after each bar that has features.

    A row gets no label where the bars within the horizon end early, have a hole, or are made up to more
    than a tenth; and, of a triple barrier, where the price touches neither. Called 0, such rows would make falls
    look likely in a market that only stands still; called by the sign of a small return, they would count as
    whole wins. So the probability is of a rise, given that there is a move at all, and that of a fall is
    what is missing to 1. Nobody knows beforehand which rows those will be: bets are judged on all that are
    complete, those that touch nothing by what they bring at the horizon.

    Parameters
    ----------
    history
        Of one symbol.
    label
        What is asked.
    """
    bars, at, horizon = history.bars, history.judged, label.horizon_bars
    complete = _complete(bars, at, horizon)
    above, below = levels(history, label)
    path = _walk(bars, at[complete], above[complete], below[complete], horizon)
    labels = np.full(len(at), NONE, dtype=np.int8)
    labels[complete] = path.first if label.kind == "triple_barrier" else _direction(bars, at[complete], horizon)
    ends = np.minimum(at + horizon, len(bars.open_ms) - 1)
    ends[complete] = path.ends
    long, short = np.full(len(at), math.nan), np.full(len(at), math.nan)
    long[complete], short[complete] = path.long, path.short
    return Outcomes(complete, labels, ends, long, short)


def levels(history: History, label: Label) -> tuple[Floats, Floats]:
    """Prices of the upper and the lower barrier of each judged bar; each of shape (rows,)."""
    close = history.bars.close[history.judged]
    if label.unit == "fraction":
        return close * (1 + label.take_profit), close * (1 - label.stop_loss)
    volatilities = history.features[:, FEATURES.index(VOLATILITY)].tolist()
    distances = np.array([label.distances(volatility) for volatility in volatilities]).reshape(-1, 2)
    return close * (1 + distances[:, 0]), close * (1 - distances[:, 1])


class _Path(NamedTuple):
    """How the price went from each row to its horizon."""

    first: NDArray[np.int8]
    ends: NDArray[np.int64]
    long: Floats
    short: Floats


def _walk(bars: BarColumns, at: NDArray[np.int64], above: Floats, below: Floats, horizon: int) -> _Path:
    """Follow the rows at these places, whose horizons are complete, bar by bar."""
    first = np.full(len(at), NONE, dtype=np.int8)
    ends = at + horizon
    entry = bars.open[at + 1] if len(at) else np.empty(0)
    leaving = _exit_at_horizon(bars, at, horizon)
    long_exit, short_exit = leaving.copy(), leaving
    pending = np.arange(len(at))
    for ahead in range(1, horizon + 1):
        place = at[pending] + ahead
        opened, upper, lower = bars.open[place], above[pending], below[pending]
        fell, rose = bars.low[place] <= lower, bars.high[place] >= upper
        touched = fell | rose
        who = pending[touched]
        first[who] = np.where(fell, DOWN, UP)[touched]
        ends[who] = place[touched]
        long_exit[who] = np.where(fell, np.minimum(opened, lower), upper)[touched]
        short_exit[who] = np.where(rose, np.maximum(opened, upper), lower)[touched]
        pending = pending[~touched]
        if not len(pending):
            break
    return _Path(first, ends, long_exit / entry - 1, 1 - short_exit / entry)


def _exit_at_horizon(bars: BarColumns, at: NDArray[np.int64], horizon: int) -> Floats:
    """Open of the bar after the horizon; the horizon's last close where that bar is not there."""
    last = at + horizon
    after = np.minimum(last + 1, len(bars.open_ms) - 1)
    known = bars.open_ms[after] - bars.open_ms[last] == MINUTE_MS
    price: Floats = np.where(known, bars.open[after], bars.close[last])
    return price


def _direction(bars: BarColumns, at: NDArray[np.int64], horizon: int) -> NDArray[np.int8]:
    change = bars.close[at + horizon] - bars.close[at]
    return np.select([change > 0, change < 0], [UP, DOWN], NONE).astype(np.int8)


def _complete(bars: BarColumns, at: NDArray[np.int64], horizon: int) -> NDArray[np.bool_]:
    """Whether the bars within the horizon of each place are all there, and nearly all real."""
    within = at + horizon < len(bars.open_ms)
    last = np.where(within, at + horizon, at)
    without_hole = bars.open_ms[last] - bars.open_ms[at] == horizon * MINUTE_MS
    synthetic = np.concatenate(([0], np.cumsum(bars.synthetic)))
    ahead = synthetic[last + 1] - synthetic[at + 1]
    complete: NDArray[np.bool_] = without_hole & (ahead <= _MOST_SYNTHETIC * horizon)
    return complete


def volatility(histories: Iterable[BarColumns], until_ms: int) -> float:
    """Standard deviation of one-minute log returns before `until_ms`: the median of the symbols'.

    Steps over holes and synthetic bars are left out. 0 where there are none.
    """
    found = []
    for bars in histories:
        real = ~bars.synthetic & (bars.open_ms < until_ms)
        steps = real[1:] & real[:-1] & (np.diff(bars.open_ms) == MINUTE_MS)
        changes: Floats = np.diff(np.log(bars.close))[steps]
        if len(changes):
            found.append(float(np.sqrt(np.mean(changes**2))))
    return float(np.median(found)) if found else 0.0


def default_distance(sigma: float, horizon_bars: int, costs: float) -> float:
    """Distance of both barriers from the price, as a fraction, where none is given.

    Somewhat nearer than the price wanders within the horizon, σ·√h, so that most rows touch a barrier; but
    three times what a round trip costs, or nothing would be left of a win; and no further than half the price.
    About as much is won or lost at a fixed horizon too: the mean distance there is σ·√(2h/π).

    Parameters
    ----------
    sigma
        Standard deviation of a one-minute log return.
    horizon_bars
        Bars within which a barrier must be touched.
    costs
        Of a round trip, as a fraction.
    """
    return min(max(REACH * sigma * math.sqrt(horizon_bars), LEAST_IN_COSTS * costs), FURTHEST)
