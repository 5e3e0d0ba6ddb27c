"""Routes of the control port: read what happened, change what goes wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.exchange.accounts import OrderRequest, RejectedError
from tests.exchange.faults import Fault
from tests.exchange.model import text

if TYPE_CHECKING:
    from tests.exchange.server import Exchange


def application(exchange: Exchange) -> web.Application:
    """The routes: ``/requests``, ``/events``, ``/journal``, ``/state``, ``/faults``, ``/drop``, ``/account``,
    ``/transfers``, ``/orders``, ``/trades``.
    """
    app = web.Application()
    routes = Control(exchange)
    app.router.add_get("/requests", routes.requests)
    app.router.add_get("/events", routes.events)
    app.router.add_get("/journal", routes.journal)
    app.router.add_get("/state", routes.state)
    app.router.add_get("/faults", routes.faults)
    app.router.add_post("/faults", routes.arm)
    app.router.add_delete("/faults", routes.clear)
    app.router.add_post("/drop", routes.drop)
    app.router.add_get("/account", routes.account)
    app.router.add_post("/transfers", routes.transfer)
    app.router.add_post("/orders", routes.order)
    app.router.add_post("/trades", routes.trade)
    return app


class Control:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def requests(self, request: web.Request) -> web.Response:
        """Requests whose ``METHOD /path`` matches `on`."""
        asked = self.exchange.log.asked(request.query.get("on", "*"))
        return web.json_response([asdict(entry) for entry in asked])

    async def events(self, request: web.Request) -> web.Response:
        """Stream events of the sort `what`, such as open, subscribe, out."""
        events = self.exchange.log.streamed(request.query.get("what", "open"), request.query.get("stream", "*"))
        return web.json_response([asdict(entry) for entry in events])

    async def journal(self, request: web.Request) -> web.Response:
        return web.json_response(self.exchange.market.journal.as_json(request.query["symbol"]))

    async def state(self, request: web.Request) -> web.Response:
        exchange = self.exchange
        return web.json_response(
            {
                "market_ms": exchange.clock.market_ms(),
                "server_ms": exchange.clock.server_ms(),
                "used_weight": exchange.limit.used,
                "symbols": {name: state.status for name, state in exchange.market.symbols.items()},
                "connections": {
                    number: {"path": connection.path, "streams": list(connection.streams)}
                    for number, connection in exchange.hub.connections.items()
                },
                "frames": dict(exchange.log.frames),
            }
        )

    async def faults(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self.exchange.faults.armed])

    async def arm(self, request: web.Request) -> web.Response:
        """Arm one fault, or a list of them."""
        try:
            sent: Any = json.loads(await request.text())
            entries = sent if isinstance(sent, list) else [sent]
            armed = [self.exchange.faults.arm(Fault(**entry)) for entry in entries]
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response([asdict(fault) for fault in armed])

    async def clear(self, request: web.Request) -> web.Response:
        """Clear the fault `id`, or all."""
        number = request.query.get("id")
        self.exchange.faults.clear(int(number) if number else None)
        return web.json_response({})

    async def drop(self, request: web.Request) -> web.Response:
        self.exchange.drop_connections()
        return web.json_response({})

    async def account(self, request: web.Request) -> web.Response:
        """All that there is of the account, exact: what a ledger must agree with."""
        owner = self.exchange.accounts[0]
        return web.json_response(
            {
                "balances": {
                    asset: {"free": text(balance.free), "locked": text(balance.locked)}
                    for asset, balance in owner.balances.items()
                },
                "orders": [
                    {
                        "id": order.id,
                        "client_id": order.client_id,
                        "symbol": order.symbol,
                        "side": order.side,
                        "type": order.request.type,
                        "status": order.status,
                        "amount": text(order.amount),
                        "filled": text(order.filled),
                    }
                    for order in owner.orders.values()
                ],
                "fills": [
                    {
                        "id": fill.trade_id,
                        "order_id": fill.order_id,
                        "client_id": fill.client_id,
                        "symbol": fill.symbol,
                        "side": fill.side,
                        "amount": text(fill.amount),
                        "price": text(fill.price),
                        "fee": text(fill.fee),
                        "fee_asset": fill.fee_asset,
                    }
                    for fill in owner.fills
                ],
            }
        )

    async def transfer(self, request: web.Request) -> web.Response:
        """Deposit `amount` of `asset`, or withdraw it if it is negative, with a `fee` on top."""
        sent = await request.json()
        made = self.exchange.accounts[0].transfer(
            sent["asset"],
            Decimal(sent["amount"]),
            self.exchange.clock.server_ms(),
            fee=Decimal(sent.get("fee", "0")),
            done=sent.get("done", True),
        )
        return web.json_response({"id": made.id})

    async def order(self, request: web.Request) -> web.Response:
        """Place an order in the account by another hand than the product's: `symbol`, `side`, `type`, `amount`…"""
        sent = await request.json()
        price = sent.get("price")
        wanted = OrderRequest(
            sent["symbol"],
            sent["side"],
            sent.get("type", "limit"),
            Decimal(sent["amount"]),
            None,
            None if price is None else Decimal(price),
            client_id=sent.get("client_id"),
        )
        try:
            made = self.exchange.matching.place(self.exchange.accounts[0], wanted)
        except RejectedError as rejected:
            return web.json_response({"error": str(rejected)}, status=400)
        return web.json_response({"id": made.id, "status": made.status})

    async def trade(self, request: web.Request) -> web.Response:
        """Let the market trade `amount` of `symbol` at `price`: what rests beyond that price is filled."""
        sent = await request.json()
        exchange = self.exchange
        made = exchange.market.trade(
            sent["symbol"],
            Decimal(sent["price"]),
            Decimal(sent["amount"]),
            bool(sent.get("buyer_is_maker", True)),
            exchange.clock.market_ms(),
        )
        return web.json_response({"id": made.id})
