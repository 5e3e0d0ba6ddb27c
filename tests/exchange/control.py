"""Routes of the control port: read what happened, change what goes wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.exchange.faults import Fault

if TYPE_CHECKING:
    from tests.exchange.server import Exchange


def application(exchange: Exchange) -> web.Application:
    """The routes: ``/requests``, ``/events``, ``/journal``, ``/state``, ``/faults``, ``/drop``."""
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
