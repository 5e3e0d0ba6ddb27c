"""A real exchange as a source of market data: history by REST, then streams, watched and made whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from levibot.bus.messages import PARSE_BOUNDS, AltData, LiveReport, MarketSpec
from levibot.clock import boot_ns
from levibot.config_altdata import AltDataConfig
from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.errors import BackOffError, LeviBotError, RetryError
from levibot.exchange.candles import closed_until_ms, fetch_candles
from levibot.exchange.listeners import Listeners
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS
from levibot.market.complaints import Complaints
from levibot.market.gaps import fill_gaps
from levibot.market.live.clock_watch import ClockWatch
from levibot.market.live.funding import FundingWatch
from levibot.market.live.market_watch import MarketWatch
from levibot.market.live.meter import MeteredReceiver
from levibot.market.live.pauses import Refusals
from levibot.market.live.probes import Prober
from levibot.market.live.recovery import Recovery
from levibot.market.live.scout import Scout
from levibot.market.live.switchboard import Listeners as LineListeners
from levibot.market.live.switchboard import Switchboard
from levibot.market.live.symbol import SymbolFeed
from levibot.market.live.troubles import Troubles
from levibot.market.path import Item, NewSpec
from levibot.market.recording import Market, Opening, split
from levibot.market.source import LockstepMessage, Publish
from levibot.observability.histogram import Histogram

Level = Literal["info", "warning", "error"]
Tell = Callable[[Level, str, dict[str, Any]], None]  # for the log: level, event, fields

_TURN_S = 0.02
_CLOCK_S = 0.5
_WAITING = ("session_trouble", "probe_failed", "recovery_waits")  # events that an exchange which is away causes
_MARKETS_S = 0.5
_STALL_NS = 200_000_000  # after such a pause, what lies in the sockets is read before a minute is closed
_STANDSTILL_NS = 5_000_000_000  # after such a one, as of a machine that was suspended, connections may be dead
_AFTER_MISTAKE_NS = 5_000_000_000


class LiveSource:
    """Market data of one exchange, as a `Source`.

    Every symbol has a `SymbolFeed`, which knows what it has published and what it lacks; the `Switchboard`
    keeps the streams, the `Prober` asks whether silence is right, and a `Recovery` for each symbol brings what
    is missing. The first minute after a start and the first after an outage are the same to them.

    Parameters
    ----------
    exchange_id
        Any that ccxt.pro streams.
    exchange, feed
        Sections ``[exchange]`` and ``[feed]``.
    state_dir
        Of this mode, exchange and account: the rate limit and cool-down lie there.
    tell
        Gets what belongs into the log.
    altdata
        Section ``[altdata]``, whose part ``funding`` is asked for here.
    tell_altdata
        Gets funding rates and open interest.
    """

    opens_at_once = 4  # markets; more would only wait for the rate limit

    def __init__(
        self,
        exchange_id: str,
        exchange: ExchangeConfig,
        feed: FeedConfig,
        state_dir: Path,
        tell: Tell,
        altdata: AltDataConfig | None = None,
        tell_altdata: Callable[[AltData], None] = lambda _value: None,
    ) -> None:
        self.disclosure = f"LIVE prices of {exchange_id}{', sandbox' if exchange.sandbox else ''}."
        self.feeds: dict[str, SymbolFeed] = {}
        self._config = feed
        self._tell = tell
        self._altdata = altdata
        self._tell_altdata = tell_altdata
        self._publish: Publish | None = None
        listeners = Listeners(markets_changed=self._on_markets, trouble=self._on_trouble)
        self._session = ExchangeSession(exchange_id, exchange, "feed", state_dir, listeners)
        self._opening = asyncio.Lock()
        self._opened = False
        self._switchboard: Switchboard | None = None
        self._prober: Prober | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parse = Histogram(PARSE_BOUNDS)
        self._troubles = Troubles()
        self._complaints = Complaints()
        self._refusals = Refusals()
        self._market_watch = MarketWatch(self.feeds, self._refusals)
        self._again_ns: dict[str, int] = {}  # when symbols have their turn again with which there was a mistake

    # ------------------------------------------------------------------ Source

    @property
    def position_ms(self) -> int | None:
        """The exchange's time; None before it is known."""
        return self._session.exchange_ms() if self._opened else None

    @property
    def ended(self) -> bool:
        """Never."""
        return False

    async def open(self, symbol: str) -> Market:
        """Specification and history of `symbol`, up to the last closed bar.

        Raises
        ------
        ConfigError, ExchangeRefusedError
            If there is no such exchange or symbol.
        RetryError, BackOffError
            If the exchange cannot be asked now.
        """
        async with self._opening:
            if not self._opened:
                await self._session.open()
                self._opened = True
                self._market_watch.has_read(boot_ns())
            if symbol not in self._session.markets and self._market_watch.may_read(boot_ns()):
                await self._read_markets()  # it may have been listed since
        spec = self._session.spec(symbol)
        until_ms = closed_until_ms(self._session.exchange_ms())
        from_ms = until_ms - self._config.history_bars * MINUTE_MS
        candles = await fetch_candles(self._session, symbol, from_ms, until_ms)
        opening = Opening(until_ms, self._config.history_bars, self._config.max_gap_minutes, None)
        history, holes, _ = split(fill_gaps(candles, opening.max_gap_minutes), opening)
        return Market(spec, history, holes, iter(()))

    def begin(self, symbol: str, market: Market) -> None:
        """Stream `symbol` from now on."""
        feed = SymbolFeed(
            symbol,
            self._config,
            self._session.quirks,
            lambda event_ms, item: self._emit(symbol, event_ms, item),
            boot_ns,
            self._session.exchange_ms,
        )
        feed.trades_now = market.spec.active
        feed.begin(market.history)
        self.feeds[symbol] = feed
        if self._switchboard is None:
            self._switchboard = Switchboard(self._session, self._line_listeners())
        self._switchboard.connect(symbol, MeteredReceiver(feed, self._parse))
        self._tasks[symbol] = asyncio.create_task(self._keep_whole(symbol, feed))

    def close(self, symbol: str) -> None:
        """Stream `symbol` no longer."""
        self._again_ns.pop(symbol, None)
        self._refusals.end(symbol)
        if self.feeds.pop(symbol, None) is not None and self._switchboard is not None:
            self._switchboard.disconnect(symbol)
            self._tasks.pop(symbol).cancel()

    async def run(self, publish: Publish) -> None:
        """Publish until cancelled."""
        self._publish = publish
        while not self._opened:
            await asyncio.sleep(_TURN_S)
        stale_after_ns = int(self._config.stale_after * 1e9)
        self._prober = Prober(
            self._session, self.feeds, stale_after_ns, self._refusals, self._renew, self._on_probe_failed
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._turn())
            tasks.create_task(self._prober.run())
            tasks.create_task(self._watch_clock())
            tasks.create_task(self._watch_markets())
            tasks.create_task(self._make_scout().run())
            if self._altdata is not None and self._altdata.funding.enabled:
                watch = FundingWatch(
                    self._session,
                    self._altdata,
                    lambda: self.feeds,
                    self._tell_altdata,
                    self._on_funding_failed,
                    self._on_funding_lacking,
                )
                tasks.create_task(watch.run())

    def heed(self, message: LockstepMessage) -> None:
        """An exchange waits for nobody."""

    async def stop(self) -> None:
        """Close everything; no task and no socket is left."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._switchboard is not None:
            await self._switchboard.close()
        await self._session.close()

    # ------------------------------------------------------------------ what it tells

    def report(self) -> LiveReport | None:
        """The live part of a heartbeat; None before the exchange has been reached."""
        session, board = self._session, self._switchboard
        if not self._opened:
            return None
        budget = session.budget
        cool_down_s = session.cool_down.remaining_s()
        return LiveReport(
            exchange=session.id,
            markets={symbol: feed.health() for symbol, feed in self.feeds.items()},
            connections=board.connections if board else 0,
            dials=board.dials if board else 0,
            reconnects=board.reconnects if board else 0,
            probes=self._prober.asked if self._prober else 0,
            frames=board.frames if board else 0,
            parse_buckets=self._parse.cumulative(),
            parse_seconds=self._parse.seconds,
            budget_used=budget.used_last_minute / budget.allowance.ordinary,
            cool_down_s=cool_down_s,
            cool_down_reason=session.cool_down.reason if cool_down_s else "",
            skew_ms=session.skew_ms,
            trouble=session.reach.cause if session.reach.is_lost else self._troubles.newest,
        )

    # ------------------------------------------------------------------ inside

    async def _turn(self) -> None:
        turned_ns = boot_ns()
        while True:
            await asyncio.sleep(_TURN_S)
            stood_ns = boot_ns() - turned_ns
            if stood_ns > _STANDSTILL_NS and self._switchboard is not None:
                self._switchboard.distrust(f"this process stood still for {stood_ns / 1e9:.0f} s")
            elif stood_ns > _STALL_NS:
                await asyncio.sleep(_TURN_S)
            turned_ns = boot_ns()
            for symbol, feed in list(self.feeds.items()):
                if self._again_ns.get(symbol, 0) <= turned_ns:
                    self._turn_one(symbol, feed)

    def _turn_one(self, symbol: str, feed: SymbolFeed) -> None:
        """A mistake of ours with one symbol makes it stale, for a while at least; the others go on."""
        try:
            feed.turn()
        except Exception as error:  # noqa: BLE001  # told, and tried again
            self._tell("error", "symbol_failed", {"symbol": symbol, "error": str(error), "exc_info": error})
            self._again_ns[symbol] = boot_ns() + _AFTER_MISTAKE_NS
            self._renew(symbol, f"a mistake ({type(error).__name__})")

    async def _watch_clock(self) -> None:
        watch = ClockWatch()
        while True:
            await asyncio.sleep(_CLOCK_S)
            if self._session.may_ask and watch.suspects([feed.lag_ms for feed in self.feeds.values()], boot_ns()):
                before_ms = self._session.skew_ms
                try:
                    await self._session.measure_clock()
                except LeviBotError as error:
                    self._on_trouble("clock", error)
                else:
                    skew_ms = self._session.skew_ms
                    self._tell("warning", "clocks_compared", {"skew_ms": skew_ms, "before_ms": before_ms})

    async def _watch_markets(self) -> None:
        while True:
            await asyncio.sleep(_MARKETS_S)
            if self._session.may_ask and self._market_watch.wants(boot_ns()):
                try:
                    await self._read_markets()
                except LeviBotError as error:
                    self._on_trouble("markets", error)

    async def _read_markets(self) -> None:
        self._market_watch.has_read(boot_ns())
        await self._session.read_markets()

    async def _keep_whole(self, symbol: str, feed: SymbolFeed) -> None:
        """Recover for ever; whatever goes wrong with one symbol, the others go on."""
        recovery = Recovery(
            self._session, symbol, feed, self._refusals, lambda error: self._on_recovery_failed(symbol, error)
        )
        while True:
            try:
                await recovery.run()
            except Exception as error:  # noqa: BLE001  # told, and tried again
                self._tell("error", "recovery_failed", {"symbol": symbol, "error": str(error), "exc_info": error})
                await asyncio.sleep(1.0)

    def _emit(self, symbol: str, event_ms: int, item: Item) -> None:
        if self._publish is not None and symbol in self.feeds:
            self._publish(symbol, event_ms, item)

    def _renew(self, symbol: str, reason: str) -> None:
        self._tell("warning", "stream_contradicted", {"symbol": symbol, "reason": reason})
        self.feeds[symbol].doubt(reason)
        assert self._switchboard is not None
        self._switchboard.renew(symbol, reason)

    def _line_listeners(self) -> LineListeners:
        tell = self._tell
        return LineListeners(
            dialled=self._on_line_dialled,
            lost=self._on_line_lost,
            renewed=lambda symbol, why: tell("warning", "streams_renewed", {"symbol": symbol, "reason": why}),
            replaced=lambda symbols: tell("info", "line_replaced", {"symbols": list(symbols)}),
        )

    def _on_line_dialled(self, symbols: Sequence[str]) -> None:
        if not self._session.reach.is_lost:
            self._tell("info", "line_dialled", {"symbols": list(symbols)})

    def _on_line_lost(self, symbols: Sequence[str], why: str) -> None:
        if not self._session.reach.is_lost or self._complaints.is_news("line_lost", why):
            self._tell("warning", "line_lost", {"symbols": list(symbols), "reason": why})

    def _make_scout(self) -> Scout:
        def lost(cause: str) -> None:
            self._tell("warning", "exchange_lost", {"reason": cause})

        return Scout(self._session, self.feeds, self._refusals, lost, self._on_returned)

    def _on_returned(self) -> None:
        """What failed for want of an answer works now, and who waits to dial need not."""
        self._tell("info", "exchange_answers", {})
        self._troubles.end()
        for event in (*_WAITING, "line_lost"):
            self._complaints.end(event)
        if self._switchboard is not None:
            self._switchboard.hasten()

    def _on_markets(self, specs: Sequence[MarketSpec]) -> None:
        for spec in specs:
            if spec.symbol in self.feeds:
                self._tell("warning", "market_changed", {"symbol": spec.symbol, "active": spec.active})
                self.feeds[spec.symbol].trades_now = spec.active
                self._refusals.end(spec.symbol)
                self._market_watch.changed(spec.symbol)
                now_ms = self._session.exchange_ms()
                self._emit(spec.symbol, now_ms, NewSpec(now_ms, spec))

    def _on_trouble(self, what: str, error: Exception) -> None:
        self._note("session_trouble", {"what": what}, error)

    def _on_funding_failed(self, error: Exception) -> None:
        self._note("funding_failed", {}, error)

    def _on_funding_lacking(self, symbols: list[str]) -> None:
        reason = f"{self._session.id} has no swap of these symbols, or tells no funding of it"
        self._tell("warning", "no_funding", {"symbols": symbols, "reason": reason})

    def _on_probe_failed(self, error: Exception) -> None:
        self._note("probe_failed", {}, error)

    def _on_recovery_failed(self, symbol: str, error: Exception) -> None:
        self._note("recovery_waits", {"symbol": symbol}, error)

    def _note(self, event: str, fields: dict[str, Any], error: Exception) -> None:
        text = str(error) or type(error).__name__
        self._troubles.note(f"{event.replace('_', ' ')}: {text}")
        # What makes all wait has one cause, and names no symbol.
        about = event if isinstance(error, RetryError | BackOffError) else f"{event} {fields}"
        if self._complaints.is_news(about, text):
            self._tell("warning", event, {**fields, "error": text})
