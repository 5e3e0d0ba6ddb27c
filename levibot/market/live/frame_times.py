"""What the frames of one symbol tell of time: when they were sent, and how long they are on their way."""

from __future__ import annotations

from collections.abc import Callable

from levibot.market.bars import MINUTE_MS

_SETTLE_MS = 300  # after the end of a minute, its last trades are still on their way; and as long as they take
_LONGEST_SETTLE_MS = 2_000


class FrameTimes:
    """Event times, checked, and the lag of the newest frame.

    Parameters
    ----------
    clock
        CLOCK_BOOTTIME in ns.
    exchange_ms
        The exchange's time, Unix ms.

    Attributes
    ----------
    lag_ms
        Of the newest frame: by the exchange's time, receipt less what it carries.
    """

    def __init__(self, clock: Callable[[], int], exchange_ms: Callable[[], int]) -> None:
        self.lag_ms: int | None = None
        self._clock = clock
        self._exchange_ms = exchange_ms

    def sound_ms(self, event_ms: int | None) -> int:
        """The exchange's time of a frame; where it tells none, or nonsense, the time now."""
        now_ms = self._exchange_ms()
        return now_ms if event_ms is None or event_ms > now_ms + MINUTE_MS else event_ms

    def note(self, event_ms: int | None, received_ns: int) -> None:
        """Take the time that a frame carries, if it does."""
        if event_ms is not None:
            since_ms = (self._clock() - received_ns) // 1_000_000
            self.lag_ms = self._exchange_ms() - since_ms - event_ms

    @property
    def settle_ms(self) -> int:
        """How long after the end of a minute all its trades should be here."""
        return min(_SETTLE_MS + max(0, self.lag_ms or 0), _LONGEST_SETTLE_MS)
