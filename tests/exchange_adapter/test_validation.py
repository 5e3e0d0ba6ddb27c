"""Answers are checked: rows of None, text in place of numbers, crossed books, times that are none."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.errors import MalformedAnswerError
from levibot.exchange.validation import read_book, read_ohlcv, read_time, read_trades

NOW = 1_760_000_040_000


def bar(minute: int = 0, **changes: Any) -> list[Any]:
    fields = {"t": NOW + minute * 60_000, "o": 10.0, "h": 12.0, "l": 9.0, "c": 11.0, "v": 5.0, **changes}
    return list(fields.values())


def test_bars_are_sorted_and_each_minute_comes_once() -> None:
    bars = read_ohlcv([bar(1), bar(0), bar(1)], "bars")
    assert [candle.open_ms for candle in bars] == [NOW, NOW + 60_000]
    assert bars[0][:6] == (NOW, 10.0, 12.0, 9.0, 11.0, 5.0)


@pytest.mark.parametrize(
    "rows",
    [
        None,
        {"code": 429},
        "<html>",
        [[None] * 6],
        ["<", "h"],
        [bar()[:5]],
        [bar(o="10.0")],
        [bar(c=float("nan"))],
        [bar(v=True)],
        [bar(t=NOW + 1)],
        [bar(t=NOW // 1000)],
        [bar(h=8.0)],
        [bar(o=13.0)],
        [bar(l=0)],
        [bar(v=-1)],
        [bar(), bar(c=10.5)],
    ],
)
def test_what_is_no_bar_refuses_the_answer(rows: Any) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^bars"):
        read_ohlcv(rows, "bars")


def trade(**changes: Any) -> dict[str, Any]:
    return {"id": "7", "timestamp": NOW, "side": "buy", "price": 10.0, "amount": 0.5, **changes}


def test_trades_keep_the_exchanges_order_and_its_ids_where_it_has_some() -> None:
    found = [trade(timestamp=NOW + 5), trade(id="8")]
    assert [t.event_ms for t in read_trades(found, "trades", with_ids=True)] == [NOW + 5, NOW]
    assert [t.id for t in read_trades(found, "trades", with_ids=True)] == ["7", "8"]
    assert [t.id for t in read_trades(found, "trades", with_ids=False)] == [None, None]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"timestamp": None},
        {"timestamp": "now"},
        {"side": "BUY"},
        {"price": None},
        {"price": 0.0},
        {"amount": -1.0},
        {"amount": float("inf")},
    ],
)
def test_what_is_no_trade_refuses_the_answer(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^trades"):
        read_trades([trade(), trade(**changes)], "trades", with_ids=True)


def test_a_book_is_read_with_its_nonce() -> None:
    book = read_book({"bids": [[9, 1, 3], [8, 2]], "asks": [[10, 1]], "nonce": 5, "timestamp": NOW}, "book")
    assert book.bids == [(9.0, 1.0), (8.0, 2.0)]
    assert (book.asks, book.nonce, book.event_ms) == ([(10.0, 1.0)], 5, NOW)


@pytest.mark.parametrize(
    "book",
    [
        None,
        {},
        {"bids": None, "asks": []},
        {"bids": [[9, 1]], "asks": [[9, 1]]},
        {"bids": [[8, 1], [9, 1]], "asks": []},
        {"bids": [], "asks": [[10, 1], [10, 2]]},
        {"bids": [[None, None]], "asks": []},
        {"bids": [[9, 0]], "asks": []},
        {"bids": ["<html>"], "asks": []},
    ],
)
def test_a_crossed_or_unsorted_book_is_refused(book: Any) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^book"):
        read_book(book, "book")


@pytest.mark.parametrize("found", [None, "1760000040000", NOW // 1000, float("nan"), True])
def test_a_time_is_in_milliseconds(found: Any) -> None:
    assert read_time(NOW) == NOW
    with pytest.raises(MalformedAnswerError, match="server time"):
        read_time(found)
