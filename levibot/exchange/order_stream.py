"""The private stream of an account: it says when to look, and nothing else; what is true, requests tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from levibot.errors import ExchangeUnavailableError, LeviBotError
from levibot.exchange.credentials import Credentials
from levibot.exchange.failures import redact, translate
from levibot.exchange.private_building import build_private
from levibot.exchange.session import ExchangeSession
from levibot.market.live.backoff import Backoff


class OrderStream:
    """Watches the orders of an account as long as `run` runs.

    Its loss costs nothing but time: it is told, the connection is made again, each time after a longer pause, and
    whoever listens is told to look at every symbol, since something may have been missed.

    Parameters
    ----------
    session
        An open session.
    credentials
        Key of the account.
    symbols
        Those to look at after a loss; others that are heard of are told too.
    look
        Called with a symbol of which something has happened to an order, or may have.
    trouble
        Called when the stream is lost or cannot be had, with the error, and with None when it works again.
    """

    def __init__(
        self,
        session: ExchangeSession,
        credentials: Credentials,
        symbols: Collection[str],
        look: Callable[[str], None],
        trouble: Callable[[LeviBotError | None], None],
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._symbols = symbols
        self._look = look
        self._trouble = trouble
        self._is_troubled = False
        self._backoff = Backoff()

    async def run(self) -> None:
        """Watch until cancelled; returns at once where ccxt cannot."""
        if not self._session.exchange.has.get("watchOrders"):
            return
        while True:
            try:
                failure = await self._watch()
            except Exception as error:  # noqa: BLE001  # what cannot even be begun is tried again, like a loss
                redact(error, self._credentials.secrets)
                failure = translate(error, f"private stream of {self._session.id}")
            self._is_troubled = True
            self._trouble(failure)
            await asyncio.sleep(max(self._backoff.failed(), getattr(failure, "wait_s", 0.0)))

    async def _watch(self) -> LeviBotError:
        """Watch on a connection of its own, and return why it ended."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def connected(url: str) -> None:
            self._begin()

        def disconnected(url: str, reason: str) -> None:
            if not lost.done():
                lost.set_result(reason)

        made = build_private(self._session, self._credentials, connected, disconnected)
        made.options["timeDifference"] = self._session.skew_ms if made.has.get("fetchTime") else 0
        watching = asyncio.create_task(self._listen(made))
        try:
            ends: set[asyncio.Future[Any]] = {watching, lost}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                return watching.result()
            return ExchangeUnavailableError(f"private stream of {self._session.id}: {lost.result()}")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._session.end_sibling(made)

    async def _listen(self, made: Any) -> LeviBotError:
        try:
            while True:
                for symbol in _symbols_of(await made.watch_orders()):
                    self._look(symbol)
        except Exception as error:  # noqa: BLE001  # whatever ends it, requests go on, and it is watched again
            redact(error, self._credentials.secrets)
            return translate(error, f"private stream of {self._session.id}")

    def _begin(self) -> None:
        self._backoff.succeeded()
        if self._is_troubled:
            self._is_troubled = False
            self._trouble(None)
        for symbol in self._symbols:
            self._look(symbol)


def _symbols_of(orders: Any) -> set[str]:
    """Symbols of what a stream brought; what is none is passed over, since nothing hangs on it."""
    rows = orders if isinstance(orders, list) else []
    found = {row.get("symbol") for row in rows if isinstance(row, dict)}
    return {symbol for symbol in found if isinstance(symbol, str)}
