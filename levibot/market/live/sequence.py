"""Holes in ids that grow by one: what is missing was lost, unless it comes a moment later."""

from __future__ import annotations

from typing import NamedTuple

_RESET_MS = 5_000  # a lower id so much later is no trade that was overtaken
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
        number = _number(trade_id)
        if number is None:
            return
        if self._newest is None or number > self._newest:
            if self._newest is not None and number > self._newest + 1:
                self._missing.append(_Missing(self._newest + 1, number - 1, self._newest_ms, now_ns))
            self._newest, self._newest_ms = number, event_ms
        elif event_ms > self._newest_ms + _RESET_MS:  # the exchange counts anew
            self._newest, self._newest_ms, self._missing = number, event_ms, []
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

    def settle(self, trade_id: str | None, event_ms: int) -> None:
        """The exchange has shown all up to this trade: what it did not show before it, it does not have."""
        number = _number(trade_id)
        if number is None:
            return
        self._missing = [gap for gap in self._missing if gap.last > number]
        if self._newest is None or number > self._newest:
            self._newest, self._newest_ms = number, event_ms


def _number(trade_id: str | None) -> int | None:
    return int(trade_id) if trade_id and trade_id.isascii() and trade_id.isdigit() else None


def _without(gap: _Missing, number: int) -> list[_Missing]:
    if not gap.first <= number <= gap.last:
        return [gap]
    parts = gap._replace(last=number - 1), gap._replace(first=number + 1)
    return [part for part in parts if part.first <= part.last]
