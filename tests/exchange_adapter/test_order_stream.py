"""The private stream: a hint that comes quickly, and whose loss costs nothing but that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from levibot.errors import LeviBotError
from levibot.exchange.order_stream import OrderStream
from levibot.exchange.private import PrivateTrading
from tests.exchange.server import Exchange
from tests.exchange.settings import KEY, SECRET
from tests.exchange_adapter.trading import FAR_BELOW, LOOPBACK, SYMBOL, Account


class Heard:
    """What a stream told, awaited with a deadline."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.troubles: list[LeviBotError | None] = []
        self._changed = asyncio.Event()

    def look(self, symbol: str) -> None:
        self.looks.append(symbol)
        self._changed.set()

    def trouble(self, error: LeviBotError | None) -> None:
        self.troubles.append(error)
        self._changed.set()

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()


def watch(trading: PrivateTrading, heard: Heard) -> asyncio.Task[None]:
    stream = OrderStream(trading._session, LOOPBACK, [SYMBOL], heard.look, heard.trouble)
    return asyncio.create_task(stream.run())


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until_subscribed(account: Account, heard: Heard) -> None:
    """The exchange has taken the subscription: from now on orders are told."""
    await heard.until(lambda: bool(heard.looks))
    async with asyncio.timeout(60):
        while not account.exchange.run(_is_subscribed):
            await asyncio.sleep(0.02)


def _is_subscribed(exchange: Exchange) -> bool:
    """MEXC knows whose a connection is from its address, before anything is subscribed to."""
    mine = [connection for connection in exchange.hub.connections.values() if connection.account is not None]
    return any(exchange.dialect.name == "binance" or connection.streams for connection in mine)


def test_what_happens_to_orders_is_told(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        heard = Heard()
        task = watch(trading, heard)
        await until_subscribed(account, heard)
        before = len(heard.looks)
        placement = account.buy(limit_price=account.price(FAR_BELOW))
        await trading.place(placement)
        await heard.until(lambda: len(heard.looks) > before)
        assert set(heard.looks) == {SYMBOL}
        await trading.cancel(SYMBOL, placement.client_id, "")
        assert heard.troubles == []
        await end(task)

    account.play(scenario)


def test_a_loss_is_told_survived_and_followed_by_a_look_at_everything(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        heard = Heard()
        task = watch(trading, heard)
        await until_subscribed(account, heard)
        before = len(heard.looks)
        account.exchange.drop_connections()
        await heard.until(lambda: None in heard.troubles)
        await heard.until(lambda: len(heard.looks) > before)
        lost = heard.troubles[0]
        assert isinstance(lost, LeviBotError)
        assert "private stream" in str(lost)
        assert await trading.balances(), "requests go on"
        await end(task)

    account.play(scenario)


def test_a_stream_that_cannot_be_had_hinders_nobody_and_tells_no_secret(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        account.exchange.arm("refuse_subscription")
        account.exchange.arm("accept_then_drop", "DIAL *")
        account.exchange.arm("status", "POST /api/v3/userDataStream", status=503)
        heard = Heard()
        task = watch(trading, heard)
        await heard.until(lambda: sum(error is not None for error in heard.troubles) >= 2)
        placement = account.buy()
        await trading.place(placement)
        order = await trading.order(SYMBOL, placement.client_id, "")
        assert order is not None
        assert order.status == "filled"
        for error in heard.troubles:
            for secret in (KEY, SECRET, "listenKey=", "signature="):
                assert secret not in str(error)
        await end(task)

    account.play(scenario)
