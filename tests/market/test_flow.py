"""Of trades each comes out once and in order, of books the latest; what was lost is counted."""

from __future__ import annotations

import pytest

from levibot.bus.codec import BOOK, TICK, TRADES, encode, frame
from levibot.bus.messages import Book, Trade, Trades
from levibot.market.flow import FlowStream
from tests.engine.scene import SYMBOL, make_tick


class Flow:
    """A stream that wants both, and what it refused."""

    def __init__(self, *, trades: bool = True, books: bool = True) -> None:
        self.refused: list[str] = []
        self.stream = FlowStream(SYMBOL, trades=trades, books=books, refuse=self.refused.append)

    def trades(self, *places: tuple[int, int]) -> list[tuple[int, int]]:
        """Trades with these epochs and numbers come; which of them are given."""
        for epoch, seq in places:
            self.stream.take(frame(TRADES, SYMBOL, make_trades(seq, epoch=epoch)))
        return [(message.epoch, message.seq) for message in self.stream.release()]

    def book(self, seq: int, *, epoch: int = 1) -> None:
        book = Book(SYMBOL, epoch, seq, seq, 0, [(99.0, 1.0)], [(101.0, float(seq))])
        self.stream.take(frame(BOOK, SYMBOL, book))

    def books(self) -> list[int]:
        return [book.seq for book in self.stream.release()]


def make_trades(seq: int, *, epoch: int = 1, symbol: str = SYMBOL, price: float = 100.0) -> Trades:
    return Trades(symbol, epoch, seq, seq, 0, [Trade(f"{seq}", seq, "buy", price, 1.0)])


def test_each_once_in_order_and_losses_counted() -> None:
    flow = Flow()
    assert flow.trades(*((1, seq) for seq in (5, 6, 6, 5, 9, 8, 10))) == [(1, 5), (1, 6), (1, 9), (1, 10)]
    assert flow.trades() == []
    assert flow.stream.dropped == 2


def test_a_feed_that_starts_again_counts_anew_and_the_old_one_is_not_heard_any_more() -> None:
    flow = Flow()
    assert flow.trades((1, 7), (2, 1), (1, 8), (2, 2)) == [(1, 7), (2, 1), (2, 2)]
    assert flow.stream.dropped == 0


def test_of_books_the_latest_is_given_once() -> None:
    flow = Flow()
    for seq in (1, 2, 3, 2):
        flow.book(seq)
    assert flow.books() == [3]
    assert flow.books() == []
    flow.book(6)
    assert flow.books() == [6]
    assert flow.stream.dropped == 2


def test_it_owns_only_what_is_wanted() -> None:
    trades, book = frame(TRADES, SYMBOL, make_trades(1)), BOOK + SYMBOL.encode() + b"\0"
    assert Flow().stream.owns(trades)
    assert not Flow().stream.owns(frame(TICK, SYMBOL, make_tick(1)))
    assert not Flow(trades=False).stream.owns(trades)
    assert not Flow(books=False).stream.owns(book)
    assert Flow(trades=False).stream.topics == (book,)


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"",
        encode(make_tick(1)),
        encode(make_trades(1, symbol="ETH/USDT")),
        encode(make_trades(1, price=float("nan"))),
        encode(make_trades(1, price=-1.0)),
    ],
)
def test_junk_is_refused_and_changes_nothing(body: bytes) -> None:
    flow = Flow()
    flow.stream.take(TRADES + SYMBOL.encode() + b"\0" + body)
    flow.stream.take(BOOK + SYMBOL.encode() + b"\0" + body)
    assert len(flow.refused) == 2
    assert flow.trades((1, 1)) == [(1, 1)]
