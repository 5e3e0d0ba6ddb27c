"""A broker that dies between any two steps loses nothing and repeats nothing."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Callable
from typing import Any

from levibot.execution.live.tracking import IN_DOUBT
from tests.execution.live.house import SYMBOL, Life, LiveHouse


class Mortal:
    """Trading that ends for good at one request: before it reaches the exchange, or before its answer comes."""

    def __init__(self, trading: Any) -> None:
        self._trading = trading
        self.requests = 0
        self.last = 0  # the request at which it ends; 0: at none
        self.is_carried_out = False  # that last one
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._trading, name)
        return self._mortal(method) if inspect.iscoroutinefunction(method) else method

    def _mortal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(*arguments: Any) -> Any:
            if self.dead.is_set():
                await asyncio.Event().wait()
            self.requests += 1
            is_last = self.requests == self.last
            if is_last and not self.is_carried_out:
                self.dead.set()
                await asyncio.Event().wait()
            answer = await method(*arguments)
            if is_last:
                self.dead.set()
            if self.dead.is_set():
                await asyncio.Event().wait()
            return answer

        return ask


async def _trade(house: LiveHouse, life: Life) -> None:
    """All that can happen to orders: one rests and is cancelled, one is bought, one is sold."""
    resting = life.submit(house.limit("0.9"))
    await life.until(lambda: "Accepted" in life.kinds(resting))
    await house.cancel(life, resting)
    await life.until_over(life.submit(house.entry("0.02")))
    await life.until_over(life.submit(house.leave("0.01")))


async def _live_and_die(house: LiveHouse, number: int, last: int, *, is_carried_out: bool) -> bool:
    """One life until a request, and another one after it; whether it came to that request."""
    house.start_anew(f"broker-{number}.sqlite")
    mortal = Mortal(house.trading)
    life = await house.begin(trading=mortal, unknown_after=0.2, reconcile_interval=600.0)
    mortal.requests, mortal.last, mortal.is_carried_out = 0, last, is_carried_out
    trading, dying = asyncio.create_task(_trade(house, life)), asyncio.create_task(mortal.dead.wait())
    await asyncio.wait({trading, dying}, return_when=asyncio.FIRST_COMPLETED)
    await life.die()
    for task in (trading, dying):
        task.cancel()
    await asyncio.gather(trading, dying, return_exceptions=True)
    after = await house.begin(unknown_after=0.2)
    for order in list(after.books.open.values()):
        after.venue.cancel(SYMBOL, order.intent.client_id)  # what rests is ours to cancel, still
    await after.until(lambda: not after.books.open)
    assert not any(order.state in IN_DOUBT for order in after.books.open.values())
    house.check(after)
    assert not [order for order in house.orders if order.open]
    await after.end()
    return mortal.dead.is_set()


def test_a_broker_that_dies_at_any_request_loses_and_repeats_nothing(house: LiveHouse) -> None:
    async def scenario() -> None:
        for last in itertools.count(1):  # not each life takes the same number of requests
            died = [
                await _live_and_die(house, 2 * last + is_carried_out, last, is_carried_out=is_carried_out)
                for is_carried_out in (False, True)
            ]
            if not any(died):
                break
        assert last >= 6

    house.play(scenario)
