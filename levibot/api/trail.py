"""Every change that is asked for, told to the audit before it is answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from levibot.api.caller import CALLER, Caller

Record = Callable[[Caller, Mapping[str, Any]], None]

_OPTIONS = ("on", "flatten", "keep", "price", "pause")  # what is kept of the query, besides the reason
_MISTAKES = (400, 404, 422)  # nothing was asked for that could be done
_LONGEST = 200
_SUBJECTS = {"live": "portfolio", "risk": "portfolio", "engines": "all workers"}


class Trail:
    """Between the gate and the application.

    Parameters
    ----------
    app
        The application.
    record
        Takes who asked, and what became of it; see `AuditTrail.record`.
    """

    def __init__(self, app: Any, record: Record) -> None:
        self._app = app
        self._record = record

    async def __call__(self, caller: Caller, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request that may change something."""
        head: list[dict[str, Any]] = []

        async def recording(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                head.append(message)  # held back: what is answered is on disk
                return
            if head:
                start = head.pop()
                self._note(caller, scope, start["status"], message.get("body", b""))
                await send(start)
            await send(message)

        token = CALLER.set(caller)
        try:
            await self._app(scope, receive, recording)
        finally:
            CALLER.reset(token)

    def _note(self, caller: Caller, scope: dict[str, Any], status: int, body: bytes) -> None:
        route = scope.get("route")
        if route is None or status in _MISTAKES:
            return
        answer = _document(body)
        words = [word for word in route.path_format.split("/") if word and not word.startswith("{")]
        written = next(iter(scope.get("path_params", {}).values()), _SUBJECTS.get(words[0], words[0]))
        query = dict(parse_qsl(scope["query_string"].decode("utf-8", "replace")))
        entry = {
            "action": words[-1].replace("_", "-"),
            "subject": str(answer.get("symbol") or written)[:_LONGEST],
            "options": {name: query[name][:_LONGEST] for name in _OPTIONS if name in query},
            "reason": query.get("reason", "")[:_LONGEST],
            "outcome": "done" if status < 400 else f"refused: {answer.get('detail', status)}"[:_LONGEST],
        }
        self._record(caller, entry)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
