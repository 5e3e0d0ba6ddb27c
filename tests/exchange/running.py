"""An exchange in a thread of its own, for tests that look into it while clients use it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.exchange import connect
from tests.exchange.faults import Fault
from tests.exchange.server import Exchange
from tests.exchange.settings import Settings

T = TypeVar("T")


class RunningExchange:
    """A started exchange; what changes it runs on its own loop."""

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange = exchange
        self._loop = loop

    @property
    def port(self) -> int:
        return self.exchange.port

    @property
    def dialect(self) -> Any:
        return self.exchange.settings.dialect

    @property
    def log(self) -> Any:
        return self.exchange.log

    @property
    def journal(self) -> Any:
        return self.exchange.market.journal

    def connection(self) -> connect.Connection:
        """Configuration that points a client at it."""
        return connect.connection(self.dialect, self.port)

    def client(self, **config: Any) -> Any:
        """A real ccxt.pro exchange that talks to it; close it after use."""
        return connect.make(self.dialect, self.port, **config)

    def run(self, action: Callable[[Exchange], T]) -> T:
        """Do something on the exchange's own loop."""

        async def act() -> T:
            return action(self.exchange)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(60)

    def arm(self, kind: Any, on: str = "*", **parameters: Any) -> Fault:
        """Arm a fault; lasting ones are in force when this returns."""
        fault = self.run(lambda exchange: exchange.faults.arm(Fault(kind, on, **parameters)))
        self._settle()
        return fault

    def clear(self) -> None:
        self.run(lambda exchange: exchange.faults.clear())
        self._settle()

    def _settle(self) -> None:
        asyncio.run_coroutine_threadsafe(self.exchange.apply_lasting_faults(), self._loop).result(60)

    def drop_connections(self) -> None:
        self.run(lambda exchange: exchange.drop_connections())


@contextmanager
def running(settings: Settings) -> Iterator[RunningExchange]:
    """Start an exchange on free ports, and stop it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loopback exchange", daemon=True)
    thread.start()

    async def build() -> Exchange:
        exchange = Exchange(settings)
        await exchange.start()
        return exchange

    try:
        exchange = asyncio.run_coroutine_threadsafe(build(), loop).result(60)
        try:
            yield RunningExchange(exchange, loop)
        finally:
            asyncio.run_coroutine_threadsafe(exchange.stop(), loop).result(60)
    finally:
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(40)
        loop.close()


async def _end_tasks() -> None:
    """Leave nothing under way when the loop stops: the handler of a line that was cut ends a little later."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
