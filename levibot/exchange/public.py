"""What is asked of an exchange to see if its streams tell the truth: newest trades, best prices, last bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from levibot.errors import MalformedAnswerError
from levibot.exchange.failures import raise_malformed
from levibot.exchange.session import ExchangeSession
from levibot.exchange.summing import sum_up
from levibot.exchange.validation import PublicTrade, read_book, read_ohlcv, read_trades
from levibot.market.bars import Candle

_FEW = 2  # so many order books are lighter than one answer about all markets of an exchange
_PROBE_LEVELS = 20  # the fewest that all exchanges offer
_BULK = {"fetch_bids_asks": "fetchBidsAsks", "fetch_tickers": "fetchTickers"}  # method → ccxt's word for having it


async def recent_trades(session: ExchangeSession, symbol: str) -> list[PublicTrade]:
    """The newest public trades, as many as one answer holds, as the stream tells of them; oldest first.

    Raises
    ------
    RetryError, BackOffError, ExchangeRefusedError
        If they cannot be had now, or there is no such symbol.
    """
    quirks, what = session.quirks, f"trades of {symbol}"

    def check(found: Any) -> list[PublicTrade]:
        trades = read_trades(found, what, with_ids=quirks.trade_ids)
        if quirks.sums_trades:
            trades = sum_up(trades)
        return sorted(trades, key=lambda trade: trade.event_ms)  # stable: the exchange's order within a moment

    return await session.read(lambda exchange: exchange.fetch_trades(symbol, None, quirks.trades_page), check)


async def best_prices(session: ExchangeSession, symbols: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Best bid and ask of some symbols, in one request if they are more than a few.

    Returns
    -------
    dict
        Symbol → bid, ask; a symbol that has none at the moment is left out.

    Raises
    ------
    RetryError, BackOffError, ExchangeRefusedError
        If they cannot be had now.
    """
    exchange = session.exchange
    bulk = next((name for name, has in _BULK.items() if exchange.has.get(has) is True), None)
    if len(symbols) > _FEW and bulk is not None:
        return await session.read(
            lambda exchange: getattr(exchange, bulk)(list(symbols)), lambda found: _prices(found, symbols)
        )
    prices = {}
    for symbol in symbols:
        top = await _top(session, symbol)
        if top is not None:
            prices[symbol] = top
    return prices


async def newest_bars(session: ExchangeSession, symbol: str, from_ms: int) -> list[Candle]:
    """One-minute bars from `from_ms` on, the one that is forming among them.

    Raises
    ------
    RetryError, BackOffError, ExchangeRefusedError
        If they cannot be had now.
    """
    what = f"bars of {symbol} from {from_ms}"
    return await session.read(
        lambda exchange: exchange.fetch_ohlcv(symbol, "1m", from_ms, session.quirks.ohlcv_page),
        lambda rows: [candle for candle in read_ohlcv(rows, what) if candle.open_ms >= from_ms],
    )


async def knock(session: ExchangeSession) -> None:
    """Ask the lightest question that the exchange knows; then the session's `reach` tells whether it answers.

    Raises
    ------
    RetryError, BackOffError
        If it does not, or may not be asked.
    """
    if session.exchange.has.get("fetchTime"):
        await session.call("data", lambda exchange: exchange.fetch_time())
    else:
        symbol = next(iter(session.markets))
        await session.call("data", lambda exchange: exchange.fetch_order_book(symbol, _PROBE_LEVELS))


async def _top(session: ExchangeSession, symbol: str) -> tuple[float, float] | None:
    book = await session.read(
        lambda exchange: exchange.fetch_order_book(symbol, _PROBE_LEVELS),
        lambda found: read_book(found, f"order book of {symbol}"),
    )
    return (book.bids[0][0], book.asks[0][0]) if book.bids and book.asks else None


def _prices(found: Any, symbols: Sequence[str]) -> dict[str, tuple[float, float]]:
    if not isinstance(found, Mapping):
        raise_malformed("best prices", found, "a table by symbol")
    prices = {}
    for symbol in symbols:
        ticker = found.get(symbol)
        if ticker is None:
            continue
        if not isinstance(ticker, Mapping):
            raise_malformed(f"best prices of {symbol}", ticker, "bid and ask")
        bid, ask = ticker.get("bid"), ticker.get("ask")
        if bid is None or ask is None:
            continue
        if not (_is_price(bid) and _is_price(ask)):
            raise MalformedAnswerError(f"best prices of {symbol}: {bid!r} and {ask!r}, expected numbers above 0")
        prices[symbol] = float(bid), float(ask)
    return prices


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
