"""Recorded frames become quotes and bars on the exchange's clock; broken lines cost only themselves."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from levibot.errors import MarketDataError
from levibot.market.bars import Candle
from levibot.market.frames import FrameMarket
from levibot.market.path import Quote
from levibot.market.recording import Opening
from tests.market.real_data import real_data


def book(at_ms: int, bid: str = "100.1", ask: str = "100.2") -> str:
    return f'{at_ms * 1_000_000} {{"stream":"btcusdt@bookTicker","data":{{"u":1,"b":"{bid}","a":"{ask}"}}}}'


def trade(at_ms: int, price: str, amount: str, ahead_ms: int = 1000) -> str:
    sent = at_ms + ahead_ms
    return (
        f'{at_ms * 1_000_000} {{"stream":"btcusdt@trade","data":'
        f'{{"e":"trade","E":{sent},"T":{sent - 1},"p":"{price}","q":"{amount}"}}}}'
    )


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_quotes_carry_the_exchanges_time_and_the_trades_volume(tmp_path: Path) -> None:
    path = write(
        tmp_path / "btcusdt.jsonl",
        book(5_000),
        trade(6_000, "100.15", "2.5"),
        '6500000000 {"lastUpdateId":1,"bids":[],"asks":[]}',
        book(7_000, "100.3", "100.4"),
    )
    market = FrameMarket(path)
    assert market.quotes == [Quote(7_000, 100.1, 100.2, 100.15, 2.5), Quote(8_000, 100.3, 100.4, 100.15, 0.0)]
    assert market.warnings == ()


def test_broken_lines_are_skipped_and_counted_by_kind(tmp_path: Path) -> None:
    path = write(
        tmp_path / "btcusdt.jsonl",
        book(5_000),
        "nonsense",
        '6000000000 {"stream":"btcusdt@trade","data":{"p":1}}',
        trade(6_000, "nan", "1"),
        trade(6_000, "100.15", "2.5"),
        book(7_000, "9", "8"),
        '{"stream"',
    )
    market = FrameMarket(path)
    assert len(market.quotes) == 1
    assert [warning.partition(": ")[2] for warning in sorted(market.warnings)] == [
        "a price or amount that is no number above 0, or a bid above its ask; 2 frames skipped",
        "no '<receive time, ns> <JSON frame>' of a known stream; 3 frames skipped",
    ]


def test_a_recording_cut_off_by_a_crash_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    lines = [
        book(5_000),
        *(trade(6_000 + index, f"{100 + index % 97}.5", f"{index % 13 + 1}") for index in range(4000)),
    ]
    whole = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "btcusdt.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    market = FrameMarket(path)
    assert 0 < len(market.quotes) < 4000
    assert any("cut off" in warning for warning in market.warnings)


def test_a_recording_without_prices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="expected both bookTicker and trade frames"):
        FrameMarket(write(tmp_path / "btcusdt.jsonl", book(1)))


@pytest.mark.parametrize(("name", "trades"), [("btcusdt", 9757), ("ethusdt", 6106)])
def test_the_real_recording_gives_every_trade_and_whole_bars_only(name: str, trades: int) -> None:
    market = FrameMarket(real_data("frames", "binance-spot-2024-08-08") / f"{name}-20240808.jsonl.gz")
    assert market.warnings == ()
    assert sum(quote.volume > 0 for quote in market.quotes) == trades
    assert [bar.open_ms for bar in market.candles] == [1_723_161_300_000 + 60_000 * n for n in range(5)]
    opened = market.open("BTC/USDT", Opening(market.begin_ms, 1500, 120, None))
    items = list(opened.stream)
    assert all(before[0] <= after[0] for before, after in pairwise(items))
    last: Quote | None = None
    for at_ms, item in items:
        if isinstance(item, Candle):
            assert at_ms == item.close_ms
            assert last is not None
            assert last.last == item.close  # no trade of the next minute came before the bar was closed
        elif isinstance(item, Quote):
            last = item
    assert not opened.history
