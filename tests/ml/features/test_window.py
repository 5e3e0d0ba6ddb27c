"""Features depend on the window alone, mean what their names say, and are finite on any valid bars."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import AltData
from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.ml.features import FEATURES, MOST_SYNTHETIC, OPTIONAL_FEATURES, WINDOW, FeatureWindow
from tests.ml.examples import START_MS, walk
from tests.ml.features.streams import Rows, Stream, play, stream, vectorised


def answers(bars: Sequence[Candle]) -> list[tuple[float, ...] | None]:
    window = FeatureWindow()
    return [window.add(bar) for bar in bars]


def named(features: tuple[float, ...] | None) -> dict[str, float]:
    assert features is not None
    return dict(zip(FEATURES, features, strict=True))


def test_none_until_the_window_is_full_then_one_number_for_each_name() -> None:
    found = answers(list(walk(WINDOW + 5)))
    assert found[: WINDOW - 1] == [None] * (WINDOW - 1)
    assert all(features is not None and len(features) == len(FEATURES) for features in found[WINDOW - 1 :])


def test_identical_from_any_start() -> None:
    bars = list(walk(5 * WINDOW))
    whole = answers(bars)
    for start in (1, 7, WINDOW, 3 * WINDOW + 2):
        assert answers(bars[start:])[WINDOW - 1 :] == whole[start + WINDOW - 1 :]


def test_they_agree_with_independent_formulas() -> None:
    bars = list(walk(WINDOW, seed=11))
    found = named(answers(bars)[-1])
    close, high, low, volume = (
        np.array([getattr(bar, name) for bar in bars]) for name in ("close", "high", "low", "volume")
    )
    logs = np.log(close)
    changes = np.diff(logs)
    for bars_back in (1, 2, 5, 10, 20, 30, 60):
        assert found[f"return_{bars_back}"] == pytest.approx(math.log(close[-1] / close[-1 - bars_back]))
    for length in (10, 30, 60):
        assert found[f"gap_{length}"] == pytest.approx(logs[-1] - logs[-length:].mean())
    assert found["volatility_60"] == pytest.approx(np.sqrt(np.mean(changes**2)))
    assert found["volatility_ratio_10_60"] == pytest.approx(
        np.sqrt(np.mean(changes[-10:] ** 2) / np.mean(changes**2))
    )
    recent = volume[-60:]
    assert found["volume_z_60"] == pytest.approx((recent[-1] - recent.mean()) / recent.std())
    assert found["volume_ratio_5_60"] == pytest.approx(recent[-5:].mean() / recent.mean())
    gains, losses = changes[-14:].clip(min=0).sum(), -changes[-14:].clip(max=0).sum()
    assert found["rsi_14"] == pytest.approx(gains / (gains + losses) - 0.5)
    line = ema(logs, 12) - ema(logs, 26)
    assert found["macd_12_26"] == pytest.approx(line[-1])
    assert found["macd_histogram_9"] == pytest.approx(line[-1] - ema(line, 9)[-1])
    before = logs[-15:-1]
    true_range = np.maximum(np.log(high[-14:]), before) - np.minimum(np.log(low[-14:]), before)
    assert found["atr_14"] == pytest.approx(true_range.mean())
    band = logs[-20:]
    assert found["band_position_20"] == pytest.approx((band[-1] - band.mean()) / (2 * band.std()))
    assert found["band_width_20"] == pytest.approx(4 * band.std())
    top, bottom = np.log(high[-60:]).max(), np.log(low[-60:]).min()
    assert found["range_position_60"] == pytest.approx((logs[-1] - bottom) / (top - bottom) - 0.5)
    spread = math.log(high[-1] / low[-1])
    assert found["body"] == pytest.approx(math.log(close[-1] / bars[-1].open) / spread)
    assert found["close_location"] == pytest.approx(math.log(close[-1] / low[-1]) / spread - 0.5)
    minute = bars[-1].open_ms // MINUTE_MS % 1440
    assert found["time_sine"] == pytest.approx(math.sin(2 * math.pi * minute / 1440))
    assert found["time_cosine"] == pytest.approx(math.cos(2 * math.pi * minute / 1440))


def ema(values: np.ndarray, bars: int) -> np.ndarray:
    share = 2 / (bars + 1)
    result = [values[0]]
    for value in values[1:]:
        result.append((1 - share) * result[-1] + share * value)
    return np.array(result)


def test_they_are_free_of_scale() -> None:
    dear = list(walk(WINDOW, price=60_000))
    cheap = [
        bar._replace(
            open=bar.open * 2**-20,
            high=bar.high * 2**-20,
            low=bar.low * 2**-20,
            close=bar.close * 2**-20,
            volume=bar.volume * 2**30,
        )
        for bar in dear
    ]
    assert named(answers(cheap)[-1]) == pytest.approx(named(answers(dear)[-1]), rel=1e-6, abs=1e-9, nan_ok=True)


def test_a_price_that_stands_still_and_no_volume_give_the_neutral_values() -> None:
    flat = [Candle(START_MS + n * MINUTE_MS, 0.1, 0.1, 0.1, 0.1, 0.0) for n in range(WINDOW)]
    found = named(answers(flat)[-1])
    ones = {"volatility_ratio_10_60", "volume_ratio_5_60", "range_ratio_14"}
    others = {"time_sine", "time_cosine", *OPTIONAL_FEATURES}
    assert {name: value for name, value in found.items() if name not in others} == {
        name: 1.0 if name in ones else 0.0 for name in FEATURES if name not in others
    }


def test_a_hole_empties_the_window() -> None:
    bars = list(walk(3 * WINDOW))
    del bars[WINDOW + 3]
    found = answers(bars)
    assert found[WINDOW + 2] is not None
    assert found[WINDOW + 3 : 2 * WINDOW + 2] == [None] * (WINDOW - 1)
    assert found[2 * WINDOW + 2] == answers(bars[WINDOW + 3 :])[WINDOW - 1] is not None


def test_a_known_bar_changes_nothing() -> None:
    bars = list(walk(WINDOW + 1))
    window = FeatureWindow()
    for bar in bars[:-1]:
        window.add(bar)
    assert window.add(bars[-2]) is None
    assert window.add(bars[3]) is None
    assert window.add(bars[-1]) == answers(bars)[-1]


def test_none_at_a_synthetic_bar_or_among_too_many() -> None:
    bars = list(walk(2 * WINDOW))
    made_up = [bar._replace(synthetic=WINDOW <= n < WINDOW + MOST_SYNTHETIC) for n, bar in enumerate(bars)]
    found = answers(made_up)
    assert found[WINDOW - 1] is not None
    assert found[WINDOW : WINDOW + MOST_SYNTHETIC] == [None] * MOST_SYNTHETIC
    assert None not in found[WINDOW + MOST_SYNTHETIC :]
    one_more = [bar._replace(synthetic=WINDOW <= n <= WINDOW + MOST_SYNTHETIC) for n, bar in enumerate(bars)]
    found = answers(one_more)
    assert found[WINDOW : 2 * WINDOW] == [None] * WINDOW
    assert None not in answers([*one_more, *walk(2, start_ms=bars[-1].close_ms)])[2 * WINDOW :]


@pytest.mark.parametrize(
    "changes",
    [
        {"close": math.nan},
        {"high": math.inf},
        {"low": 0.0},
        {"low": -1.0},
        {"low": 101.0},
        {"open": 1e9},
        {"volume": -1.0},
        {"volume": math.nan},
    ],
)
def test_what_is_no_bar_is_refused_and_empties_the_window(changes: dict[str, float]) -> None:
    bars = list(walk(2 * WINDOW + 1))
    window = FeatureWindow()
    for bar in bars[:WINDOW]:
        window.add(bar)
    with pytest.raises(MarketDataError, match="is no bar"):
        window.add(bars[WINDOW]._replace(**changes))
    found = [window.add(bar) for bar in bars[WINDOW + 1 :]]
    assert found[:-1] == [None] * (WINDOW - 1)
    assert found[-1] == answers(bars)[-1]


@given(
    bars_seen=st.integers(1, 3 * WINDOW),
    ago=st.integers(0, 2 * WINDOW),
    factors=st.tuples(st.floats(0.9, 1.1), st.floats(0.0, 0.05), st.floats(0.0, 0.05), st.floats(0, 1e6)),
    synthetic=st.booleans(),
)
def test_after_a_correction_all_is_as_if_the_right_bar_had_been_seen_from_the_start(
    bars_seen: int, ago: int, factors: tuple[float, float, float, float], synthetic: bool
) -> None:
    bars = list(walk(bars_seen + WINDOW + 2))
    index = max(0, bars_seen - 1 - ago)
    close, up, down, volume = bars[index].close * factors[0], *factors[1:]
    right = Candle(bars[index].open_ms, close, close * (1 + up), close * (1 - down), close, volume, synthetic)
    window = FeatureWindow()
    for bar in bars[:bars_seen]:
        window.add(bar)
    window.replace(right)
    found = [window.add(bar) for bar in bars[bars_seen:]]
    assert found == answers([*bars[:index], right, *bars[index + 1 :]])[bars_seen:]


def test_a_correction_of_another_minute_changes_nothing_and_nonsense_empties_the_window() -> None:
    bars = list(walk(WINDOW + 2))
    window = FeatureWindow()
    window.replace(bars[0])
    for bar in bars[:-2]:
        window.add(bar)
    for other in (bars[0].open_ms - MINUTE_MS, bars[-2].open_ms, bars[5].open_ms + 1):
        window.replace(bars[5]._replace(open_ms=other, volume=99.0))
    assert window.add(bars[-2]) == answers(bars[:-1])[-1]
    with pytest.raises(MarketDataError, match="is no bar"):
        window.replace(bars[9]._replace(close=math.nan))
    assert window.add(bars[-1]) is None


_PRICE = st.floats(min_value=5e-324, max_value=1.7e308)


@st.composite
def _bar_values(draw: st.DrawFn) -> tuple[float, float, float, float, float]:
    low, one, other, high = sorted(draw(st.tuples(_PRICE, _PRICE, _PRICE, _PRICE)))
    open_, close = draw(st.permutations([one, other]))
    return open_, high, low, close, draw(st.floats(min_value=0, max_value=1.7e308))


@given(st.lists(_bar_values(), min_size=1, max_size=12), st.integers(0, 40_000_000))
def test_every_number_is_finite_on_any_valid_bars(
    values: list[tuple[float, float, float, float, float]], minute: int
) -> None:
    bars = [Candle((minute + n) * MINUTE_MS, *values[n % len(values)]) for n in range(WINDOW + 3)]
    for features in answers(bars)[WINDOW - 1 :]:
        assert {name for name, value in named(features).items() if not math.isfinite(value)} == OPTIONAL_FEATURES


STEPS = 5


def sequence_of(rows: Rows, count: int = STEPS) -> bytes:
    return b"".join(struct.pack(f"<{len(FEATURES)}d", *row) for row in [*rows.values()][-count:])


def test_a_sequence_is_the_rows_of_the_newest_bars_and_none_before_there_are_enough() -> None:
    told = stream(WINDOW + STEPS)
    window = FeatureWindow(STEPS)
    rows: Rows = {}
    for bar in told.bars:
        row = window.add(bar)
        if row is not None:
            rows[bar.open_ms] = row
        assert window.sequence == (sequence_of(rows) if len(rows) >= STEPS else b"")
    window.add(told.bars[-1]._replace(open_ms=told.bars[-1].close_ms, synthetic=True))
    assert window.sequence == b"", "a bar among them has no features"


@pytest.mark.parametrize("late", ["bar", "context", "altdata"])
def test_what_comes_late_or_is_corrected_changes_the_sequence_from_its_time_on(late: str) -> None:
    told = stream(3 * WINDOW)
    window = FeatureWindow(STEPS)
    right = told.bars[-3]._replace(volume=1234.0, synthetic=False)
    if late == "bar":
        play(window, told)
        assert window.sequence
        window.replace(right)
        expected = replace(told, bars=[*told.bars[:-3], right, *told.bars[-2:]])
    elif late == "context":
        play(window, replace(told, context=told.context[:-4]))
        assert window.sequence
        for bar in told.context[-4:]:
            window.add_context(bar)
        expected = told
    else:
        data = AltData("ETH", "sentiment", 0.75, "test", 0, told.bars[-3].open_ms, 2**53)
        play(window, told)
        assert window.sequence
        window.add_altdata(data)
        expected = replace(told, altdata=sorted([*told.altdata, data], key=lambda data: data.fetched_ms))
    assert window.sequence == sequence_of(play(FeatureWindow(), expected))


def test_a_value_counts_from_its_fetch_until_it_expires_and_no_older_one_takes_its_place() -> None:
    told = stream(WINDOW + 30)
    first = told.bars[WINDOW].open_ms
    values = [
        AltData("ETH", "funding_rate", 0.1, "a", 0, first + 1, first + 99 * MINUTE_MS),
        AltData("ETH", "funding_rate", 0.2, "b", 0, first + 5 * MINUTE_MS, first + 10 * MINUTE_MS),
        AltData("", "sentiment", -0.5, "c", 0, first + 5 * MINUTE_MS + 1, 2**53),
        AltData("ETH", "nobody knows", 1.0, "d", 0, first, 2**53),
        AltData("ETH", "news_count", math.inf, "e", 0, first, 2**53),
    ]
    rows = play(FeatureWindow(), replace(told, altdata=values))
    found = [named(row) for row in rows.values()][1:]  # from `first` on
    rates = [row["funding_rate"] for row in found]
    assert math.isnan(rates[0])
    assert rates[1:5] == [0.1] * 4
    assert rates[5:9] == [0.2] * 4
    assert all(map(math.isnan, rates[9:])), "expired when the bar closed"
    assert [row["market_sentiment"] for row in found[6:]] == [-0.5] * (len(found) - 6)
    assert all(math.isnan(row["sentiment"]) and math.isnan(row["news_count"]) for row in found)
    np.testing.assert_allclose([*vectorised(replace(told, altdata=values)).values()][-1], [*rows.values()][-1])


def test_what_is_no_bar_of_the_context_is_refused_and_leaves_its_minute_missing() -> None:
    told = stream(WINDOW)
    window = FeatureWindow()
    play(window, replace(told, bars=[]))
    with pytest.raises(MarketDataError, match="is no bar of context"):
        window.add_context(told.context[-9]._replace(high=math.nan))
    (row,) = play(window, Stream(told.bars)).values()
    assert math.isnan(named(row)["context_return_1"])


def test_a_flow_that_cannot_be_is_missing() -> None:
    told = stream(WINDOW)
    nonsense = told.bars[-1]._replace(buy_volume=-1.0, trades=math.inf, spread=-0.1, imbalance=1.5)
    for rows in (play, lambda _window, told: vectorised(told)):
        (row,) = rows(FeatureWindow(), replace(told, bars=[*told.bars[:-1], nonsense])).values()
        for name in ("flow_imbalance", "flow_imbalance_10", "trades_log", "spread", "book_imbalance"):
            assert math.isnan(named(row)[name]), name
