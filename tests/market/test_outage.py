"""The real outage of 24 March 2023, as an engine sees it: 72 empty minutes, then 80 that are missing."""

from __future__ import annotations

from typing import Any

from levibot.bus.codec import FrameDecoder
from levibot.bus.messages import Bar, MarketGap, SnapshotRequest, Tick
from levibot.engine.inputs import HistoryLoaded
from levibot.engine.market_view import MarketView
from levibot.market.bars import MINUTE_MS
from levibot.market.publisher import Publisher
from levibot.market.recording import Opening
from levibot.market.replay import ReplayRecording
from tests.market.real_data import real_data

SYMBOL = "BTC/USDT"
EMPTY_FROM_MS = 1_679_657_280_000  # 2023-03-24 11:28 UTC, first bar without volume
MISSING_FROM_MS = EMPTY_FROM_MS + 72 * MINUTE_MS
BACK_MS = MISSING_FROM_MS + 80 * MINUTE_MS
SECOND_NS = 1_000_000_000


def test_an_engine_opens_nothing_on_empty_nor_on_filled_minutes_and_is_told_of_one_gap() -> None:
    start_ms = EMPTY_FROM_MS - 30 * MINUTE_MS
    market = ReplayRecording(real_data("candles", "binance-spot-2023-03"), start_ms, 500).open(
        SYMBOL, Opening(start_ms, 500, 120, None)
    )
    now_ns = SECOND_NS
    view = MarketView(max_age=30.0, warm_up_bars=50)
    unfit: dict[int, str] = {}  # opening time of a bar → why nothing may be opened when it has closed
    flagged: list[Bar] = []
    gaps: list[MarketGap] = []
    decode = FrameDecoder()

    def receive(data: bytes) -> None:
        message: Any = decode(data)
        match message:
            case Tick():
                view.tick(message, now_ns)
            case Bar():
                view.add(message, now_ns)
                unfit[message.open_ms] = view.unfit(now_ns)
                if message.synthetic:
                    flagged.append(message)
            case MarketGap():
                view.change(message)
                gaps.append(message)

    publisher = Publisher(1, receive, lambda: now_ns, 1500, False)
    publisher.open(SYMBOL, market, start_ms)
    snapshot = publisher.snapshot(SnapshotRequest(1, SYMBOL, 500))
    assert snapshot is not None
    view.load(HistoryLoaded(now_ns, snapshot.spec, snapshot.bars))
    for event_ms, item in market.stream:
        if event_ms > BACK_MS + 5 * MINUTE_MS:
            break
        now_ns += SECOND_NS
        publisher.publish(SYMBOL, event_ms, item)

    assert [(gap.from_ms, gap.missing, gap.filled) for gap in gaps] == [(MISSING_FROM_MS, 80, True)]
    assert [bar.open_ms for bar in flagged] == list(range(EMPTY_FROM_MS, BACK_MS, MINUTE_MS))
    assert all(bar.volume == 0 for bar in flagged)
    assert all(unfit[bar.open_ms] for bar in flagged), "a position could have been opened"
    real = [reason for open_ms, reason in unfit.items() if not EMPTY_FROM_MS <= open_ms < BACK_MS]
    assert len(real) == 30 + 5
    assert set(real) == {""}
