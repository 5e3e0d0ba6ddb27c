"""What follows from closes, one after the other, and can still be put right when one of them was wrong."""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Generic, Protocol, TypeVar


class Grows(Protocol):
    """A state that takes in one close after the other."""

    def add(self, open_ms: int, close: float) -> None:
        """Take the close of the bar that opened at `open_ms` in."""
        ...


S = TypeVar("S", bound=Grows)


class Rewindable(Generic[S]):
    """A state, and what it was before the newest closes.

    To replace one of them is to go through them once more from there. So the state is exactly that of having
    seen the right one from the start, to the last bit of every sum.

    Parameters
    ----------
    state
        Before the first close.
    kept
        How many of the newest closes can be replaced.

    Attributes
    ----------
    now
        The state after all closes.
    """

    def __init__(self, state: S, kept: int) -> None:
        self.now = state
        self._before = deepcopy(state)
        self._closes: deque[tuple[int, float]] = deque()
        self._kept = kept

    def add(self, open_ms: int, close: float) -> None:
        """Take the next close in."""
        self.now.add(open_ms, close)
        self._closes.append((open_ms, close))
        if len(self._closes) > self._kept:
            self._before.add(*self._closes.popleft())

    def replace(self, open_ms: int, close: float) -> None:
        """Put another close in the place of that of the same bar; one that is not kept changes nothing."""
        for index, (minute_ms, known) in enumerate(self._closes):
            if minute_ms == open_ms and known != close:
                self._closes[index] = (open_ms, close)
                self.now = deepcopy(self._before)
                for entry in self._closes:
                    self.now.add(*entry)
                return
