"""All sources together: each asked by itself, all values on one board, and all of them recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from levibot.altdata.board import Board, why_unusable
from levibot.altdata.history import History
from levibot.altdata.runner import Complain, Deliver, SourceRunner
from levibot.altdata.source import AltSource, Reading
from levibot.bus.messages import AltData, AltDataReport, AltSourceHealth
from levibot.clock import boot_seconds, wall_ms
from levibot.errors import MalformedMessageError

_WRITE_PAUSE_S, _AFTER_FAILURE_S, _LONGEST_PAUSE_S = 10.0, 30.0, 30.0
_SHARE = 0.01  # of its time that writing may take: a day's file is written whole, and grows with the day
_MOST_UNWRITTEN = 50_000  # while the disk takes nothing


class AltDataDesk:
    """Runs sources as tasks of the loop, and writes down what they gave.

    Parameters
    ----------
    board
        Loaded.
    history
        Where every value is recorded.
    sources
        With the identity of the settings of each.
    heard
        Sources that another process asks, by name, with the seconds for which their values are good.
    silence
        Why those have no values, while they have none.
    assets
        Base assets that are wanted.
    publish
        Gets what came.
    complain
        Gets each failure, with the name of the source, or "disk".
    """

    def __init__(
        self,
        board: Board,
        history: History,
        sources: Sequence[tuple[AltSource, str]],
        heard: Mapping[str, float],
        silence: str,
        assets: Sequence[str],
        publish: Deliver,
        complain: Complain,
    ) -> None:
        self._board = board
        self._history = history
        self._publish = publish
        self._complain = complain
        self._unwritten: list[AltData] = []
        self._changed = asyncio.Event()
        self._runners = [
            SourceRunner(source, settings, board, assets, self._came, self._failed) for source, settings in sources
        ]
        self._mine = {source.name for source, _ in sources}
        self._heard = heard
        self._silence = silence
        self._since_ms = wall_ms()
        self._asking: list[asyncio.Task[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._disk_trouble = ""

    def start(self) -> None:
        """Begin to ask."""
        self._asking = [asyncio.create_task(runner.run()) for runner in self._runners]
        self._writing = asyncio.create_task(self._write())

    def check(self) -> None:
        """Raise what has ended a task: none is meant to end."""
        for task in (*self._asking, self._writing):
            if task is not None and task.done():
                task.result()

    def want(self, assets: Sequence[str]) -> None:
        """Ask about these assets from now on."""
        for runner in self._runners:
            runner.want(assets)

    def hear(self, value: AltData) -> None:
        """Keep and record a value of a source that is heard, once: it is repeated on the bus.

        Raises
        ------
        MalformedMessageError
            If it makes no sense.
        """
        if value.source not in self._heard:
            return
        if problem := why_unusable(Reading(value.asset, value.name, value.value, value.observed_ms), wall_ms()):
            raise MalformedMessageError(f"alternative data: {problem}")
        if value not in self._board.of(value.source):
            self._board.take(value)
            self._note([value])

    def live(self) -> list[AltData]:
        """Values of the sources here that are not too old."""
        return [value for value in self._board.live(wall_ms()) if value.source in self._mine]

    def report(self, refused_messages: int) -> AltDataReport:
        """The worker's part of a heartbeat."""
        return AltDataReport(
            sources={
                **{runner.name: runner.health() for runner in self._runners},
                **{name: self._health(name, max_age) for name, max_age in self._heard.items()},
            },
            values=self._board.all(),
            refused_messages=refused_messages,
            trouble=self._disk_trouble,
        )

    async def close(self) -> None:
        """Ask no more, and write down what is not written yet."""
        for task in self._asking:
            task.cancel()
        for ended in await asyncio.gather(*self._asking, return_exceptions=True):
            if isinstance(ended, Exception):
                self._complain("closing", ended)
        self._closing.set()
        self._changed.set()
        if self._writing is not None:
            await self._writing

    # ------------------------------------------------------------------ inside

    def _health(self, heard: str, max_age: float) -> AltSourceHealth:
        """How a source fares that another process asks, as far as it shows in its values."""
        values, now_ms = self._board.of(heard), wall_ms()
        live = sum(now_ms < value.expires_ms for value in values)
        return AltSourceHealth(
            ok=live > 0,
            fetched_ms=max((value.fetched_ms for value in values), default=None),
            values=live,
            max_age=max_age,
            fetches=0,
            failures={},
            requests=0,
            throttled=0,
            next_s=0.0,
            since_ms=self._since_ms,
            trouble="" if live else f"{heard}: {self._silence}",
        )

    def _came(self, values: Sequence[AltData]) -> None:
        self._publish(values)
        self._note(values)

    def _failed(self, source: str, error: Exception) -> None:
        self._complain(source, error)
        self._changed.set()

    def _note(self, values: Sequence[AltData]) -> None:
        self._unwritten += values
        self._changed.set()

    async def _write(self) -> None:
        while not self._closing.is_set():
            await self._changed.wait()
            self._changed.clear()
            began_s = boot_seconds()
            await self._write_once()
            wanted_s = min(_LONGEST_PAUSE_S, max(_WRITE_PAUSE_S, (boot_seconds() - began_s) / _SHARE))
            try:  # what comes together is written together
                async with asyncio.timeout(_AFTER_FAILURE_S if self._disk_trouble else wanted_s):
                    await self._closing.wait()
            except TimeoutError:
                if self._disk_trouble:
                    self._changed.set()
        if self._changed.is_set():  # what came during the pause
            await self._write_once()

    async def _write_once(self) -> None:
        values, self._unwritten = self._unwritten, []
        self._board.forget_old(wall_ms())
        content = self._board.content()
        try:
            if values:  # before the board: what is on it is not asked for again by the next process
                await asyncio.to_thread(self._history.append, values)
            await asyncio.to_thread(self._board.write, content)
        except Exception as error:  # noqa: BLE001 -- told, and tried again: what is known is published all the same
            self._unwritten = [*values, *self._unwritten][-_MOST_UNWRITTEN:]
            if not self._disk_trouble:
                self._complain("disk", error)
            self._disk_trouble = str(error) or type(error).__name__
        else:
            self._disk_trouble = ""
