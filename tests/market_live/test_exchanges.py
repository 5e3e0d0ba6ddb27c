"""Bybit, OKX and Kraken on the lines of a live feed, and as a live source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot.exchange.quirks import quirks_of
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS
from levibot.market.live.streams import streams_of
from levibot.market.path import Quote, Recovered, Stale, TradeBatch
from levibot.market.states import LIVE
from tests.exchange import kraken_format
from tests.exchange.settings import PUBLIC_ONLY, DialectName
from tests.market_live.conftest import OTHER, SYMBOL, Memory, Place, connected, serving, until
from tests.market_live.test_source import Stage

TRADES = {"bybit": "publicTrade.BTC*", "okx": "trades:BTC*", "kraken": "trade:BTC*"}


@pytest.fixture(params=PUBLIC_ONLY)
def public(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An exchange of each of the three that trades two symbols."""
    # What a drop makes it miss must be in one answer: 60 trades of bybit.
    with serving(tmp_path, dialect=request.param, trades_per_s=8.0) as found:
        yield found


def test_all_that_a_line_carries_comes_and_makes_sense(public: Place) -> None:
    async def scenario(session: ExchangeSession) -> dict[str, Memory]:
        async with connected(session, SYMBOL, OTHER) as (board, memories):
            for memory in memories.values():
                await until(
                    lambda memory=memory: len(memory.trades) >= 20 and len(memory.books) >= 5, "trades, books"
                )
                await until(lambda memory=memory: len(memory.quotes) >= 5, "best prices")
            assert (board.connections, board.reconnects) == (1, 0)
        return memories

    memories = public.play(scenario)
    assert public.opened() == 1
    assert len(public.exchange.log.streamed("subscribe")) == 2 * len(streams_of(quirks_of(public.dialect)))
    for symbol, memory in memories.items():
        heard = [(trade.event_ms, trade.price, trade.amount, trade.side) for trade in memory.trades]
        journal = list(public.exchange.journal.trades[symbol])
        truth = [(trade.time_ms, float(trade.price), float(trade.amount), trade.side) for trade in journal]
        begin = truth.index(heard[0])
        assert heard == truth[begin : begin + len(heard)]
        assert len({trade.id for trade in memory.trades}) == len(heard)
        assert all(len(book.bids) == len(book.asks) == 50 for book in memory.books)
        assert all(0 < bid < ask for bid, ask in memory.quotes)
        assert not memory.malformed
        assert not memory.lost


def test_a_drop_is_told_and_the_streams_come_back(public: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL) as (_, memories):
            memory = memories[SYMBOL]
            await until(lambda: memory.trades and memory.books, "trades and books")
            public.exchange.arm("drop", f"STREAM {TRADES[public.dialect]}", times=1)
            await until(lambda: memory.restored >= 2, "the streams again")
            before = len(memory.trades), len(memory.books)
            await until(lambda: len(memory.trades) > before[0] and len(memory.books) > before[1], "more of both")
            assert memory.told == ["restored", "lost", "restored"]

    public.play(scenario)


def test_a_poisoned_frame_renews_the_streams(public: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL) as (_, memories):
            memory = memories[SYMBOL]
            await until(lambda: memory.trades, "trades")
            fault = public.exchange.arm("malformed", f"STREAM {TRADES[public.dialect]}", times=1)
            await until(lambda: memory.restored >= 2, "the streams again")
            assert fault.struck == 1
            assert memory.lost

    public.play(scenario)


@pytest.mark.parametrize(
    ("dialect", "books", "reason"),
    [("okx", "books:*", "invalid nonce"), ("kraken", "book-100:*", "its checksum is another")],
)
def test_a_missing_update_of_a_book_renews_the_streams(
    tmp_path: Path, dialect: DialectName, books: str, reason: str
) -> None:
    """By OKX's sequence, which ccxt looks at, and Kraken's checksum, which it does not; Bybit has neither."""

    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL) as (_, memories):
            memory = memories[SYMBOL]
            await until(lambda: len(memory.books) >= 3, "books")
            # several, for one that concerns no level under the checksum is missed by nobody
            fault = place.exchange.arm("drop_frame", f"STREAM {books}", every=2)
            await until(lambda: memory.lost, "the hole to be noticed")
            place.exchange.run(lambda exchange: exchange.faults.clear(fault.id))
            await until(lambda: memory.restored >= 2, "the streams again")
            before = len(memory.books)
            await until(lambda: len(memory.books) > before + 3, "books again")
            assert memory.told == ["restored", "lost", "restored"]
            assert reason in memory.lost[0]

    with serving(tmp_path, dialect=dialect, trades_per_s=20.0) as place:
        place.play(scenario)


def test_checksums_that_never_agree_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule of the exchange that has changed must not renew its streams for ever."""
    monkeypatch.setattr(kraken_format, "checksum", lambda *_: 1)

    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL) as (_, memories):
            await until(lambda: len(memories[SYMBOL].books) >= 8, "books")
            assert memories[SYMBOL].told == ["restored"]

    with serving(tmp_path, dialect="kraken", trades_per_s=20.0) as place:
        place.play(scenario)


def test_a_source_reads_what_a_drop_made_it_miss_and_publishes_each_trade_once(public: Place) -> None:
    async def scenario(stage: Stage) -> None:
        opened = [bar.open_ms for bar in (await stage.source.open(SYMBOL)).history]
        assert opened == list(range(opened[0], opened[0] + 100 * MINUTE_MS, MINUTE_MS))
        await stage.begin(SYMBOL, OTHER)
        await until(lambda: len(stage.of(TradeBatch)) > 10, "trades")
        public.exchange.drop_connections()
        await until(lambda: stage.of(Recovered), "recovery")
        assert stage.source.feeds[SYMBOL].state == LIVE
        before = len(stage.of(TradeBatch))
        await until(lambda: len(stage.of(TradeBatch)) > before + 10, "trades again")

    stage = Stage(public)
    stage.play(scenario)
    trades = [trade for batch in stage.of(TradeBatch) for trade in batch.trades]
    published = sorted((trade.event_ms, trade.price, trade.amount) for trade in trades)
    journal = list(public.exchange.journal.trades[SYMBOL])
    truth = sorted((trade.time_ms, float(trade.price), float(trade.amount)) for trade in journal)
    begin = truth.index(published[0])
    assert published == truth[begin : begin + len(published)]
    assert [type(item) for item in stage.of(Stale | Recovered)][:2] == [Stale, Recovered]  # type: ignore[arg-type]
    assert all(quote.bid < quote.ask for quote in stage.of(Quote))
