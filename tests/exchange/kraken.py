"""The dialect of Kraken spot: requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.exchange import kraken_format
from tests.exchange.accounts import Reason, RejectedError
from tests.exchange.dialect import ApiError, Call, Route
from tests.exchange.kraken_sockets import KrakenSockets
from tests.exchange.market import SymbolMarket
from tests.exchange.model import Instrument

REFUSALS = {
    Reason.BAD_SYMBOL: "EQuery:Unknown asset pair",
    Reason.BAD_PARAMETER: "EGeneral:Invalid arguments:{}",
}
MOST_TRADES, MOST_LEVELS = 1_000, 500


class Kraken(KrakenSockets):
    """Market data by request; every answer has the status 200 and a list of errors."""

    name = "kraken"
    symbol_parameter = "pair"
    page = 720
    weight_limit = 600
    weight_window_s = 10

    def make_routes(self) -> dict[tuple[str, str], Route]:
        answers: dict[str, Callable[[Call], dict[str, Any]]] = {
            "Time": self.time,
            "Assets": self.assets,
            "AssetPairs": self.pairs,
            "OHLC": self.ohlc,
            "Depth": self.depth,
            "Trades": self.trades,
            "Ticker": self.tickers,
        }
        return {
            ("GET", f"/0/public/{path}"): Route(1, "public", self._enveloped(answer))
            for path, answer in answers.items()
        }

    @staticmethod
    def _enveloped(answer: Callable[[Call], dict[str, Any]]) -> Callable[[Call], dict[str, Any]]:
        return lambda call: {"error": [], "result": answer(call)}

    def market_id(self, rules: Instrument) -> str:
        return kraken_format.market_id(rules)

    def refusal(self, error: RejectedError) -> ApiError:
        words = REFUSALS[error.reason].format(error.detail)
        return ApiError(200, 0, words, {"error": [words]})

    def too_many(self, status: int, retry_after_s: int) -> ApiError:
        return ApiError(status, 0, "EAPI:Rate limit exceeded", {"error": ["EAPI:Rate limit exceeded"]})

    # ------------------------------------------------------------------ market data

    def time(self, call: Call) -> dict[str, Any]:
        return {"unixtime": self.clock.server_ms() // 1000, "rfc1123": ""}

    def assets(self, call: Call) -> dict[str, Any]:
        instruments = [state.instrument for _, state in self.listed()]
        names = {name for rules in instruments for name in (kraken_format.base(rules.base), rules.quote)}
        return {name: kraken_format.asset(name) for name in sorted(names)}

    def pairs(self, call: Call) -> dict[str, Any]:
        return {market_id: kraken_format.pair(state) for market_id, state in self.listed()}

    def ohlc(self, call: Call) -> dict[str, Any]:
        """The newest 720 after `since`, in seconds; no request gives older ones. The last one is forming."""
        state, interval = self.state(call), call.params.get("interval", "1")
        if interval not in ("1", "1440"):
            raise RejectedError(Reason.BAD_PARAMETER, "interval")
        since_s = call.whole("since")
        bars = self.bars(state, interval == "1440", None, None)[-self.page :]
        rows = [kraken_format.candle(bar) for bar in bars if since_s is None or bar.open_ms > since_s * 1000]
        return {call.params["pair"]: rows, "last": bars[-2].open_ms // 1000 if len(bars) > 1 else 0}

    def depth(self, call: Call) -> dict[str, Any]:
        book = self.state(call).book
        count = max(1, min(call.whole("count") or 100, MOST_LEVELS))
        now_s = self.clock.market_ms() // 1000
        sides = {"asks": book.levels("sell", count), "bids": book.levels("buy", count)}
        return {
            call.params["pair"]: {side: kraken_format.levels(rows, now_s) for side, rows in sides.items()},
        }

    def trades(self, call: Call) -> dict[str, Any]:
        """With a time, in seconds or nanoseconds, the oldest from there, else the newest; the oldest first."""
        known = self.state(call).trades
        count = max(1, min(call.whole("count") or MOST_TRADES, MOST_TRADES))
        since = call.whole("since")
        if since is None:
            found = known[-count:]
        else:
            since_ms = since * 1000 if since < 1 << 34 else since / 1e6
            found = [trade for trade in known if trade.time_ms > since_ms][:count]
        last = f"{found[-1].time_ms}000000" if found else str(since or 0)
        return {call.params["pair"]: [kraken_format.asked_trade(trade) for trade in found], "last": last}

    def _ticker(self, state: SymbolMarket) -> dict[str, Any]:
        return kraken_format.ticker(self.market.day_ticker(state.instrument.symbol), state.instrument)

    def tickers(self, call: Call) -> dict[str, Any]:
        """Of the pairs that are named, or of all."""
        named = call.params.get("pair")
        if named is None:
            return {market_id: self._ticker(state) for market_id, state in self.listed()}
        return {one: self._ticker(self.state(Call({"pair": one}))) for one in named.split(",")}
