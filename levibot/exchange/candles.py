"""One-minute bars by REST, page by page: each once, none left out, never the one that is forming."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from levibot.errors import MalformedAnswerError
from levibot.exchange.session import DEADLINE_S, ExchangeSession
from levibot.exchange.validation import read_ohlcv
from levibot.market.bars import MINUTE_MS, Candle

_SETTLE_MS = 2_000  # an exchange may add to a bar just after its end, and the clocks differ a little
_PAGE_DEADLINE_S = 10.0
_FEW_MS = 100 * MINUTE_MS  # so few bars are answered as fast as anything: who recovers must not wait longer
_DAY_MS = 1440 * MINUTE_MS


def closed_until_ms(now_ms: int) -> int:
    """Opening time of the first bar that is not surely closed at `now_ms`, the exchange's time."""
    return (now_ms - _SETTLE_MS) // MINUTE_MS * MINUTE_MS


async def candle_pages(
    session: ExchangeSession, symbol: str, from_ms: int, until_ms: int
) -> AsyncIterator[list[Candle]]:
    """Bars that open from `from_ms` up to, and without, `until_ms`; oldest first.

    Each page begins with the last bar of the one before, which must be there and be the same: a page that
    was cut off, or answers another question, is asked for again.

    Parameters
    ----------
    session
        Open.
    symbol
        Canonical.
    from_ms, until_ms
        Whole minutes, Unix ms. With `until_ms` after `closed_until_ms` the forming bar would be among them.

    Yields
    ------
    list of Candle
        A page of bars that were not in a page before; it may be empty where the exchange has none.

    Raises
    ------
    RetryError, BackOffError
        If a page cannot be had now, after three attempts.
    ExchangeRefusedError
        If there is no such symbol.
    """
    length_ms = session.quirks.ohlcv_page * MINUTE_MS
    start_ms, last = _first_ms(session, from_ms), None
    while start_ms < until_ms:
        end_ms = min(start_ms + length_ms, until_ms)
        page = await _page(session, symbol, start_ms, end_ms, last)
        fresh = page if last is None else page[1:]
        yield fresh
        short = bool(fresh) and fresh[-1].close_ms < end_ms
        if fresh and (short or end_ms < until_ms):
            last = fresh[-1]  # of a short page, ask again from there: only then is the rest known to be a hole
            start_ms = last.open_ms
        else:
            last, start_ms = None, end_ms


async def fetch_candles(session: ExchangeSession, symbol: str, from_ms: int, until_ms: int) -> list[Candle]:
    """All pages of `candle_pages` together."""
    return [candle async for page in candle_pages(session, symbol, from_ms, until_ms) for candle in page]


async def first_day_ms(session: ExchangeSession, symbol: str, from_ms: int, until_ms: int) -> int | None:
    """Start of the first day with data from `from_ms` on, from bars of a day: years before a listing cost little.

    Returns
    -------
    int or None
        Unix ms, a whole day of UTC; None if there is none until `until_ms`.

    Raises
    ------
    RetryError, BackOffError, ExchangeRefusedError
        As `candle_pages`.
    """
    start_ms, count = from_ms // _DAY_MS * _DAY_MS, session.quirks.ohlcv_page
    if "1d" not in (session.exchange.timeframes or {}):
        return start_ms
    while start_ms < until_ms:
        end_ms = min(start_ms + count * _DAY_MS, until_ms)
        request = _request(symbol, "1d", start_ms, count, end_ms - 1)
        days = await session.read(request, lambda rows: read_ohlcv(rows, f"days of {symbol}"), _PAGE_DEADLINE_S)
        # a day of this exchange may begin at another hour than 00:00 UTC, so up to a day before
        found = [day.open_ms for day in days if start_ms - _DAY_MS < day.open_ms < end_ms]
        if found:
            return max(start_ms, found[0] // _DAY_MS * _DAY_MS)
        start_ms = end_ms
    return None


def _first_ms(session: ExchangeSession, from_ms: int) -> int:
    depth = session.quirks.ohlcv_depth
    if depth is None:
        return from_ms
    return max(from_ms, closed_until_ms(session.exchange_ms()) - (depth - 1) * MINUTE_MS)


async def _page(
    session: ExchangeSession, symbol: str, start_ms: int, end_ms: int, last: Candle | None
) -> list[Candle]:
    what = f"bars of {symbol} from {start_ms}"

    def check(rows: Any) -> list[Candle]:
        page = [candle for candle in read_ohlcv(rows, what) if start_ms <= candle.open_ms < end_ms]
        if last is not None and (not page or page[0] != last):
            found = page[0] if page else "no bar"
            raise MalformedAnswerError(f"{what}: the page begins with {found}, expected {last} again")
        return page

    deadline_s = DEADLINE_S if end_ms - start_ms <= _FEW_MS else _PAGE_DEADLINE_S
    return await session.read(
        _request(symbol, "1m", start_ms, session.quirks.ohlcv_page, end_ms - 1), check, deadline_s
    )


def _request(symbol: str, timeframe: str, since_ms: int, limit: int, until_ms: int) -> Any:
    return lambda exchange: exchange.fetch_ohlcv(symbol, timeframe, since_ms, limit, {"until": until_ms})
