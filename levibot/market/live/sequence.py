"""Holes in ids that grow by one: what is missing was lost, unless it comes a moment later."""

from __future__ import annotations

from typing import NamedTuple

_GRACE_NS = 300_000_000  # frames may overtake each other


class _Missing(NamedTuple):
    """Ids of trades that were skipped."""

    first: int
    last: int
    from_ms: int  # event time of the trade before them
    found_ns: int


class IdSequence:
    """Follows the ids of the trades of one symbol."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._newest_ms = 0
        self._missing: list[_Missing] = []

    def follow(self, trade_id: str | None, event_ms: int, now_ns: int) -> None:
        """Take the id of a new trade in; one that is no number tells nothing."""
        if trade_id is None or not (trade_id.isascii() and trade_id.isdigit()):
            return
        number = int(trade_id)
        if self._newest is None or number > self._newest:
            if self._newest is not None and number > self._newest + 1:
                self._missing.append(_Missing(self._newest + 1, number - 1, self._newest_ms, now_ns))
            self._newest, self._newest_ms = number, event_ms
        elif self._missing:
            self._missing = [rest for gap in self._missing for rest in _without(gap, number)]

    @property
    def suspect_from_ms(self) -> int | None:
        """Event time from which a trade may be missing; None if none is."""
        return min((gap.from_ms for gap in self._missing), default=None)

    def give_up(self, now_ns: int) -> int | None:
        """Await no longer what did not come within the time that frames may need to overtake each other.

        Returns
        -------
        int or None
            Event time from which a trade is missing; None if none is.
        """
        lost = [gap for gap in self._missing if now_ns - gap.found_ns > _GRACE_NS]
        self._missing = [gap for gap in self._missing if now_ns - gap.found_ns <= _GRACE_NS]
        return min((gap.from_ms for gap in lost), default=None)

    def settle(self, newest_id: str | None) -> None:
        """The exchange was asked for all up to this trade: what is missing before it is known to be, and why."""
        if newest_id is not None and newest_id.isascii() and newest_id.isdigit():
            self._missing = [gap for gap in self._missing if gap.last > int(newest_id)]


def _without(gap: _Missing, number: int) -> list[_Missing]:
    if not gap.first <= number <= gap.last:
        return [gap]
    parts = gap._replace(last=number - 1), gap._replace(first=number + 1)
    return [part for part in parts if part.first <= part.last]
