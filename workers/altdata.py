"""The worker of alternative data: one for all symbols. Wiring; the logic is `levibot.altdata`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import zmq

from levibot.altdata.board import Board
from levibot.altdata.desk import AltDataDesk
from levibot.altdata.history import History
from levibot.altdata.sources import FUNDING, base_assets, identity, make_sources
from levibot.bus.codec import ALTDATA, SEPARATOR, Decoder, frame
from levibot.bus.messages import AltData, AltDataReport, Command, SymbolsChanged
from levibot.bus.sockets import AsyncReader, make_socket, send
from levibot.clock import boot_seconds
from levibot.config_altdata import AltDataConfig
from levibot.errors import LeviBotError, MalformedMessageError
from levibot.market.complaints import Complaints
from levibot.spec import WorkerSpec
from workers.async_worker import AsyncWorker
from workers.runtime import Runtime

_BOARD = "altdata.json"
_LOG = "none of it is known yet; `levibotctl logs feed` tells of which symbols there is none, and what failed"


def main(runtime: Runtime) -> None:
    """Run the worker until it is told to stop."""
    asyncio.run(AltDataWorker(runtime).run())


class AltDataWorker(AsyncWorker):
    """Sockets and timers around one `AltDataDesk`.

    Parameters
    ----------
    runtime
        The common part of a worker.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        spec = runtime.spec
        self._config = spec.altdata or AltDataConfig()
        self._sources = make_sources(self._config, spec.state_dir, {**os.environ, **spec.keys})
        self._board = Board(spec.state_dir / _BOARD)
        self._history = History(spec.altdata_dir or Path(spec.state_dir, "altdata"))
        self._desk: AltDataDesk | None = None
        self._repeat_at = 0.0
        self._complaints = Complaints()
        self._decode: Decoder[AltData] = Decoder(AltData)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime, spec = self._runtime, self._runtime.spec
        settings = {source.name: settings for source, settings in self._sources}
        if self._config.funding.enabled:
            settings[FUNDING] = identity(self._config.funding)
        self._board.load(settings)
        if self._board.damage:
            runtime.log.error("board_damaged", error=self._board.damage)
        if self._config.funding.enabled:  # asked for by the feed: what it told stays known here too
            self._board.asked(FUNDING, settings[FUNDING])
        self._stream = make_socket(runtime.context, zmq.PUB, connect=spec.endpoints.publishers)
        heard = make_socket(runtime.context, zmq.SUB, connect=spec.endpoints.subscribers)
        heard.setsockopt(zmq.SUBSCRIBE, ALTDATA)
        desk = self._desk = AltDataDesk(
            self._board,
            self._history,
            self._sources,
            {FUNDING: self._config.funding.max_age} if self._config.funding.enabled else {},
            _silence(spec),
            base_assets(spec.symbols),
            self._publish,
            self._complain,
        )
        desk.start()
        reader = AsyncReader(loop, heard, self._hear)
        runtime.log.info("altdata_started", sources=list(settings), values=len(desk.live()))
        runtime.status.ready, runtime.status.waiting_for = True, ""
        try:
            while self._stop is None:
                desk.check()
                self._repeat(desk)
                await self._turn()
        finally:
            await desk.close()
            reader.close()
            heard.close(0)
            self._stream.close(0)

    def _on_command(self, command: Command) -> None:
        if isinstance(command, SymbolsChanged) and self._desk is not None:
            self._desk.want(base_assets(command.symbols))

    def _repeat(self, desk: AltDataDesk) -> None:
        """Tell again what is known, for those who came since."""
        if boot_seconds() >= self._repeat_at:
            self._repeat_at = boot_seconds() + self._config.repeat_interval
            self._publish(desk.live())

    def _publish(self, values: Sequence[AltData]) -> None:
        for value in values:
            send(self._stream, frame(ALTDATA, value.asset, value))

    def _hear(self, frames: list[bytes]) -> None:
        try:
            value = self._decode(frames[0].partition(SEPARATOR)[2])
            if self._desk is not None:
                self._desk.hear(value)
        except MalformedMessageError as error:
            self._refuse(str(error))

    def _complain(self, about: str, error: Exception) -> None:
        """Told once as long as it is the same; a provider's trouble is no error of this worker."""
        if self._complaints.is_news(about, str(error)):
            trace = None if isinstance(error, LeviBotError) else error
            self._runtime.log.warning("source_failed", source=about, error=str(error), exc_info=trace)

    def _report(self) -> AltDataReport | None:
        return self._desk.report(self._refused) if self._desk is not None else None


def _silence(spec: WorkerSpec) -> str:
    """Why the feed tells nothing of what it is to ask its exchange for."""
    if spec.feed is not None and spec.feed.source != "ccxt":
        kind = {"simulated": "simulated", "replay": "a recording"}[spec.feed.source]
        return f"this market has none: it is {kind}"
    return _LOG
