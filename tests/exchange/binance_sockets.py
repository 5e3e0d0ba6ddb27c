"""Binance's WebSockets: combined market streams, and the API socket with the signed user stream."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, cast

from tests.exchange.accounts import Account, Fill, Order, RejectedError
from tests.exchange.binance_format import STATUSES
from tests.exchange.dialect import ApiError, Call
from tests.exchange.model import (
    Bar,
    BarUpdate,
    BookChange,
    DayTicker,
    Frame,
    Kind,
    MarketEvent,
    Quote,
    Trade,
    text,
)
from tests.exchange.sockets import Connection, Encoded
from tests.exchange.v3 import PublicV3
from tests.exchange.v3_format import TYPE_NAMES, aggregate_id, levels

CHANNELS: dict[str, Kind] = {
    "trade": "trade",
    "aggTrade": "aggTrade",
    "depth": "depth",
    "depth@100ms": "depth",
    "bookTicker": "quote",
    "kline_1m": "bar",
    "ticker": "ticker",
    "miniTicker": "ticker",
}


class BinanceSockets(PublicV3):
    """Streams and events."""

    def is_socket(self, path: str) -> bool:
        return path.startswith(("/stream", "/ws"))

    def opened(self, connection: Connection) -> None:
        """Streams may be named in the address: ``/stream?streams=a/b``, ``/ws/a``."""
        named = connection.request.query.get("streams") or connection.path.rpartition("/")[2]
        for stream in named.split("/"):
            channel = self.channel(stream)
            if channel is not None:
                self.exchange.hub.subscribe(connection, stream, channel)

    def channel(self, stream: str) -> tuple[Kind, str] | None:
        market_id, _, kind = stream.partition("@")
        state = self.market.by_id.get(market_id.upper())
        if state is None or kind not in CHANNELS or state.status == "delisted":
            return None
        return CHANNELS[kind], state.instrument.symbol

    def received(self, connection: Connection, text: str) -> None:
        try:
            message = json.loads(text)
            method = message["method"]
        except (ValueError, KeyError, TypeError):
            connection.send(json.dumps({"error": {"code": 3, "msg": "Invalid JSON: expected value"}}))
            return
        if connection.path.startswith("/ws-api"):
            self._api(connection, message)
        elif method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            self._subscription(connection, method, message)
        elif method == "LIST_SUBSCRIPTIONS":
            connection.send(json.dumps({"result": list(connection.streams), "id": message.get("id")}))
        else:
            self._refuse(connection, message, 2, "Invalid request: unknown variant")

    @staticmethod
    def _refuse(connection: Connection, message: dict[str, Any], code: int, text: str) -> None:
        connection.send(json.dumps({"error": {"code": code, "msg": text}, "id": message.get("id")}))

    def _subscription(self, connection: Connection, method: str, message: dict[str, Any]) -> None:
        for stream in message["params"]:
            if method == "UNSUBSCRIBE":
                self.exchange.hub.unsubscribe(connection, stream)
                continue
            verdict = self.exchange.subscribe(connection, stream)
            if verdict == "ignored":
                return
            if verdict == "refused":
                self._refuse(connection, message, 2, "Invalid request: subscription refused")
                return
        connection.send(json.dumps({"result": None, "id": message.get("id")}))

    def _api(self, connection: Connection, message: dict[str, Any]) -> None:
        """Only what the user stream needs; orders go through REST."""
        answer: dict[str, Any] = {"id": message.get("id"), "status": 200, "rateLimits": []}
        try:
            answer["result"] = self._api_result(connection, message)
        except ApiError as error:
            answer |= {"status": error.status, "error": error.body}
        except RejectedError as error:
            refusal = self.refusal(error)
            answer |= {"status": refusal.status, "error": refusal.body}
        if answer["result" if "result" in answer else "error"] != "ignored":
            connection.send(json.dumps(answer))

    def _api_result(self, connection: Connection, message: dict[str, Any]) -> Any:
        method, params = message["method"], message.get("params") or {}
        if method == "ping":
            return {}
        if method == "time":
            return {"serverTime": self.clock.server_ms()}
        if method == "userDataStream.unsubscribe":
            connection.account = None
            return {}
        if method != "userDataStream.subscribe.signature":
            raise ApiError(400, -1020, "This operation is not supported.")
        verdict = self.exchange.subscription_fault(connection, "user")
        if verdict == "ignored":
            return "ignored"
        if verdict == "refused":
            raise self.auth_error("permission")
        sent = {name: str(value) for name, value in params.items()}
        signed = "&".join(f"{name}={sent[name]}" for name in sorted(sent) if name != "signature")
        call = Call(sent, signed, sent.get("apiKey"))
        self.authorise(self.routes["GET", "/api/v3/account"], call)
        connection.account = call.account
        self.exchange.log.event(connection.number, "subscribe", "user")
        return {"subscriptionId": 0}

    # ------------------------------------------------------------------ market events

    def encode(self, stream: str, event: MarketEvent) -> Encoded | None:
        if isinstance(event, Frame):
            return event.raw.decode() if event.stream == stream else None
        market_id = self.market.symbols[event.symbol].instrument.id
        data = self._data(stream, event, market_id)
        return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))

    def _data(self, stream: str, event: MarketEvent, market_id: str) -> dict[str, Any]:
        if isinstance(event, Trade):
            return _trade(event, market_id, aggregated=stream.endswith("aggTrade"))
        if isinstance(event, BookChange):
            return {
                "e": "depthUpdate",
                "E": event.time_ms,
                "s": market_id,
                "U": event.first_id,
                "u": event.last_id,
                "b": levels(event.bids),
                "a": levels(event.asks),
            }
        if isinstance(event, Quote):
            (bid, bid_amount), (ask, ask_amount) = event.bid, event.ask
            best = {"b": text(bid), "B": text(bid_amount), "a": text(ask), "A": text(ask_amount)}
            return {"u": event.update_id, "s": market_id, **best}
        if isinstance(event, BarUpdate):
            kline = _kline(event.bar, market_id, event.closed)
            return {"e": "kline", "E": event.time_ms, "s": market_id, "k": kline}
        ticker = _ticker(cast(DayTicker, event), market_id)
        return ticker | {"e": "24hrMiniTicker"} if stream.endswith("miniTicker") else ticker

    # ------------------------------------------------------------------ user stream

    def _tell(self, account: Account, stream: str, symbol: str | None, event: dict[str, Any]) -> None:
        frame = json.dumps({"subscriptionId": 0, "event": event}, separators=(",", ":"))
        self.exchange.hub.send_private(account, stream, symbol, frame)

    def tell_order(self, account: Account, order: Order, fill: Fill | None) -> None:
        market_id = self.market.symbols[order.symbol].instrument.id
        what = "TRADE" if fill else {"new": "NEW", "canceled": "CANCELED"}.get(order.status, "EXPIRED")
        cost = fill.cost if fill else Decimal(0)
        event = {
            "e": "executionReport",
            "E": self.market.clock.market_ms(),
            "s": market_id,
            "c": order.client_id,
            "S": order.side.upper(),
            "o": TYPE_NAMES[order.request.type],
            "f": order.request.time_in_force,
            "q": text(order.amount),
            "p": text(order.price or Decimal(0)),
            "P": text(order.request.stop_price or Decimal(0)),
            "F": "0",
            "g": order.list_id,
            "C": "" if what != "CANCELED" else order.client_id,
            "x": what,
            "X": STATUSES[order.status],
            "r": "NONE",
            "i": order.id,
            "l": text(fill.amount if fill else Decimal(0)),
            "z": text(order.filled),
            "L": text(fill.price if fill else Decimal(0)),
            "n": text(fill.fee if fill else Decimal(0)),
            "N": fill.fee_asset if fill else None,
            "T": order.updated_ms,
            "t": fill.trade_id if fill else -1,
            "w": order.open,
            "m": fill.is_maker if fill else False,
            "O": order.created_ms,
            "Z": text(order.cost),
            "Y": text(cost),
            "Q": text(order.request.cost or Decimal(0)),
        }
        self._tell(account, "user@executionReport", order.symbol, event)

    def tell_balances(self, account: Account, assets: tuple[str, ...]) -> None:
        now_ms = self.market.clock.market_ms()
        rows = [
            {"a": asset, "f": text(account.balances[asset].free), "l": text(account.balances[asset].locked)}
            for asset in assets
        ]
        event = {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}
        self._tell(account, "user@outboundAccountPosition", None, event)


def _trade(trade: Trade, market_id: str, *, aggregated: bool) -> dict[str, Any]:
    numbers = {"a": aggregate_id(trade.id)} if aggregated else {"t": trade.id}
    span = {"f": trade.id, "l": trade.id} if aggregated else {}
    return {
        "e": "aggTrade" if aggregated else "trade",
        "E": trade.time_ms,
        "s": market_id,
        **numbers,
        "p": text(trade.price),
        "q": text(trade.amount),
        **span,
        "T": trade.time_ms,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def _kline(bar: Bar, market_id: str, closed: bool) -> dict[str, Any]:
    return {
        "t": bar.open_ms,
        "T": bar.close_ms,
        "s": market_id,
        "i": "1m",
        "f": -1,
        "L": -1,
        "o": text(bar.open),
        "c": text(bar.close),
        "h": text(bar.high),
        "l": text(bar.low),
        "v": text(bar.volume),
        "n": bar.trades,
        "x": closed,
        "q": text(bar.cost),
        "V": text(bar.taker_buys),
        "Q": "0",
        "B": "0",
    }


def _ticker(ticker: DayTicker, market_id: str) -> dict[str, Any]:
    change = ticker.last - ticker.open
    return {
        "e": "24hrTicker",
        "E": ticker.time_ms,
        "s": market_id,
        "p": text(change),
        "P": str(round(change / ticker.open * 100, 3)),
        "w": text(ticker.last),
        "x": text(ticker.open),
        "c": text(ticker.last),
        "o": text(ticker.open),
        "h": text(ticker.high),
        "l": text(ticker.low),
        "v": text(ticker.volume),
        "q": text(ticker.cost),
        "O": ticker.open_ms,
        "C": ticker.time_ms,
        "n": ticker.trades,
    }
