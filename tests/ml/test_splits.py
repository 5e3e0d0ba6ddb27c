"""Three spans in order of time, and no label of one looks into the next."""

from __future__ import annotations

import numpy as np
import pytest

from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.market.candles import CANDLE_SUFFIXES, find_file, read_candles
from levibot.market.gaps import fill_gaps
from levibot.ml.features import FEATURES, WINDOW, FeatureWindow
from levibot.ml.history import History, read_history
from levibot.ml.labels import barrier_labels
from levibot.ml.manifest import Label
from levibot.ml.splits import Boundaries, boundaries, describe, label_rows, split, stretches
from tests.market.real_data import real_data
from tests.ml.examples import START_MS, walk

LABEL = Label(take_profit=0.004, stop_loss=0.004, horizon_bars=30)


def histories(count: int = 3000) -> list[History]:
    """Two symbols, the second of which begins later."""
    later = START_MS + 200 * MINUTE_MS
    return [
        read_history(walk(count, seed=1), lambda _more: None),
        read_history(walk(count, seed=2, start_ms=later), lambda _more: None),
    ]


def test_a_history_has_the_features_that_serve() -> None:
    bars = list(walk(300))
    reported: list[int] = []
    history = read_history(bars, reported.append)
    window = FeatureWindow()
    served = [features for bar in bars if (features := window.add(bar)) is not None]
    assert history.features.tolist() == [list(features) for features in served]
    assert history.judged.tolist() == list(range(WINDOW - 1, 300))
    assert history.bars.close.tolist() == [bar.close for bar in bars]
    assert sum(reported) == 300


def test_rows_of_all_symbols_are_in_order_of_time_each_with_its_own_label() -> None:
    both = histories()
    rows = label_rows(both, LABEL)
    assert (np.diff(rows.open_ms) >= 0).all()
    assert set(rows.labels) == {0.0, 1.0}
    assert (rows.until_ms - rows.open_ms == 31 * MINUTE_MS).all()
    expected = {
        (int(h.bars.open_ms[n]), tuple(h.features[k]), float(labels[n]))
        for h in both
        for labels in [barrier_labels(h.bars, LABEL)]
        for k, n in enumerate(h.judged)
        if labels[n] >= 0
    }
    assert (
        set(zip(rows.open_ms.tolist(), map(tuple, rows.features), rows.labels.tolist(), strict=True)) == expected
    )


def assert_no_leak(both: list[History], label: Label) -> None:
    begins = boundaries(both)
    rows = label_rows(both, label)
    spans = split(rows, begins, label)
    assert spans.train.until_ms.max() <= begins.tuning_ms <= spans.tuning.open_ms.min()
    assert spans.tuning.until_ms.max() <= begins.test_ms <= spans.test.open_ms.min()
    kept = sum(len(span.labels) for span in spans)
    purged = sum(
        int(((rows.open_ms < begin) & (rows.until_ms > begin)).sum())
        for begin in (begins.tuning_ms, begins.test_ms)
    )
    assert kept + purged == len(rows.labels), "nothing else is lost"
    assert purged > 0


def test_no_label_looks_into_a_later_span() -> None:
    assert_no_leak(histories(), LABEL)


def test_no_label_of_real_prices_looks_into_a_later_span() -> None:
    folder = real_data("candles", "binance-spot-2023-03")  # with an outage
    both = []
    for symbol in ("BTC/USDT", "SOL/USDT"):
        path = find_file(folder, symbol, CANDLE_SUFFIXES)
        assert path is not None
        both.append(read_history(fill_gaps(read_candles(path).from_index(55_000), 120), lambda _more: None))
    assert_no_leak(both, Label(take_profit=0.0072, stop_loss=0.0072, horizon_bars=120))


def test_the_spans_are_three_fixed_shares_of_the_time() -> None:
    both = histories()
    first, last = START_MS + (WINDOW - 1) * MINUTE_MS, START_MS + 3199 * MINUTE_MS
    begins = boundaries(both)
    assert begins.tuning_ms == pytest.approx(first + 0.6 * (last - first), abs=MINUTE_MS)
    assert begins.test_ms == pytest.approx(first + 0.8 * (last - first), abs=MINUTE_MS)
    assert begins.tuning_ms % MINUTE_MS == 0
    part = describe(split(label_rows(both, LABEL), begins, LABEL).test)
    assert part.from_ms >= begins.test_ms
    assert part.from_utc.startswith("2025-01-0")
    assert 0.3 < part.positives < 0.7


def test_too_little_to_learn_from_is_told_with_a_remedy() -> None:
    with pytest.raises(TrainingError, match=r"no bar has features.*more candles"):
        boundaries([read_history(walk(WINDOW - 1), lambda _more: None)])
    both = histories(400)
    few = r"span has .* rows .* barrier, \+0.40% or -0.40% within 30 bars, expected 200 or more; .*--take-profit"
    with pytest.raises(TrainingError, match=few):
        split(label_rows(both, LABEL), boundaries(both), LABEL)
    rows = label_rows(histories(), LABEL)
    only = rows.take(rows.labels == 1)
    begins = Boundaries(int(only.open_ms[len(only.labels) // 3]), int(only.open_ms[2 * len(only.labels) // 3]))
    one_class = r"train span has only rises \(\+0.40% or .*\), expected both; .*--stop-loss"
    with pytest.raises(TrainingError, match=one_class):
        split(only, begins, LABEL)
    assert only.features.shape[1] == len(FEATURES)


def test_stretches_are_two_horizons_long_and_hold_all_symbols() -> None:
    rows = label_rows(histories(), LABEL)
    numbers = stretches(rows, LABEL.horizon_bars)
    for number in np.unique(numbers):
        begins = rows.open_ms[numbers == number]
        assert begins.max() - begins.min() < 60 * MINUTE_MS
    assert numbers[0] == 0
    assert (np.diff(numbers) >= 0).all()
    assert numbers[-1] == (rows.open_ms[-1] - rows.open_ms[0]) // (60 * MINUTE_MS)
