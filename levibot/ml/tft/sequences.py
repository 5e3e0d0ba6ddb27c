"""Sequences of rows: which judged bars have one, and the rows of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levibot.market.bars import MINUTE_MS
from levibot.ml.features import FEATURES
from levibot.ml.history import Floats, History
from levibot.ml.manifest import VOLATILITY, Manifest
from levibot.ml.material import Material, Progress
from levibot.ml.rows import Rows, label_rows
from levibot.ml.tft.forecast import HORIZON, STEPS

Places = NDArray[np.int64]
BACK = np.arange(1 - STEPS, 1)
_FARTHEST = 10.0  # σ·√(bars) that a target is bounded by, so that one crash does not outweigh a week


class Sequences:
    """The rows of all symbols, one symbol after the other, and which of them end a whole sequence.

    Parameters
    ----------
    histories
        One of each symbol.
    columns
        Features that the network is given, by their place in those of `histories`.
    volatility
        Which of these columns is the volatility: where it is 0, nothing can be measured in it.
    """

    def __init__(self, histories: Sequence[History], columns: Sequence[int], volatility: int) -> None:
        self._histories = histories
        self._begins = np.cumsum([0, *(len(history.judged) for history in histories)])
        self.features: Floats = np.concatenate([history.features[:, list(columns)] for history in histories])
        self._volatility = self.features[:, volatility]
        consecutive = np.concatenate([_consecutive(history) for history in histories])
        finite = _all_of_last(np.isfinite(self.features).all(axis=1))
        self._whole = consecutive & finite & (self._volatility > 0)

    def thinned(self, rows: Rows, stride: int) -> Rows:
        """Those of `rows` that end a sequence, at every `stride`-th minute, which is the same for all symbols."""
        return rows.take(self._whole[self.ends(rows)] & (rows.open_ms // MINUTE_MS % stride == 0))

    def ends(self, rows: Rows) -> Places:
        """Where the sequences of `rows` end, in all that there are."""
        found = np.empty(len(rows.places), dtype=np.int64)
        for number, history in enumerate(self._histories):
            mine = rows.symbols == number
            found[mine] = self._begins[number] + np.searchsorted(history.judged, rows.places[mine])
        return found

    def of(self, ends: Places) -> Floats:
        """The sequences that end there; shape (n, `STEPS`, features)."""
        found: Floats = self.features[ends[:, None] + BACK]
        return found

    def targets(self, rows: Rows) -> Floats:
        """Log returns from each row's close to those of the next bars, in σ·√(bars); shape (n, `HORIZON`).

        All these bars are there: a row has a whole horizon of its label after it, which is longer.
        """
        found = np.empty((len(rows.places), HORIZON))
        for number, history in enumerate(self._histories):
            mine = rows.symbols == number
            close, places = np.log(history.bars.close), rows.places[mine]
            for ahead in range(HORIZON):
                found[mine, ahead] = close[places + ahead + 1] - close[places]
        reach = self._volatility[self.ends(rows), None] * np.sqrt(np.arange(1, HORIZON + 1))
        return np.clip(found / reach, -_FARTHEST, _FARTHEST)


def with_sequences(histories: Sequence[History], rows: Rows) -> Rows:
    """The same rows, with all features of the whole sequence that ends at each: shape (n, `STEPS`, features).

    Parameters
    ----------
    histories
        One of each symbol.
    rows
        Of bars that end a sequence.
    """
    found = np.empty((len(rows.places), STEPS, histories[0].features.shape[1]))
    for number, history in enumerate(histories):
        mine = rows.symbols == number
        ends = np.searchsorted(history.judged, rows.places[mine])
        found[mine] = history.features[ends[:, None] + BACK]
    return rows._replace(features=found)


def remade(material: Material, manifest: Manifest, progress: Progress) -> Rows:
    """Rows of the test span of a stored network, with their sequences, made again as a training makes them."""
    histories = material.histories(progress)
    rows = label_rows(histories, manifest.label).labelled()
    span = manifest.test
    rows = rows.take((rows.open_ms >= span.from_ms) & (rows.until_ms <= span.until_ms))
    columns = [FEATURES.index(name) for name in manifest.features]
    sequences = Sequences(histories, columns, manifest.features.index(VOLATILITY))
    return with_sequences(histories, sequences.thinned(rows, int(manifest.params["stride"])))


def _consecutive(history: History) -> NDArray[np.bool_]:
    """Rows of one symbol that are the last of `STEPS` of consecutive minutes."""
    open_ms = history.bars.open_ms[history.judged]
    found = np.zeros(len(open_ms), dtype=np.bool_)
    if len(open_ms) >= STEPS:
        found[STEPS - 1 :] = open_ms[STEPS - 1 :] - open_ms[: 1 - STEPS] == (STEPS - 1) * MINUTE_MS
    return found


def _all_of_last(sound: Any) -> NDArray[np.bool_]:
    """Whether the last `STEPS` of these are all true."""
    unsound = np.concatenate(([0], np.cumsum(~sound)))
    since = np.maximum(np.arange(len(sound)) + 1 - STEPS, 0)
    found: NDArray[np.bool_] = unsound[1:] == unsound[since]
    return found
