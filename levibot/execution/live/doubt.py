"""Orders of which nobody knows whether the exchange has them: resolved by asking, never by sending again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeRefusedError, RetryError
from levibot.exchange.trading import Trading
from levibot.execution.books import Books
from levibot.execution.live.tracking import IN_DOUBT, Tracker
from levibot.execution.orders import Order
from levibot.execution.refusals import Refusal

_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)  # between two questions; the last one goes on
_EARLIER_MS = 60_000
_NS = 1_000_000_000


@dataclass
class _Doubt:
    since_ns: int
    asked: int = 0
    due_ns: int = 0
    since_ms: int = 0  # the exchange's time when it was first asked
    trouble: str = ""


class Doubts:
    """Asks for orders in doubt until the exchange has them, or has definitely not.

    One answer of "there is no such order" proves nothing: an exchange may know of an order only a moment after
    it took it. So absence is believed only after `unknown_after` seconds, which is longer than the life of a
    signed request (its receive window): what has not arrived by then never will. It must then be missing
    under its client id, among the open orders, and among the own trades, each asked for once more.

    Parameters
    ----------
    symbol
        Of the orders.
    tracker, trading, books
        Who writes down what is found, who is asked, and what is known.
    unknown_after
        Seconds.
    now_ns
        CLOCK_BOOTTIME.
    """

    def __init__(
        self,
        symbol: str,
        tracker: Tracker,
        trading: Trading,
        books: Books,
        unknown_after: float,
        now_ns: Callable[[], int] = boot_ns,
    ) -> None:
        self._symbol = symbol
        self._tracker = tracker
        self._trading = trading
        self._books = books
        self._patience_ns = int(unknown_after * _NS)
        self._now_ns = now_ns
        self._doubts: dict[str, _Doubt] = {}

    def begin(self, order: Order) -> None:
        """An order is in doubt from now on; one that is already is not begun anew."""
        client_id = order.intent.client_id
        if client_id not in self._doubts:
            now = self._now_ns()
            self._doubts[client_id] = _Doubt(now, due_ns=now, since_ms=self._trading.exchange_ms())

    def end(self, order: Order) -> None:
        """Its fate is known."""
        self._doubts.pop(order.intent.client_id, None)

    def is_due(self, order: Order) -> bool:
        """Tell whether it is time to ask again."""
        doubt = self._doubts.get(order.intent.client_id)
        return doubt is None or self._now_ns() >= doubt.due_ns

    def reasons(self) -> list[str]:
        """What is not known, for people."""
        now = self._now_ns()
        return [
            f"order {client_id} is unknown for {(now - doubt.since_ns) / _NS:.0f} s: "
            + (doubt.trouble or "the exchange is being asked")
            for client_id, doubt in self._doubts.items()
        ]

    async def resolve(self, order: Order) -> None:
        """Ask until the fate of an order is known, however long that takes."""
        self.begin(order)
        while not await self.ask(order):
            due_ns = self._doubts[order.intent.client_id].due_ns
            await asyncio.sleep(max(due_ns - self._now_ns(), 0) / _NS)

    async def ask(self, order: Order) -> bool:
        """Ask once; True: the fate of the order is known."""
        self.begin(order)
        doubt = self._doubts[order.intent.client_id]
        try:
            found = await self._tracker.look(order)
            if not found and self._now_ns() - doubt.since_ns >= self._patience_ns:
                found = await self._is_seen_elsewhere(order, doubt)
                if not found:
                    await self._give_up(order)
        except (RetryError, BackOffError, ExchangeRefusedError) as error:
            doubt.trouble = str(error)
        else:
            doubt.trouble = ""
        if order.state not in IN_DOUBT:
            self.end(order)
            return True
        pause_s = _PAUSES_S[min(doubt.asked, len(_PAUSES_S) - 1)]
        doubt.asked += 1
        doubt.due_ns = self._now_ns() + int(pause_s * _NS)
        return False

    async def _give_up(self, order: Order) -> None:
        if order.exchange_id:
            await self._tracker.cancel(order, Refusal.EXCHANGE.because("it knows the order no more"))
        else:
            await self._tracker.reject(order, Refusal.NEVER_ARRIVED.because("the exchange has no such order"))

    async def _is_seen_elsewhere(self, order: Order, doubt: _Doubt) -> bool:
        """Whether open orders or own trades show an order that is not found by its id."""
        client_id = order.intent.client_id
        for told in await self._trading.open_orders(self._symbol):
            if told.client_id == client_id:
                await self._tracker.apply(order, told)
                return True
        since_ms = min(doubt.since_ms, order.intent.event_ms) - _EARLIER_MS
        trades = await self._trading.trades(self._symbol, max(since_ms, self._books.read_until("account") or 0))
        for exchange_id in {trade.exchange_id for trade in trades}:
            if self._books.client_id_of(self._symbol, exchange_id) is not None:
                continue
            told_later = await self._trading.order(self._symbol, "", exchange_id)
            if told_later is not None and told_later.client_id == client_id:
                await self._tracker.apply(order, told_later)
                return True
        return False
