"""All own trades since a moment: however many, whichever end an exchange cuts off, and however long ago."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.errors import MalformedAnswerError
from levibot.exchange.own_trades import fetch_order_trades, fetch_since
from levibot.exchange.private import PrivateTrading
from levibot.exchange.private_quirks import PrivateQuirks
from levibot.exchange.trading import OwnTrade
from tests.exchange.accounts import OrderRequest
from tests.exchange.server import Exchange
from tests.exchange_adapter.trading import SYMBOL, Account

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
ONE = Decimal(1)


def trade(number: int, event_ms: int, order: str = "1") -> OwnTrade:
    return OwnTrade(str(number), order, SYMBOL, "buy", ONE, ONE, Decimal(0), "", False, event_ms)


class Server:
    """Own trades behind pages, cut off at either end; a time must not be longer than it allows."""

    def __init__(self, trades: list[OwnTrade], page: int, cuts: str, window_ms: int | None) -> None:
        self.trades = sorted(trades, key=lambda row: row.event_ms)
        self.page, self.cuts, self.window_ms = page, cuts, window_ms
        self.asked = 0

    async def ask(self, since_ms: int | None, until_ms: int | None) -> list[OwnTrade]:
        self.asked += 1
        if since_ms is None:
            return self.trades[-self.page :]
        end_ms = NOW_MS + DAY_MS if until_ms is None else until_ms
        if self.window_ms is not None:
            assert end_ms - since_ms <= self.window_ms or until_ms is None
            end_ms = min(end_ms, since_ms + self.window_ms)
        found = [row for row in self.trades if since_ms <= row.event_ms <= end_ms]
        return found[: self.page] if self.cuts == "newest" else found[-self.page :]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(NOW_MS - 10 * DAY_MS, NOW_MS), max_size=80, unique=True),
    st.sampled_from(["newest", "oldest"]),
    st.sampled_from([None, DAY_MS, 7 * DAY_MS]),
    st.booleans(),
    st.integers(0, 10 * DAY_MS),
)
def test_nothing_is_missing_and_nothing_twice(
    times: list[int], cuts: str, window_ms: int | None, newest: bool, ago_ms: int
) -> None:
    server = Server([trade(n, ms) for n, ms in enumerate(times)], 10, cuts, window_ms)
    quirks = PrivateQuirks(trades_page=10, trades_window_ms=window_ms, newest_trades=newest)
    found = asyncio.run(fetch_since(server.ask, NOW_MS - ago_ms, NOW_MS, quirks))
    assert found == [row for row in server.trades if row.event_ms >= NOW_MS - ago_ms]


def test_a_long_time_with_few_trades_takes_one_request() -> None:
    server = Server([trade(1, NOW_MS - 20 * DAY_MS)], 10, "newest", DAY_MS)
    quirks = PrivateQuirks(trades_page=10, trades_window_ms=DAY_MS, newest_trades=True)
    assert len(asyncio.run(fetch_since(server.ask, NOW_MS - 30 * DAY_MS, NOW_MS, quirks))) == 1
    assert server.asked == 1


def test_more_trades_in_a_millisecond_than_fit_are_an_error_and_no_loop() -> None:
    server = Server([trade(n, NOW_MS - 5) for n in range(11)], 10, "newest", None)
    with pytest.raises(MalformedAnswerError, match="no way to ask for the rest"):
        asyncio.run(fetch_since(server.ask, NOW_MS - 10, NOW_MS, PrivateQuirks(trades_page=10)))


def test_of_one_order_the_rest_is_asked_for_by_number() -> None:
    rows = [trade(n, NOW_MS + n // 3) for n in range(1, 26)]

    async def ask(since_ms: int | None, params: Any) -> list[OwnTrade]:
        assert since_ms is None
        start = params.get("fromId")
        return rows[-10:] if start is None else [row for row in rows if int(row.trade_id) >= start][:10]

    quirks = PrivateQuirks(trades_page=10, trades_by_order=True, trades_from_id=True)
    assert asyncio.run(fetch_order_trades(ask, NOW_MS, quirks)) == rows
    with pytest.raises(MalformedAnswerError, match="no way to ask"):
        asyncio.run(fetch_order_trades(_always(rows[:10]), NOW_MS, PrivateQuirks(trades_page=10)))


def _always(rows: list[OwnTrade]) -> Any:
    async def ask(since_ms: int | None, params: Any) -> list[OwnTrade]:
        return rows

    return ask


def test_pages_of_a_real_dialect_add_up(account: Account) -> None:
    """More fills than MEXC's page holds, days after the first of them was asked for."""
    owner = account.exchange.exchange.accounts[0]

    def buy(exchange: Exchange) -> None:
        for _ in range(130):
            exchange.matching.place(owner, OrderRequest(SYMBOL, "buy", "market", Decimal("0.0001")))
            exchange.matching.place(owner, OrderRequest(SYMBOL, "sell", "market", Decimal("0.0001")))

    account.exchange.run(buy)

    async def scenario(trading: PrivateTrading) -> None:
        for ago_ms in (60_000, 3 * DAY_MS):
            found = await trading.trades(SYMBOL, trading.exchange_ms() - ago_ms)
            assert len(found) == len({row.trade_id for row in found}) == len(owner.fills) > 250
            assert sum(row.fee for row in found) == sum(fill.fee for fill in owner.fills)

    account.play(scenario)
