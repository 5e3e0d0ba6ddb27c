"""Lets equity be recorded, off the supervisor's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

from levibot.alerting.alerts import Alerts
from levibot.clock import boot_ns
from levibot.equity.document import equity_document
from levibot.equity.journal import EquityJournal
from levibot.equity.valuation import Valuation
from levibot.errors import CorruptStoreError, DataStoreError, LeviBotError
from levibot.execution.position import ZERO
from levibot.risk.manager import RiskManager

_INTERVAL = 1.0
_RETRY = 10.0  # after a failure: a disk that is full is not asked each second
T = TypeVar("T")


class Market(Protocol):
    """What knows the time of the market."""

    @property
    def market_ms(self) -> int | None:
        """Event time of the newest price; None: none has come yet."""
        ...


class EquityRecorder:
    """Once a second at most, and only if something has changed.

    Parameters
    ----------
    state_dir
        Folder of the books and of the record.
    risk
        Knows prices and how far the broker's events have come.
    market
        Tells market time.
    alerts
        Told of a damaged file.
    survived
        Told of errors, with the place where they were met.

    Attributes
    ----------
    refused
        Writes that the disk refused.
    newest
        What was found last; None before the first.
    day_pnl
        Profit of each symbol since 00:00 UTC, at the same moment.
    """

    def __init__(
        self,
        state_dir: Path,
        risk: RiskManager,
        market: Market,
        alerts: Alerts,
        survived: Callable[[str, Exception], None],
    ) -> None:
        self.refused = 0
        self.newest: Valuation | None = None
        self.day_pnl: Mapping[str, Decimal] = {}
        self._state_dir = state_dir
        self._risk = risk
        self._market = market
        self._alerts = alerts
        self._survived = survived
        self._journal = EquityJournal(state_dir)
        self._thread = ThreadPoolExecutor(1, "equity")

    async def run(self) -> None:
        """Record for ever; what goes wrong is counted, and tried again."""
        while True:
            await asyncio.sleep(_INTERVAL if await self.record() else _RETRY)

    async def record(self) -> bool:
        """Record what has changed; False if that failed."""
        event_ms, seq = self._market.market_ms, self._risk.portfolio.seq
        if event_ms is None or seq is None or not self._is_due(event_ms, seq):
            return True
        marks = self._marks()
        try:
            self.newest = await self._in_thread(lambda: self._journal.follow(event_ms, marks))
        except LeviBotError as error:
            if isinstance(error, DataStoreError) and not isinstance(error, CorruptStoreError):
                self.refused += 1
            self._survived("equity", error)
            self._tell_damage()
            return False
        self.day_pnl = self._journal.day_pnl(self.newest)
        return True

    async def document(self, days: int) -> dict[str, Any]:
        """As `equity_document`."""
        return await self._in_thread(lambda: equity_document(self._state_dir, days))

    def profits(self, symbol: str) -> dict[str, float | int]:
        """What the status tells of a symbol whose engine does not; empty if nothing is known.

        A stop may have closed its position since the engine last spoke.
        """
        one = self.newest.symbols.get(symbol) if self.newest is not None else None
        if one is None:
            return {}
        today = self.day_pnl.get(symbol, ZERO)
        return {"daily_pnl": float(today), "total_pnl": float(one.pnl), "trade_count": one.opened}

    async def close(self) -> None:
        """Record what is left, and close the file."""
        await self.record()
        await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)

    def _tell_damage(self) -> None:
        aside, self._journal.set_aside = self._journal.set_aside, None
        if aside is not None:
            message = f"the record of equity was damaged; it is set aside as {aside}"
            remedy = (
                "look after the disk; totals are added up anew from the broker's books, the curve before is lost"
            )
            self._alerts.raise_alert("equity_damaged", "warning", message, remedy)

    def _marks(self) -> dict[str, Decimal]:
        """Prices of positions that are young enough to be believed."""
        portfolio, now, limit = self._risk.portfolio, boot_ns(), self._risk.policy.mark_max_age_ns
        prices = {symbol: portfolio.price(symbol, now, limit) for symbol in portfolio.positions}
        return {symbol: price for symbol, price in prices.items() if price is not None}

    def _is_due(self, event_ms: int, seq: int) -> bool:
        newest = self.newest
        return newest is None or seq != newest.seq or event_ms // 60_000 > newest.minute

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)
