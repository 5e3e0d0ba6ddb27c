"""Streams of several symbols on few connections: what comes, frame by frame, and what is left in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from levibot.config_market import ExchangeConfig
from levibot.exchange.session import ExchangeSession
from levibot.market.live import switchboard as switchboard_module
from levibot.market.live.switchboard import Switchboard
from tests.deadline import wait_for
from tests.exchange.settings import DialectName
from tests.market_live.conftest import OTHER, SYMBOL, Memory, Place, connected, serving, until


def test_trades_come_frame_by_frame_and_none_is_missing(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> Memory:
        async with connected(session, SYMBOL, OTHER) as (board, memories):
            await until(lambda: len(memories[SYMBOL].frames) >= 40, "40 frames of trades")
            assert board.frames > 40
        return memories[SYMBOL]

    memory = place.play(scenario)
    heard = [(trade.event_ms, trade.price, trade.amount, trade.side) for trade in memory.trades]
    truth: list[Any] = [
        (trade.time_ms, float(trade.price), float(trade.amount), "sell" if trade.buyer_is_maker else "buy")
        for trade in place.exchange.journal.trades[SYMBOL]
    ]
    begin = truth.index(heard[0])
    assert heard == truth[begin : begin + len(heard)]
    assert all(len(frame) == 1 for frame in memory.frames), "the exchange sends each trade in a frame of its own"
    assert memory.received_ns == sorted(memory.received_ns)
    assert all((trade.id is None) == (place.dialect == "mexc") for trade in memory.trades)


def test_books_and_best_prices_come_and_make_sense(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> Memory:
        async with connected(session, SYMBOL) as (_, memories):
            memory = memories[SYMBOL]
            await until(lambda: len(memory.books) >= 5 and len(memory.quotes) >= 5, "books and best prices")
        return memory

    memory = place.play(scenario)
    for book in memory.books:
        assert 0 < len(book.bids) <= 50
        assert 0 < len(book.asks) <= 50
        assert book.bids[0][0] < book.asks[0][0]
    assert all(0 < bid < ask for bid, ask in memory.quotes)
    assert not memory.lost
    assert not memory.malformed


def test_all_streams_of_a_line_share_one_connection(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL, OTHER) as (board, memories):
            await until(lambda: all(memory.books for memory in memories.values()), "the books")
            assert (board.connections, board.dials, board.reconnects) == (1, 1, 0)

    place.play(scenario)
    assert place.opened() == 1
    each = 2 if place.dialect == "mexc" else 3
    assert len(place.exchange.log.streamed("subscribe")) == 2 * each


def test_more_symbols_than_one_connection_carries_go_on_two(tmp_path: Path, dialect: DialectName) -> None:
    symbols = tuple(f"A{number}/USDT" for number in range(20))

    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, *symbols) as (board, memories):
            await until(lambda: all(memory.books for memory in memories.values()), "all books")
            assert board.connections == (2 if dialect == "mexc" else 1)

    with serving(tmp_path, dialect=dialect, symbols=symbols, trades_per_s=1.0) as place:
        place.play(scenario)
        on_each = Counter(event.connection for event in place.exchange.log.streamed("subscribe"))
        assert sorted(on_each.values()) == ([10, 30] if dialect == "mexc" else [60])
        assert not place.exchange.log.streamed("refused")


def test_a_symbol_that_is_disconnected_brings_nothing_any_more(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL, OTHER) as (board, memories):
            await until(lambda: memories[SYMBOL].frames, "a trade")
            board.disconnect(SYMBOL)
            had = len(memories[SYMBOL].frames), len(memories[SYMBOL].books)
            other = len(memories[OTHER].frames)
            await until(lambda: len(memories[OTHER].frames) > other + 5, "trades of the other symbol")
            assert (len(memories[SYMBOL].frames), len(memories[SYMBOL].books)) == had
            board.connect(SYMBOL, memories[SYMBOL])
            await until(lambda: len(memories[SYMBOL].frames) > had[0], "trades again")
            board.disconnect(SYMBOL)
            board.disconnect(OTHER)
            await until(lambda: board.connections == 0, "no line without symbols")
            await until(lambda: not place.exchange.exchange.hub.connections, "no socket")

    place.play(scenario)


def test_closing_while_everything_is_under_way_leaves_nothing(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        board = Switchboard(session)
        board.connect(SYMBOL, Memory())
        await asyncio.sleep(0)
        await board.close()
        board = Switchboard(session)
        board.connect(SYMBOL, Memory())
        await until(place.opened, "a dial")
        await board.close()

    place.play(scenario)  # looks for tasks that are left
    wait_for(lambda: not place.exchange.exchange.hub.connections, "no socket to be left")


def test_a_mistake_in_looking_after_lines_is_told_and_they_are_looked_after_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []
    looked: list[int] = []

    def look(_: Switchboard, now_ns: int) -> None:
        looked.append(now_ns)
        if len(looked) == 1:
            raise LookupError("a mistake")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        board = Switchboard(ExchangeSession("binance", ExchangeConfig(), "feed", Path("nowhere")))
        await until(lambda: len(looked) >= 2, "another look")
        await board.close()

    monkeypatch.setattr(switchboard_module, "_CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(Switchboard, "_check_lines", look)
    asyncio.run(scenario())
    assert [str(context["exception"]) for context in told] == ["a mistake"]
