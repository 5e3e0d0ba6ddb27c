"""The feed worker: market data for all symbols. Wiring; the logic is `levibot.market`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import zmq

from levibot.bus.codec import ALTDATA, frame
from levibot.bus.messages import AltData, Command, FeedReport, SymbolsChanged
from levibot.bus.sockets import AsyncReader, BatchSender, make_socket, send
from levibot.clock import boot_ns
from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.errors import BackOffError, CorruptStoreError, DataStoreError, LeviBotError, RetryError
from levibot.market.bootstrap import Bootstrapper
from levibot.market.complaints import Complaints
from levibot.market.lockstep import LockstepPlayback
from levibot.market.playback import Playback
from levibot.market.progress import ProgressStore
from levibot.market.publisher import Publisher
from levibot.market.recorder import FeedRecorder, recorder_of
from levibot.market.recording import Market, Opening
from levibot.market.snapshots import SnapshotDesk
from levibot.market.source import Source, open_recording, settings_key
from levibot.market.watched import Watched
from workers.async_worker import AsyncWorker
from workers.runtime import Runtime

if TYPE_CHECKING:
    from levibot.market.live.source import Level, LiveSource

_SAVE_NS = 1_000_000_000


def main(runtime: Runtime) -> None:
    """Run the feed until it is told to stop."""
    asyncio.run(FeedWorker(runtime).run())


class FeedWorker(AsyncWorker):
    """Sockets, timers and progress around one source.

    Parameters
    ----------
    runtime
        The common part of a worker.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._config = runtime.spec.feed or FeedConfig()
        self._watched = Watched(self._config.context, runtime.spec.symbols)
        self._save_ns = 0
        self._saving: asyncio.Task[None] | None = None
        self._save_fails = False
        self._progress = ProgressStore(runtime.spec.state_dir / "feed.json", settings_key(self._config))
        self._source: Source | None = None
        self._live: LiveSource | None = None
        self._markets: Bootstrapper | None = None
        self._opened_markets: dict[str, Market] = {}
        self._recorder: FeedRecorder | None = None
        self._complaints = Complaints()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime, spec = self._runtime, self._runtime.spec
        runtime.status.waiting_for = "market data"
        clients = make_socket(runtime.context, zmq.ROUTER, bind=spec.endpoints.feed)
        stream = make_socket(runtime.context, zmq.PUB, connect=spec.endpoints.publishers)
        out = BatchSender(loop, stream)
        epoch = boot_ns()
        self._recorder = recorder_of(self._config, spec.exchange_id, spec.state_dir, epoch)
        self._publisher = Publisher(
            epoch,
            out.send,
            boot_ns,
            self._config.history_bars,
            spec.lockstep,
            self._recorder,
        )
        self._source = source = self._make_source(out)
        self._markets = markets = Bootstrapper(source, self._opened, self._failed, self._closed)
        self._desk = SnapshotDesk(
            self._publisher,
            markets.states,
            lambda *frames: send(clients, *frames),
            source.heed,
            self._asked,
            self._refuse,
        )
        reader = AsyncReader(loop, clients, self._desk.take)
        runtime.log.info("feed_started", source=source.disclosure, position_ms=source.position_ms)
        markets.want(self._watched.symbols)
        playing: asyncio.Task[None] | None = None
        try:
            while self._stop is None:
                if markets.attempted or self._live is not None:  # a recording waits until all can begin together
                    playing = playing or asyncio.create_task(source.run(self._publisher.publish))
                if markets.attempted:
                    runtime.status.ready, runtime.status.waiting_for = True, ""
                if playing is not None and playing.done():
                    await playing  # it only ends by an error, which ends the worker
                self._save_progress()
                reader.poke()  # a send may have swallowed the edge
                await self._turn()
        finally:
            await self._end(markets, playing)
            reader.close()
            stream.close(0)
            clients.close(0)

    def _make_source(self, out: BatchSender) -> Source:
        config, spec = self._config, self._runtime.spec
        if not config.is_artificial:
            from levibot.market.live.source import LiveSource  # loads the adapter, for live data alone

            exchange = spec.exchange or ExchangeConfig()

            def tell_altdata(value: AltData) -> None:
                out.send(frame(ALTDATA, value.asset, value))

            self._live = LiveSource(
                spec.exchange_id, exchange, config, spec.state_dir, self._tell, spec.altdata, tell_altdata
            )
            return self._live
        recording = open_recording(config)
        step_ms = None if spec.lockstep else config.speed * 1000 / config.tick_hz
        opening = Opening(0, config.history_bars, config.max_gap_minutes, step_ms)
        position_ms = self._load_progress()
        if not spec.lockstep:
            return Playback(
                recording,
                spec.symbols,
                opening,
                position_ms,
                config.speed,
                self._ended,
                self._watched,
                config.context,
            )
        return LockstepPlayback(
            recording,
            spec.symbols,
            opening,
            position_ms,
            self._report_lockstep,
            self._publisher.repeat,
            self._ended,
            self._watched,
        )

    def _on_command(self, command: Command) -> None:
        if isinstance(command, SymbolsChanged) and self._markets is not None:
            self._watched.serve(command.symbols)
            self._markets.want(self._watched.symbols)

    def _on_turn(self) -> None:
        if self._markets is not None:
            self._runtime.status.market_ns = self._publisher.last_ns
        if self._recorder is not None and (complaint := self._recorder.complaint()):
            self._runtime.log.warning("recording_incomplete", detail=complaint)
        for symbol, market in self._opened_markets.items():
            while market.warnings:
                self._runtime.log.warning("data_skipped", symbol=symbol, detail=market.warnings.pop(0))

    def _report(self) -> FeedReport:
        source, markets = self._source, self._markets
        if source is None or markets is None:
            return FeedReport(0, {}, None, False)
        live, states = self._live, dict(markets.states)
        if live is not None:
            states |= {symbol: feed.word for symbol, feed in live.feeds.items() if symbol in states}
        return FeedReport(
            self._publisher.published,
            states,
            source.position_ms,
            source.ended,
            self._refused,
            live.report() if live is not None else None,
            self._recorder.report() if self._recorder is not None else None,
        )

    def _asked(self, symbol: str) -> None:
        """Somebody asks for a symbol that is not open."""
        if self._watched.ask(symbol) and self._markets is not None:
            self._markets.want(self._watched.symbols)

    def _opened(self, symbol: str, market: Market) -> None:
        source = self._source
        if source is None:
            return
        self._complaints.end("opening")
        self._complaints.end(symbol)
        self._opened_markets[symbol] = market
        self._publisher.open(symbol, market, market.opened_ms or source.position_ms or 0)
        source.begin(symbol, market)
        self._desk.settle(symbol)
        self._wake.set()
        self._runtime.log.info("market_opened", symbol=symbol, bars=len(market.history), gaps=len(market.holes))

    def _failed(self, symbol: str, error: Exception) -> None:
        self._desk.settle(symbol)
        self._wake.set()
        if symbol in self._watched:
            if self._complaints.is_news(symbol, str(error)):
                self._runtime.log.warning("context_missing", symbol=symbol, error=str(error))
            return
        # Told, but not counted as an error of the worker: many of them would get it restarted, for all symbols.
        self._runtime.status.last_error = f"{symbol}: {error}"
        # What keeps all from being opened has one cause, which names no symbol.
        about = "opening" if isinstance(error, RetryError | BackOffError) else symbol
        if self._complaints.is_news(about, str(error)):
            trace = None if isinstance(error, LeviBotError) else error
            self._runtime.log.error("market_failed", symbol=symbol, error=str(error), exc_info=trace)

    def _ended(self, symbol: str, event_ms: int) -> None:
        source, markets = self._source, self._markets
        if source is None or markets is None:
            return
        markets.end(symbol)
        self._runtime.log.info("recording_ended", symbol=symbol, event_ms=event_ms)
        if source.ended:
            self._runtime.log.warning(
                "replay_ended", event_ms=event_ms, symbols=len(markets.states), published=self._publisher.published
            )

    def _closed(self, symbol: str) -> None:
        self._opened_markets.pop(symbol, None)
        self._publisher.close(symbol)
        self._desk.settle(symbol)
        self._runtime.log.info("market_closed", symbol=symbol)

    def _tell(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """Log what a live source has to say; what comes in floods at most once a second."""
        runtime = self._runtime
        if level == "info":
            runtime.log.info(event, **fields)
        elif level == "warning":
            runtime.warn_limited(event, **fields)
        else:
            runtime.status.last_error = f"{event}: {fields.get('error', '')}"
            runtime.log.error(event, **fields)

    def _report_lockstep(self, text: str) -> None:
        self._runtime.status.fail(f"lockstep: {text}")
        self._runtime.log.error("lockstep_incomplete", detail=text)

    def _load_progress(self) -> int | None:
        try:
            return self._progress.load()
        except CorruptStoreError as error:
            self._runtime.status.fail(str(error))
            self._runtime.log.error("progress_corrupt", error=str(error))
            return None

    def _save_progress(self) -> None:
        position_ms = self._source.position_ms if self._source is not None and self._live is None else None
        if position_ms is None or boot_ns() < self._save_ns or (self._saving and not self._saving.done()):
            return
        self._save_ns = boot_ns() + _SAVE_NS
        self._saving = asyncio.create_task(self._save(position_ms))

    async def _save(self, position_ms: int) -> None:
        """Store the position in a thread: a slow disk must not hold up ticks."""
        try:
            await asyncio.to_thread(self._progress.save, position_ms)
        except DataStoreError as error:
            if not self._save_fails:
                self._runtime.status.fail(str(error))
                self._runtime.log.error("progress_not_saved", error=str(error))
            self._save_fails = True
        else:
            self._save_fails = False

    async def _end(self, markets: Bootstrapper, playing: asyncio.Task[None] | None) -> None:
        await markets.stop()
        if playing is not None:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        if self._saving is not None:
            await self._saving
        if self._source is not None:
            await self._source.stop()
            if self._live is None and self._source.position_ms is not None:
                await self._save(self._source.position_ms)
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
