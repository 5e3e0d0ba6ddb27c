"""Bybit's WebSocket of spot markets: topics, and books in several depths whose update ids nobody checks."""

from __future__ import annotations

import json
from typing import Any

from tests.exchange import bybit_format
from tests.exchange.model import BarUpdate, BookChange, DayTicker, Kind, MarketEvent, Quote, Trade
from tests.exchange.public import PublicDialect
from tests.exchange.sockets import Connection, Encoded
from tests.exchange.views import ViewChange

PATH = "/v5/public/spot"
DEPTHS = {"50": 50, "200": 200, "1000": 1000}
MOST_TOPICS = 10
"""In one message."""


class BybitSockets(PublicDialect):
    """Streams and events; a stream is named as the topic is."""

    def is_socket(self, path: str) -> bool:
        return path == PATH

    def opened(self, connection: Connection) -> None:
        """It says nothing first."""

    def channel(self, stream: str) -> tuple[Kind, str] | None:
        kind = self._kind(stream)
        state = self.states.get(stream.rpartition(".")[2])
        if kind is None or state is None or state.status == "delisted":
            return None
        return kind, state.instrument.symbol

    @staticmethod
    def _kind(stream: str) -> Kind | None:
        names: dict[str, Kind] = {
            "publicTrade": "trade",
            "orderbook.1": "quote",
            "tickers": "ticker",
            "kline.1": "bar",
            **dict.fromkeys((f"orderbook.{depth}" for depth in DEPTHS), "depth"),
        }
        return names.get(stream.rpartition(".")[0])

    def received(self, connection: Connection, text: str) -> None:
        try:
            message = json.loads(text)
            operation = message["op"]
        except (ValueError, KeyError, TypeError):
            _answer(connection, {}, False, "Invalid request")
            return
        if operation == "ping":
            if not self.exchange.pong_withheld(connection):
                _answer(connection, message, True, "pong")
        elif operation in ("subscribe", "unsubscribe"):
            self._subscription(connection, message, operation, message.get("args") or [])
        else:
            _answer(connection, message, False, f"unknown op {operation}")

    def _subscription(self, connection: Connection, message: Any, operation: str, topics: list[str]) -> None:
        if len(topics) > MOST_TOPICS:
            _answer(connection, message, False, f"args size >{MOST_TOPICS}")
            return
        if operation == "unsubscribe":
            for topic in topics:
                self.exchange.hub.unsubscribe(connection, topic)
            _answer(connection, message, True, "")
            return
        verdicts = {topic: self.subscribe(connection, topic) for topic in topics}
        refused = [topic for topic, verdict in verdicts.items() if verdict == "refused"]
        if refused:
            _answer(connection, message, False, f"error:handler not found,topic:{refused[0]}")
        elif "ignored" not in verdicts.values():
            _answer(connection, message, True, "subscribe")
        for topic, verdict in verdicts.items():
            first = self.first_frame(topic) if verdict == "done" else None
            if first is not None:
                connection.send(first, topic)

    def depth_of(self, stream: str) -> int | None:
        name, _, depth = stream.rpartition(".")[0].partition(".")
        return DEPTHS.get(depth) if name == "orderbook" else None

    def first_frame(self, stream: str) -> Encoded | None:
        channel = self.channel(stream)
        assert channel is not None
        kind, symbol = channel
        if kind == "depth":
            return self._book(stream, "snapshot", self.whole_view(stream), self.clock.market_ms())
        quote = self.market.symbols[symbol].book.quote(self.clock.market_ms()) if kind == "quote" else None
        return self.encode(stream, quote) if quote is not None else None

    # ------------------------------------------------------------------ events

    def encode(self, stream: str, event: MarketEvent) -> Encoded | None:
        if isinstance(event, Trade):
            return _push(stream, "snapshot", event.time_ms, [bybit_format.streamed_trade(event)])
        if isinstance(event, BookChange):
            change = self.view_change(stream, event)
            return None if change is None else self._book(stream, "delta", change, event.time_ms)
        if isinstance(event, Quote):
            best = ViewChange([event.bid], [event.ask], event.update_id, -1, event.update_id)
            return self._book(stream, "snapshot", best, event.time_ms)
        if isinstance(event, BarUpdate):
            kline = bybit_format.streamed_kline(event.bar, event.closed, event.time_ms)
            return _push(stream, "snapshot", event.time_ms, [kline])
        if isinstance(event, DayTicker):
            return _push(stream, "snapshot", event.time_ms, bybit_format.streamed_ticker(event))
        return None

    def _book(self, stream: str, kind: str, change: ViewChange, time_ms: int) -> Encoded:
        data = {
            "s": stream.rpartition(".")[2],
            "b": bybit_format.levels(change.bids),
            "a": bybit_format.levels(change.asks),
            "u": change.number,
            "seq": change.sequence_id,
        }
        return _push(stream, kind, time_ms, data, cts=time_ms)


def _answer(connection: Connection, message: Any, success: bool, words: str) -> None:
    answer = {"success": success, "ret_msg": words, "conn_id": f"{connection.number:032x}"}
    connection.send(json.dumps({**answer, "req_id": message.get("req_id", ""), "op": message.get("op", "")}))


def _push(stream: str, kind: str, time_ms: int, data: Any, **more: Any) -> Encoded:
    return json.dumps({"topic": stream, "type": kind, "ts": time_ms, "data": data, **more})
