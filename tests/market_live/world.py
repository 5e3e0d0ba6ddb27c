"""A real feed process that streams from a loopback exchange, and someone who hears what it publishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import multiprocess
import zmq

from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import Bar, Stop
from levibot.config_market import ExchangeConfig, FeedConfig
from tests.deadline import wait_for
from tests.exchange.connect import Connection
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings
from tests.market_live.fast_clock import Pace, run_feed
from tests.market_live.listener import Listener
from tests.workers.feed_host import feed_spec

SPEED = 20.0  # market seconds for each second: a minute passes in three
SYMBOLS = ("BTC/USDT", "ETH/USDT")


def fast(settings: Settings, speed: float = SPEED) -> Settings:
    """The same exchange with a clock that runs faster, and with as many trades and quotes in a real second.

    Minutes are checked by REST as they pass, so that the rate limit has to be as much higher.
    """
    return replace(
        settings,
        speed=speed,
        weight_limit=100_000,
        serves_market_time=True,
        trades_per_s=settings.trades_per_s / speed,
        quotes_per_s=settings.quotes_per_s / speed,
    )


def pace_of(exchange: RunningExchange) -> Pace:
    """The clock by which clients of an exchange with a fast market have to live."""
    clock = exchange.exchange.clock
    return Pace(clock.born_ns, clock.started_ms, clock.speed)


class FeedHouse:
    """A feed process and its listener.

    Parameters
    ----------
    folder
        Short enough for sockets.
    place
        How the exchange is reached.
    symbols
        What the feed is to stream.
    feed, places
        Settings over the defaults of ``[feed]`` and ``[exchange]``.
    pace
        The clock of an exchange whose market is fast, and which serves its market's time.
    keeps_levels
        See `Listener`.
    """

    def __init__(
        self,
        folder: Path,
        place: Connection,
        symbols: tuple[str, ...],
        feed: Mapping[str, Any],
        places: Mapping[str, Any],
        pace: Pace,
        *,
        keeps_levels: bool = True,
    ) -> None:
        self.symbols = symbols
        self.process: multiprocess.Process | None = None
        self.spec = feed_spec(
            folder,
            symbols,
            FeedConfig(**{"source": "ccxt", **feed}),
            exchange=ExchangeConfig(**{"id": place.id, "urls": dict(place.urls), **places}),
            exchange_id=place.id,
        )
        endpoints = self.spec.endpoints
        self._folder = folder
        self._pace = pace
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._forwarder = Forwarder(endpoints.publishers, endpoints.subscribers)
        self.listener = Listener(self.context, endpoints, symbols, keeps_levels=keeps_levels)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join(40)
        self.listener.close()
        self._forwarder.close()
        self.context.destroy(linger=0)

    def start(self, seconds: float = 60.0) -> None:
        """Start the feed, and wait until it is ready and every symbol is live."""
        spawn = multiprocess.get_context("spawn")
        self.process = spawn.Process(
            target=run_feed, args=(self.spec.model_dump_json(), self.spec.exchange_id, self._pace)
        )
        self.process.start()
        self.wait_live(seconds)

    def wait_live(self, seconds: float = 10.0) -> None:
        """Wait until the newest report says that every symbol is live."""

        def live() -> bool:
            assert self.process is not None
            if not self.process.is_alive():
                raise AssertionError(f"the feed ended: {self.output()}")
            if not self.listener.reports:
                return False
            states = self.listener.reports[-1][2].symbols
            return all(states.get(symbol) == "live" for symbol in self.symbols)

        try:
            wait_for(live, "all symbols to be live", seconds=seconds, every=0.02)
        except AssertionError as error:
            last = self.listener.reports[-1][1:] if self.listener.reports else "no heartbeat"
            raise AssertionError(f"{error}: {last}; {self.output()}") from error

    def wait_bars(self, count: int, seconds: float) -> None:
        """Wait until so many bars of each symbol have been published since now."""
        first = {symbol: len(self.listener.of(Bar, symbol)) for symbol in self.symbols}
        wait_for(
            lambda: all(len(self.listener.of(Bar, s)) >= first[s] + count for s in self.symbols),
            f"{count} bars",
            seconds=seconds,
            every=0.05,
        )

    def stop(self) -> None:
        """Stop the feed by command; it must end well."""
        assert self.process is not None
        self.listener.command(Stop(1, "test"))
        self.process.join(40)
        assert self.process.exitcode == 0, self.output()

    def output(self) -> str:
        """The end of its log."""
        return "".join(
            path.read_text(encoding="utf-8")[-4000:] for path in (self._folder / "logs").glob("*.jsonl")
        )


class FeedWorld(FeedHouse):
    """The same beside its exchange, which a test looks into and breaks."""

    def __init__(
        self,
        folder: Path,
        exchange: RunningExchange,
        symbols: tuple[str, ...],
        feed: Mapping[str, Any],
        places: Mapping[str, Any],
    ) -> None:
        self.exchange = exchange
        super().__init__(folder, exchange.connection(), symbols, feed, places, pace_of(exchange))


@contextmanager
def feed_world(
    folder: Path,
    settings: Settings,
    *,
    feed: Mapping[str, Any] | None = None,
    places: Mapping[str, Any] | None = None,
) -> Iterator[FeedWorld]:
    """An exchange and a feed that is about to be started; all is gone when the block ends."""
    rate = {"requests_per_minute": 1_200 * settings.speed} if settings.serves_market_time else {}
    with ExitStack() as stack:
        exchange = stack.enter_context(running(settings))
        world = FeedWorld(folder, exchange, settings.symbols, feed or {}, {**rate, **(places or {})})
        stack.callback(world.close)
        yield world
