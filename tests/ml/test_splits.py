"""Four spans in order of time, and no label of one looks into the next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.market.candles import CANDLE_SUFFIXES, find_file, read_candles
from levibot.market.gaps import fill_gaps
from levibot.ml.features import FEATURES, WINDOW, FeatureWindow
from levibot.ml.history import History
from levibot.ml.labels import NONE, outcomes
from levibot.ml.manifest import Label
from levibot.ml.rows import Rows, describe, label_rows, stretches
from levibot.ml.splits import Boundaries, boundaries, check, split, walk_forward
from tests.market.real_data import real_data
from tests.ml.examples import START_MS, read_history, walk

LABEL = Label(take_profit=0.004, stop_loss=0.004, horizon_bars=30)


def histories(count: int = 3000) -> list[History]:
    """Two symbols, the second of which begins later."""
    later = START_MS + 200 * MINUTE_MS
    return [
        read_history(walk(count, seed=1)),
        read_history(walk(count, seed=2, start_ms=later)),
    ]


def test_a_history_has_the_features_that_serve() -> None:
    bars = list(walk(300))
    reported: list[int] = []
    history = read_history(bars, reported.append)
    window = FeatureWindow()
    served = [features for bar in bars if (features := window.add(bar)) is not None]
    np.testing.assert_allclose(history.features, served, rtol=1e-9, atol=1e-12)
    assert history.judged.tolist() == list(range(WINDOW - 1, 300))
    assert history.bars.close.tolist() == [bar.close for bar in bars]
    assert sum(reported) == 300


def test_rows_of_all_symbols_are_in_order_of_time_each_with_its_own_label() -> None:
    both = [history._replace(features=history.features[:, :5]) for history in histories()]
    rows = label_rows(both, LABEL)
    assert (np.diff(rows.open_ms) >= 0).all()
    assert (rows.until_ms - rows.open_ms == 31 * MINUTE_MS).all()
    for number, history in enumerate(both):
        after = outcomes(history, LABEL)
        mine = rows.take(rows.symbols == number)
        assert mine.places.tolist() == history.judged[after.complete].tolist()
        assert mine.open_ms.tolist() == history.bars.open_ms[mine.places].tolist()
        assert mine.features.tolist() == history.features[after.complete].tolist()
        assert np.nan_to_num(mine.labels, nan=NONE).tolist() == after.labels[after.complete].tolist()
        assert mine.long.tolist() == after.long[after.complete].tolist()
    known = rows.labelled()
    assert set(known.labels) == {0.0, 1.0}
    assert 0 < len(known.labels) < len(rows.labels)


def assert_no_leak(rows: Rows, begins: Boundaries, embargo_bars: int) -> None:
    """No bar that a label of one span looks at is judged, or in the embargo, of a later one."""
    spans = split(rows, begins, embargo_bars)
    for begin_ms, before, after in zip(begins, spans, spans[1:], strict=False):
        assert before.until_ms.max(initial=0) <= begin_ms
        assert after.open_ms.min(initial=2**62) >= begin_ms + embargo_bars * MINUTE_MS
    left_out = sum(
        int(((rows.until_ms > begin) & (rows.open_ms < begin + embargo_bars * MINUTE_MS)).sum())
        for begin in begins
    )
    assert sum(len(span.labels) for span in spans) + left_out == len(rows.labels), "nothing else is lost"


_ROWS = label_rows(histories(1200), LABEL)


@given(
    st.lists(st.integers(61, 1400), min_size=3, max_size=3, unique=True).filter(
        lambda cuts: min(np.diff(sorted(cuts))) > 130
    ),
    st.integers(0, 90),
)
def test_no_label_looks_into_a_later_span_wherever_it_begins(cuts: list[int], embargo_bars: int) -> None:
    assert_no_leak(_ROWS, Boundaries(*(START_MS + cut * MINUTE_MS for cut in sorted(cuts))), embargo_bars)


def test_no_label_of_real_prices_looks_into_a_later_span() -> None:
    folder = real_data("candles", "binance-spot-2023-03")  # with an outage
    both = []
    for symbol in ("BTC/USDT", "SOL/USDT"):
        path = find_file(folder, symbol, CANDLE_SUFFIXES)
        assert path is not None
        both.append(read_history(fill_gaps(read_candles(path).from_index(55_000), 120)))
    rows = label_rows(both, Label(take_profit=0.0072, stop_loss=0.0072, horizon_bars=120))
    assert_no_leak(rows, boundaries(both), 60)


@given(st.integers(1, 5), st.integers(0, 90), st.none() | st.integers(1, 3))
def test_each_fold_is_judged_on_what_comes_after_all_it_was_fitted_on(
    folds: int, embargo_bars: int, window: int | None
) -> None:
    rows = label_rows(_LONGER, LABEL).labelled()
    made = walk_forward(rows, folds, embargo_bars, window)
    assert len(made) == folds
    for number, (fit, judge) in enumerate(made):
        earlier, later = rows.take(fit), rows.take(judge)
        assert earlier.until_ms.max() + embargo_bars * MINUTE_MS <= later.open_ms.min()
        if number:
            before = rows.take(made[number - 1].judge)
            assert before.until_ms.max() <= later.open_ms.min(), "no row is judged twice"
    fitted = [len(fold.fit) for fold in made]
    assert fitted == sorted(fitted) if window is None else max(fitted) < (window + 1) * len(rows.labels) / folds


_LONGER = histories()


def test_folds_that_are_too_short_are_told() -> None:
    rows = label_rows(histories(900), LABEL).labelled()
    with pytest.raises(TrainingError, match=r"fold 1 of 9 has \d+ rows .* or fewer folds"):
        walk_forward(rows, 9, 60)


def test_the_spans_are_fixed_shares_of_the_time_unless_the_test_is_told() -> None:
    both = histories()
    first, last = START_MS + (WINDOW - 1) * MINUTE_MS, START_MS + 3199 * MINUTE_MS
    begins = boundaries(both)
    for begin, share in zip(begins, (0.6, 0.7, 0.8), strict=True):
        assert begin == pytest.approx(first + share * (last - first), abs=2 * MINUTE_MS)
        assert begin % MINUTE_MS == 0
    spans = split(label_rows(both, LABEL), begins, 60)
    check(spans, LABEL)
    part = describe(spans.test)
    assert part.from_ms >= begins.test_ms
    assert part.from_utc.startswith("2025-01-0")
    assert 0.3 < part.positives < 0.7
    assert part.rows == len(spans.test.labelled().labels) < part.judged == len(spans.test.labels)
    untouched = [long for label, long in zip(spans.test.labels, spans.test.long, strict=True) if np.isnan(label)]
    assert part.touched == pytest.approx(1 - len(untouched) / part.judged)
    assert part.untouched_return == pytest.approx(sum(untouched) / len(untouched))
    assert describe(spans.test.labelled()).untouched_return is None
    told = START_MS + 2000 * MINUTE_MS
    tuning_ms, calibration_ms, test_ms = boundaries(both, told)
    assert test_ms == told
    assert tuning_ms == pytest.approx(first + 0.75 * (told - first), abs=MINUTE_MS)
    assert calibration_ms == pytest.approx(first + 0.875 * (told - first), abs=MINUTE_MS)
    for outside in (first, last + MINUTE_MS):
        with pytest.raises(TrainingError, match=r"test would begin at .*, expected .* correct --test-from"):
            boundaries(both, outside)


def test_too_little_to_learn_from_is_told_with_a_remedy() -> None:
    with pytest.raises(TrainingError, match=r"no bar has features.*more candles"):
        boundaries([read_history(walk(WINDOW - 1))])
    both = histories(400)
    few = r"span has .* rows .*\+0.40% before -0.40%, within 30 bars\), expected 200 or more; .*--take-profit"
    with pytest.raises(TrainingError, match=few):
        check(split(label_rows(both, LABEL), boundaries(both), 0), LABEL)
    rows = label_rows(_LONGER, LABEL)
    only = rows.take(rows.labels == 1)
    begins = Boundaries(*(int(only.open_ms[part * len(only.labels) // 4]) for part in (1, 2, 3)))
    one_class = r"train span has only rises \(\+0.40% before .*\), expected both; .*--stop-loss"
    with pytest.raises(TrainingError, match=one_class):
        check(split(only, begins, 0), LABEL)
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
