"""Routes as OpenAPI shows them: forms of answers, errors, and who may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from levibot.api.documents import ProblemForm

Endpoint = Callable[..., Awaitable[Response]]
Responses = dict[int | str, dict[str, Any]]

_ERRORS = {
    400: "The request cannot be read, or is refused as it stands.",
    401: "A token is missing, or not good for this.",
    403: "A page of another site asked for a change.",
    404: "There is no such symbol.",
    409: "It is so already, or the state of things is in the way.",
    413: "The body is too large.",
    414: "Path and query are too long.",
    421: "The Host header names another host.",
    422: "A parameter is wrong.",
    429: "Too many wrong tokens.",
    431: "The headers are too large.",
    500: "An error that nobody foresaw; it is in the supervisor's log.",
    503: "Too many connections, or the daemon is shutting down.",
}
_OF_ALL = (400, 401, 413, 414, 421, 429, 431, 503)
_OF_CHANGES = (403,)
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "Over TCP: the content of `api-token` in the data folder, or, for reading alone, of "
    "`api-read-token`. The unix socket takes every request without one.",
}


def reads(app: FastAPI, path: str, endpoint: Endpoint, form: Any, *errors: int, **options: Any) -> None:
    """Serve ``GET`` and ``HEAD`` of a path.

    Parameters
    ----------
    app, path, endpoint
        What FastAPI takes.
    form
        Form of a good answer: a model, or a list of one; None if `options` tell it.
    errors
        Status codes of refusals, besides those that every route has.
    options
        More of what FastAPI takes.
    """
    responses = {**_responses(*_OF_ALL, *errors), **options.pop("responses", {})}
    open_to_all: list[dict[str, list[str]]] = [{}, {"token": []}]
    app.add_api_route(
        path,
        endpoint,
        methods=["GET"],
        response_model=form,
        response_class=Response if form is None else JSONResponse,
        responses=responses,
        openapi_extra={"security": open_to_all},
        **options,
    )
    app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def acts(app: FastAPI, path: str, endpoint: Endpoint, form: type[BaseModel], *errors: int, **options: Any) -> None:
    """Serve ``POST`` of a path, which changes something; parameters as of `reads`."""
    app.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        response_model=form,
        response_class=JSONResponse,
        responses=_responses(*_OF_ALL, *_OF_CHANGES, *errors),
        openapi_extra={"security": [{"token": []}]},
        **options,
    )


def declare_security(app: FastAPI) -> None:
    """Put the token into the OpenAPI document."""
    make = app.openapi

    def with_scheme() -> dict[str, Any]:
        document = make()
        document.setdefault("components", {})["securitySchemes"] = {"token": _SCHEME}
        return document

    app.openapi = with_scheme  # type: ignore[method-assign]


def _responses(*codes: int) -> Responses:
    return {code: {"model": ProblemForm, "description": _ERRORS[code]} for code in sorted(codes)}
