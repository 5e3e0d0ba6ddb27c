"""The public part of the REST v3 interface that Binance and MEXC share."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any

from tests.exchange import v3_format
from tests.exchange.dialect import Call, Dialect, Route
from tests.exchange.market import SymbolMarket
from tests.exchange.model import Bar, Trade, by_day, text

HOUR_MS = 3_600_000


class PublicV3(Dialect):
    """Market data; what differs between the two is a method."""

    trade_ids: bool

    def public_routes(self, weights: dict[str, int]) -> dict[tuple[str, str], Route]:
        answers = {
            "ping": lambda call: {},
            "time": lambda call: {"serverTime": self.clock.server_ms()},
            "exchangeInfo": self.exchange_info,
            "depth": self.depth,
            "klines": self.klines,
            "trades": self.trades,
            "historicalTrades": self.historical,
            "aggTrades": self.aggregates,
            "ticker/24hr": self.day_tickers,
            "ticker/price": self.prices,
            "ticker/bookTicker": self.book_tickers,
        }
        return {
            ("GET", f"/api/v3/{path}"): Route(weights.get(path, 1), "public", answer)
            for path, answer in answers.items()
        }

    @abstractmethod
    def exchange_info(self, call: Call) -> Any: ...

    def depth(self, call: Call) -> Any:
        state = self.state(call)
        limit = call.whole("limit") or 100
        return {
            "lastUpdateId": state.book.update_id,
            "bids": v3_format.levels(state.book.levels("buy", limit)),
            "asks": v3_format.levels(state.book.levels("sell", limit)),
        }

    def klines(self, call: Call) -> list[list[Any]]:
        """Without a start the newest bars, with one the oldest from there; the forming bar is among them.

        There are bars of a minute and of a day.
        """
        state = self.state(call)
        interval = call.need("interval")
        start_ms = call.whole("startTime")
        limit = self.page_of(call, 500)
        if interval == "1m":
            bars = state.all_bars(start_ms, call.whole("endTime"))
        elif interval == "1d":
            days = by_day(state.all_bars(None, call.whole("endTime")))
            bars = [day for day in days if start_ms is None or day.open_ms >= start_ms]
        else:
            return []
        return [self.kline(bar) for bar in (bars[-limit:] if start_ms is None else bars[:limit])]

    def kline(self, bar: Bar) -> list[Any]:
        return [
            bar.open_ms,
            text(bar.open),
            text(bar.high),
            text(bar.low),
            text(bar.close),
            text(bar.volume),
            bar.close_ms,
            text(bar.cost),
        ]

    def trade_id(self, trade: Trade) -> int | None:
        return trade.id if self.trade_ids else None

    def trades(self, call: Call) -> list[dict[str, Any]]:
        """The newest."""
        found = self.state(call).trades[-self.page_of(call, 500) :]
        return [v3_format.trade(trade, self.trade_id(trade)) for trade in found]

    def historical(self, call: Call) -> list[dict[str, Any]]:
        """With a first id the oldest from there, else the newest."""
        from_id = call.whole("fromId")
        if from_id is None:
            return self.trades(call)
        found = [trade for trade in self.state(call).trades if trade.id >= from_id]
        return [v3_format.trade(trade, self.trade_id(trade)) for trade in found[: self.page_of(call, 500)]]

    def aggregates(self, call: Call) -> list[dict[str, Any]]:
        """With a start or a first id the oldest from there, else the newest."""
        limit = self.page_of(call, 500)
        start_ms, end_ms, from_id = call.whole("startTime"), call.whole("endTime"), call.whole("fromId")
        found = [
            trade
            for trade in self.state(call).trades
            if (start_ms is None or trade.time_ms >= start_ms)
            and (end_ms is None or trade.time_ms <= end_ms)
            and (from_id is None or v3_format.aggregate_id(trade.id) >= from_id)
        ]
        found = found[-limit:] if start_ms is None and from_id is None else found[:limit]
        return [v3_format.aggregate(trade, self.trade_id(trade)) for trade in found]

    def _of_symbols(self, call: Call, answer: Any) -> Any:
        if "symbol" in call.params:
            return answer(self.state(call))
        named = json.loads(call.params.get("symbols", "null"))
        states = [
            state
            for market_id, state in self.market.by_id.items()
            if state.status != "delisted" and (named is None or market_id in named)
        ]
        return [answer(state) for state in states]

    def day_tickers(self, call: Call) -> Any:
        def one(state: SymbolMarket) -> dict[str, Any]:
            rules = state.instrument
            return v3_format.day_ticker(self.market.day_ticker(rules.symbol), rules.id)

        return self._of_symbols(call, one)

    def book_tickers(self, call: Call) -> Any:
        def one(state: SymbolMarket) -> dict[str, str]:
            rules = state.instrument
            return v3_format.book_ticker(self.market.day_ticker(rules.symbol), rules.id)

        return self._of_symbols(call, one)

    def prices(self, call: Call) -> Any:
        return self._of_symbols(call, lambda state: {"symbol": state.instrument.id, "price": text(state.last)})
