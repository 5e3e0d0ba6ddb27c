"""OKX's WebSockets: pings in plain text, books with sequence numbers and a checksum."""

from __future__ import annotations

import json
from typing import Any

from tests.exchange import okx_format
from tests.exchange.model import BarUpdate, BookChange, DayTicker, Kind, MarketEvent, Quote, Trade
from tests.exchange.public import PublicDialect
from tests.exchange.sockets import Connection, Encoded
from tests.exchange.views import ViewChange

CHANNELS: dict[str, Kind] = {
    "trades": "trade",
    "books": "depth",
    "books5": "limit_depth",
    "bbo-tbt": "quote",
    "tickers": "ticker",
    "candle1m": "bar",
}
DEPTH = 400


class OkxSockets(PublicDialect):
    """Streams and events; a stream is named channel:market id."""

    idle_s = 30.0

    def is_socket(self, path: str) -> bool:
        return path in ("/ws/v5/public", "/ws/v5/business")

    def opened(self, connection: Connection) -> None:
        """It says nothing first."""

    def channel(self, stream: str) -> tuple[Kind, str] | None:
        name, _, market_id = stream.partition(":")
        state = self.states.get(market_id)
        if name not in CHANNELS or state is None or state.status == "delisted":
            return None
        return CHANNELS[name], state.instrument.symbol

    def received(self, connection: Connection, text: str) -> None:
        if text == "ping":
            if not self.exchange.pong_withheld(connection):
                connection.send("pong")
            return
        try:
            message = json.loads(text)
            operation, subscriptions = message["op"], list(message["args"])
        except (ValueError, KeyError, TypeError):
            self._refuse(connection, "60012", f"Invalid request: {text}")
            return
        for subscription in subscriptions:
            if operation == "subscribe":
                self._subscribe(connection, subscription)
            elif operation == "unsubscribe":
                self.exchange.hub.unsubscribe(connection, _stream(subscription))
                _send(connection, {"event": "unsubscribe", "arg": subscription, "connId": _id(connection)})
            else:
                self._refuse(connection, "60012", f"Invalid request: {text}")

    @staticmethod
    def _refuse(connection: Connection, code: str, words: str) -> None:
        _send(connection, {"event": "error", "code": code, "msg": words, "connId": _id(connection)})

    def _subscribe(self, connection: Connection, subscription: dict[str, str]) -> None:
        stream = _stream(subscription)
        is_candle = stream.startswith("candle")
        fits = is_candle == connection.path.endswith("/business")
        verdict = self.subscribe(connection, stream) if fits else "refused"
        if verdict == "refused":
            words = f"Wrong URL or channel:{stream.replace(':', ',instId:')} doesn't exist."
            self._refuse(connection, "60018", words)
        if verdict != "done":
            return
        _send(connection, {"event": "subscribe", "arg": subscription, "connId": _id(connection)})
        first = self.first_frame(stream)
        if first is not None:
            connection.send(first, stream)

    def depth_of(self, stream: str) -> int | None:
        return DEPTH if stream.startswith("books:") else None

    def first_frame(self, stream: str) -> Encoded | None:
        channel = self.channel(stream)
        assert channel is not None
        if channel[0] == "depth":
            return self._book(stream, "snapshot", self.whole_view(stream), self.clock.market_ms())
        state = self.market.symbols[channel[1]]
        quote = state.book.quote(self.clock.market_ms()) if channel[0] == "quote" else None
        return self.encode(stream, quote) if quote is not None else None

    # ------------------------------------------------------------------ events

    def encode(self, stream: str, event: MarketEvent) -> Encoded | None:
        rules = self.market.symbols[event.symbol].instrument
        if isinstance(event, Trade):
            return _push(stream, {**okx_format.streamed_trade(event, rules), "source": "0", "seqId": event.id})
        if isinstance(event, BookChange):
            return self._depth(stream, event)
        if isinstance(event, Quote):
            best = {"asks": okx_format.levels([event.ask]), "bids": okx_format.levels([event.bid])}
            return _push(stream, {**best, "ts": str(event.time_ms), "seqId": event.update_id})
        if isinstance(event, BarUpdate):
            return _push(stream, okx_format.candle(event.bar, closed=event.closed))
        if isinstance(event, DayTicker):
            return _push(stream, okx_format.ticker(event, rules))
        return None

    def _depth(self, stream: str, event: BookChange) -> Encoded | None:
        if self.depth_of(stream) is not None:
            change = self.view_change(stream, event)
            return None if change is None else self._book(stream, "update", change, event.time_ms)
        book = self.market.symbols[event.symbol].book
        sides = {"asks": book.levels("sell", 5), "bids": book.levels("buy", 5)}
        shown: dict[str, Any] = {side: okx_format.levels(rows) for side, rows in sides.items()}
        _, _, market_id = stream.partition(":")
        return _push(stream, {**shown, "instId": market_id, "ts": str(event.time_ms), "seqId": event.last_id})

    def _book(self, stream: str, action: str, change: ViewChange, time_ms: int) -> Encoded:
        whole = self.whole_view(stream)
        data = {
            "asks": okx_format.levels(change.asks),
            "bids": okx_format.levels(change.bids),
            "ts": str(time_ms),
            "checksum": okx_format.checksum(whole.bids, whole.asks),
            "seqId": change.sequence_id,
            "prevSeqId": change.previous_id,
        }
        return json.dumps({"arg": _subscription(stream), "action": action, "data": [data]})


def _stream(subscription: dict[str, str]) -> str:
    return f"{subscription.get('channel')}:{subscription.get('instId')}"


def _subscription(stream: str) -> dict[str, str]:
    name, _, market_id = stream.partition(":")
    return {"channel": name, "instId": market_id}


def _id(connection: Connection) -> str:
    return f"{connection.number:08x}"


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message))


def _push(stream: str, *data: Any) -> Encoded:
    return json.dumps({"arg": _subscription(stream), "data": list(data)})
