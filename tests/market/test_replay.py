"""A replay begins when all have their history, plays the file and nothing else, and says when it ends."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest

from levibot.config_market import FeedConfig
from levibot.errors import ConfigError, MarketDataError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import COLUMNS, read_candles
from levibot.market.path import Ended, Quote
from levibot.market.recording import Opening
from levibot.market.replay import ReplayRecording
from levibot.market.source import open_recording
from tests.market.real_data import real_data

TEN = [f"{base}/USDT" for base in ["BTC", "ETH", "SOL", "BNB", "XRP", "LTC", "ADA", "AVAX", "DOGE", "LINK"]]


def write(path: Path, first: int, count: int) -> None:
    rows = [f"{minute * MINUTE_MS},5.5,7.25,4,6,1" for minute in range(first, first + count)]
    path.write_text("\n".join([",".join(COLUMNS), *rows]), encoding="utf-8")


def test_ten_real_symbols_begin_together_with_full_history() -> None:
    recording = ReplayRecording(real_data("candles", "binance-um-2025-05"), None, 1500)
    begin = recording.begin_ms(TEN)
    assert begin == 1_748_169_300_000 + 1500 * MINUTE_MS  # DOGE begins last
    for symbol in TEN:
        market = recording.open(symbol, Opening(begin, 1500, 120, 15_000.0))
        assert len(market.history) == 1500
        assert market.history[-1].close_ms == begin


def test_a_replay_plays_exactly_the_bars_of_its_file_with_ticks_inside_them() -> None:
    folder = real_data("candles", "binance-spot-2023-03")
    table = read_candles(folder / "BTCUSDT-1m.csv.gz")
    recording = ReplayRecording(folder, table.open_ms[2000], 1500)
    market = recording.open("BTC/USDT", Opening(table.open_ms[2000], 1500, 120, None))
    items = list(islice(market.stream, 500))
    assert all(before[0] <= after[0] for before, after in pairwise(items))
    bars = [item for _, item in items if isinstance(item, Candle)]
    assert bars == list(islice(table.from_index(2000), 100))
    for number, bar in enumerate(bars):
        quotes = [item for _, item in items[number * 5 : number * 5 + 4]]
        prices = [quote.last for quote in quotes if isinstance(quote, Quote)]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
        assert sum(quote.volume for quote in quotes if isinstance(quote, Quote)) == pytest.approx(bar.volume)


def test_the_end_is_told_once_and_a_start_after_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "BTCUSDT-1m.csv", 100, 10)
    recording = ReplayRecording(tmp_path, None, 4)
    assert recording.begin_ms(["BTC/USDT", "ETH/USDT"]) == 104 * MINUTE_MS
    market = recording.open("BTC/USDT", Opening(104 * MINUTE_MS, 4, 120, 60_000.0))
    items = list(market.stream)
    assert items[-1] == (110 * MINUTE_MS, Ended(110 * MINUTE_MS))
    assert sum(isinstance(item, Ended) for _, item in items) == 1
    assert sum(isinstance(item, Candle) for _, item in items) == 6
    with pytest.raises(MarketDataError, match="set \\[feed\\] start earlier"):
        recording.open("BTC/USDT", Opening(110 * MINUTE_MS, 4, 120, 60_000.0))
    with pytest.raises(MarketDataError, match=r"no data of ETH/USDT; expected a file such as ETHUSDT-1m\.csv\.gz"):
        recording.open("ETH/USDT", Opening(0, 4, 120, None))


def test_steps_come_from_the_data_where_the_market_is_unknown(tmp_path: Path) -> None:
    write(tmp_path / "XYZEUR.csv", 100, 10)
    spec = ReplayRecording(tmp_path, None, 4).open("XYZ/EUR", Opening(0, 4, 120, None)).spec
    assert str(spec.price_tick) == "0.01"
    assert spec.can_short is False


def test_the_configuration_chooses_the_source(tmp_path: Path) -> None:
    write(tmp_path / "BTCUSDT-1m.csv", 100, 10)
    config = FeedConfig(source="replay", path=tmp_path, start="1970-01-01T01:45:00Z", history_bars=4)
    assert open_recording(config).begin_ms(["BTC/USDT"]) == 105 * MINUTE_MS
    with pytest.raises(ConfigError, match="is no recording"):
        open_recording(config, "mexc")
    with pytest.raises(ConfigError, match="expected a UTC time such as"):
        open_recording(FeedConfig(start="yesterday"))
