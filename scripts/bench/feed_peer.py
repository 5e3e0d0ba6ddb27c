"""The peer of the live feed: the loops that a bot writes around ccxt.pro, for the same streams.

``python -m scripts.bench.feed_peer PORT SECONDS SYMBOL…`` prints what it received and what that cost, as JSON. It
checks nothing, notices nothing and publishes nothing: what is above it is the price of that.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

import psutil

from tests.exchange import connect


async def watch(port: int, seconds: float, symbols: list[str]) -> dict[str, Any]:
    """Trades, order book and best prices of each symbol, each in a loop of its own."""
    client = connect.make("binance", port)
    counts = {"trades": 0, "books": 0, "quotes": 0}
    await client.load_markets()

    async def loop(kind: str, method: Any, *arguments: Any) -> None:
        while True:
            answer = await method(*arguments)
            counts[kind] += len(answer) if kind == "trades" else 1

    client.newUpdates = True
    tasks = [
        asyncio.create_task(task)
        for symbol in symbols
        for task in (
            loop("trades", client.watch_trades, symbol),
            loop("books", client.watch_order_book, symbol),
            loop("quotes", client.watch_bids_asks, [symbol]),
        )
    ]
    await asyncio.sleep(seconds / 6)  # all are subscribed by now
    begun, spent, before = time.monotonic(), _cpu_seconds(), dict(counts)
    await asyncio.sleep(seconds)
    wall, cpu = time.monotonic() - begun, _cpu_seconds() - spent
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    rates = {f"{kind}_per_s": (counts[kind] - before[kind]) / wall for kind in counts}
    return {**rates, "cpu": cpu / wall, "uss_mb": psutil.Process().memory_full_info().uss / 1e6}


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))))
