"""Kraken's words for markets, trades, bars and books; by request and by its WebSocket v2 they differ."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from tests.exchange.market import SymbolMarket
from tests.exchange.model import Bar, DayTicker, Instrument, Level, Trade, text

ALTERNATIVES = {"BTC": "XBT", "DOGE": "XDG"}
OLD = ("XBT", "ETH", "XRP", "LTC", "XDG", "XLM")
"""Names of assets that requests write with an X before them."""
CHECKED_LEVELS = 10


def alternative(asset: str) -> str:
    return ALTERNATIVES.get(asset, asset)


def base(asset: str) -> str:
    name = alternative(asset)
    return f"X{name}" if name in OLD else name


def market_id(rules: Instrument) -> str:
    return f"{alternative(rules.base)}{rules.quote}"


def places(step: Decimal) -> int:
    """Decimal places of a step."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}000Z"


def asset(name: str) -> dict[str, Any]:
    alt = name[1:] if name[1:] in OLD else name
    return {"aclass": "currency", "altname": alt, "decimals": 10, "display_decimals": 5, "status": "enabled"}


def pair(state: SymbolMarket) -> dict[str, Any]:
    rules = state.instrument
    return {
        "altname": market_id(rules),
        "wsname": f"{alternative(rules.base)}/{rules.quote}",
        "aclass_base": "currency",
        "base": base(rules.base),
        "aclass_quote": "currency",
        "quote": rules.quote,
        "lot": "unit",
        "cost_decimals": 8,
        "pair_decimals": places(rules.tick),
        "lot_decimals": places(rules.step),
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4], [10_000, 0.35]],
        "fees_maker": [[0, 0.25], [10_000, 0.2]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": text(rules.min_amount),
        "costmin": text(rules.min_cost),
        "tick_size": text(rules.tick),
        "status": "online" if state.status == "trading" else "cancel_only",
    }


def candle(bar: Bar) -> list[Any]:
    mean = bar.cost / bar.volume if bar.volume else Decimal(0)
    prices = [text(value) for value in (bar.open, bar.high, bar.low, bar.close, round(mean, 8))]
    return [bar.open_ms // 1000, *prices, text(bar.volume), bar.trades]


def levels(rows: Iterable[Level], time_s: int) -> list[list[Any]]:
    return [[text(price), text(amount), time_s] for price, amount in rows]


def asked_trade(trade: Trade) -> list[Any]:
    side = "s" if trade.buyer_is_maker else "b"
    return [text(trade.price), text(trade.amount), trade.time_ms / 1000, side, "m", "", trade.id]


def ticker(day: DayTicker, rules: Instrument) -> dict[str, Any]:
    (bid, bid_amount), (ask, ask_amount) = day.bid, day.ask
    mean = text(round(day.cost / day.volume if day.volume else day.last, 8))
    return {
        "a": [text(ask), str(int(ask_amount)), text(ask_amount)],
        "b": [text(bid), str(int(bid_amount)), text(bid_amount)],
        "c": [text(day.last), text(rules.step)],
        "v": [text(day.volume), text(day.volume)],
        "p": [mean, mean],
        "t": [day.trades, day.trades],
        "l": [text(day.low), text(day.low)],
        "h": [text(day.high), text(day.high)],
        "o": text(day.open),
    }


# ---------------------------------------------------------------------- WebSocket v2, where numbers are numbers


def streamed_levels(rows: Iterable[Level], rules: Instrument) -> list[dict[str, Any]]:
    """Numbers with all their decimal places, which the checksum is made of."""
    return [{"price": _number(price, rules.tick), "qty": _number(amount, rules.step)} for price, amount in rows]


def _number(value: Decimal, step: Decimal) -> orjson.Fragment:
    return orjson.Fragment(f"{value:.{places(step)}f}")


def checksum(bids: list[Level], asks: list[Level], rules: Instrument) -> int:
    """CRC-32 of the best ten asks, then bids: digits of price and amount, without point and leading zeros."""

    def digits(value: Decimal, step: Decimal) -> str:
        return f"{value:.{places(step)}f}".replace(".", "").lstrip("0")

    rows = (*asks[:CHECKED_LEVELS], *bids[:CHECKED_LEVELS])
    shown = "".join(digits(price, rules.tick) + digits(amount, rules.step) for price, amount in rows)
    return zlib.crc32(shown.encode())


def streamed_trade(trade: Trade) -> dict[str, Any]:
    return {
        "symbol": trade.symbol,
        "side": trade.side,
        "price": float(trade.price),
        "qty": float(trade.amount),
        "ord_type": "market",
        "trade_id": trade.id,
        "timestamp": iso(trade.time_ms),
    }


def streamed_ticker(day: DayTicker) -> dict[str, Any]:
    change = day.last - day.open
    return {
        "symbol": day.symbol,
        "bid": float(day.bid[0]),
        "bid_qty": float(day.bid[1]),
        "ask": float(day.ask[0]),
        "ask_qty": float(day.ask[1]),
        "last": float(day.last),
        "volume": float(day.volume),
        "vwap": float(day.cost / day.volume if day.volume else day.last),
        "low": float(day.low),
        "high": float(day.high),
        "change": float(change),
        "change_pct": round(float(change / day.open * 100), 2),
    }


def streamed_candle(symbol: str, bar: Bar) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "open": float(bar.open),
        "high": float(bar.high),
        "low": float(bar.low),
        "close": float(bar.close),
        "trades": bar.trades,
        "volume": float(bar.volume),
        "vwap": float(bar.cost / bar.volume) if bar.volume else 0.0,
        "interval_begin": iso(bar.open_ms),
        "interval": 1,
        "timestamp": iso(bar.close_ms + 1),
    }
