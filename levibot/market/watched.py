"""The context symbol at the feed: a market that engines look at besides their own, whether it is traded or not."""

from __future__ import annotations

from collections.abc import Iterable


class Watched:
    """What the feed streams: the symbols that are served, and the context as soon as somebody asks for it.

    It contains the context while nobody trades it: no engine of it takes part in anything then, and what is
    wrong with it is wrong with nobody's trading.

    Parameters
    ----------
    context
        Canonical symbol; empty: none.
    served
        Symbols that are traded, or hold a position.
    """

    def __init__(self, context: str, served: Iterable[str]) -> None:
        self._context = context
        self._served = list(served)
        self._asked = False

    @property
    def symbols(self) -> list[str]:
        """All that is to be streamed."""
        return [*self._served, *([self._context] if self._context in self else [])]

    def serve(self, symbols: Iterable[str]) -> None:
        """Take note that other symbols are served now."""
        self._served = list(symbols)

    def ask(self, symbol: str) -> bool:
        """Take note that somebody asks for a symbol; whether `symbols` has changed by that."""
        is_new = symbol != "" and symbol == self._context and not self._asked
        self._asked |= is_new
        return is_new

    def __contains__(self, symbol: object) -> bool:
        return self._asked and symbol == self._context and symbol not in self._served
