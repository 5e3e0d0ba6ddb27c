"""A line that takes over from others before those end, so that nothing is missed."""

from __future__ import annotations

from collections.abc import Mapping

from levibot.market.live.lines import Line
from levibot.market.live.streams import SymbolStreams

READY_S = 15.0  # until the new line has to be ready
LINGER_S = 1.0  # how long the old ones stay: what was traded before may still be under way on them


class Replacement:
    """Lines that are being replaced by one.

    Parameters
    ----------
    old
        They carry the symbols until then.
    new
        It carries them too, and hands on only trades; whoever receives those knows which it had.
    standby
        Their streams on the new line, by symbol.
    deadline_ns
        CLOCK_BOOTTIME at which whatever is not ready stays where it is.
    """

    def __init__(self, old: list[Line], new: Line, standby: Mapping[str, SymbolStreams], deadline_ns: int) -> None:
        self.old = old
        self.new = new
        self.standby = dict(standby)
        self._deadline_ns = deadline_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether it is time to take over, with what is ready."""
        return now_ns >= self._deadline_ns or all(streams.is_ready for streams in self.standby.values())

    def drop(self, symbol: str) -> None:
        """This one is not taken over."""
        if self.standby.pop(symbol, None) is not None:
            self.new.remove(symbol)
