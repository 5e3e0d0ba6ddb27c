"""What the session adds to streams: a poisoned frame ends a connection at once, and every loss is told."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest

from levibot.errors import ExchangeUnavailableError
from levibot.exchange.failures import translate
from levibot.exchange.session import ExchangeSession
from tests.exchange_adapter.conftest import SYMBOL, House


async def until(condition: Any, what: str) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


async def watch_for_ever(session: ExchangeSession) -> None:
    while True:
        await session.exchange.watch_trades(SYMBOL)


def test_a_frame_that_cannot_be_read_is_a_reconnect_at_once(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        await session.exchange.watch_trades(SYMBOL)
        house.exchange.arm("malformed", "STREAM *", times=1)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(ccxt.NetworkError, match="a frame could not be read") as raised:
            await watch_for_ever(session)
        assert asyncio.get_running_loop().time() - begun < 8.0  # a ping would have noticed after ten or more
        assert isinstance(translate(raised.value, "trades"), ExchangeUnavailableError)
        assert await session.exchange.watch_trades(SYMBOL)

    house.play(scenario)
    reasons = [reason for _, reason in house.heard("disconnected")]
    assert len(reasons) == 1
    assert "a frame could not be read" in reasons[0]
    assert len(house.heard("connected")) == 2


def test_a_drop_while_nobody_waits_is_told(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        await session.exchange.watch_trades(SYMBOL)
        house.exchange.drop_connections()
        await until(lambda: house.heard("disconnected"), "the loss to be told")
        assert await session.exchange.watch_trades(SYMBOL)

    house.play(scenario)
    assert len(house.heard("disconnected")) == 1


def test_a_dial_that_is_refused_is_told(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm("refuse")
        with pytest.raises(ccxt.NetworkError) as raised:
            await session.exchange.watch_trades(SYMBOL)
        assert isinstance(translate(raised.value, "trades"), ExchangeUnavailableError)

    house.play(scenario)
    assert house.heard("disconnected")
    assert not house.heard("connected")


def test_what_ccxt_leaves_to_the_loop_is_trouble_and_no_error_of_the_worker(house: House) -> None:
    counted: list[dict[str, Any]] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: counted.append(context))
        before = loop.get_exception_handler()
        session = house.session()
        await session.open()
        future = session.exchange.spawn(session.exchange.fetch_order_book, "NO/PE")
        await asyncio.wait([future])
        del future
        await until(lambda: house.heard("trouble"), "the forgotten future")
        loop.call_exception_handler({"message": "ours", "exception": ValueError("ours")})
        await session.close()
        assert loop.get_exception_handler() is before

    asyncio.run(scenario())
    assert [str(context["exception"]) for context in counted] == ["ours"]
    assert house.heard("trouble")[0][0] == "stream"
