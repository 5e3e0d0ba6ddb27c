"""Whether the prices of one symbol are new: silence is borne for a while, contradiction is not."""

from __future__ import annotations


class Freshness:
    """What is wrong with the streams of one symbol.

    Parameters
    ----------
    stale_after_ns
        Silence of the quotes that is borne.
    now_ns
        CLOCK_BOOTTIME.
    """

    def __init__(self, stale_after_ns: int, now_ns: int) -> None:
        self.quoted = False  # since the streams were begun
        self._stale_after_ns = stale_after_ns
        self._lost = ""
        self._doubt = ""
        self._quote_ns = self._trade_ns = now_ns  # newest signs of life

    def lose(self, reason: str) -> None:
        """The streams are interrupted."""
        self._lost = reason
        self.quoted = False

    def doubt(self, reason: str) -> None:
        """The streams say something else than the exchange does."""
        self._doubt = reason
        self.quoted = False

    def restore(self, now_ns: int) -> None:
        """The streams are begun anew; a quote that came since they were lost is theirs already."""
        self._lost = self._doubt = ""
        self._quote_ns, self._trade_ns = max(self._quote_ns, now_ns), max(self._trade_ns, now_ns)

    @property
    def is_trusted(self) -> bool:
        """Whether the streams are there, and nothing has contradicted them since they were begun."""
        return not (self._lost or self._doubt)

    def hear_quote(self, now_ns: int, *, is_quote: bool) -> None:
        """A sign of life of the quotes; `is_quote`: best bid and ask are known by it."""
        self._quote_ns = max(self._quote_ns, now_ns)
        self.quoted = self.quoted or is_quote

    def hear_trade(self, now_ns: int) -> None:
        """A sign of life of the trades."""
        self._trade_ns = max(self._trade_ns, now_ns)

    def quote_silence_ns(self, now_ns: int) -> int:
        """Since the last sign of life of the quotes."""
        return now_ns - self._quote_ns

    def trade_silence_ns(self, now_ns: int) -> int:
        """Since the last sign of life of the trades."""
        return now_ns - self._trade_ns

    def trouble(self, now_ns: int) -> str:
        """Why the prices are not known to be new; empty if they are."""
        if not self.is_trusted:
            return self._lost or self._doubt
        silence_ns = self.quote_silence_ns(now_ns)
        if silence_ns > self._stale_after_ns:
            return f"no price for {self._stale_after_ns / 1e9:g} s"
        return "" if self.quoted else "no price since the streams were begun"
