"""A paper position in a swap pays or gets funding, once each eight hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.execution.examples import D, Desk, entry, leave, market, names

SWAP = "BTC/USDT:USDT"


HOUR_MS = 3_600_000


def _swap(path: Path, **changed: Any) -> Desk:
    made = Desk(path, funding_rate=0.001)
    made.markets = [market(SWAP, quote="USDT", can_short=True, **changed)]
    made.exchange.set_market(made.markets[0])
    return made


def test_a_short_is_paid_what_a_long_pays_each_eight_hours_and_never_twice(tmp_path: Path) -> None:
    made = _swap(tmp_path / "swap.sqlite")
    price = {"symbol": SWAP}
    made.price(100.0, event_ms=7 * HOUR_MS, **price)
    made.exchange.submit(entry("2", side="sell", symbol=SWAP))
    cash = made.books.cash
    assert made.price(110.0, event_ms=8 * HOUR_MS, **price) == ["FundingPaid"]
    assert made.books.cash == cash + D("0.22")
    made.restart()
    assert made.price(110.0, event_ms=9 * HOUR_MS, **price) == []
    made.restart()
    assert made.price(100.0, event_ms=25 * HOUR_MS, **price) == ["FundingPaid"], "two that were missed"
    assert made.books.cash == cash + D("0.62")
    assert made.books.position(SWAP).realized_pnl == D("0.62") - D("0.4")
    made.exchange.submit(leave("2", side="buy", symbol=SWAP))
    assert made.price(100.0, event_ms=50 * HOUR_MS, **price) == []
    made.books.close()


def test_what_happens_between_a_restart_and_the_first_price_is_not_of_the_year_1970(tmp_path: Path) -> None:
    made = _swap(tmp_path / "swap.sqlite")
    now_ms = 1_700_000_000_000
    made.price(100.0, symbol=SWAP, event_ms=now_ms)
    made.exchange.submit(entry("2", symbol=SWAP))
    made.exchange.submit(entry("1", symbol=SWAP, kind="limit", limit_price=D(90)))
    (resting,) = [key for key, order in made.books.open.items() if order.intent.role == "entry"]
    cash = made.books.cash
    made.restart()
    made.exchange.cancel(SWAP, resting)
    assert resting not in made.books.open
    assert made.price(100.0, symbol=SWAP, event_ms=now_ms + 1) == []
    assert made.books.cash == cash
    assert made.price(100.0, symbol=SWAP, event_ms=now_ms + 8 * HOUR_MS) == ["FundingPaid"]
    made.books.close()


def test_what_is_written_before_the_first_price_bears_the_time_of_the_books(tmp_path: Path) -> None:
    made = Desk(tmp_path / "swap.sqlite", funding_rate=0.001, latency=0.05)
    made.markets = [market(SWAP, quote="USDT", can_short=True)]
    made.exchange.set_market(made.markets[0])
    now_ms = 1_700_000_000_000
    made.price(100.0, symbol=SWAP, event_ms=now_ms)
    made.exchange.submit(entry("2", symbol=SWAP))
    made.price(100.0, symbol=SWAP, event_ms=now_ms + 50)
    made.exchange.submit(entry("1", symbol=SWAP, kind="limit", limit_price=D(90)))
    (flying,) = made.books.open
    seq = made.books.seq
    made.restart()
    late = entry("1", symbol=SWAP, event_ms=now_ms + 9 * HOUR_MS)
    assert names(made.exchange.submit(late))[-1] == "Denied"
    made.exchange.submit(leave("1", symbol=SWAP, event_ms=now_ms + 9 * HOUR_MS))
    made.exchange.cancel(SWAP, flying)
    made.ahead_ns += 60_000_000
    assert names(made.exchange.on_timer()) == ["Accepted"], "the exit waits for a price"
    assert {event.event_ms for event in made.books.events_since(seq)} == {now_ms + 50}
    told = made.price(100.0, symbol=SWAP, event_ms=now_ms + 9 * HOUR_MS)
    assert told == ["FundingPaid", "Filled"], "an order of later has not settled what was due before it"
    made.books.close()


def test_spot_pays_no_funding(tmp_path: Path) -> None:
    made = Desk(tmp_path / "spot.sqlite", funding_rate=0.001)
    made.price(100.0, event_ms=7 * HOUR_MS)
    made.exchange.submit(entry("2"))
    assert made.price(100.0, event_ms=30 * HOUR_MS) == []
    made.books.close()
