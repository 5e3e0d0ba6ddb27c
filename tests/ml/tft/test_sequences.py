"""Which bars have a whole sequence, and what came after them."""

from __future__ import annotations

import numpy as np
import pytest

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole
from levibot.ml.features import FEATURES
from levibot.ml.history import History
from levibot.ml.manifest import VOLATILITY, Label
from levibot.ml.rows import Rows, label_rows
from levibot.ml.tft.forecast import HORIZON, STEPS
from levibot.ml.tft.sequences import Sequences
from tests.ml.examples import read_history, walk

COLUMNS = tuple(FEATURES.index(name) for name in ("return_1", VOLATILITY, "body"))
LABEL = Label(take_profit=0.002, stop_loss=0.002, horizon_bars=10)


def made(*histories: History) -> tuple[Sequences, Rows]:
    return Sequences(histories, COLUMNS, 1), label_rows(histories, LABEL)


def history(items: list[Candle]) -> History:
    return read_history(items)


def test_the_first_bars_with_features_have_no_sequence_yet() -> None:
    sequences, rows = made(history(list(walk(300))))
    kept = sequences.thinned(rows, 1)
    assert len(rows.places) - len(kept.places) == STEPS - 1
    assert kept.places[0] == rows.places[STEPS - 1]


def test_a_sequence_is_the_features_of_its_bars_of_its_own_symbol() -> None:
    first, second = history(list(walk(200))), history(list(walk(250, seed=9, price=3.0)))
    sequences, rows = made(first, second)
    kept = sequences.thinned(rows, 1)
    found = sequences.of(sequences.ends(kept))
    assert found.shape == (len(kept.places), STEPS, 3)
    np.testing.assert_array_equal(found[:, -1], kept.features[:, COLUMNS])
    for number, each in enumerate((first, second)):
        one = np.flatnonzero(kept.symbols == number)[5]
        last = int(np.searchsorted(each.judged, kept.places[one]))
        np.testing.assert_array_equal(found[one], each.features[last - STEPS + 1 : last + 1][:, COLUMNS])


def test_no_sequence_reaches_over_a_hole_or_a_bar_without_features() -> None:
    bars = list(walk(600))
    without = [bar for index, bar in enumerate(bars) if index != 300]
    sequences, rows = made(history(without))
    kept = sequences.thinned(rows, 1)
    gaps = np.diff(kept.open_ms)
    (at,) = np.flatnonzero(gaps > MINUTE_MS)
    whole_again = kept.open_ms[at + 1] - bars[301].open_ms
    assert whole_again // MINUTE_MS >= STEPS - 1
    assert np.isfinite(sequences.of(sequences.ends(kept))).all()


def test_a_missing_feature_ends_all_sequences_that_it_would_be_in() -> None:
    each = history(list(walk(300)))
    each.features[150, COLUMNS[2]] = np.nan
    sequences, rows = made(each)
    kept = np.searchsorted(each.judged, sequences.thinned(rows, 1).places)
    assert 149 in kept
    assert not set(range(150, 150 + STEPS)) & set(kept.tolist())
    assert 150 + STEPS in kept


def test_where_nothing_moves_there_is_no_sequence() -> None:
    still = [bar._replace(open=1.0, high=1.0, low=1.0, close=1.0) for bar in walk(300)]
    sequences, rows = made(history(still))
    assert not len(sequences.thinned(rows, 1).places)


def test_a_stride_takes_the_same_minutes_of_all_symbols() -> None:
    sequences, rows = made(history(list(walk(300))), history(list(walk(300, seed=8))))
    kept = sequences.thinned(rows, 7)
    assert set(kept.open_ms // MINUTE_MS % 7) == {0}
    assert (kept.symbols == 0).sum() == (kept.symbols == 1).sum() > 10


def test_targets_are_returns_ahead_by_the_volatility_of_the_judged_bar() -> None:
    bars = list(walk(300))
    each = history(bars)
    sequences, rows = made(each)
    kept = sequences.thinned(rows, 1)
    targets = sequences.targets(kept)
    place = int(kept.places[20])
    sigma = float(kept.features[20, FEATURES.index(VOLATILITY)])
    expected = [
        np.log(bars[place + ahead].close / bars[place].close) / (sigma * ahead**0.5)
        for ahead in range(1, HORIZON + 1)
    ]
    assert targets[20] == pytest.approx(expected)


def test_holes_of_the_reader_are_holes_here() -> None:
    bars: list[Candle | Hole] = [*walk(200)]
    later = [bar._replace(open_ms=bar.open_ms + 1000 * MINUTE_MS) for bar in walk(200)]
    sequences, rows = made(read_history([*bars, *later]))
    assert len(sequences.thinned(rows, 1).places) == 2 * (200 - 60 - (STEPS - 1) - LABEL.horizon_bars)
