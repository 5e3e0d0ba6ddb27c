"""``python -m scripts.bench.api_peer PORT SIZE``: uvicorn with an application that returns fixed bytes.

The limit of what any application in this server can reach: nothing is looked up, checked or rendered.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn


def make_app(size: int) -> Any:
    """An application that answers everything with the same bytes."""
    body = b"x" * size
    headers = [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


if __name__ == "__main__":
    uvicorn.run(
        make_app(int(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="critical",
        lifespan="off",
        access_log=False,
        loop="asyncio",
    )
