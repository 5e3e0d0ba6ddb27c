"""An exchange that is not reached: why."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from levibot.config_market import ExchangeConfig
from levibot.errors import ExchangeUnavailableError
from levibot.exchange.failures import describe
from levibot.exchange.session import ExchangeSession


@pytest.fixture
def dead() -> str:
    """An address at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("what", ["exchange", "proxy"])
def test_who_refused_the_connection_is_told(tmp_path: Path, dead: str, what: str) -> None:
    config = ExchangeConfig(
        id="mexc",
        urls={"spot.public": f"https://{dead}"},
        proxy=f"http://{dead}" if what == "proxy" else None,
    )

    async def act() -> str:
        session = ExchangeSession("mexc", config, "feed", tmp_path)
        try:
            with pytest.raises(ExchangeUnavailableError) as caught:
                await session.open()
            return str(caught.value)
        finally:
            await session.close()

    text = asyncio.run(act())
    assert f"connection refused by {'the proxy ' if what == 'proxy' else ''}{dead}" in text


def test_a_name_that_is_not_known_is_told_with_the_name() -> None:
    key = ConnectionKey("api.mexc.example", 443, True, True, None, None, None)
    unknown = aiohttp.ClientConnectorDNSError(key, socket.gaierror(-2, "Name or service not known"))
    error = RuntimeError("mexc GET https://api.mexc.example/api/v3/time?signature=secret")
    error.__cause__ = unknown
    assert describe(error) == (
        "RuntimeError: mexc GET https://api.mexc.example/api/v3/time: the name of api.mexc.example is not known"
    )
    assert describe(ConnectionError(unknown)) == "the name of api.mexc.example is not known"
