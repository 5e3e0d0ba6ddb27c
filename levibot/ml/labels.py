"""What happened after a bar: the triple-barrier label (López de Prado 2018, chapter 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from levibot.market.bars import MINUTE_MS
from levibot.ml.history import BarColumns, Floats
from levibot.ml.manifest import Label

UP, DOWN, NONE = 1, 0, -1
_MOST_SYNTHETIC = 0.1  # of the bars that a label looks at
_REACH = 0.7  # of σ·√h: most rows touch a barrier of a random walk that is as near as this
_LEAST_IN_COSTS = 3.0


def barrier_labels(bars: BarColumns, label: Label) -> NDArray[np.int8]:
    """Which barrier the price touches first, seen from the close of each bar.

    A bar's high or low touches a barrier; where one bar touches both, the stop counts.

    A row gets no label where the bars within the horizon end early, have a hole, or are made up to more
    than a tenth; and where the price touches neither barrier. Called 0, such rows would make falls look
    likely in a market that only stands still; called by the sign of a small return, they would count as
    whole wins. So the probability is of a rise, given that there is a move at all, and that of a fall is
    what is missing to 1.

    Parameters
    ----------
    bars
        Of one symbol.
    label
        Distances and horizon.

    Returns
    -------
    ndarray
        Shape (bars,): `UP`, `DOWN` or `NONE`.
    """
    judged = max(0, len(bars.open_ms) - label.horizon_bars)
    result = np.full(len(bars.open_ms), NONE, dtype=np.int8)
    if not judged:
        return result
    close = bars.close[:judged]
    above, below = close * (1 + label.take_profit), close * (1 - label.stop_loss)
    pending = _complete(bars, label.horizon_bars)
    for ahead in range(1, label.horizon_bars + 1):
        stopped = pending & (bars.low[ahead : ahead + judged] <= below)
        pending &= ~stopped
        reached = pending & (bars.high[ahead : ahead + judged] >= above)
        pending &= ~reached
        result[:judged][stopped] = DOWN
        result[:judged][reached] = UP
    return result


def _complete(bars: BarColumns, horizon: int) -> NDArray[np.bool_]:
    """Whether the bars within the horizon of each bar are all there, and nearly all real."""
    judged = len(bars.open_ms) - horizon
    without_hole = bars.open_ms[horizon:] - bars.open_ms[:judged] == horizon * MINUTE_MS
    synthetic = np.concatenate(([0], np.cumsum(bars.synthetic)))
    ahead = synthetic[horizon + 1 :] - synthetic[1 : judged + 1]
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

    Parameters
    ----------
    sigma
        Standard deviation of a one-minute log return.
    horizon_bars
        Bars within which a barrier must be touched.
    costs
        Of a round trip, as a fraction.
    """
    return min(max(_REACH * sigma * math.sqrt(horizon_bars), _LEAST_IN_COSTS * costs), 0.5)
