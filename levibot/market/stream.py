"""Follows the sequence numbers of one symbol, so that a loss is counted or found, never guessed."""

from __future__ import annotations

import math
from collections import deque

from levibot.bus.messages import Bar, BarCorrected, Reliable, Snapshot, SpecChanged, Tick

_KEPT_WHILE_WAITING = 4_096


class MarketStream:
    """Tells which messages to apply, and when a snapshot is needed.

    Bars and market events share one sequence that must have no hole; ticks have one of their own, whose
    holes are counted. A new epoch means that the feed has started again and counts anew.

    Attributes
    ----------
    waiting
        Why a snapshot is needed before bars and events can be applied; empty while all is well.
    dropped
        Ticks that were published and never came.
    """

    def __init__(self) -> None:
        self.waiting = "no snapshot yet"
        self.dropped = 0
        self._epoch: int | None = None
        self._seq = 0
        self._tick_epoch: int | None = None
        self._tick_seq = 0
        self._kept: deque[Reliable] = deque(maxlen=_KEPT_WHILE_WAITING)

    def reliable(self, message: Reliable) -> bool:
        """Whether to apply a bar or market event now; `waiting` says if it revealed a hole."""
        if not self.waiting and message.epoch == self._epoch and message.seq <= self._seq:
            return False
        self._expect(message.epoch, message.seq - 1)
        if self.waiting:
            self._kept.append(message)
            return False
        self._seq = message.seq
        return True

    def tick(self, tick: Tick) -> bool:
        """Whether a tick is new; `waiting` says if it revealed a hole."""
        if tick.epoch == self._tick_epoch:
            if tick.seq <= self._tick_seq:
                return False
            self.dropped += tick.seq - self._tick_seq - 1
        self._tick_epoch, self._tick_seq = tick.epoch, tick.seq
        self._expect(tick.epoch, tick.reliable_seq)
        return True

    def meet(self, epoch: int) -> None:
        """Hear from the feed without a message of the stream; `waiting` says if it has started again."""
        self._expect(epoch, self._seq)

    def load(self, snapshot: Snapshot) -> list[Reliable]:
        """Start from `snapshot`; return what was kept and is later than it, in order."""
        self._epoch, self._seq, self.waiting = snapshot.epoch, snapshot.seq, ""
        kept, self._kept = self._kept, deque(maxlen=_KEPT_WHILE_WAITING)
        return [message for message in kept if message.epoch == snapshot.epoch and self.reliable(message)]

    def _expect(self, epoch: int, seq: int) -> None:
        """Wait for a snapshot unless everything up to `seq` of `epoch` has been seen."""
        if self.waiting:
            return
        if epoch != self._epoch:
            self.waiting = "the feed has started again"
        elif seq > self._seq:
            self.waiting = f"bars or events {self._seq + 1} to {seq} were lost"


def problem_with(message: Tick | Reliable, symbol: str) -> str:
    """What is wrong with a message that came under the topic of `symbol`; empty if nothing is."""
    if message.symbol != symbol:
        return f"a message of {message.symbol!r:.40} under the topic of {symbol}"
    if isinstance(message, Tick):
        prices = (message.bid, message.ask, message.last)
    elif isinstance(message, Bar | BarCorrected):
        prices = (message.low, message.high, message.close)
    elif isinstance(message, SpecChanged) and message.spec.symbol != symbol:
        return f"rules of {message.spec.symbol!r:.40} under the topic of {symbol}"
    else:
        return ""
    if all(math.isfinite(price) and price > 0 for price in prices):
        return ""
    return f"{type(message).__name__.lower()} {message.seq} has a price that is none: {prices}"
