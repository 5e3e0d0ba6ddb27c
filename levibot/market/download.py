"""Download of candles: what is missing is fetched day by day, what is there stays, and holes are reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from levibot.errors import BackOffError, CoolDownError, LeviBotError, RetryError
from levibot.exchange.candles import candle_pages, first_day_ms
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candle_days import DAY_MS, CandleDays
from levibot.market.gaps import Hole

Progress = Callable[[str, int, int], None]  # symbol, days done, days in all
Note = Callable[[str], None]

_AT_ONE_TIME = 4  # symbols
_ATTEMPTS = 8  # without a single new day in between
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
_SETTLED_MS = 2 * DAY_MS  # after a day's end: what an exchange lacks then, it hardly ever adds


@dataclass(slots=True)
class Downloaded:
    """What came of one symbol."""

    symbol: str
    bars: int = 0  # in the span, those that were there before included
    fetched_days: int = 0
    from_ms: int | None = None  # opening time of the first bar
    until_ms: int = 0
    without_trades: int = 0  # bars with no volume
    gaps: list[Hole] = field(default_factory=list)
    asked_ms: dict[int, int] = field(default_factory=dict)  # by beginning of a gap; absent: not asked yet
    error: str = ""  # why it is not complete


class Download:
    """One download of any number of symbols.

    Parameters
    ----------
    session
        Open; its share of the rate limit is used.
    folder
        Of all symbols of this exchange.
    from_ms, until_ms
        Span. It begins with a whole day; the day of its end is fetched again by the next download.
    progress
        Called with each day that is done.
    note
        Called with what delays it, for people.
    again
        Whether days with holes are fetched again however old they are. Else only those are that were last asked
        for so soon after their end that the exchange may have added to them since.
    """

    def __init__(
        self,
        session: ExchangeSession,
        folder: Path,
        from_ms: int,
        until_ms: int,
        progress: Progress,
        note: Note,
        first_pause_s: float = _FIRST_PAUSE_S,
        *,
        again: bool = False,
    ) -> None:
        self._session = session
        self._folder = folder
        self._from_ms = from_ms // DAY_MS * DAY_MS
        self._until_ms = until_ms
        self._progress = progress
        self._note = note
        self._first_pause_s = first_pause_s
        self._again = again
        self._begun_ms = session.exchange_ms()
        self._slots = asyncio.Semaphore(_AT_ONE_TIME)

    async def run(self, symbols: Sequence[str]) -> list[Downloaded]:
        """Fetch what is missing; the trouble of one symbol stops no other.

        Raises
        ------
        ExchangeRefusedError
            If the exchange has no such market, before anything is fetched.
        """
        for symbol in symbols:
            self._session.spec(symbol)
        return list(await asyncio.gather(*(self._symbol(symbol) for symbol in symbols)))

    async def _symbol(self, symbol: str) -> Downloaded:
        days = CandleDays(self._folder, self._session.id, symbol)
        result = Downloaded(symbol, until_ms=self._until_ms)
        async with self._slots:
            try:
                await self._patiently(symbol, days, result)
            except LeviBotError as error:
                result.error = str(error)
        await asyncio.to_thread(_count, days, result, self._from_ms, self._until_ms)
        return result

    async def _patiently(self, symbol: str, days: CandleDays, result: Downloaded) -> None:
        """Go on after failures, unless nothing at all succeeds any more."""
        failures, known = 0, -1
        while True:
            try:
                await self._fetch_missing(symbol, days, result)
            except (RetryError, BackOffError) as error:
                failures = 1 if result.fetched_days > known else failures + 1
                known = result.fetched_days
                if failures >= _ATTEMPTS:
                    raise
                pause_s = min(_LONGEST_PAUSE_S, self._first_pause_s * 2 ** (failures - 1))
                if isinstance(error, CoolDownError):
                    pause_s = max(pause_s, error.wait_s)
                self._note(f"{symbol}: {error}; going on in {pause_s:.0f} s")
                await asyncio.sleep(pause_s)
            else:
                return

    async def _fetch_missing(self, symbol: str, days: CandleDays, result: Downloaded) -> None:
        missing = await asyncio.to_thread(self._missing, days)
        total = len(range(self._from_ms, self._until_ms, DAY_MS))
        if missing:
            begins_ms = await first_day_ms(self._session, symbol, missing[0], self._until_ms)
            missing = [day_ms for day_ms in missing if begins_ms is not None and day_ms >= begins_ms]
        self._progress(symbol, total - len(missing), total)
        done = total - len(missing)
        for first_ms, end_ms in _runs(missing, self._until_ms):
            async for day_ms, candles, until_ms in self._days(symbol, first_ms, end_ms):
                await asyncio.to_thread(days.write, day_ms, candles, until_ms, self._session.exchange_ms())
                result.fetched_days += 1
                done += 1
                self._progress(symbol, done, total)

    def _missing(self, days: CandleDays) -> list[int]:
        missing = []
        for day_ms in range(self._from_ms, self._until_ms, DAY_MS):
            complete_ms = days.complete_until_ms(day_ms)
            short = complete_ms is None or complete_ms < min(day_ms + DAY_MS, self._until_ms)
            if short or self._may_have_more(days, day_ms):
                missing.append(day_ms)
        return missing

    def _may_have_more(self, days: CandleDays, day_ms: int) -> bool:
        """Whether a day has holes that the exchange may have filled since it was asked."""
        settled_ms = self._begun_ms if self._again else min(self._begun_ms, day_ms + DAY_MS + _SETTLED_MS)
        return (days.asked_ms(day_ms) or 0) < settled_ms and days.has_holes(day_ms, self._until_ms)

    async def _days(
        self, symbol: str, from_ms: int, until_ms: int
    ) -> AsyncIterator[tuple[int, list[Candle], int]]:
        """Cut pages into days: a day is whole when a later bar has come, or the span has ended."""
        day_ms, held = from_ms, list[Candle]()
        async for page in candle_pages(self._session, symbol, from_ms, until_ms):
            held += page
            while held and held[-1].open_ms >= day_ms + DAY_MS:
                end_ms = day_ms + DAY_MS
                yield day_ms, [candle for candle in held if candle.open_ms < end_ms], end_ms
                held = [candle for candle in held if candle.open_ms >= end_ms]
                day_ms = end_ms
        while day_ms < until_ms:
            end_ms = min(day_ms + DAY_MS, until_ms)
            yield day_ms, [candle for candle in held if candle.open_ms < end_ms], end_ms
            held = [candle for candle in held if candle.open_ms >= end_ms]
            day_ms = end_ms


def _runs(days: Sequence[int], until_ms: int) -> Iterator[tuple[int, int]]:
    """Spans of days that follow each other."""
    for _, group in groupby(enumerate(days), key=lambda item: item[1] - item[0] * DAY_MS):
        run = [day_ms for _, day_ms in group]
        yield run[0], min(run[-1] + DAY_MS, until_ms)


def _count(days: CandleDays, result: Downloaded, from_ms: int, until_ms: int) -> None:
    """Read back what is stored now: bars, and the holes between them and until the end."""
    expected: int | None = None
    for open_ms, volume in days.times(from_ms, until_ms):
        if expected is None:
            result.from_ms = open_ms
        elif open_ms > expected:
            _add_gap(days, result, expected, open_ms)
        expected = open_ms + MINUTE_MS
        result.bars += 1
        result.without_trades += volume == 0
    if expected is not None and expected < until_ms:
        _add_gap(days, result, expected, until_ms)


def _add_gap(days: CandleDays, result: Downloaded, from_ms: int, until_ms: int) -> None:
    result.gaps.append(Hole(from_ms, (until_ms - from_ms) // MINUTE_MS, False))
    asked_ms = days.asked_ms(from_ms // DAY_MS * DAY_MS)
    if asked_ms is not None:
        result.asked_ms[from_ms] = asked_ms
