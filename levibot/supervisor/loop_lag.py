"""How late the supervisor's own loop is."""

from __future__ import annotations

import asyncio

from levibot.observability.histogram import Histogram

LAG_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)  # seconds
_INTERVAL = 0.1


class LoopLag:
    """Sleeps again and again, and counts by how much it overslept: so late was everything else, too."""

    def __init__(self) -> None:
        self.histogram = Histogram(LAG_BOUNDS)

    async def run(self) -> None:
        """Measure, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _INTERVAL
            await asyncio.sleep(_INTERVAL)
            self.histogram.observe(max(0.0, loop.time() - due))
