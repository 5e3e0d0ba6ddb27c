"""HTTP requests: logged, weighed, struck by faults, answered by the dialect."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.exchange.accounts import Reason, RejectedError
from tests.exchange.dialect import ApiError, Call, Route
from tests.exchange.faults import Fault, FaultKind
from tests.exchange.log import Request

if TYPE_CHECKING:
    from tests.exchange.server import Exchange

DURING: tuple[FaultKind, ...] = ("no_such_order", "repeated")
BEFORE: tuple[FaultKind, ...] = ("delay", "hang", "reset", "status")
AFTER: tuple[FaultKind, ...] = ("lost_answer", "html", "truncated", "bad_json", "null_rows")
HTML = "<html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"


class Rest:
    """The request side of an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._open: set[asyncio.Transport] = set()

    def abort_all(self) -> None:
        """Tear down every kept-alive connection."""
        for transport in list(self._open):
            transport.abort()
        self._open.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = await _parse(request, self.exchange.dialect.key_header)
        logged = self.exchange.log.request(request.method, request.path, call.params)
        if request.transport is not None:
            self._open.add(request.transport)
        response = await self._answer(request, call, logged)
        logged.status = response.status
        self.exchange.log.answered(logged)
        return response

    async def _answer(self, request: web.Request, call: Call, logged: Request) -> web.StreamResponse:
        symbol = self._symbol(call)
        fault = self.exchange.faults.strike(BEFORE, logged.target, symbol)
        if fault is not None:
            logged.fault = fault.kind
            response = await self._before(request, fault)
            if response is not None:
                return response
        fault = self.exchange.faults.strike(DURING, logged.target, symbol)
        if fault is not None:
            logged.fault = fault.kind
        if fault is not None and fault.kind == "repeated":
            self._result(request, call)
        status, body = self._result(request, call, hidden=fault is not None and fault.kind == "no_such_order")
        headers = self.exchange.dialect.weight_headers(self.exchange.limit.used)
        if status in (418, 429):
            headers["Retry-After"] = str(body.pop("retry_after"))
        left = request.transport is None or request.transport.is_closing()
        fault = None if left else self.exchange.faults.strike(AFTER, logged.target, symbol)
        if fault is not None:
            logged.fault = fault.kind
            return await self._after(request, fault, body)
        return web.json_response(body, status=status, headers=headers)

    def _symbol(self, call: Call) -> str | None:
        dialect = self.exchange.dialect
        state = dialect.states.get(call.params.get(dialect.symbol_parameter, ""))
        return state.instrument.symbol if state else None

    def _result(self, request: web.Request, call: Call, *, hidden: bool = False) -> tuple[int, Any]:
        dialect = self.exchange.dialect
        route: Route | None = dialect.routes.get((request.method, request.path))
        verdict = self.exchange.limit.spend(route.weight if route else 1)
        if verdict is not None:
            error = dialect.too_many(verdict.status, verdict.retry_after_s)
            return error.status, {**error.body, "retry_after": verdict.retry_after_s}
        if route is None:
            return 404, {"code": 404, "msg": f"no route {request.method} {request.path}"}
        try:
            dialect.authorise(route, call)
            if hidden:
                raise RejectedError(Reason.NO_SUCH_ORDER)
            return 200, route.answer(call)
        except RejectedError as rejected:
            error = dialect.refusal(rejected)
        except ApiError as refused:
            error = refused
        return error.status, error.body

    async def _before(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.kind == "delay":
            await asyncio.sleep(fault.delay_ms / 1000)
            return None
        if fault.kind == "hang":
            await self._until_client_leaves(request)
            return web.Response(status=499)
        if fault.kind == "reset":
            return _cut(request)
        headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        if fault.status in (418, 429):
            error = self.exchange.dialect.too_many(fault.status, fault.retry_after or 1)
            return web.json_response(error.body, status=fault.status, headers=headers)
        return web.Response(
            status=fault.status, text=f"<html><body>{fault.status}</body></html>", content_type="text/html"
        )

    @staticmethod
    async def _until_client_leaves(request: web.Request) -> None:
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.02)

    @staticmethod
    async def _after(request: web.Request, fault: Fault, body: Any) -> web.StreamResponse:
        if fault.kind == "lost_answer":
            return _cut(request)
        if fault.kind == "html":
            return web.Response(text=HTML, content_type="text/html")
        if fault.kind == "bad_json":
            return web.Response(text=json.dumps(body)[:-1] + "\x00", content_type="application/json")
        if fault.kind == "null_rows":
            return web.json_response(_nulled(body))
        whole = json.dumps(body).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
        response.content_type = "application/json"
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        if request.transport is not None:
            request.transport.close()
        return response


def _cut(request: web.Request) -> web.StreamResponse:
    """Reset the connection in place of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)


def _nulled(body: Any) -> Any:
    if isinstance(body, list):
        return [[None] * len(row) if isinstance(row, list) else dict.fromkeys(row) for row in body]
    return dict.fromkeys(body)


async def _parse(request: web.Request, key_header: str) -> Call:
    """Parameters of query and body; what was signed is both as they were sent, without the signature."""
    query = request.raw_path.partition("?")[2]
    body = (await request.read()).decode()
    raw = query + body
    signed = "&".join(part for part in raw.split("&") if not part.startswith("signature="))
    params = dict(parse_qsl(f"{query}&{body}", keep_blank_values=True))
    return Call(params, signed, request.headers.get(key_header))
