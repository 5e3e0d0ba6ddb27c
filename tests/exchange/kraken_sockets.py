"""Kraken's WebSocket v2: acknowledgements symbol by symbol, books with a checksum and no sequence, heartbeats."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from tests.exchange import kraken_format
from tests.exchange.model import BarUpdate, BookChange, DayTicker, Kind, Level, MarketEvent, Quote, Trade
from tests.exchange.public import PublicDialect
from tests.exchange.sockets import Connection, Encoded
from tests.exchange.views import ViewChange

DEPTHS = (10, 25, 100, 500, 1000)
STREAM = re.compile(r"^(trade|ticker|ticker-bbo|ohlc-1|book-(\d+)):(.+)$")
KINDS: dict[str, Kind] = {"trade": "trade", "ticker": "ticker", "ticker-bbo": "quote", "ohlc-1": "bar"}


class KrakenSockets(PublicDialect):
    """Streams and events; a stream is named ``trade:BTC/USDT``, ``ticker-bbo:…``, ``ohlc-1:…``, ``book-100:…``."""

    idle_s = 60.0

    def is_socket(self, path: str) -> bool:
        return path == "/v2"

    def opened(self, connection: Connection) -> None:
        status = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": connection.number}
        _send(connection, {"channel": "status", "type": "update", "data": [status]})

    def heartbeat(self) -> Encoded | None:
        return '{"channel":"heartbeat"}'

    def channel(self, stream: str) -> tuple[Kind, str] | None:
        matched = STREAM.match(stream)
        if matched is None:
            return None
        name, depth, symbol = matched.groups()
        state = self.market.symbols.get(symbol)
        if state is None or state.status == "delisted" or (depth is not None and int(depth) not in DEPTHS):
            return None
        return KINDS.get(name, "depth"), symbol

    def received(self, connection: Connection, text: str) -> None:
        try:
            message = json.loads(text)
            method = message["method"]
        except (ValueError, KeyError, TypeError):
            _send(connection, {"error": "Malformed request", "success": False})
            return
        if method == "ping":
            if not self.exchange.pong_withheld(connection):
                _send(connection, {"method": "pong", **self._answer(message)})
        elif method in ("subscribe", "unsubscribe"):
            for symbol in message.get("params", {}).get("symbol", []):
                self._subscription(connection, message, symbol)
        else:
            _send(connection, {"error": "Event(s) not found", "success": False, **self._answer(message)})

    def _answer(self, message: Any) -> dict[str, Any]:
        now = kraken_format.iso(self.clock.server_ms())
        number = {"req_id": message["req_id"]} if "req_id" in message else {}
        return {"time_in": now, "time_out": now, **number}

    def _subscription(self, connection: Connection, message: Any, symbol: str) -> None:
        method, params = message["method"], message["params"]
        stream = _stream(params, symbol)
        answer = {"method": method, **self._answer(message)}
        verdict = "done"
        if method == "unsubscribe":
            self.exchange.hub.unsubscribe(connection, stream)
        else:
            verdict = self.subscribe(connection, stream)
        if verdict == "refused":
            words = f"Currency pair not supported {symbol}"
            _send(connection, {"error": words, "success": False, "symbol": symbol, **answer})
        if verdict != "done":
            return
        result = {**params, "symbol": symbol}
        _send(connection, {"result": result, "success": True, **answer})
        first = self.first_frame(stream) if method == "subscribe" else None
        if first is not None:
            connection.send(first, stream)

    def depth_of(self, stream: str) -> int | None:
        matched = STREAM.match(stream)
        return int(matched[2]) if matched is not None and matched[2] is not None else None

    def first_frame(self, stream: str) -> Encoded | None:
        channel = self.channel(stream)
        assert channel is not None
        kind, symbol = channel
        if kind == "depth":
            return self._book(symbol, "snapshot", self.whole_view(stream), stream, None)
        if kind in ("quote", "ticker"):
            return _push("ticker", "snapshot", kraken_format.streamed_ticker(self.market.day_ticker(symbol)))
        return None

    # ------------------------------------------------------------------ events

    def encode(self, stream: str, event: MarketEvent) -> Encoded | None:
        if isinstance(event, Trade):
            return _push("trade", "update", kraken_format.streamed_trade(event))
        if isinstance(event, BookChange):
            change = self.view_change(stream, event)
            return None if change is None else self._book(event.symbol, "update", change, stream, event.time_ms)
        if isinstance(event, Quote):
            day = kraken_format.streamed_ticker(self.market.day_ticker(event.symbol))
            return _push("ticker", "update", {**day, **_best(event.bid, event.ask)})
        if isinstance(event, BarUpdate):
            return _push("ohlc", "update", kraken_format.streamed_candle(event.symbol, event.bar))
        if isinstance(event, DayTicker):
            return _push("ticker", "update", kraken_format.streamed_ticker(event))
        return None

    def _book(self, symbol: str, kind: str, change: ViewChange, stream: str, time_ms: int | None) -> Encoded:
        """Levels that have left the depth are not told as gone: a client cuts its book by itself."""
        state = self.market.symbols[symbol]
        whole = self.whole_view(stream)
        sides = ((change.bids, state.book.bids), (change.asks, state.book.asks))
        bids, asks = ([level for level in rows if level[1] or level[0] not in full] for rows, full in sides)
        data: dict[str, Any] = {
            "symbol": symbol,
            "bids": kraken_format.streamed_levels(bids, state.instrument),
            "asks": kraken_format.streamed_levels(asks, state.instrument),
            "checksum": kraken_format.checksum(whole.bids, whole.asks, state.instrument),
        }
        if time_ms is not None:
            data["timestamp"] = kraken_format.iso(time_ms)
        return _push("book", kind, data)


def _stream(params: dict[str, Any], symbol: str) -> str:
    name = str(params.get("channel"))
    if name == "book":
        name = f"book-{params.get('depth', 10)}"
    elif name == "ohlc":
        name = f"ohlc-{params.get('interval', 1)}"
    elif name == "ticker" and params.get("event_trigger") == "bbo":
        name = "ticker-bbo"
    return f"{name}:{symbol}"


def _best(bid: Level, ask: Level) -> dict[str, float]:
    return {
        "bid": float(bid[0]),
        "bid_qty": float(bid[1]),
        "ask": float(ask[0]),
        "ask_qty": float(ask[1]),
    }


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message))


def _push(channel: str, kind: str, data: dict[str, Any]) -> Encoded:
    return orjson.dumps({"channel": channel, "type": kind, "data": [data]}).decode()
