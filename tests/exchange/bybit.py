"""The dialect of Bybit v5 spot: requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.exchange import bybit_format
from tests.exchange.accounts import Reason, RejectedError
from tests.exchange.bybit_sockets import BybitSockets
from tests.exchange.dialect import ApiError, Call, Route
from tests.exchange.market import SymbolMarket

TRADES = 60
REFUSALS = {
    Reason.BAD_SYMBOL: (10001, "Not supported symbols"),
    Reason.BAD_PARAMETER: (10001, "params error: {} invalid"),
}


class Bybit(BybitSockets):
    """Market data by request; bars and trades begin with the newest."""

    name = "bybit"
    page = 1000
    weight_limit = 600
    weight_window_s = 5

    def make_routes(self) -> dict[tuple[str, str], Route]:
        answers: dict[str, Callable[[Call], dict[str, Any]]] = {
            "time": self.time,
            "instruments-info": self.instruments,
            "kline": self.klines,
            "orderbook": self.orderbook,
            "recent-trade": self.trades,
            "tickers": self.tickers,
        }
        return {
            ("GET", f"/v5/market/{path}"): Route(1, "public", self._enveloped(answer))
            for path, answer in answers.items()
        }

    def _enveloped(self, answer: Callable[[Call], dict[str, Any]]) -> Callable[[Call], dict[str, Any]]:
        def enveloped(call: Call) -> dict[str, Any]:
            return {
                "retCode": 0,
                "retMsg": "OK",
                "result": answer(call),
                "retExtInfo": {},
                "time": self.clock.server_ms(),
            }

        return enveloped

    def refusal(self, error: RejectedError) -> ApiError:
        code, words = REFUSALS[error.reason]
        return self._error(200, code, words.format(error.detail))

    def too_many(self, status: int, retry_after_s: int) -> ApiError:
        return self._error(status, 10006, "Too many visits. Exceeded the API Rate Limit.")

    def _error(self, status: int, code: int, words: str) -> ApiError:
        body = {"retCode": code, "retMsg": words, "result": {}, "retExtInfo": {}, "time": self.clock.server_ms()}
        return ApiError(status, code, words, body)

    # ------------------------------------------------------------------ market data

    def time(self, call: Call) -> dict[str, str]:
        now_ms = self.clock.server_ms()
        return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}

    def _spot(self, call: Call) -> SymbolMarket:
        if call.need("category") != "spot":
            raise RejectedError(Reason.BAD_PARAMETER, "category")
        return self.state(call)

    def instruments(self, call: Call) -> dict[str, Any]:
        spot = call.need("category") == "spot"
        rows = [bybit_format.instrument(state) for _, state in self.listed()] if spot else []
        return {"category": call.params["category"], "list": rows, "nextPageCursor": ""}

    def klines(self, call: Call) -> dict[str, Any]:
        """With only a start the oldest from there, else the newest; both ends are included."""
        state, interval = self._spot(call), call.need("interval")
        if interval not in ("1", "D"):
            raise RejectedError(Reason.BAD_PARAMETER, "interval")
        start_ms, end_ms = call.whole("start"), call.whole("end")
        limit = self.page_of(call, 200)
        found = self.bars(state, interval == "D", start_ms, end_ms)
        found = found[:limit] if start_ms is not None and end_ms is None else found[-limit:]
        rows = [bybit_format.kline(bar) for bar in reversed(found)]
        return {"category": "spot", "symbol": state.instrument.id, "list": rows}

    def orderbook(self, call: Call) -> dict[str, Any]:
        state = self._spot(call)
        depth = max(1, min(call.whole("limit") or 1, 200))
        now_ms = self.clock.market_ms()
        return {
            "s": state.instrument.id,
            "a": bybit_format.levels(state.book.levels("sell", depth)),
            "b": bybit_format.levels(state.book.levels("buy", depth)),
            "ts": now_ms,
            "u": state.book.update_id,
            "seq": state.book.update_id,
            "cts": now_ms,
        }

    def trades(self, call: Call) -> dict[str, Any]:
        """The newest 60, and there is no way to older ones."""
        found = self._spot(call).trades[-max(1, min(call.whole("limit") or TRADES, TRADES)) :]
        return {"category": "spot", "list": [bybit_format.asked_trade(trade) for trade in reversed(found)]}

    def tickers(self, call: Call) -> dict[str, Any]:
        if call.need("category") != "spot":
            return {"category": call.params["category"], "list": []}
        states = [self.state(call)] if "symbol" in call.params else [state for _, state in self.listed()]
        rows = [bybit_format.ticker(self.market.day_ticker(state.instrument.symbol)) for state in states]
        return {"category": "spot", "list": rows}
