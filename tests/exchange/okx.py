"""The dialect of OKX v5 spot: requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.exchange import okx_format
from tests.exchange.accounts import Reason, RejectedError
from tests.exchange.dialect import ApiError, Call, Route
from tests.exchange.market import SymbolMarket
from tests.exchange.model import Instrument
from tests.exchange.okx_sockets import OkxSockets

CANDLES, NEWEST = 300, 1440
REFUSALS = {
    Reason.BAD_SYMBOL: ("51001", "Instrument ID does not exist"),
    Reason.BAD_PARAMETER: ("51000", "Parameter {} error"),
}


class Okx(OkxSockets):
    """Market data by request; lists begin with the newest."""

    name = "okx"
    symbol_parameter = "instId"
    page = 100
    weight_limit = 400
    weight_window_s = 2

    def make_routes(self) -> dict[tuple[str, str], Route]:
        answers: dict[str, Callable[[Call], list[Any]]] = {
            "public/time": lambda call: [{"ts": str(self.clock.server_ms())}],
            "public/instruments": self.instruments,
            "market/candles": lambda call: self.candles(call, CANDLES, NEWEST),
            "market/history-candles": lambda call: self.candles(call, self.page, None),
            "market/books": self.books,
            "market/trades": self.trades,
            "market/history-trades": self.history_trades,
            "market/tickers": self.tickers,
            "market/ticker": lambda call: [self.ticker(self.state(call))],
        }
        return {
            ("GET", f"/api/v5/{path}"): Route(1, "public", self._enveloped(answer))
            for path, answer in answers.items()
        }

    @staticmethod
    def _enveloped(answer: Callable[[Call], list[Any]]) -> Callable[[Call], dict[str, Any]]:
        return lambda call: {"code": "0", "msg": "", "data": answer(call)}

    def market_id(self, rules: Instrument) -> str:
        return okx_format.market_id(rules)

    def refusal(self, error: RejectedError) -> ApiError:
        code, words = REFUSALS[error.reason]
        return self._error(400, code, words.format(error.detail))

    def too_many(self, status: int, retry_after_s: int) -> ApiError:
        return self._error(status, "50011", "Too Many Requests")

    @staticmethod
    def _error(status: int, code: str, words: str) -> ApiError:
        return ApiError(status, int(code), words, {"code": code, "msg": words, "data": []})

    # ------------------------------------------------------------------ market data

    def instruments(self, call: Call) -> list[dict[str, Any]]:
        if call.need("instType") != "SPOT":
            return []
        return [okx_format.instrument(state) for _, state in self.listed()]

    def candles(self, call: Call, page: int, newest: int | None) -> list[list[str]]:
        """Bars newer than `before` and older than `after`, both without that one."""
        bar = call.params.get("bar", "1m")
        if bar not in ("1m", "1Dutc"):
            raise RejectedError(Reason.BAD_PARAMETER, "bar")
        newer, older = call.whole("before"), call.whole("after")
        known = self.bars(self.state(call), bar != "1m", None, None)[-(newest or 0) :]
        found = [
            candle
            for candle in known
            if (newer is None or candle.open_ms > newer) and (older is None or candle.open_ms < older)
        ]
        limit = max(1, min(call.whole("limit") or 100, page))
        return [okx_format.candle(candle, closed=candle is not known[-1]) for candle in found[-limit:][::-1]]

    def books(self, call: Call) -> list[dict[str, Any]]:
        book = self.state(call).book
        depth = max(1, min(call.whole("sz") or 1, 400))
        return [
            {
                "asks": okx_format.levels(book.levels("sell", depth)),
                "bids": okx_format.levels(book.levels("buy", depth)),
                "ts": str(self.clock.market_ms()),
                "seqId": book.update_id,
            }
        ]

    def _rows(self, state: SymbolMarket) -> list[dict[str, Any]]:
        """Every single trade: the stream tells of those together that one order made at one price."""
        rows = [
            row for trade in state.trades[-1_000:] for row in okx_format.single_trades(trade, state.instrument)
        ]
        return rows[::-1]

    def trades(self, call: Call) -> list[dict[str, Any]]:
        return self._rows(self.state(call))[: max(1, min(call.whole("limit") or 100, 500))]

    def history_trades(self, call: Call) -> list[dict[str, Any]]:
        """By id: newer than `before`, older than `after`."""
        newer, older = call.whole("before"), call.whole("after")
        found = [
            row
            for row in self._rows(self.state(call))
            if (newer is None or int(row["tradeId"]) > newer) and (older is None or int(row["tradeId"]) < older)
        ]
        return found[: max(1, min(call.whole("limit") or 100, 100))]

    def ticker(self, state: SymbolMarket) -> dict[str, Any]:
        return okx_format.ticker(self.market.day_ticker(state.instrument.symbol), state.instrument)

    def tickers(self, call: Call) -> list[dict[str, Any]]:
        if call.need("instType") != "SPOT":
            return []
        return [self.ticker(state) for _, state in self.listed()]
