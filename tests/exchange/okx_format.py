"""OKX's words for markets, trades, bars and books."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from tests.exchange.market import SymbolMarket
from tests.exchange.model import Bar, DayTicker, Instrument, Level, Trade, text

CHECKED_LEVELS = 25


def market_id(rules: Instrument) -> str:
    return f"{rules.base}-{rules.quote}"


def levels(rows: Iterable[Level]) -> list[list[str]]:
    """Price, amount, a field that is always 0, and the number of orders."""
    return [[text(price), text(amount), "0", "1" if amount else "0"] for price, amount in rows]


def checksum(bids: list[Level], asks: list[Level]) -> int:
    """CRC-32 of the best 25 levels, a bid and an ask by turns, as a signed number of 32 bits."""
    parts: list[str] = []
    for pair in zip_longest(bids[:CHECKED_LEVELS], asks[:CHECKED_LEVELS]):
        parts += [f"{text(level[0])}:{text(level[1])}" for level in pair if level is not None]
    number = zlib.crc32(":".join(parts).encode())
    return number - (1 << 32) if number >= 1 << 31 else number


def instrument(state: SymbolMarket) -> dict[str, Any]:
    rules = state.instrument
    return {
        "instType": "SPOT",
        "instId": market_id(rules),
        "baseCcy": rules.base,
        "quoteCcy": rules.quote,
        "settleCcy": "",
        "category": "1",
        "lever": "",
        "listTime": "1548133413000",
        "expTime": "",
        "tickSz": text(rules.tick),
        "lotSz": text(rules.step),
        "minSz": text(rules.min_amount),
        "maxLmtSz": text(rules.max_amount),
        "maxMktSz": "1000000",
        "state": "live" if state.status == "trading" else "suspend",
        "uly": "",
    }


def single_trades(trade: Trade, rules: Instrument) -> list[dict[str, Any]]:
    """The trades with two makers that one of the market stands for; ids grow by one."""
    first = rules.step if trade.amount > rules.step else trade.amount / 2
    amounts, ids = (first, trade.amount - first), (2 * trade.id - 1, 2 * trade.id)
    return [
        {**_trade(trade, rules), "tradeId": str(number), "sz": text(amount)}
        for number, amount in zip(ids, amounts, strict=True)
    ]


def streamed_trade(trade: Trade, rules: Instrument) -> dict[str, Any]:
    """The same together, with the id of the last and how many they are."""
    count = len(single_trades(trade, rules))
    return {**_trade(trade, rules), "tradeId": str(2 * trade.id), "sz": text(trade.amount), "count": str(count)}


def _trade(trade: Trade, rules: Instrument) -> dict[str, Any]:
    return {"instId": market_id(rules), "px": text(trade.price), "side": trade.side, "ts": str(trade.time_ms)}


def candle(bar: Bar, *, closed: bool) -> list[str]:
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.cost, bar.cost)
    return [str(bar.open_ms), *(text(number) for number in numbers), "1" if closed else "0"]


def ticker(day: DayTicker, rules: Instrument) -> dict[str, Any]:
    values: dict[str, Decimal] = {
        "last": day.last,
        "lastSz": rules.step,
        "askPx": day.ask[0],
        "askSz": day.ask[1],
        "bidPx": day.bid[0],
        "bidSz": day.bid[1],
        "open24h": day.open,
        "high24h": day.high,
        "low24h": day.low,
        "volCcy24h": day.cost,
        "vol24h": day.volume,
        "sodUtc0": day.open,
        "sodUtc8": day.open,
    }
    shown = {name: text(value) for name, value in values.items()}
    return {"instType": "SPOT", "instId": market_id(rules), **shown, "ts": str(day.time_ms)}
