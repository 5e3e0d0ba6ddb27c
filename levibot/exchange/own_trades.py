"""All own trades since a moment, though one answer holds only so many, and nobody says which if there are more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from levibot.errors import MalformedAnswerError
from levibot.exchange.private_quirks import PrivateQuirks
from levibot.exchange.trading import OwnTrade

# Asks for own trades from a moment on (None: the newest) to another, inclusive (None: until now).
Ask = Callable[[int | None, int | None], Awaitable[list[OwnTrade]]]
# Asks for own trades of one order from a moment on (None: all), with further parameters.
AskOrder = Callable[[int | None, Mapping[str, Any]], Awaitable[list[OwnTrade]]]


async def fetch_since(ask: Ask, since_ms: int, now_ms: int, quirks: PrivateQuirks) -> list[OwnTrade]:
    """All trades from `since_ms` on, oldest first.

    A full answer is cut off, at one end or at the other: its time is halved until all of it is in one answer.

    Parameters
    ----------
    ask
        Sends one request.
    since_ms, now_ms
        The exchange's time, Unix ms.
    quirks
        Of this exchange.

    Raises
    ------
    MalformedAnswerError
        If there are more trades in one millisecond than an answer holds.
    """
    window_ms = quirks.trades_window_ms or max(1, now_ms - since_ms)
    if quirks.newest_trades and now_ms - since_ms > window_ms:
        newest = await ask(None, None)
        if len(newest) < quirks.trades_page or newest[0].event_ms < since_ms:
            return [trade for trade in newest if trade.event_ms >= since_ms]
    found: dict[str, OwnTrade] = {}
    starts = list(range(since_ms, max(now_ms, since_ms + 1), window_ms))
    for start_ms in starts:
        until_ms = None if start_ms == starts[-1] else start_ms + window_ms - 1
        for trade in await _fetch_window(ask, start_ms, until_ms, now_ms, quirks.trades_page):
            found[trade.trade_id] = trade
    return sorted(found.values(), key=lambda trade: trade.event_ms)


async def _fetch_window(ask: Ask, since_ms: int, until_ms: int | None, now_ms: int, page: int) -> list[OwnTrade]:
    found = await ask(since_ms, until_ms)
    if len(found) < page:
        return found
    end_ms = max(now_ms, since_ms + 1, *(trade.event_ms for trade in found)) if until_ms is None else until_ms
    if end_ms <= since_ms:
        raise MalformedAnswerError(
            f"own trades: {page} of them or more at {since_ms}, and no way to ask for the rest"
        )
    middle_ms = (since_ms + end_ms) // 2
    earlier = await _fetch_window(ask, since_ms, middle_ms, now_ms, page)
    return earlier + await _fetch_window(ask, middle_ms + 1, until_ms, now_ms, page)


async def fetch_order_trades(ask: AskOrder, since_ms: int, quirks: PrivateQuirks) -> list[OwnTrade]:
    """All trades of one order, oldest first.

    Parameters
    ----------
    ask
        Sends one request.
    since_ms
        A time before the order was made, the exchange's, Unix ms.
    quirks
        Of this exchange, which can be asked for the trades of one order.

    Raises
    ------
    MalformedAnswerError
        If there are more than an answer holds, and the exchange has no way to ask for the rest.
    """
    first = await ask(None if quirks.trades_from_id else since_ms, {})
    if len(first) < quirks.trades_page:
        return first
    if not quirks.trades_from_id:
        raise MalformedAnswerError(
            f"own trades: {len(first)} of one order or more, and no way to ask for the rest"
        )
    found: dict[str, OwnTrade] = {}
    next_id = 0
    while True:
        rows = await ask(None, {"fromId": next_id})
        found |= {trade.trade_id: trade for trade in rows}
        if len(rows) < quirks.trades_page:
            return sorted(found.values(), key=lambda trade: trade.event_ms)
        next_id = max(int(trade.trade_id) for trade in rows) + 1
