"""The supervisor's loop measures its own lateness."""

from __future__ import annotations

import asyncio
import time

from levibot.supervisor.loop_lag import LoopLag


def test_a_loop_that_was_blocked_is_counted_as_late() -> None:
    async def scene() -> LoopLag:
        lag = LoopLag()
        task = asyncio.create_task(lag.run())
        await asyncio.sleep(0.01)
        time.sleep(0.3)  # the measurement is due after a tenth of a second
        while lag.histogram.cumulative()[-1] < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        return lag

    lag = asyncio.run(scene())
    late = lag.histogram.cumulative()[-1] - lag.histogram.cumulative()[4]  # over 0.1 s
    assert late >= 1
    assert lag.histogram.seconds > 0.15
