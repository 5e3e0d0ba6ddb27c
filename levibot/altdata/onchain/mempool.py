"""mempool.space, REST: what a Bitcoin transaction costs, what waits, and where the difficulty goes.

https://mempool.space/docs/api/rest
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from levibot.altdata.http import HttpClient
from levibot.altdata.numbers import checked_number
from levibot.altdata.source import Reading, Usage, fetch_parts
from levibot.config_altdata import MempoolConfig

_ASSET = "BTC"  # of which it tells, traded or not: Bitcoin is the context of every market


class _Fees(msgspec.Struct):
    fastestFee: float
    hourFee: float


class _Waiting(msgspec.Struct):
    count: int
    vsize: float


class _Difficulty(msgspec.Struct):
    difficultyChange: float


class Mempool:
    """Fees, mempool and difficulty of Bitcoin.

    Parameters
    ----------
    config
        Section ``[altdata.mempool]``.
    http
        Asks its ``url``; closed with the source.
    """

    name = "mempool"

    def __init__(self, config: MempoolConfig, http: HttpClient) -> None:
        self.interval, self.max_age = config.interval, config.max_age
        self._http = http

    @property
    def usage(self) -> Usage:
        """See `AltSource`."""
        return self._http.usage

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """See `AltSource`."""
        return await fetch_parts(partial(part, now_ms) for part in (self._fees, self._waiting, self._difficulty))

    async def _fees(self, now_ms: int) -> list[Reading]:
        fees = await self._http.get("/api/v1/fees/recommended", _Fees)
        return [
            self._reading("fee_rate", fees.fastestFee, now_ms),
            self._reading("fee_hour", fees.hourFee, now_ms),
        ]

    async def _waiting(self, now_ms: int) -> list[Reading]:
        waiting = await self._http.get("/api/mempool", _Waiting)
        return [
            self._reading("mempool_transactions", waiting.count, now_ms),
            self._reading("mempool_vsize", waiting.vsize, now_ms),
        ]

    async def _difficulty(self, now_ms: int) -> list[Reading]:
        found = await self._http.get("/api/v1/difficulty-adjustment", _Difficulty)
        return [self._reading("difficulty_change", found.difficultyChange / 100, now_ms, least=-1.0)]

    def _reading(self, name: str, value: float, now_ms: int, least: float = 0.0) -> Reading:
        return Reading(_ASSET, name, checked_number(self.name, name, value, least), now_ms)

    async def close(self) -> None:
        """See `AltSource`."""
        await self._http.close()
