"""Lines that are lost, and symbols that fail alone: who is told, and how soon it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from levibot.clock import boot_seconds
from levibot.exchange.session import ExchangeSession
from levibot.exchange.validation import BookSnapshot
from levibot.market.live.backoff import DialBudget
from levibot.market.live.switchboard import Listeners, Switchboard
from tests.exchange.settings import DialectName
from tests.market_live.conftest import OTHER, SYMBOL, Memory, Place, connected, serving, until

CUTS: dict[str, Callable[[Place], object]] = {
    "close": lambda place: place.exchange.arm("close", "STREAM *", times=1),
    "reset": lambda place: place.exchange.drop_connections(),
    "malformed": lambda place: place.exchange.arm("malformed", "STREAM *", times=1),
    "no pong": lambda place: place.exchange.arm("no_pong", "PING", only_open=True),
}


@pytest.fixture(params=["binance", pytest.param("mexc", marks=pytest.mark.long)])
def dialect(request: pytest.FixtureRequest) -> DialectName:
    """Both, but in the short run, where what this file shows does not depend on it."""
    name: DialectName = request.param
    return name


@pytest.mark.parametrize("cut", CUTS)
def test_a_lost_line_is_told_once_to_each_symbol_and_dialled_again(place: Place, cut: str) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL, OTHER) as (board, memories):
            await until(lambda: all(memory.frames for memory in memories.values()), "trades")
            CUTS[cut](place)
            await until(lambda: all(memory.lost for memory in memories.values()), "the loss to be told")
            await until(lambda: all(memory.restored == 2 for memory in memories.values()), "both to be restored")
            had = {symbol: len(memory.frames) for symbol, memory in memories.items()}
            await until(lambda: all(len(m.frames) > had[s] for s, m in memories.items()), "trades again")
            assert (board.connections, board.dials, board.reconnects) == (1, 2, 1)
            assert all(memory.told == ["restored", "lost", "restored"] for memory in memories.values())

    place.play(scenario)
    assert place.opened() == 2


def test_while_the_exchange_refuses_connections_one_loss_is_told_and_then_it_is_restored(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL) as (board, memories):
            begun = boot_seconds()
            place.exchange.arm("refuse")
            await until(lambda: board.dials >= 4, "three dials in vain")
            assert boot_seconds() - begun > 1.75, "0.5, 1, 2 s after each other, by chance up to half sooner"
            place.exchange.clear()
            await until(lambda: memories[SYMBOL].restored == 2, "it to be restored")
            assert memories[SYMBOL].told == ["restored", "lost", "restored"]

    place.play(scenario)


def test_an_exchange_that_cannot_be_reached_at_first_is_told_once(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        place.exchange.arm("refuse")
        board, memory = Switchboard(session), Memory()
        try:
            board.connect(SYMBOL, memory)
            await until(lambda: board.dials >= 2, "a second dial")
            assert memory.told == ["lost"]
            place.exchange.clear()
            await until(lambda: memory.restored, "it to work")
        finally:
            await board.close()

    place.play(scenario)


def test_connections_that_are_dropped_at_once_do_not_exceed_the_budget(place: Place) -> None:
    lost: list[str] = []

    async def scenario(session: ExchangeSession) -> None:
        place.exchange.arm("accept_then_drop", "DIAL *")
        board = Switchboard(session, Listeners(lost=lambda _, reason: lost.append(reason)), DialBudget(3, 60.0))
        try:
            board.connect(SYMBOL, Memory())
            await until(lambda: len(lost) == 3, "three losses")
            await asyncio.sleep(2.5)  # the next one is allowed after a minute, and would come after 2 s
            assert board.dials == 3
        finally:
            await board.close()

    place.play(scenario)
    assert len(place.exchange.log.streamed("fault", "*")) == 3


def test_a_refused_subscription_concerns_its_symbol_alone(place: Place) -> None:
    """On Binance many are asked for in one message, and the refusal names none of them."""

    async def scenario(session: ExchangeSession) -> None:
        fault = place.exchange.arm("refuse_subscription", symbol=SYMBOL, times=2)
        async with connected(session, SYMBOL, OTHER) as (_, memories):
            assert fault.struck == 2
            assert not memories[OTHER].lost
            assert len(memories[SYMBOL].lost) <= 1
            await until(
                lambda: all(memory.frames and memory.books for memory in memories.values()), "all to go on"
            )

    place.play(scenario)


@pytest.mark.parametrize("stream", ["trades", "book", "quote"])
def test_a_subscription_that_is_not_answered_is_made_again_elsewhere(place: Place, stream: str) -> None:
    if place.dialect == "mexc" and stream == "quote":
        stream = "trades"  # there is none of its own; once more is no harm
    renewed: list[tuple[str, str]] = []

    async def scenario(session: ExchangeSession) -> None:
        pattern = f"SUBSCRIBE {place.stream(stream)}"
        place.exchange.arm("ignore_subscription", pattern, symbol=SYMBOL, times=1)
        board = Switchboard(session, Listeners(renewed=lambda symbol, reason: renewed.append((symbol, reason))))
        memory = Memory()
        try:
            board.connect(SYMBOL, memory)
            await until(lambda: memory.restored, "it to be restored")
            assert len(memory.lost) == 1
            assert stream in memory.lost[0]
        finally:
            await board.close()

    place.play(scenario)
    assert [symbol for symbol, _ in renewed] == [SYMBOL]


def test_a_symbol_that_is_renewed_leaves_its_neighbour_alone(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL, OTHER) as (board, memories):
            place.exchange.arm("silent", f"STREAM {place.stream('trades')}", symbol=SYMBOL, only_open=True)
            await asyncio.sleep(0.2)
            silent = len(memories[SYMBOL].frames)
            board.renew(SYMBOL, "trades are missing")
            board.renew(SYMBOL, "asked twice")
            await until(lambda: memories[SYMBOL].restored == 2, "it to be restored")
            await until(lambda: len(memories[SYMBOL].frames) > silent + 3, "trades again")
            assert memories[SYMBOL].told == ["restored", "lost", "restored"]
            assert memories[SYMBOL].lost == ["trades are missing"]
            assert memories[OTHER].told == ["restored"]
            assert board.connections == 2

    place.play(scenario)
    truth = place.exchange.journal.trades[OTHER]
    assert len(truth) > 5


def test_symbols_that_leave_a_dead_line_together_share_one_dial(tmp_path: Path, dialect: DialectName) -> None:
    symbols = tuple(f"T{number}/USDT" for number in range(12))

    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, *symbols) as (board, memories):
            lines = board.connections
            for symbol in symbols:
                board.renew(symbol, "nothing comes")
            await until(lambda: all(memories[symbol].restored == 2 for symbol in symbols), "all to be restored")
            assert board.dials == 2 * lines

    with serving(tmp_path, dialect=dialect, symbols=symbols, trades_per_s=1.0) as place:
        place.play(scenario)


def test_a_book_that_falls_silent_is_noticed_by_what_the_best_prices_say(tmp_path: Path) -> None:
    """Not on MEXC, whose best prices are those of the book."""

    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL, OTHER) as (_, memories):
            await until(lambda: memories[SYMBOL].books and memories[SYMBOL].quotes, "a book and best prices")
            place.exchange.arm("silent", f"STREAM {place.stream('book')}", symbol=SYMBOL, only_open=True)
            await until(lambda: memories[SYMBOL].restored == 2, "it to be restored")
            assert "book stream is silent" in memories[SYMBOL].lost[0]
            assert not memories[OTHER].lost

    with serving(tmp_path, dialect="binance", trades_per_s=20.0) as place:
        place.play(scenario)


@pytest.mark.parametrize(("fault", "said"), [("crossed_book", "a bid below the ask"), ("drop_frame", "")])
def test_a_book_that_is_wrong_is_taken_anew(place: Place, fault: str, said: str) -> None:
    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, SYMBOL, OTHER) as (_, memories):
            memory = memories[SYMBOL]
            await until(lambda: len(memory.books) > 8, "books whose updates have followed each other")
            place.exchange.arm(fault, f"STREAM {place.stream('book')}", symbol=SYMBOL, times=1)
            await until(lambda: memory.restored == 2, "it to be restored")
            assert len(memory.malformed) == 1
            assert said in memory.malformed[0]
            had = len(memory.books)
            await until(lambda: len(memory.books) > had + 3, "books again")
            assert not memories[OTHER].lost

    place.play(scenario)


def test_a_book_whose_snapshot_cannot_be_had_costs_the_trades_nothing(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        place.exchange.arm("status", "GET *depth", status=503, times=3)
        async with connected(session, SYMBOL) as (board, memories):
            await until(lambda: len(memories[SYMBOL].frames) > 5, "trades")
            await until(lambda: memories[SYMBOL].books, "the book")
            assert not memories[SYMBOL].lost
            assert board.dials == 1

    place.play(scenario)


def test_lines_are_replaced_before_the_exchange_ends_them(tmp_path: Path, dialect: DialectName) -> None:
    replaced: list[str] = []

    async def scenario(session: ExchangeSession) -> dict[str, Memory]:
        session.quirks = replace(session.quirks, connection_life_s=3.0)
        board = Switchboard(session, Listeners(replaced=replaced.extend))
        memories = {symbol: Memory() for symbol in (SYMBOL, OTHER)}
        try:
            for symbol, memory in memories.items():
                board.connect(symbol, memory)
            await until(lambda: len(replaced) >= 4, "both to be replaced twice")
            await until(
                lambda: (board.connections, board.dials) == (1, 1 + len(replaced) // 2), "the old line to end"
            )
            assert board.reconnects == 0
        finally:
            await board.close()
        return memories

    with serving(tmp_path, dialect=dialect, trades_per_s=20.0, life_s=5.0) as place:
        memories = place.play(scenario)
        for symbol, memory in memories.items():
            assert memory.told == ["restored"]
            heard = {(trade.event_ms, trade.price, trade.amount) for trade in memory.trades}
            truth = [(t.time_ms, float(t.price), float(t.amount)) for t in place.exchange.journal.trades[symbol]]
            begin, end = truth.index(min(heard)), truth.index(max(heard))
            assert set(truth[begin : end + 1]) <= heard


def test_a_symbol_that_does_not_come_on_the_new_line_stays_on_the_old_one(place: Place) -> None:
    replaced: list[str] = []

    async def scenario(session: ExchangeSession) -> None:
        session.quirks = replace(session.quirks, connection_life_s=1.0)
        board = Switchboard(session, Listeners(replaced=replaced.extend))
        memories = {symbol: Memory() for symbol in (SYMBOL, OTHER)}
        try:
            place.exchange.arm("refuse_subscription", f"SUBSCRIBE {place.stream('trades')}", symbol=SYMBOL, skip=1)
            for symbol, memory in memories.items():
                board.connect(symbol, memory)
            await until(lambda: OTHER in replaced, "the other one to be taken over")
            had = {symbol: len(memory.frames) for symbol, memory in memories.items()}
            await until(lambda: all(len(m.frames) > had[s] + 5 for s, m in memories.items()), "trades of both")
            assert SYMBOL not in replaced
            assert [memory.told for memory in memories.values()] == [["restored"], ["restored"]]
        finally:
            await board.close()

    place.play(scenario)


def test_a_dial_that_hangs_is_given_up(place: Place) -> None:
    async def scenario(session: ExchangeSession) -> None:
        place.exchange.arm("hang", "DIAL *", times=1)
        async with connected(session, SYMBOL) as (board, memories):
            assert memories[SYMBOL].told == ["lost", "restored"]
            assert "no connection within" in memories[SYMBOL].lost[0]
            assert board.dials == 2

    place.play(scenario)


def test_a_mistake_in_a_receiver_is_reported_and_ends_no_connection(place: Place) -> None:
    class Clumsy(Memory):
        def on_book(self, book: BookSnapshot, received_ns: int) -> None:
            super().on_book(book, received_ns)
            if len(self.books) == 1:
                raise ValueError("a mistake")

    reported: list[str] = []

    async def scenario(session: ExchangeSession) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
        board, clumsy, other = Switchboard(session), Clumsy(), Memory()
        try:
            board.connect(SYMBOL, clumsy)
            board.connect(OTHER, other)
            await until(lambda: len(clumsy.books) > 3, "it to go on")
            assert len(clumsy.lost) == 1
            assert not other.lost
        finally:
            await board.close()

    place.play(scenario)
    assert reported == ["a mistake"]


def test_many_lines_that_carry_little_become_few(
    tmp_path: Path, dialect: DialectName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("levibot.market.live.switchboard.HEALTHY_S", 1.0)
    symbols = tuple(f"A{number}/USDT" for number in range(6))

    async def scenario(session: ExchangeSession) -> None:
        async with connected(session, *symbols) as (board, memories):
            for lines, symbol in enumerate(symbols[1:], 2):
                board.renew(symbol, "a test")
                await until(lambda lines=lines: board.connections == lines, "a line of its own")  # type: ignore[misc]
            await until(lambda: board.connections == 6, "a line for each")
            await until(lambda: board.connections <= 2, "few lines")  # one may have been too young
            assert [len(memories[symbol].lost) for symbol in symbols] == [0, 1, 1, 1, 1, 1]
            had = {symbol: len(memory.books) for symbol, memory in memories.items()}
            await until(lambda: all(len(m.books) > had[s] for s, m in memories.items()), "all books to go on")

    with serving(tmp_path, dialect=dialect, symbols=symbols) as place:
        place.play(scenario)


def test_a_symbol_whose_frames_always_end_the_connection_does_not_take_its_neighbour_with_it_for_ever(
    place: Place,
) -> None:
    ended: list[list[str]] = []

    async def scenario(session: ExchangeSession) -> None:
        place.exchange.arm("malformed", f"STREAM {place.stream('trades')}", symbol=SYMBOL)
        board = Switchboard(session, Listeners(lost=lambda symbols, _: ended.append(list(symbols))))
        memories = {symbol: Memory() for symbol in (SYMBOL, OTHER)}
        try:
            for symbol, memory in memories.items():
                board.connect(symbol, memory)
            await until(lambda: ended.count([SYMBOL]) == 1, "it to be lost alone")
            await until(lambda: memories[OTHER].told[-1:] == ["restored"], "the other one to be restored")
            had = len(memories[OTHER].frames)
            await until(lambda: len(memories[OTHER].frames) > had + 5, "its trades")
        finally:
            await board.close()

    place.play(scenario)
    assert ended[:2] == [[SYMBOL, OTHER], [SYMBOL, OTHER]]
    assert [OTHER] not in ended
