"""An engine's ledger as its loop uses it: what it gives, what it says of itself, what a full disk does to it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from levibot.bus.messages import EngineReport, Role
from levibot.clock import boot_ns
from levibot.engine import inputs
from levibot.engine.market_view import MarketView
from levibot.errors import DataStoreError
from levibot.execution.broker_client import Recovered
from levibot.execution.ledger import Ledger
from levibot.observability.logging import Logger

_STORE_RETRY_NS = 30_000_000_000


class LedgerPort:
    """Between the ledger and the loop.

    After a write that failed nothing is written for a while: a full disk stays full, and each attempt is
    an error that counts.

    Parameters
    ----------
    ledger
        Of the symbol, open.
    opening_of
        What the symbol had earned when a day began, if that is recorded; asked for a ledger that was rebuilt.
    log
        Of the worker.
    fail
        Called with event and text of an error.
    """

    def __init__(
        self,
        ledger: Ledger,
        opening_of: Callable[[int], Decimal | None],
        log: Logger,
        fail: Callable[[str, str], None],
    ) -> None:
        self.reconciled = False
        self._ledger = ledger
        self._opening_of = opening_of
        self._log = log
        self._fail = fail
        self._words = "ok"
        self._unstorable_until_ns = 0
        if ledger.set_aside is not None:
            self._words = f"was corrupt, set aside as {ledger.set_aside.name}, rebuilt from the broker"
            fail("ledger_set_aside", f"corrupt ledger kept as {ledger.set_aside}")

    def new_client_id(self, role: Role) -> str | None:
        """The next client order id, stored; None if none can be stored now."""
        now_ns = boot_ns()
        if now_ns < self._unstorable_until_ns:
            return None
        try:
            return self._ledger.new_client_id(role)
        except DataStoreError as error:
            self._unstorable_until_ns = now_ns + _STORE_RETRY_NS
            self._fail("client_id_not_stored", f"no {role}: {error}")
            return None

    def reconcile(self, recovered: Recovered) -> inputs.PositionReconciled:
        """What the core must know after ledger and broker were brought together."""
        outcome = recovered.outcome
        drift = f"the broker holds {outcome.drift} more than the ledger" if outcome.drift else ""
        if outcome.broker_behind:
            drift = (
                "the broker has lost events that the ledger knows: stop LeviBot, then `levibotctl restore FILE`,"
                " or move the folder ledgers away, to go on from what the broker knows"
            )
        if drift or not self.reconciled or outcome.applied or outcome.never_sent:
            self._log.info(
                "reconciled",
                events=outcome.applied,
                never_sent=outcome.never_sent,
                drift=drift,
                position=str(self._ledger.position.quantity),
            )
        if drift:
            self._words = drift
        elif self._ledger.set_aside is None:
            self._words = "ok"
        self.reconciled = True
        open_orders = [
            inputs.OpenOrder(client_id, intent.role, intent.side)
            for client_id, (intent, _) in self._ledger.open_orders().items()
        ]
        ledger = self._ledger
        return inputs.PositionReconciled(boot_ns(), ledger.position, open_orders, drift, ledger.entered_ms)

    def report(self, report: EngineReport, market: MarketView) -> EngineReport:
        """`report` with position, profit and trades; without the first two until it is reconciled."""
        report = msgspec.structs.replace(
            report,
            trade_count=self._ledger.trade_count,
            ledger=self._words,
            ledger_aside=self._ledger.set_aside.name if self._ledger.set_aside else "",
            refused_writes=self._ledger.refused_writes,
        )
        if not self.reconciled:
            return report
        position, mark, daily, total = self._ledger.position, market.mark, None, None
        if mark is not None:
            price = Decimal(repr(mark))
            total = self._ledger.total_pnl(price)
            daily = self._daily_pnl(price, market.event_ms)
        return msgspec.structs.replace(
            report,
            position=position.quantity,
            entry_price=position.entry_price,
            daily_pnl=daily,
            total_pnl=total,
        )

    def _daily_pnl(self, mark: Decimal, event_ms: int) -> Decimal | None:
        now_ns = boot_ns()
        if now_ns < self._unstorable_until_ns:
            return None
        try:
            return self._ledger.daily_pnl(mark, event_ms, self._opening_of)
        except DataStoreError as error:  # the day's first value could not be stored
            self._unstorable_until_ns = now_ns + _STORE_RETRY_NS
            self._fail("daily_pnl_not_stored", str(error))
            return None
