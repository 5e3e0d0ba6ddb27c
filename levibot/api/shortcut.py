"""The way past routing for what is asked most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from levibot.api.rendering import SharedStatus

Application = Any  # an ASGI application; asgiref's own types are not installed everywhere


@dataclass(frozen=True)
class _Route:
    path_format: str


class StatusShortcut:
    """Answers ``GET /engines/status`` itself: routing costs several times what a shared rendering does.

    The route stays in the application, which describes it, answers HEAD, and tells when rendering fails.

    Parameters
    ----------
    app
        The application.
    status
        The document.
    """

    def __init__(self, app: Application, status: SharedStatus) -> None:
        self._app = app
        self._status = status
        self._route = _Route("/engines/status")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["path"] != self._route.path_format or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._status.body()
        except Exception:  # noqa: BLE001 -- the application meets it again, and has the handlers for it
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
