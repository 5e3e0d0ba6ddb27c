"""The exchange's two clocks: its wall clock, which signatures are checked against, and its market's time."""

from __future__ import annotations

import time

MINUTE_MS = 60_000


def wall_ms() -> float:
    """The machine's Unix time in milliseconds."""
    return time.time_ns() / 1e6


class ExchangeClock:
    """Market time may run faster than the wall clock, and the server's own time may be wrong by a skew.

    Parameters
    ----------
    speed
        Market seconds for each real second.
    start_ms
        Market time now; default: the wall clock, wrong by the offset.
    offset_ms
        How far both clocks are from the machine's.
    serves_market_time
        Whether the exchange, asked for its time, answers with that of its market: for clients whose clock
        runs as fast.
    """

    def __init__(
        self,
        speed: float = 1.0,
        start_ms: int | None = None,
        offset_ms: int = 0,
        *,
        serves_market_time: bool = False,
    ) -> None:
        self.speed = speed
        self._serves_market_time = serves_market_time
        self.skew_ms = 0
        self._offset_ms = offset_ms
        self._born_ns = time.monotonic_ns()
        self._origin_ms = wall_ms() + offset_ms if start_ms is None else float(start_ms)

    @property
    def started_ms(self) -> int:
        return int(self._origin_ms)

    @property
    def born_ns(self) -> int:
        """CLOCK_MONOTONIC at `started_ms`."""
        return self._born_ns

    def server_ms(self) -> int:
        """What the exchange answers when asked for its time, Unix milliseconds."""
        now_ms = self.market_ms() if self._serves_market_time else wall_ms() + self._offset_ms
        return int(now_ms + self.skew_ms)

    def stamp_ms(self) -> int:
        """What stamps of signed requests are compared with: ccxt's clock never runs fast, as its user's may."""
        return int(wall_ms() + self._offset_ms + self.skew_ms)

    @property
    def inexactness(self) -> float:
        """How many times as far off a client's measurement of `server_ms` may be as that of a slow clock."""
        return self.speed if self._serves_market_time else 1.0

    def market_ms(self) -> int:
        """Time of what happens in the market, Unix milliseconds."""
        elapsed_ms = (time.monotonic_ns() - self._born_ns) / 1e6
        return int(self._origin_ms + elapsed_ms * self.speed)
