"""Day files: whole or not at all, of one exchange, and read like any other candles."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest

from levibot.errors import ConfigError, MarketDataError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candle_days import DAY_MS, CandleDays
from levibot.market.candles import CANDLE_SUFFIXES, COLUMNS, find_file, first_open_ms, read_candles

DAY = 19_844 * DAY_MS  # 2024-05-01
ASKED = DAY + 5 * DAY_MS


def bars(from_ms: int, count: int) -> list[Candle]:
    return [Candle(from_ms + i * MINUTE_MS, 10.0, 12.0, 9.0, 11.0, float(i)) for i in range(count)]


@pytest.fixture
def days(tmp_path: Path) -> CandleDays:
    return CandleDays(tmp_path, "mexc", "BTC/USDT")


def test_a_day_is_one_file_that_says_how_far_it_is_complete(days: CandleDays, tmp_path: Path) -> None:
    assert days.path(DAY) == tmp_path / "BTC-USDT" / "BTC-USDT-1m-2024-05-01.parquet"
    assert days.complete_until_ms(DAY) is None
    days.write(DAY, bars(DAY, 3), DAY + 5 * MINUTE_MS, ASKED)
    assert days.complete_until_ms(DAY) == DAY + 5 * MINUTE_MS
    assert [path.name for path in days.folder.iterdir()] == ["BTC-USDT-1m-2024-05-01.parquet"]


def test_polars_and_the_reader_of_replays_see_the_same(days: CandleDays, tmp_path: Path) -> None:
    days.write(DAY, bars(DAY, 1440), DAY + DAY_MS, ASKED)
    days.write(DAY + DAY_MS, [], DAY + 2 * DAY_MS, ASKED)
    days.write(DAY + 2 * DAY_MS, bars(DAY + 2 * DAY_MS, 10), DAY + 3 * DAY_MS, ASKED)
    expected = [*bars(DAY, 1440), *bars(DAY + 2 * DAY_MS, 10)]
    found = find_file(tmp_path, "BTC/USDT", CANDLE_SUFFIXES)
    assert found == days.folder
    assert list(read_candles(found).from_index(0)) == expected
    assert first_open_ms(found) == DAY
    frame = polars.read_parquet(days.folder / "*.parquet")
    assert tuple(frame.columns) == COLUMNS
    assert frame.rows() == [tuple(candle[:6]) for candle in expected]
    span = days.times(DAY + MINUTE_MS, DAY + 2 * DAY_MS + 2 * MINUTE_MS)
    assert [ms for ms, _ in span] == [c.open_ms for c in expected[1:1442]]


def test_a_day_says_when_it_was_asked_for_and_whether_it_has_holes(days: CandleDays) -> None:
    assert days.asked_ms(DAY) is None
    days.write(DAY, bars(DAY, 3), DAY + DAY_MS, ASKED)
    assert days.asked_ms(DAY) == ASKED
    assert days.has_holes(DAY, DAY + DAY_MS)
    assert not days.has_holes(DAY, DAY + 3 * MINUTE_MS)


def test_bars_that_are_not_told_again_stay_and_the_newer_answer_wins(days: CandleDays) -> None:
    days.write(DAY, bars(DAY, 10), DAY + 10 * MINUTE_MS, ASKED)
    newer = [bar._replace(close=10.5) for bar in bars(DAY + 8 * MINUTE_MS, 5)]
    days.write(DAY, newer, DAY + 13 * MINUTE_MS, ASKED)
    assert list(read_candles(days.folder).from_index(0)) == [*bars(DAY, 8), *newer]


def test_what_is_cut_off_or_of_somebody_else_counts_as_missing(days: CandleDays) -> None:
    days.write(DAY, bars(DAY, 100), DAY + DAY_MS, ASKED)
    whole = days.path(DAY).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"PAR1" + bytes(50)):
        days.path(DAY).write_bytes(content)
        assert days.complete_until_ms(DAY) is None
    polars.DataFrame({"timestamp": [1]}).write_parquet(days.path(DAY))
    assert days.complete_until_ms(DAY) is None


def test_damage_between_a_good_beginning_and_a_good_end_counts_as_missing_too(days: CandleDays) -> None:
    days.write(DAY, bars(DAY, 1440), DAY + DAY_MS, ASKED)
    whole = bytearray(days.path(DAY).read_bytes())
    whole[100:120] = bytes(20)
    days.path(DAY).write_bytes(whole)
    assert days.complete_until_ms(DAY) is None
    assert list(days.times(DAY, DAY + DAY_MS)) == []
    days.write(DAY, bars(DAY, 1440), DAY + DAY_MS, ASKED)
    assert list(read_candles(days.folder).from_index(0)) == bars(DAY, 1440)


def test_two_exchanges_are_never_mixed(days: CandleDays, tmp_path: Path) -> None:
    days.write(DAY, bars(DAY, 3), DAY + DAY_MS, ASKED)
    with pytest.raises(ConfigError, match="holds candles of mexc, not of binance; name another folder"):
        CandleDays(tmp_path, "binance", "BTC/USDT").complete_until_ms(DAY)


def test_a_file_beside_the_folder_leaves_open_which_is_meant(days: CandleDays, tmp_path: Path) -> None:
    days.write(DAY, bars(DAY, 3), DAY + DAY_MS, ASKED)
    (tmp_path / "BTCUSDT-1m.csv").write_text("")
    assert find_file(tmp_path, "ETH/USDT", CANDLE_SUFFIXES) is None
    (tmp_path / "BTC-USDT-1m.csv").write_text("")
    with pytest.raises(MarketDataError, match="leave one of them"):
        find_file(tmp_path, "BTC/USDT", CANDLE_SUFFIXES)


def test_days_that_overlap_are_refused_with_the_file(days: CandleDays) -> None:
    days.write(DAY, bars(DAY, 1440), DAY + DAY_MS, ASKED)
    days.write(DAY + DAY_MS, bars(DAY + DAY_MS - MINUTE_MS, 10), DAY + 2 * DAY_MS, ASKED)
    with pytest.raises(MarketDataError, match=r"2024-05-02\.parquet:1: timestamp \d+ twice"):
        read_candles(days.folder)
