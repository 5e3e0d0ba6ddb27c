"""The exchange's time between two measurements of it, whatever happens to the clock of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from levibot.clock import boot_ns, wall_ms
from levibot.errors import MalformedAnswerError

_WORST_ROUND_TRIP_MS = 2_000  # a measurement that took longer says too little, if there is a better one
_JUMP_MS, _SURE_MS = 2_000, 1_500  # a clock that is further off is measured again; so near must both be
_CONFIRM_S = 2.0  # between the two: an answer from a cache would differ by that


class ServerClock:
    """Follows CLOCK_BOOTTIME between measurements: a step of the wall clock must not end a minute.

    Parameters
    ----------
    ask
        Asks the exchange for its time, Unix ms.
    """

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._offset_ms: float | None = None  # the exchange's time less CLOCK_BOOTTIME

    @property
    def is_measured(self) -> bool:
        """Whether the exchange was ever asked; until then, its time is taken to be ours."""
        return self._offset_ms is not None

    def now_ms(self) -> int:
        """The exchange's time, Unix ms."""
        return wall_ms() if self._offset_ms is None else int(boot_ns() / 1e6 + self._offset_ms)

    @property
    def skew_ms(self) -> int:
        """This machine's wall clock less the exchange's."""
        return wall_ms() - self.now_ms()

    async def measure(self, *, is_disputed: bool) -> None:
        """Compare the clocks.

        Parameters
        ----------
        is_disputed
            Whether the exchange has refused our time. If not, a clock that seems to have jumped is measured
            twice: one wrong answer would end minutes that are not over.

        Raises
        ------
        RetryError, BackOffError
            If it cannot be asked, or says something else each time.
        """
        offset_ms, round_trip_ms = await self._measure()
        known_ms = self._offset_ms
        if known_ms is not None:
            if round_trip_ms > _WORST_ROUND_TRIP_MS:
                return
            if not is_disputed and abs(offset_ms - known_ms) > _JUMP_MS:
                await self._confirm(offset_ms, known_ms)
        self._offset_ms = offset_ms

    async def _confirm(self, offset_ms: float, known_ms: float) -> None:
        await asyncio.sleep(_CONFIRM_S)
        again_ms, _ = await self._measure()
        if abs(again_ms - offset_ms) > _SURE_MS:
            raise MalformedAnswerError(
                f"server time: {offset_ms - known_ms:+.0f} ms from what was expected, then "
                f"{again_ms - known_ms:+.0f} ms; the former measurement holds"
            )

    async def _measure(self) -> tuple[float, float]:
        """The exchange's time less CLOCK_BOOTTIME, and how long it took to ask, both in ms."""
        sent_ns = boot_ns()
        there_ms = await self._ask()
        answered_ns = boot_ns()
        return there_ms - (sent_ns + answered_ns) / 2e6, (answered_ns - sent_ns) / 1e6
