"""Answers checked before anything is believed: ccxt hands on rows of None, and pages of HTML, without a word."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from levibot.exchange.failures import raise_malformed
from levibot.market.bars import MINUTE_MS, Candle

_FIRST_MS, _LAST_MS = 1_230_768_000_000, 4_102_444_800_000  # 2009 to 2100: whatever else is no time in ms


class PublicTrade(NamedTuple):
    """One trade of the market."""

    id: str | None  # None where the exchange gives none
    event_ms: int
    side: Literal["buy", "sell"] | None  # of the taker
    price: float
    amount: float


class BookSnapshot(NamedTuple):
    """An order book at one moment, best first."""

    bids: list[tuple[float, float]]  # price, base amount
    asks: list[tuple[float, float]]
    event_ms: int | None
    nonce: int | None  # of the exchange's updates; None where it gives none


def read_time(found: Any) -> int:
    """The exchange's time, Unix ms; `MalformedAnswerError` if it is none."""
    return _time("server time", found)


def read_ohlcv(rows: Any, what: str) -> list[Candle]:
    """Bars in order of time, each minute once.

    Parameters
    ----------
    rows
        What `fetch_ohlcv` returned; the order is the exchange's.
    what
        What was asked for, for the error.

    Raises
    ------
    MalformedAnswerError
        If a row is no bar, or two rows of one minute differ.
    """
    if not isinstance(rows, list):
        raise_malformed(what, rows, "a list of bars")
    by_time: dict[int, Candle] = {}
    for row in rows:
        candle = _candle(row, what)
        if by_time.setdefault(candle.open_ms, candle) != candle:
            raise_malformed(what, row, f"the same as {list(by_time[candle.open_ms][:6])}, of the same minute")
    return [by_time[open_ms] for open_ms in sorted(by_time)]


def read_trades(found: Any, what: str, *, with_ids: bool) -> list[PublicTrade]:
    """Trades in the order of the exchange.

    Parameters
    ----------
    found
        What `fetch_trades` returned, or what a stream holds.
    what
        What was asked for, for the error.
    with_ids
        `Quirks.trade_ids`: where the exchange gives none, ccxt may make some up that are not unique.

    Raises
    ------
    MalformedAnswerError
        If one of them is none.
    """
    if not isinstance(found, list):
        raise_malformed(what, found, "a list of trades")
    return [read_trade(trade, what, with_ids=with_ids) for trade in found]


def read_trade(trade: Any, what: str, *, with_ids: bool) -> PublicTrade:
    """One trade as ccxt gives it, by REST or by stream; the parameters are those of `read_trades`.

    Raises
    ------
    MalformedAnswerError
        If it is none.
    """
    if not isinstance(trade, dict):
        raise_malformed(what, trade, "a trade")
    side, trade_id = trade.get("side"), trade.get("id") if with_ids else None
    if side not in ("buy", "sell", None):
        raise_malformed(f"{what} side", side, "buy or sell")
    if with_ids and (not isinstance(trade_id, str) or not trade_id):
        raise_malformed(f"{what} id", trade_id, "a text")
    return PublicTrade(
        trade_id,
        _time(f"{what} timestamp", trade.get("timestamp")),
        side,
        _positive(f"{what} price", trade.get("price")),
        _positive(f"{what} amount", trade.get("amount")),
    )


def read_book(found: Any, what: str) -> BookSnapshot:
    """An order book whose levels are sorted and do not cross.

    Raises
    ------
    MalformedAnswerError
        If a level is none, they are out of order, or the best bid is not below the best ask.
    """
    if not isinstance(found, dict):
        raise_malformed(what, found, "an order book")
    bids, asks = (_levels(f"{what} {side}", found.get(side), side == "bids") for side in ("bids", "asks"))
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise_malformed(what, (bids[0][0], asks[0][0]), "a bid below the ask")
    stamp, nonce = found.get("timestamp"), found.get("nonce")
    return BookSnapshot(
        bids,
        asks,
        None if stamp is None else _time(f"{what} timestamp", stamp),
        nonce if isinstance(nonce, int) else None,
    )


def _candle(row: Any, what: str) -> Candle:
    if not isinstance(row, list | tuple) or len(row) < 6:
        raise_malformed(what, row, "six numbers")
    open_ms = _time(what, row[0])
    open_, high, low, close, volume = (_number(what, value) for value in row[1:6])
    if open_ms % MINUTE_MS:
        raise_malformed(what, open_ms, "a whole minute")
    if not (0 < low <= open_ <= high and low <= close <= high and volume >= 0):
        raise_malformed(what, list(row), "low ≤ open, close ≤ high, all above 0, and a volume of 0 or more")
    return Candle(open_ms, open_, high, low, close, volume)


def _levels(what: str, found: Any, falling: bool) -> list[tuple[float, float]]:
    if not isinstance(found, list):
        raise_malformed(what, found, "a list of levels")
    levels: list[tuple[float, float]] = []
    for row in found:
        if not isinstance(row, list | tuple) or len(row) < 2:
            raise_malformed(what, row, "price and amount")
        level = _positive(what, row[0]), _positive(what, row[1])
        if levels and (level[0] >= levels[-1][0] if falling else level[0] <= levels[-1][0]):
            raise_malformed(what, level, f"a price {'below' if falling else 'above'} {levels[-1][0]}")
        levels.append(level)
    return levels


def _time(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _FIRST_MS < value < _LAST_MS:
        raise_malformed(what, value, "a time in Unix ms")
    return int(value)


def _positive(what: str, value: Any) -> float:
    number = _number(what, value)
    if number <= 0:
        raise_malformed(what, value, "a number above 0")
    return number


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise_malformed(what, value, "a finite number")
    return float(value)
