"""What a broker with real money has besides its books: a session, a key that nobody else trades with, a venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from levibot.bus.messages import OrderEvent
from levibot.errors import ConfigError, DataStoreError, ExchangeRefusedError, LeviBotError, UnfitKeyError
from levibot.exchange.credentials import Credentials, read_credentials
from levibot.exchange.failures import describe, redact
from levibot.exchange.key_lock import KeyLock
from levibot.exchange.listeners import Listeners
from levibot.exchange.order_stream import OrderStream
from levibot.exchange.private import PrivateTrading
from levibot.exchange.session import ExchangeSession
from levibot.execution.books import Books
from levibot.execution.grants import GrantBook
from levibot.execution.hindrance import ACCOUNT, REFUSED
from levibot.execution.live.account import Account
from levibot.execution.live.journal import Journal
from levibot.execution.live.protection import SpotProtection
from levibot.execution.live.venue import LiveVenue
from levibot.observability.logging import Logger
from levibot.private_file import PrivateFileError
from levibot.spec import WorkerSpec

_FOR_A_PERSON = (ConfigError, ExchangeRefusedError, PrivateFileError, UnfitKeyError)
_AGAIN_S, _MISTAKE_AGAIN_S = 2.0, 15.0  # after the exchange could not be asked; after what a person must mend


class LiveAccount:
    """Opens what is needed to trade with real money, and tries again until it is open.

    Parameters
    ----------
    spec
        Of the broker.
    environ
        Where the key may be.
    log
        Of the worker.
    tell
        Told in words of what hinders, with its kind (`levibot.execution.hindrance`); an empty text: nothing does.
    trouble
        Told in words of failures in the background that were survived.

    Attributes
    ----------
    is_open
        Whether a venue can be made.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        environ: dict[str, str],
        log: Logger,
        tell: Callable[[str], None],
        trouble: Callable[[str], None],
    ) -> None:
        assert spec.live is not None
        assert spec.exchange is not None
        self.is_open = False
        self._config = spec.live
        self._environ = environ
        self._symbols = spec.symbols
        self._log = log
        self._tell = tell
        self._trouble = trouble
        self._credentials: Credentials | None = None  # that were tried last
        self._lock: KeyLock | None = None
        self._session = ExchangeSession(
            spec.exchange_id,
            spec.exchange,
            "broker",
            spec.state_dir,
            Listeners(trouble=lambda what, error: trouble(f"{what}: {error}")),
        )
        self._trading: PrivateTrading | None = None
        self._venue: LiveVenue | None = None
        self._stream: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to open it."""
        self._opening = asyncio.create_task(self._open(), name="open account")

    async def _open(self) -> None:
        while not self.is_open:
            try:
                await self._attempt()
            except LeviBotError as error:
                is_refused = isinstance(error, _FOR_A_PERSON)
                if is_refused:  # whoever has the right settings for this key must not wait for this broker
                    await self._drop_key()
                self._tell(f"{REFUSED if is_refused else ACCOUNT}{error}")
                await asyncio.sleep(_MISTAKE_AGAIN_S if is_refused else _AGAIN_S)
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is told, and tried again
                redact(error, self._credentials.secrets if self._credentials else ())
                self._tell(f"{ACCOUNT}{describe(error)}")
                await asyncio.sleep(_MISTAKE_AGAIN_S)
            else:
                self.is_open = True
                self._tell("")

    async def _attempt(self) -> None:
        credentials = read_credentials(self._config, self._environ)
        if credentials != self._credentials:
            await self._drop_key()
        self._credentials = credentials
        self._take_lock(credentials)
        await self._session.open()
        if self._trading is None:
            trading = PrivateTrading(self._session, credentials)
            await trading.open()
            self._trading = trading
            self._log.info("account_reached", key=credentials.fingerprint)
        for advice in await self._trading.examine_key():
            self._log.warning("key_examined", advice=advice)
        stream = OrderStream(self._session, credentials, self._symbols, self._look, self._on_stream)
        self._stream = asyncio.create_task(stream.run(), name="order stream")

    async def _drop_key(self) -> None:
        """Forget a key that cannot be used, and let others have it."""
        if self._trading is not None:
            await self._trading.close()
            self._trading = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_lock(self, credentials: Credentials) -> None:
        if self._lock is None:
            lock = KeyLock(credentials.fingerprint)
            lock.acquire()
            self._lock = lock

    def _look(self, symbol: str) -> None:
        if self._venue is not None:
            self._venue.look_soon(symbol)

    def _on_stream(self, error: LeviBotError | None) -> None:
        """Its loss costs time only: orders are looked at by themselves too."""
        if error is not None:
            self._log.warning("order_stream_lost", reason=str(error))
        else:
            self._log.info("order_stream_works")

    def make_venue(
        self,
        books: Books,
        grants: GrantBook,
        publish: Callable[[list[OrderEvent]], None],
        broken: Callable[[DataStoreError], None],
    ) -> LiveVenue:
        """A venue on these books; the one before has been given up.

        Parameters
        ----------
        publish
            Sends committed events on.
        broken
            Told when the books cannot be used any more.
        """
        assert self._trading is not None
        journal = Journal(books, publish, self._trouble, self._session.exchange_ms)
        account = Account(journal, self._trading, self._config, self._trouble, broken)
        self._venue = LiveVenue(account, grants, self._session.markets.get, SpotProtection)
        self._venue.start()
        return self._venue

    def give_up_venue(self) -> None:
        """End the venue, whose books are closed."""
        if self._venue is not None:
            task = asyncio.create_task(self._venue.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._venue = None

    async def close(self) -> None:
        """End everything; stops stay on the exchange."""
        tasks = [task for task in (self._opening, self._stream) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.give_up_venue()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._drop_key()
        await self._session.close()
