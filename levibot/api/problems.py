"""How the HTTP interface says no: always ``{"detail": …, "remedy": …}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Problem:
    """A refused request.

    Parameters
    ----------
    code
        HTTP status, 4xx or 5xx.
    detail
        What is wrong.
    remedy
        What the client can do about it.
    headers
        More headers of the answer.
    """

    code: int
    detail: str
    remedy: str = ""
    headers: Headers = ()

    @property
    def body(self) -> bytes:
        """The answer's JSON."""
        return orjson.dumps({"detail": self.detail, "remedy": self.remedy})

    async def send(self, send: Any) -> None:
        """Answer a request of ASGI with this."""
        body = self.body
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in self.headers),
        ]
        await send({"type": "http.response.start", "status": self.code, "headers": headers})
        await send({"type": "http.response.body", "body": body})
