"""How long to wait before something that was in vain is asked again."""

from __future__ import annotations

_NS = 1_000_000_000


class Pause:
    """One that doubles each time, up to a longest.

    Parameters
    ----------
    first_s, longest_s
        Seconds.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_ns = int(first_s * _NS)
        self._longest_ns = int(longest_s * _NS)
        self._next_ns = self._length_ns = 0

    def begin(self, now_ns: int) -> None:
        """It was in vain; what was under way when the pause began makes it no longer."""
        if now_ns >= self._next_ns:
            self._length_ns = min(self._longest_ns, 2 * self._length_ns or self._first_ns)
            self._next_ns = now_ns + self._length_ns

    def is_over(self, now_ns: int) -> bool:
        """Whether it may be asked."""
        return now_ns >= self._next_ns


class Refusals:
    """Symbols that the exchange refuses to know, as one that was delisted: each is asked for seldom."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._pauses

    def note(self, symbol: str, now_ns: int) -> None:
        """It was refused."""
        self._pauses.setdefault(symbol, Pause(1.0, 60.0)).begin(now_ns)

    def end(self, symbol: str) -> None:
        """It was answered, or its market has changed."""
        self._pauses.pop(symbol, None)

    def may_ask(self, symbol: str, now_ns: int) -> bool:
        """Whether to ask for it now."""
        pause = self._pauses.get(symbol)
        return pause is None or pause.is_over(now_ns)
