"""One WebSocket from its handshake to its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, WSMsgType, web

from tests.exchange.sockets import Connection

if TYPE_CHECKING:
    from tests.exchange.server import Exchange

MISSED_PINGS = 3


async def accept(exchange: Exchange, request: web.Request) -> web.StreamResponse:
    """Serve a client until it leaves or its time is up."""
    target = f"DIAL {request.path}"
    fault = exchange.faults.strike(("delay", "hang", "reset", "status", "accept_then_drop"), target)
    if fault is not None:
        exchange.log.event(0, "fault", request.path, fault.kind)
    if fault is not None and fault.kind in ("delay", "hang"):
        await asyncio.sleep(fault.delay_ms / 1000 if fault.kind == "delay" else 3600)
    if fault is not None and fault.kind == "reset" and request.transport is not None:
        request.transport.abort()
    if fault is not None and fault.kind in ("reset", "status"):
        headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        return web.Response(status=fault.status, headers=headers)
    socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20)
    await socket.prepare(request)
    connection = exchange.hub.add(socket, request)
    if fault is not None and fault.kind == "accept_then_drop":
        connection.abort()
    keeper = asyncio.create_task(_keep(exchange, connection))
    try:
        exchange.dialect.opened(connection)
        await _receive(exchange, connection)
    finally:
        keeper.cancel()
        await exchange.hub.remove(connection)
    return socket


async def _receive(exchange: Exchange, connection: Connection) -> None:
    async for message in connection.socket:
        if message.type == WSMsgType.PING:
            if not exchange.pong_withheld(connection):
                await connection.socket.pong(message.data)
        elif message.type == WSMsgType.PONG:
            connection.pongs += 1
        elif message.type == WSMsgType.TEXT:
            connection.busy_s = time.monotonic()
            exchange.log.event(connection.number, "in", "", message.data)
            if _too_fast(exchange, connection):
                exchange.log.event(connection.number, "refused", "", "too many messages")
                await connection.close(WSCloseCode.POLICY_VIOLATION)
                return
            exchange.dialect.received(connection, message.data)


def _too_fast(exchange: Exchange, connection: Connection) -> bool:
    allowed = exchange.settings.commands_per_s
    now = time.monotonic()
    connection.commands = [*(then for then in connection.commands if now - then < 1), now]
    return allowed is not None and len(connection.commands) > allowed


async def _keep(exchange: Exchange, connection: Connection) -> None:
    """Ping now and then; close when pongs stay away, nothing is said, or the connection has lived long enough."""
    settings = exchange.settings
    idle_s = exchange.dialect.idle_s if settings.idle_s is None else settings.idle_s
    now = time.monotonic()
    ends, next_ping, sent = now + settings.life_s, now + settings.server_ping_s, 0
    while (now := time.monotonic()) < min(ends, connection.busy_s + idle_s):
        await asyncio.sleep(min(ends, connection.busy_s + idle_s, next_ping) - now)
        if time.monotonic() < next_ping:
            continue
        if sent - connection.pongs >= MISSED_PINGS:
            break
        try:
            await connection.socket.ping()
        except ConnectionError:
            return
        next_ping += settings.server_ping_s
        sent += 1
    exchange.log.event(connection.number, "expired")
    await connection.close()
