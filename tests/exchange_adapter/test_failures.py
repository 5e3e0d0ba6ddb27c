"""What is told of a failure: why an exchange is not reached, and never a secret."""

from __future__ import annotations

import asyncio
import socket
import traceback
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from levibot.config_market import ExchangeConfig
from levibot.errors import ExchangeUnavailableError
from levibot.exchange.failures import clean, describe, redact
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


SIGNATURE = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.mark.parametrize(
    "text",
    [
        f"binance GET https://api.example/api/v3/order?symbol=BTCUSDT&signature={SIGNATURE}",
        f"body symbol=BTCUSDT&timestamp=1&signature={SIGNATURE}&x=1",
        f'{{"signature": "{SIGNATURE}", "apiKey":"{SIGNATURE}"}}',
        f"wss://stream.example/ws?listenKey={SIGNATURE} closed",
        f"X-MBX-APIKEY: {SIGNATURE}",
    ],
)
def test_what_looks_like_a_secret_is_not_told(text: str) -> None:
    assert SIGNATURE not in clean(text, ())
    assert SIGNATURE not in describe(RuntimeError(text))


def test_secrets_are_taken_out_of_an_error_and_all_that_is_behind_it() -> None:
    class Address(Exception):
        """As aiohttp's, whose text is made of the request."""

        def __str__(self) -> str:
            return f"url=https://api.example/order?signature={SIGNATURE}"

    caught: Exception | None = None
    try:
        try:
            try:
                raise Address
            except Address:
                raise ValueError(f"the key {SIGNATURE}") from None
        except ValueError as error:
            try:
                raise Address from error
            except Address as behind:
                raise RuntimeError(f"while asking with {SIGNATURE}") from behind
    except RuntimeError as error:
        caught = error
    assert caught is not None
    redact(caught, (SIGNATURE,))
    assert str(caught) == "while asking with …"
    assert SIGNATURE not in "".join(traceback.format_exception(caught))


def test_an_error_without_secrets_stays_as_it_is() -> None:
    error = RuntimeError("no route to api.example", 5)
    redact(error, (SIGNATURE,))
    assert error.args == ("no route to api.example", 5)
