"""The HTTP interface: paths and status codes around `Operations`.

Importing FastAPI takes a quarter of a second, so the supervisor imports this module while workers start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import wraps
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from levibot import __version__
from levibot.api import documents as forms
from levibot.api.equity_forms import EquityForm
from levibot.api.operations import Document, MalformedRequestError, Operations, RefusedError, ShuttingDownError
from levibot.api.rendering import SharedStatus, render
from levibot.api.responses import Endpoint, acts, declare_security, reads
from levibot.api.stream import StatusStreams
from levibot.errors import ConfigError, LeviBotError, UnknownSymbolError
from levibot.symbols import is_canonical, resolve

_LONGEST_REASON = 200
_MOST_ENTRIES = 1_000
_DAYS, _MOST_DAYS = 30, 3660
_DONE = {
    "start": "started",
    "stop": "stopped",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
    "reset": "reset",
}
_YES_OR_NO = Literal["true", "false"]
_CONFLICTING = {"start", "stop", "restart", "pause", "resume"}  # what the state of an engine may refuse
_LIST = "`levibotctl status` lists the symbols that are traded, and their states"
# What an error becomes, and what is to be done where it does not say so itself.
_STATUS: tuple[tuple[type[LeviBotError], int, str], ...] = (
    (UnknownSymbolError, 404, _LIST),
    (ShuttingDownError, 503, "start it again with `levibotctl start`"),
    (MalformedRequestError, 400, "correct the request; GET /openapi.json describes it"),
    (RefusedError, 409, _LIST),
    (ConfigError, 400, "nothing has changed; correct it, and try it with `levibotctl config check`"),
)
_UNEXPECTED = (500, "see `levibotctl logs supervisor`")
Symbol = Annotated[
    str,
    Path(description="As configured: BTC/USDT, BTC-USDT or BTCUSDT, in any case.", examples=["BTC/USDT"]),
]
SharedWorker = Annotated[
    str, Path(description="`feed`, `broker`, `notifier`, `altdata` or a process of the pool.", examples=["feed"])
]
NewSymbol = Annotated[
    str,
    Path(
        description="Canonical: BASE/QUOTE, or BASE/QUOTE:SETTLE of a swap.",
        json_schema_extra={"pattern": "^[A-Z0-9]{1,20}/[A-Z0-9]{1,20}(:[A-Z0-9]{1,20})?$"},
    ),
]
Notice = Annotated[str, Path(max_length=40, description="As the test was answered.")]
Reason = Annotated[str, Query(max_length=_LONGEST_REASON, description="Kept in the audit, and shown.")]
Flatten = Annotated[_YES_OR_NO, Query(description="Close open positions first.")]
Keep = Annotated[_YES_OR_NO, Query(description="Leave open positions to the broker, with what protects them.")]
Price = Annotated[
    str,
    Query(
        pattern=r"^(\d{1,12}(\.\d{1,12})?)?$",
        description="Of one unit; left out: the newest, as far as the exchange shows proceeds; 0: it is lost.",
        examples=["3012.5"],
    ),
]
PauseToo = Annotated[_YES_OR_NO, Query(description="Pause the engine first, so that it opens none anew.")]
FlattenAll = Annotated[
    _YES_OR_NO,
    Query(description="With on=true: close all positions too; goes on in the daemon, over its restarts."),
]
Count = Annotated[int, Query(ge=1, le=_MOST_ENTRIES, description="Newest entries.")]
Days = Annotated[int, Query(ge=1, le=_MOST_DAYS, description="UTC days, that of now among them.")]


async def _with_reason(reason: Reason = "") -> None:
    """Every change takes a reason; the audit reads it from the query."""


def create_app(operations: Operations, status: SharedStatus, streams: StatusStreams) -> FastAPI:
    """The application over one supervisor."""
    app = FastAPI(
        title="LeviBot",
        version=__version__,
        description="Status and commands of a running daemon. Every refusal is `{detail, remedy}`.",
        docs_url=None,
        redoc_url=None,
    )
    _add_error_handlers(app, operations)
    _Routes(app, operations, status, streams).add()
    declare_security(app)
    return app


class _Routes:
    """All paths.

    Parameters
    ----------
    app, operations, status, streams
        As of `create_app`.
    """

    def __init__(self, app: FastAPI, operations: Operations, status: SharedStatus, streams: StatusStreams) -> None:
        self._app = app
        self._operations = operations
        self._status = status
        self._streams = streams

    def add(self) -> None:
        """Add them to the application."""
        self._add_engines()
        self._add_daemon()
        self._add_portfolio()
        self._add_metrics()
        self._add_alerts()
        self._add_stream()

    def _acts(self, path: str, endpoint: Endpoint, form: Any, *errors: int, summary: str) -> None:
        @wraps(endpoint)
        async def command(*args: Any, **kwargs: Any) -> Response:
            try:
                return await endpoint(*args, **kwargs)
            finally:
                self._status.forget()

        acts(self._app, path, command, form, *errors, 422, summary=summary, dependencies=[Depends(_with_reason)])

    def _add_engines(self) -> None:
        app, operations = self._app, self._operations

        async def all_engines() -> Response:
            return _raw(await self._status.body())

        async def one_engine(symbol: Symbol) -> Response:
            canonical = resolve(symbol, operations.symbols())
            engines = {engine["symbol"]: engine for engine in (await operations.status())["engines"]}
            return _json(engines[canonical])

        async def add(symbol: NewSymbol) -> Response:
            if not is_canonical(symbol):
                remedy = "write it as BASE/QUOTE, for example BTC/USDT"
                raise MalformedRequestError(f"{symbol!r} is no symbol", remedy)
            return _json({"ok": True, "symbol": symbol, "status": "added", **await operations.add(symbol)})

        async def remove(symbol: Symbol, flatten: Flatten = "false", keep: Keep = "false") -> Response:
            canonical = resolve(symbol, operations.symbols())
            answer = await operations.remove(canonical, flatten=flatten == "true", keep=keep == "true")
            return _json({"ok": True, "symbol": canonical, "status": "removed", **answer})

        async def settle(symbol: Symbol, price: Price = "", reason: Reason = "") -> Response:
            canonical = resolve(symbol, operations.known_symbols())
            answer = await operations.settle(canonical, Decimal(price) if price else None, reason)
            return _json({"ok": True, "symbol": canonical, "status": "settled", **answer})

        async def close(symbol: Symbol, reason: Reason = "", pause: PauseToo = "false") -> Response:
            canonical = resolve(symbol, operations.known_symbols())
            answer = await operations.close(canonical, reason, pause=pause == "true")
            return _json({"ok": True, "symbol": canonical, "status": "closed", **answer})

        async def reset_all() -> Response:
            return _json({"ok": True, "status": "reset", **await operations.reset(None)})

        async def restart_worker(worker: SharedWorker) -> Response:
            await operations.restart_worker(worker)
            return _json({"ok": True, "worker": worker, "status": "restarted"})

        reads(app, "/engines/status", all_engines, forms.StatusForm, summary="All engines and workers")
        reads(app, "/engines/status/{symbol:path}", one_engine, forms.EngineForm, 404, 422, summary="One engine")
        self._acts(
            "/engines/add/{symbol:path}",
            add,
            forms.CommandForm,
            409,
            summary="Trade one more symbol until the next reload",
        )
        self._acts(
            "/engines/remove/{symbol:path}",
            remove,
            forms.CommandForm,
            404,
            409,
            summary="Trade one symbol no more until the next reload",
        )
        self._acts(
            "/engines/settle/{symbol:path}",
            settle,
            forms.CommandForm,
            404,
            409,
            summary="Book what is missing at the exchange as sold or spent by hand",
        )
        self._acts(
            "/engines/close/{symbol:path}",
            close,
            forms.CommandForm,
            404,
            409,
            summary="Close the position of a symbol, which is traded on",
        )
        self._acts("/engines/reset", reset_all, forms.ResetForm, summary="Give all restart budgets back")
        self._acts(
            "/workers/restart/{worker}",
            restart_worker,
            forms.WorkerCommandForm,
            404,
            409,
            summary="Restart a worker that serves all symbols",
        )
        for verb, done in _DONE.items():
            errors = (404, 409) if verb in _CONFLICTING else (404,)
            endpoint = _engine_command(operations, verb, done)
            path = f"/engines/{verb}/{{symbol:path}}"
            self._acts(path, endpoint, forms.CommandForm, *errors, summary=f"{verb.capitalize()} one engine")

    def _add_daemon(self) -> None:
        operations = self._operations

        async def reload(flatten: Flatten = "false", keep: Keep = "false") -> Response:
            answer = await operations.reload(flatten=flatten == "true", keep=keep == "true")
            return _json({"ok": True, **answer})

        async def upgrade() -> Response:
            return _json({"ok": True, **await operations.upgrade()})

        async def stop_daemon() -> Response:
            return _json({"ok": True, **await operations.shutdown()})

        self._acts("/daemon/reload", reload, forms.ReloadForm, 409, summary="Apply the changed configuration")
        self._acts("/daemon/upgrade", upgrade, forms.MessageForm, summary="Restart the whole daemon")
        self._acts("/daemon/stop", stop_daemon, forms.StoppingForm, summary="Stop everything")

    def _add_portfolio(self) -> None:
        app, operations = self._app, self._operations

        async def kill(on: _YES_OR_NO, reason: Reason = "", flatten: FlattenAll = "false") -> Response:
            return _json(await operations.kill(on == "true", reason, flatten=flatten == "true"))

        async def reset_day(reason: Reason = "") -> Response:
            return _json({"ok": True, **await operations.reset_day(reason)})

        async def audit(count: Count = 100) -> Response:
            return _json(await operations.audit(count))

        async def live_status() -> Response:
            return _json(await operations.live_status())

        async def risk_summary() -> Response:
            return _json(await operations.risk_summary())

        async def equity(days: Days = _DAYS) -> Response:
            return _json(await operations.equity(days))

        async def altdata() -> Response:
            return _json(await operations.altdata())

        async def health() -> Response:
            document = await operations.health()
            if document["ok"]:
                return _json(document)
            problem = {"detail": "; ".join(document["wrong"]), "remedy": "see `levibotctl status`"}
            return _json({**document, **problem}, 503)

        self._acts("/live/kill", kill, forms.LiveForm, 409, summary="Set or release the kill switch")
        self._acts("/risk/reset_day", reset_day, forms.MessageForm, summary="Clear the daily stop")
        reads(app, "/audit", audit, forms.AuditForm, 422, summary="What operators did, oldest first")
        reads(app, "/live/status", live_status, forms.LiveForm, summary="Kill switch and mode")
        reads(app, "/risk/summary", risk_summary, forms.RiskForm, summary="Equity, limits and stops")
        reads(app, "/equity", equity, EquityForm, 422, summary="Equity: its curve, its days, each symbol")
        reads(app, "/altdata", altdata, forms.AltDataForm, summary="Alternative data: sources and last values")
        reads(app, "/health", health, forms.HealthForm, summary="200 while all is well, else 503")

    def _add_metrics(self) -> None:
        async def metrics(request: Request) -> Response:
            body, content_type = await self._operations.metrics(request.headers.get("accept", ""))
            return Response(body, headers={"content-type": content_type})

        text = {"schema": {"type": "string"}}
        content = {"text/plain": text, "application/openmetrics-text": text}
        responses = {200: {"content": content, "description": "All metrics, as docs/metrics.md lists them."}}
        for path in ("/metrics", "/metrics/prom"):
            reads(self._app, path, metrics, None, summary="Metrics for Prometheus", responses=responses)

    def _add_alerts(self) -> None:
        app, operations = self._app, self._operations

        async def alerts(
            state: Literal["standing", "cleared"] | None = None,
            severity: Literal["warning", "critical"] | None = None,
        ) -> Response:
            wanted = {"state": state, "severity": severity}
            return _json(
                [
                    alert
                    for alert in await operations.alerts()
                    if all(alert[name] == value for name, value in wanted.items() if value is not None)
                ]
            )

        async def test() -> Response:
            return _json({"ok": True, **await operations.test_alerts()})

        async def outcome(notice: Notice) -> Response:
            return _json(await operations.test_outcome(notice))

        summary = "Alerts of the last days, newest first"
        reads(app, "/alerts", alerts, list[forms.AlertForm], 422, summary=summary)
        self._acts("/alerts/test", test, forms.TestForm, 409, summary="Send a test through every channel")
        reads(app, "/alerts/test/{notice}", outcome, forms.OutcomeForm, 422, summary="What became of a test")

    def _add_stream(self) -> None:
        async def stream_engines() -> Response:
            return self._streams.open()

        description = (
            "`status` events hold the document of `GET /engines/status`: on every change of a state, and once a "
            "second. `state` events hold `{name, was, status}` of a worker, or of `risk`. After a break the "
            "first `status` event tells all."
        )
        events = {"text/event-stream": {"schema": {"type": "string"}}}
        reads(
            self._app,
            "/stream/engines",
            stream_engines,
            None,
            summary="Server-sent events of the status",
            description=description,
            responses={200: {"content": events, "description": "Events without end."}},
        )


def _engine_command(operations: Operations, verb: str, done: str) -> Callable[[str], Awaitable[Response]]:
    carry_out: Callable[[str], Awaitable[Document]] = getattr(operations, verb)

    async def command(symbol: Symbol) -> Response:
        canonical = resolve(symbol, operations.symbols())
        return _json({"ok": True, "symbol": canonical, "status": done, **await carry_out(canonical)})

    command.__name__ = verb
    return command


def _add_error_handlers(app: FastAPI, operations: Operations) -> None:
    async def refused(_request: Request, error: Exception) -> Response:
        meanings = ((code, remedy) for kind, code, remedy in _STATUS if isinstance(error, kind))
        code, remedy = next(meanings, _UNEXPECTED)
        if code == 500:
            operations.unexpected(error)
        if isinstance(error, RefusedError):
            return _problem(code, error.detail, error.remedy or remedy)
        return _problem(code, str(error), remedy)

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


def _json(content: Any, code: int = 200) -> Response:
    return _raw(render(content), code)


def _raw(body: bytes, code: int = 200) -> Response:
    # Bytes made here skip FastAPI's own walk over the document, which costs more than all the rest.
    return Response(body, code, media_type="application/json")


def _problem(code: int, detail: str, remedy: str, headers: Any = None) -> Response:
    response = _json({"detail": detail, "remedy": remedy}, code)
    response.headers.update(headers or {})
    return response
