"""Shapes that the REST interfaces of Binance and MEXC share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.exchange.accounts import Order
from tests.exchange.model import DayTicker, Level, Trade, text

TYPES = {
    "LIMIT": "limit",
    "MARKET": "market",
    "LIMIT_MAKER": "post_only",
    "STOP_LOSS": "stop_loss",
    "STOP_LOSS_LIMIT": "stop_loss_limit",
    "TAKE_PROFIT": "take_profit",
    "TAKE_PROFIT_LIMIT": "take_profit_limit",
}
TYPE_NAMES = {ours: theirs for theirs, ours in TYPES.items()}


def levels(rows: list[Level] | tuple[Level, ...]) -> list[list[str]]:
    return [[text(price), text(amount)] for price, amount in rows]


def trade(trade: Trade, trade_id: int | None) -> dict[str, Any]:
    return {
        "id": trade_id,
        "price": text(trade.price),
        "qty": text(trade.amount),
        "quoteQty": text(trade.price * trade.amount),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregate_id(trade_id: int) -> int:
    """The number of an aggregate is not that of its trades."""
    return trade_id + 40_000_000


def aggregate(trade: Trade, trade_id: int | None) -> dict[str, Any]:
    """One trade as an aggregate; here every trade is an aggregate of its own, with a number of its own."""
    return {
        "a": None if trade_id is None else aggregate_id(trade_id),
        "f": trade_id,
        "l": trade_id,
        "p": text(trade.price),
        "q": text(trade.amount),
        "T": trade.time_ms,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def day_ticker(ticker: DayTicker, market_id: str) -> dict[str, Any]:
    change = ticker.last - ticker.open
    return {
        "symbol": market_id,
        "priceChange": text(change),
        "priceChangePercent": str(round(change / ticker.open * 100, 3)),
        "prevClosePrice": text(ticker.open),
        "lastPrice": text(ticker.last),
        "bidPrice": text(ticker.bid[0]),
        "bidQty": text(ticker.bid[1]),
        "askPrice": text(ticker.ask[0]),
        "askQty": text(ticker.ask[1]),
        "openPrice": text(ticker.open),
        "highPrice": text(ticker.high),
        "lowPrice": text(ticker.low),
        "volume": text(ticker.volume),
        "quoteVolume": text(ticker.cost),
        "openTime": ticker.open_ms,
        "closeTime": ticker.time_ms,
        "count": ticker.trades,
    }


def book_ticker(ticker: DayTicker, market_id: str) -> dict[str, str]:
    return {
        "symbol": market_id,
        "bidPrice": text(ticker.bid[0]),
        "bidQty": text(ticker.bid[1]),
        "askPrice": text(ticker.ask[0]),
        "askQty": text(ticker.ask[1]),
    }


def amounts(order: Order) -> dict[str, str]:
    return {
        "price": text(order.price or Decimal(0)),
        "origQty": text(order.amount),
        "executedQty": text(order.filled),
        "cummulativeQuoteQty": text(order.cost),
        "origQuoteOrderQty": text(order.request.cost or Decimal(0)),
        "stopPrice": text(order.request.stop_price or Decimal(0)),
    }
