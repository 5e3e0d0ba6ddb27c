"""What tests of live market data share: an exchange, a session with it, and receivers that remember."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from levibot.config_market import ExchangeConfig
from levibot.exchange.session import ExchangeSession
from levibot.exchange.validation import BookSnapshot, PublicTrade
from levibot.market.live.switchboard import Switchboard
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import DialectName, Settings

T = TypeVar("T")
SYMBOL, OTHER = "BTC/USDT", "ETH/USDT"
SECONDS = 90.0


class Memory:
    """A receiver that keeps everything, in the order in which it came."""

    def __init__(self) -> None:
        self.frames: list[list[PublicTrade]] = []
        self.received_ns: list[int] = []
        self.quotes: list[tuple[float, float]] = []
        self.books: list[BookSnapshot] = []
        self.malformed: list[str] = []
        self.lost: list[str] = []
        self.still_lost: list[str] = []
        self.restored = 0
        self.told: list[str] = []  # lost and restored, in order

    @property
    def trades(self) -> list[PublicTrade]:
        return [trade for frame in self.frames for trade in frame]

    def on_trades(self, trades: Sequence[PublicTrade], received_ns: int) -> None:
        self.frames.append(list(trades))
        self.received_ns.append(received_ns)

    def on_quote(self, bid: float, ask: float, event_ms: int | None, received_ns: int) -> None:
        self.quotes.append((bid, ask))

    def on_book(self, book: BookSnapshot, received_ns: int) -> None:
        self.books.append(book)

    def on_malformed(self, reason: str) -> None:
        self.malformed.append(reason)

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self.told.append("lost")

    def on_still_lost(self, reason: str) -> None:
        self.still_lost.append(reason)

    def on_restored(self) -> None:
        self.restored += 1
        self.told.append("restored")


class Place:
    """A running exchange, and where sessions with it keep their state."""

    def __init__(self, exchange: RunningExchange, state_dir: Path) -> None:
        self.exchange = exchange
        self.state_dir = state_dir

    @property
    def dialect(self) -> DialectName:
        name: DialectName = self.exchange.dialect
        return name

    def stream(self, what: str) -> str:
        """Pattern of the streams that carry ``trades``, ``book`` or ``quote``, in this dialect."""
        patterns = {
            "binance": {"trades": "*@trade", "book": "*@depth*", "quote": "*@bookTicker"},
            "mexc": {"trades": "*deals*", "book": "*aggre.depth*"},
        }
        return patterns[self.dialect][what]

    def opened(self) -> int:
        """WebSockets that the exchange has accepted."""
        return len(self.exchange.log.streamed("open"))

    def session(self) -> ExchangeSession:
        place = self.exchange.connection()
        config = ExchangeConfig(id=place.id, urls=dict(place.urls), requests_per_minute=60_000.0)
        return ExchangeSession(self.dialect, config, "feed", self.state_dir)

    def play(self, scenario: Callable[[ExchangeSession], Awaitable[T]]) -> T:
        """Run a scenario in a session; no task, socket or error that nobody dealt with may be left of it."""
        unhandled: list[dict[str, Any]] = []

        async def act() -> T:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
            session = self.session()
            try:
                async with asyncio.timeout(SECONDS):
                    await session.open()
                    return await scenario(session)
            finally:
                await session.close()
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, left

        result = asyncio.run(act())
        assert not unhandled, unhandled
        return result


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; fails naming `what`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        if loop.time() > end:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(
    session: ExchangeSession, *symbols: str
) -> AsyncIterator[tuple[Switchboard, dict[str, Memory]]]:
    """A switchboard with all of these symbols up."""
    board = Switchboard(session)
    memories = {symbol: Memory() for symbol in symbols}
    try:
        for symbol, memory in memories.items():
            board.connect(symbol, memory)
        await until(lambda: all(memory.restored for memory in memories.values()), "all symbols to be up")
        yield board, memories
    finally:
        await board.close()
    assert board.connections == 0


@pytest.fixture(params=["binance", "mexc"])
def dialect(request: pytest.FixtureRequest) -> DialectName:
    """Each dialect of the loopback exchange."""
    name: DialectName = request.param
    return name


@pytest.fixture
def place(dialect: DialectName, tmp_path: Path) -> Iterator[Place]:
    """An exchange of each dialect that trades two symbols."""
    with serving(tmp_path, dialect=dialect, trades_per_s=20.0) as found:
        yield found


@contextmanager
def serving(tmp_path: Path, **settings: Any) -> Iterator[Place]:
    """An exchange with settings of one's own."""
    with running(Settings(**settings)) as exchange:
        yield Place(exchange, tmp_path / "state")
