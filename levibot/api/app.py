"""The HTTP interface: paths and status codes around `Operations`.

Importing FastAPI takes a quarter of a second, so the supervisor imports this module while workers start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from levibot.api.operations import AlreadySoError, Document, Operations, RefusedError, ShuttingDownError
from levibot.errors import ConfigError, LeviBotError, UnknownSymbolError
from levibot.symbols import is_canonical, resolve

_DONE = {
    "start": "started",
    "stop": "stopped",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
    "remove": "removed",
    "reset": "reset",
}
_STATUS: tuple[tuple[type[LeviBotError], int], ...] = (
    (UnknownSymbolError, 404),
    (AlreadySoError, 409),
    (ShuttingDownError, 503),
    (RefusedError, 400),
    (ConfigError, 400),
)


def create_app(operations: Operations) -> FastAPI:
    """The application over one supervisor."""
    app = FastAPI(title="LeviBot", docs_url=None, redoc_url=None)
    _add_error_handlers(app, operations)
    _add_engine_routes(app, operations)
    _add_daemon_routes(app, operations)
    _add_portfolio_routes(app, operations)
    return app


def _add_engine_routes(app: FastAPI, operations: Operations) -> None:
    async def all_engines() -> Response:
        return _json(await operations.status())

    async def one_engine(symbol: str) -> Response:
        canonical = resolve(symbol, operations.symbols())
        engines = {engine["symbol"]: engine for engine in (await operations.status())["engines"]}
        return _json(engines[canonical])

    async def add(symbol: str) -> Response:
        if not is_canonical(symbol):
            raise RefusedError(f"{symbol!r} is no symbol", "write it as BASE/QUOTE, for example BTC/USDT")
        return _json({"ok": True, "symbol": symbol, "status": "added", **await operations.add(symbol)})

    async def reset_all() -> Response:
        return _json({"ok": True, "status": "reset", **await operations.reset(None)})

    _reads(app, "/engines/status", all_engines)
    _reads(app, "/engines/status/{symbol:path}", one_engine)
    _acts(app, "/engines/add/{symbol:path}", add)
    _acts(app, "/engines/reset", reset_all)
    for verb, done in _DONE.items():
        _acts(app, f"/engines/{verb}/{{symbol:path}}", _engine_command(operations, verb, done))


def _engine_command(operations: Operations, verb: str, done: str) -> Callable[[str], Awaitable[Response]]:
    carry_out: Callable[[str], Awaitable[Document]] = getattr(operations, verb)

    async def command(symbol: str) -> Response:
        canonical = resolve(symbol, operations.symbols())
        return _json({"ok": True, "symbol": canonical, "status": done, **await carry_out(canonical)})

    command.__name__ = verb
    return command


def _add_daemon_routes(app: FastAPI, operations: Operations) -> None:
    async def reload() -> Response:
        return _json({"ok": True, **await operations.reload()})

    async def upgrade() -> Response:
        return _json({"ok": True, **await operations.upgrade()})

    async def stop_daemon() -> Response:
        return _json({"ok": True, **await operations.shutdown()})

    _acts(app, "/daemon/reload", reload)
    _acts(app, "/daemon/upgrade", upgrade)
    _acts(app, "/daemon/stop", stop_daemon)


def _add_portfolio_routes(app: FastAPI, operations: Operations) -> None:
    async def kill(on: bool, reason: str = "") -> Response:
        return _json(await operations.kill(on, reason))

    async def live_status() -> Response:
        return _json(await operations.live_status())

    async def risk_summary() -> Response:
        return _json(await operations.risk_summary())

    async def alerts() -> Response:
        return _json(await operations.alerts())

    async def health() -> Response:
        document = await operations.health()
        return _json(document, 200 if document["ok"] else 503)

    _acts(app, "/live/kill", kill)
    _reads(app, "/live/status", live_status)
    _reads(app, "/risk/summary", risk_summary)
    _reads(app, "/alerts", alerts)
    _reads(app, "/health", health)


def _add_error_handlers(app: FastAPI, operations: Operations) -> None:
    async def refused(_request: Request, error: Exception) -> Response:
        code = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        if code == 500:
            operations.unexpected(error)
        if isinstance(error, RefusedError):
            return _problem(code, error.detail, error.remedy)
        return _problem(code, str(error))

    async def malformed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        parts = [f"{detail['loc'][-1]}: {detail['msg'].lower()}" for detail in error.errors()]
        return _problem(422, "; ".join(parts), "correct the parameters of the request")

    async def no_route(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _problem(error.status_code, str(error.detail), "GET /openapi.json lists the paths", error.headers)

    async def unexpected(_request: Request, error: Exception) -> Response:
        operations.unexpected(error)
        return _problem(500, f"{type(error).__name__}: {error}", "see `levibotctl logs supervisor`")

    app.add_exception_handler(LeviBotError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(Exception, unexpected)


def _reads(app: FastAPI, path: str, endpoint: Callable[..., Awaitable[Response]]) -> None:
    app.add_api_route(path, endpoint, methods=["GET"])
    app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def _acts(app: FastAPI, path: str, endpoint: Callable[..., Awaitable[Response]]) -> None:
    app.add_api_route(path, endpoint, methods=["POST"])


def _json(content: Any, code: int = 200) -> Response:
    # Bytes made here skip FastAPI's own walk over the document, which costs more than all the rest.
    return Response(orjson.dumps(content, default=str), code, media_type="application/json")


def _problem(code: int, detail: str, remedy: str = "", headers: Any = None) -> Response:
    response = _json({"detail": detail, "remedy": remedy}, code)
    response.headers.update(headers or {})
    return response
