"""MEXC's WebSockets: subscriptions and acknowledgements in JSON, pushes in protobuf."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper

from tests.exchange.accounts import MARKET_TYPES, Account, Fill, Order
from tests.exchange.model import BarUpdate, BookChange, Kind, Level, MarketEvent, Quote, Trade, text
from tests.exchange.sockets import Connection, Encoded
from tests.exchange.v3 import PublicV3

PUBLIC: dict[str, Kind] = {
    "public.aggre.deals.v3.api.pb": "trade",
    "public.aggre.depth.v3.api.pb": "depth",
    "public.aggre.bookTicker.v3.api.pb": "quote",
    "public.limit.depth.v3.api.pb": "limit_depth",
    "public.kline.v3.api.pb": "bar",
}
PRIVATE: dict[str, Kind] = {
    "spot@private.orders.v3.api.pb": "orders",
    "spot@private.deals.v3.api.pb": "fills",
    "spot@private.account.v3.api.pb": "assets",
}
ORDER_TYPES = {"limit": 1, "post_only": 2, "market": 5}
IN_FORCE_TYPES = {"IOC": 3, "FOK": 4}
STATUSES = {"new": 1, "filled": 2, "partially_filled": 3, "canceled": 4, "rejected": 4, "expired": 4}


class MexcSockets(PublicV3):
    """Streams and events."""

    def is_socket(self, path: str) -> bool:
        return path == "/ws"

    def opened(self, connection: Connection) -> None:
        key = connection.request.query.get("listenKey")
        if key is None:
            return
        connection.account = self.exchange.listen_keys.get(key)
        if connection.account is None:
            connection.send("Invalid listen key")

    def channel(self, stream: str) -> tuple[Kind, str] | None:
        parts = stream.split("@")
        if len(parts) < 3 or parts[0] != "spot" or parts[1] not in PUBLIC:
            return None
        kind = PUBLIC[parts[1]]
        where = {"bar": 2, "limit_depth": 2}.get(kind, 3)
        market_id = parts[where] if len(parts) > where else ""
        state = self.market.by_id.get(market_id)
        if state is None or state.status == "delisted" or (kind == "bar" and parts[-1] != "Min1"):
            return None
        return kind, state.instrument.symbol

    def received(self, connection: Connection, text: str) -> None:
        try:
            message = json.loads(text)
            method = str(message["method"]).upper()
        except (ValueError, KeyError, TypeError):
            self._answer(connection, "no handle message")
            return
        if method == "PING":
            if not self.exchange.pong_withheld(connection):
                self._answer(connection, "PONG")
        elif method in ("SUBSCRIPTION", "UNSUBSCRIPTION"):
            self._subscription(connection, method, message.get("params") or [])
        else:
            self._answer(connection, "no handle message")

    @staticmethod
    def _answer(connection: Connection, words: str) -> None:
        connection.send(json.dumps({"id": 0, "code": 0, "msg": words}))

    def _subscription(self, connection: Connection, method: str, streams: list[str]) -> None:
        """One acknowledgement names what went well; a refusal is a message of the same form."""
        done = []
        for stream in streams:
            if method == "UNSUBSCRIPTION":
                self.exchange.hub.unsubscribe(connection, stream)
                done.append(stream)
                continue
            verdict = self._subscribe(connection, stream)
            if verdict == "refused":
                self._answer(connection, f"Not Subscribed successfully! [{stream}].  Reason： Blocked! ")
            elif verdict == "done":
                done.append(stream)
        if done:
            self._answer(connection, ",".join(done))

    def _subscribe(self, connection: Connection, stream: str) -> str:
        if stream not in PRIVATE:
            return self.exchange.subscribe(connection, stream)
        if connection.account is None:
            return "refused"
        verdict = self.exchange.subscription_fault(connection, stream)
        if verdict == "done":
            self.exchange.hub.subscribe(connection, stream, (PRIVATE[stream], connection.account.key))
        return verdict

    # ------------------------------------------------------------------ events

    def _wrapper(self, stream: str, symbol: str | None, time_ms: int) -> Any:
        push = PushDataV3ApiWrapper(channel=stream, sendTime=time_ms)
        if symbol is not None:
            push.symbol = self.market.symbols[symbol].instrument.id
        return push

    def encode(self, stream: str, event: MarketEvent) -> Encoded | None:
        if not isinstance(event, Trade | BookChange | Quote | BarUpdate):
            return None
        push = self._wrapper(stream, event.symbol, event.time_ms)
        name = stream.split("@")[1]
        if isinstance(event, Trade):
            push.publicAggreDeals.eventType = f"spot@{name}@100ms"
            push.publicAggreDeals.deals.add(
                price=text(event.price),
                quantity=text(event.amount),
                tradeType=2 if event.buyer_is_maker else 1,
                time=event.time_ms,
            )
        elif isinstance(event, BookChange):
            self._book(push, name, event)
        elif isinstance(event, Quote):
            best = push.publicAggreBookTicker
            best.bidPrice, best.bidQuantity = text(event.bid[0]), text(event.bid[1])
            best.askPrice, best.askQuantity = text(event.ask[0]), text(event.ask[1])
        else:
            self._kline(push, event)
        return bytes(push.SerializeToString())

    def _book(self, push: Any, name: str, event: BookChange) -> None:
        if name == "public.limit.depth.v3.api.pb":
            book = self.market.symbols[event.symbol].book
            count = int(push.channel.rsplit("@", 1)[1])
            depth = push.publicLimitDepths
            depth.version = str(event.last_id)
            bids, asks = book.levels("buy", count), book.levels("sell", count)
        else:
            depth = push.publicAggreDepths
            depth.fromVersion, depth.toVersion = str(event.first_id), str(event.last_id)
            bids, asks = list(event.bids), list(event.asks)
        depth.eventType = f"spot@{name}@100ms"
        _add_levels(depth.bids, bids)
        _add_levels(depth.asks, asks)

    @staticmethod
    def _kline(push: Any, event: BarUpdate) -> None:
        bar, kline = event.bar, push.publicSpotKline
        kline.interval = "Min1"
        kline.windowStart, kline.windowEnd = bar.open_ms // 1000, bar.open_ms // 1000 + 60
        kline.openingPrice, kline.closingPrice = text(bar.open), text(bar.close)
        kline.highestPrice, kline.lowestPrice = text(bar.high), text(bar.low)
        kline.volume, kline.amount = text(bar.volume), text(bar.cost)

    # ------------------------------------------------------------------ user stream

    def _tell(self, account: Account, stream: str, symbol: str | None, push: Any) -> None:
        frame = bytes(push.SerializeToString())
        self.exchange.hub.send_subscribed(account, (PRIVATE[stream], account.key), stream, symbol, frame)

    def tell_order(self, account: Account, order: Order, fill: Fill | None) -> None:
        if fill is not None:
            self._tell_fill(account, fill)
        stream = "spot@private.orders.v3.api.pb"
        push = self._wrapper(stream, order.symbol, order.updated_ms)
        told = push.privateOrders
        told.id, told.clientId = order_id(order.id), order.request.client_id or ""
        told.price, told.quantity = text(order.price or Decimal(0)), text(order.amount)
        told.amount = text(order.amount * (order.price or Decimal(0)))
        told.avgPrice = text(order.cost / order.filled if order.filled else Decimal(0))
        told.orderType = IN_FORCE_TYPES.get(order.request.time_in_force, ORDER_TYPES.get(order.request.type, 1))
        told.tradeType = 1 if order.side == "buy" else 2
        told.isMaker = bool(fill and fill.is_maker)
        told.remainAmount = text(order.remaining * (order.price or Decimal(0)))
        told.remainQuantity = text(order.remaining)
        if fill is not None:
            told.lastDealQuantity = text(fill.amount)
        told.cumulativeQuantity, told.cumulativeAmount = text(order.filled), text(order.cost)
        told.status = status_number(order)
        told.createTime = order.created_ms
        self._tell(account, stream, order.symbol, push)

    def _tell_fill(self, account: Account, fill: Fill) -> None:
        stream = "spot@private.deals.v3.api.pb"
        push = self._wrapper(stream, fill.symbol, fill.time_ms)
        deal = push.privateDeals
        deal.price, deal.quantity, deal.amount = text(fill.price), text(fill.amount), text(fill.cost)
        deal.tradeType = 1 if fill.side == "buy" else 2
        deal.isMaker = fill.is_maker
        deal.tradeId, deal.orderId = trade_id(fill), order_id(fill.order_id)
        deal.clientOrderId = fill.client_id
        deal.feeAmount, deal.feeCurrency = text(fill.fee), fill.fee_asset
        deal.time = fill.time_ms
        self._tell(account, stream, fill.symbol, push)

    def tell_balances(self, account: Account, assets: tuple[str, ...]) -> None:
        now_ms = self.market.clock.market_ms()
        stream = "spot@private.account.v3.api.pb"
        for asset in assets:
            push = self._wrapper(stream, None, now_ms)
            told = push.privateAccount
            told.vcoinName = asset
            told.balanceAmount = text(account.balances[asset].free)
            told.frozenAmount = text(account.balances[asset].locked)
            told.type, told.time = "ENTRUST", now_ms
            self._tell(account, stream, None, push)


def _add_levels(rows: Any, levels: list[Level]) -> None:
    for price, amount in levels:
        rows.add(price=text(price), quantity=text(amount))


def order_id(number: int) -> str:
    return f"C02__{number}"


def trade_id(fill: Fill) -> str:
    return f"{fill.trade_id}X1"


def status_number(order: Order) -> int:
    """5 is an order that ended after a partial fill; the rest of a market order is no such end."""
    if order.status in ("canceled", "expired") and order.filled:
        return 2 if order.request.type in MARKET_TYPES else 5
    return STATUSES[order.status]
