"""What bars say of takers and of the spread, on recorded trades and quotes: the same from both sources."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from levibot.exchange.validation import PublicTrade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.frames import FrameMarket
from levibot.market.path import Quote
from tests.market.real_data import real_data
from tests.market_live.driven import START_MS, Driven


def frames(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            frame = json.loads(line.partition(" ")[2])
            if "stream" in frame:
                yield frame["stream"].partition("@")[2], frame["data"]


def public(data: dict[str, Any], shift_ms: int) -> PublicTrade:
    side = "sell" if data["m"] else "buy"
    return PublicTrade(str(data["t"]), data["T"] + shift_ms, side, float(data["p"]), float(data["q"]))  # type: ignore[arg-type]


def streamed(path: Path) -> tuple[Driven, int]:
    """A live feed that got the frames one by one, and by how much their times are moved."""
    one, shift_ms = Driven(history=[]), 0
    for kind, data in frames(path):
        if kind == "trade":
            if not shift_ms:
                shift_ms = START_MS - data["T"] // MINUTE_MS * MINUTE_MS
                one.now_ms = data["T"] + shift_ms - START_MS
                one.feed.on_restored()
                one.rest(public(data, shift_ms))
            one.go(max(one.now_ms, data["E"] + shift_ms - START_MS))
            one.trades(public(data, shift_ms))
            if (missed_ms := one.feed.bars_from_ms) is not None:  # the minute that had begun before
                one.feed.add_bars([], missed_ms + MINUTE_MS)
        elif kind == "bookTicker" and shift_ms:
            one.quote(float(data["b"]), float(data["a"]))
    one.go(one.now_ms + 3_000)
    return one, shift_ms


@pytest.mark.parametrize("name", ["btcusdt", "ethusdt"])
def test_bars_divide_the_recorded_trades_into_bought_and_sold_and_both_sources_agree(name: str) -> None:
    path = real_data("frames", "binance-spot-2024-08-08") / f"{name}-20240808.jsonl.gz"
    trades = [public(data, 0) for kind, data in frames(path) if kind == "trade"]
    one, shift_ms = streamed(path)
    live = {bar.open_ms - shift_ms: bar for bar in one.items(Candle)}
    replayed = {bar.open_ms: bar for bar in FrameMarket(path).candles}
    assert len(replayed) == 5
    assert live.keys() >= replayed.keys()
    for open_ms, bar in replayed.items():
        own = [trade for trade in trades if open_ms <= trade.event_ms < open_ms + MINUTE_MS]
        sold = math.fsum(trade.amount for trade in own if trade.side == "sell")
        for found in (bar, live[open_ms]):
            assert found.trades == len(own) > 500
            assert 0 < found.buy_volume < found.volume
            assert found.buy_volume + sold == pytest.approx(found.volume, rel=1e-12)
        assert live[open_ms].buy_volume == pytest.approx(bar.buy_volume, rel=1e-12)
        assert 0 < bar.spread < 1e-4
        ticks = [q for q in one.items(Quote) if open_ms <= q.event_ms - shift_ms < open_ms + MINUTE_MS]
        spreads = [(q.ask - q.bid) / (q.ask + q.bid) * 2 for q in ticks]
        assert live[open_ms].spread == pytest.approx(math.fsum(spreads) / len(spreads), rel=1e-9)
        assert math.isnan(bar.imbalance)
    assert all(b - a == MINUTE_MS for a, b in pairwise(sorted(live)))
