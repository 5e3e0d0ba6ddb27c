"""What bars were seen, in a few bytes each: enough to know that one of them has been corrected."""

from __future__ import annotations

from array import array

from levibot.bus.messages import Bar
from levibot.market.bars import MINUTE_MS

_KEPT = 512  # minutes; 4 kB


class Digests:
    """One number for each minute of the last eight hours and a half."""

    def __init__(self) -> None:
        self._digests = array("q", bytes(8 * _KEPT))

    def note(self, bar: Bar) -> None:
        """A bar was seen."""
        self._digests[_slot(bar)] = _digest(bar)

    def differs(self, bar: Bar, newest_ms: int) -> bool:
        """Whether another bar, or none, was seen of this minute; False for one that is forgotten.

        Parameters
        ----------
        bar
            Not newer than the newest one seen.
        newest_ms
            Opening time of the newest one.
        """
        return newest_ms - bar.open_ms < _KEPT * MINUTE_MS and self._digests[_slot(bar)] != _digest(bar)


def _slot(bar: Bar) -> int:
    return bar.open_ms // MINUTE_MS % _KEPT


def _digest(bar: Bar) -> int:
    """Of what a bar says that can be corrected.

    Numbers of the feed and times of receipt are not part of it, nor its flow: what was seen of a minute stays
    what it was, and each NaN has a hash of its own.
    """
    return hash((bar.open_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.synthetic))
