"""Bybit's words for markets, trades, bars and books."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.exchange.market import SymbolMarket
from tests.exchange.model import Bar, DayTicker, Level, Trade, text


def levels(rows: Iterable[Level]) -> list[list[str]]:
    return [[text(price), text(amount)] for price, amount in rows]


def instrument(state: SymbolMarket) -> dict[str, Any]:
    rules = state.instrument
    return {
        "symbol": rules.id,
        "baseCoin": rules.base,
        "quoteCoin": rules.quote,
        "innovation": "0",
        "status": "Trading" if state.status == "trading" else "PreLaunch",
        "marginTrading": "none",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": text(rules.step),
            "quotePrecision": "0.00000001",
            "minOrderQty": text(rules.min_amount),
            "maxOrderQty": text(rules.max_amount),
            "minOrderAmt": text(rules.min_cost),
            "maxOrderAmt": "2000000",
        },
        "priceFilter": {"tickSize": text(rules.tick)},
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.05"},
    }


def trade_id(trade: Trade) -> str:
    """Ids are unique and grow, but by more than one."""
    return str(2_290_000_000_000_000_000 + 7 * trade.id)


def _side(trade: Trade) -> str:
    return trade.side.capitalize()


def asked_trade(trade: Trade) -> dict[str, Any]:
    market_id = trade.symbol.replace("/", "")
    return {
        "execId": trade_id(trade),
        "symbol": market_id,
        "price": text(trade.price),
        "size": text(trade.amount),
        "side": _side(trade),
        "time": str(trade.time_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(trade.id),
    }


def streamed_trade(trade: Trade) -> dict[str, Any]:
    return {
        "i": trade_id(trade),
        "T": trade.time_ms,
        "p": text(trade.price),
        "v": text(trade.amount),
        "S": _side(trade),
        "s": trade.symbol.replace("/", ""),
        "BT": False,
        "RPI": False,
        "seq": trade.id,
    }


def kline(bar: Bar) -> list[str]:
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.cost)
    return [str(bar.open_ms), *(text(number) for number in numbers)]


def streamed_kline(bar: Bar, closed: bool, time_ms: int) -> dict[str, Any]:
    return {
        "start": bar.open_ms,
        "end": bar.close_ms,
        "interval": "1",
        "open": text(bar.open),
        "close": text(bar.close),
        "high": text(bar.high),
        "low": text(bar.low),
        "volume": text(bar.volume),
        "turnover": text(bar.cost),
        "confirm": closed,
        "timestamp": time_ms,
    }


def _day(day: DayTicker) -> dict[str, str]:
    return {
        "symbol": day.symbol.replace("/", ""),
        "lastPrice": text(day.last),
        "highPrice24h": text(day.high),
        "lowPrice24h": text(day.low),
        "prevPrice24h": text(day.open),
        "volume24h": text(day.volume),
        "turnover24h": text(day.cost),
        "price24hPcnt": str(round((day.last - day.open) / day.open, 4)),
        "usdIndexPrice": text(day.last),
    }


def ticker(day: DayTicker) -> dict[str, str]:
    """As it is asked for."""
    (bid, bid_amount), (ask, ask_amount) = day.bid, day.ask
    best = {"bid1Price": bid, "bid1Size": bid_amount, "ask1Price": ask, "ask1Size": ask_amount}
    return {**_day(day), **{name: text(value) for name, value in best.items()}}


def streamed_ticker(day: DayTicker) -> dict[str, str]:
    """As it is streamed: without bid and ask."""
    return _day(day)
