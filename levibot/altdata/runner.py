"""One source: when it is asked, what becomes of its answers, and how it fares."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence

from levibot.altdata.board import Board, why_unusable
from levibot.altdata.source import LONGEST_WAIT_S, AltSource, PartialFetchError, Reading
from levibot.bus.messages import AltData, AltSourceHealth
from levibot.clock import boot_seconds, wall_ms
from levibot.errors import AltDataError

_FIRST_PAUSE_S = 30.0  # after a failure; doubles with each one after, up to the interval
_LONGEST_FETCH_S = 300.0
_JITTER = 0.1  # part of the interval: sources of one provider must not go in step
_LOOK_S = 30.0  # a machine may have been suspended, and asyncio does not count that
_MISTAKE = "mistake"  # an error that no source was meant to raise

Deliver = Callable[[Sequence[AltData]], None]
Complain = Callable[[str, Exception], None]  # gets the source's name


class SourceRunner:
    """Asks one source for ever; whatever goes wrong with it stays here.

    Parameters
    ----------
    source
        Asked by this alone.
    settings
        Identity of its configuration.
    board
        What is known; an answer that is still young enough after a restart is not asked for again.
    assets
        Base assets that are wanted.
    deliver
        Gets what came.
    complain
        Gets each failure.
    """

    def __init__(
        self,
        source: AltSource,
        settings: str,
        board: Board,
        assets: Sequence[str],
        deliver: Deliver,
        complain: Complain,
    ) -> None:
        self._source = source
        self._asked = board.asked(source.name, settings)
        self._board = board
        self._assets = tuple(assets)
        self._deliver = deliver
        self._complain = complain
        self._wake = asyncio.Event()
        self._in_a_row = 0
        self._fetches = 0
        self._failures: Counter[str] = Counter()
        self._trouble = ""
        self._stale = ""  # why values of the newest answer were left out
        self._since_ms = wall_ms()
        self._next_s = self._first_s()  # CLOCK_BOOTTIME

    @property
    def name(self) -> str:
        """Of the source."""
        return self._source.name

    def want(self, assets: Sequence[str]) -> None:
        """Ask about these from now on; about a new one at once."""
        self._assets = tuple(assets)
        if not set(assets) <= set(self._asked.assets) and not self._in_a_row:
            self._next_s = min(self._next_s, self._open_s())
        self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled, and close the source then."""
        try:
            while True:
                await self._until_due()
                await self._ask()
        finally:
            await self._source.close()

    def health(self) -> AltSourceHealth:
        """How it fares."""
        values = self._board.of(self.name)
        now_ms = wall_ms()
        return AltSourceHealth(
            ok=not self._in_a_row,
            fetched_ms=self._asked.fetched_ms or None,
            values=sum(now_ms < value.expires_ms for value in values),
            max_age=self._source.max_age,
            fetches=self._fetches,
            failures=dict(self._failures),
            requests=self._source.usage.requests,
            throttled=self._source.usage.throttled,
            next_s=max(0.0, self._next_s - boot_seconds()),
            since_ms=self._since_ms,
            trouble=self._trouble or self._stale,
        )

    # ------------------------------------------------------------------ when

    def _first_s(self) -> float:
        """When it is due after a start: not before the interval since the last answer has passed."""
        age_s = (wall_ms() - self._asked.fetched_ms) / 1000
        young = 0 <= age_s < self._source.interval and set(self._assets) <= set(self._asked.assets)
        return max(self._open_s(), boot_seconds() + (self._source.interval - age_s if young else 0.0))

    def _open_s(self) -> float:
        """When it may be asked again; now, unless it asked for patience."""
        left_s = (self._asked.closed_until_ms - wall_ms()) / 1000
        return boot_seconds() + (left_s if 0 < left_s <= LONGEST_WAIT_S else 0.0)  # a clock was wrong, not a day

    async def _until_due(self) -> None:
        while (left_s := self._next_s - boot_seconds()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(min(left_s, _LOOK_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # ------------------------------------------------------------------ asking

    async def _ask(self) -> None:
        assets, now_ms, interval_s = self._assets, wall_ms(), self._source.interval
        try:
            async with asyncio.timeout(min(_LONGEST_FETCH_S, interval_s)):
                readings = await self._source.fetch(assets, now_ms)
        except PartialFetchError as error:
            self._take(error.readings)
            self._failed(error.kind, error, error.wait_s)
        except AltDataError as error:
            self._failed(error.kind, error, error.wait_s)
        except TimeoutError:
            self._failed("timeout", AltDataError(f"{self.name}: did not come to an end in time"), 0.0)
        except Exception as error:  # noqa: BLE001 -- told; the others go on, and this is tried again
            self._failed(_MISTAKE, error, 0.0)
        else:
            problem = self._take(readings)
            if problem is not None:
                self._failed(problem.kind, problem, 0.0)
                return
            self._in_a_row, self._trouble = 0, ""
            self._fetches += 1
            self._asked.fetched_ms, self._asked.assets = now_ms, assets
            self._next_s = boot_seconds() + interval_s * random.uniform(1 - _JITTER, 1)

    def _take(self, readings: Sequence[Reading]) -> AltDataError | None:
        """Keep and deliver what can be used; what makes nonsense of the answer, if anything does."""
        now_ms, max_age_ms = wall_ms(), int(self._source.max_age * 1000)
        unsound = [why for reading in readings if (why := why_unusable(reading, now_ms))]
        sound = [reading for reading in readings if not why_unusable(reading, now_ms)]
        fresh = [reading for reading in sound if reading.observed_ms > now_ms - max_age_ms]
        values = [
            AltData(
                asset=r.asset,
                name=r.name,
                value=float(r.value),
                source=self.name,
                observed_ms=r.observed_ms,
                fetched_ms=now_ms,
                expires_ms=min(now_ms, r.observed_ms) + max_age_ms,
            )
            for r in fresh
        ]
        for value in values:
            self._board.take(value)
        if values:
            self._deliver(values)
        left_out = len(sound) - len(fresh)
        self._stale = (
            f"{self.name}: {left_out} values are older than max_age already, and left out" if left_out else ""
        )
        if unsound:
            return AltDataError(f"{self.name}: {unsound[0]}; it is left out", "malformed")
        if sound and not fresh:
            return AltDataError(self._stale, "stale")
        return None

    def _failed(self, kind: str, error: Exception, wait_s: float) -> None:
        self._in_a_row += 1
        self._failures[kind] += 1
        self._trouble = str(error) or type(error).__name__
        if wait_s:
            self._asked.closed_until_ms = wall_ms() + int(wait_s * 1000)
        pause_s = min(self._source.interval, _FIRST_PAUSE_S * 2 ** min(self._in_a_row - 1, 20))
        self._next_s = boot_seconds() + max(wait_s, pause_s * random.uniform(1 - _JITTER, 1))
        self._complain(self.name, error)
