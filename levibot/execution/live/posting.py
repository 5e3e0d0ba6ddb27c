"""Posts orders of one symbol: each once, whatever becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from levibot.clock import boot_ns
from levibot.errors import BackOffError, CoolDownError, ExchangeRefusedError, RetryError
from levibot.exchange.trading import ExchangeOrder, Placement, Trading
from levibot.execution.checks import may_open_risk
from levibot.execution.live.doubt import Doubts
from levibot.execution.live.jobs import Job
from levibot.execution.live.journal import Journal, Tell
from levibot.execution.live.tracking import IN_DOUBT, Tracker, is_over
from levibot.execution.orders import Order, OrderState
from levibot.execution.position import ZERO
from levibot.execution.refusals import Refusal

_FIRST_LOOKS_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 2.0, 2.0)  # at an order that does not rest
PAUSE_S = 1.0  # after an exchange that could not be asked


class Posting:
    """Sends the orders of one symbol to the exchange, and follows each until its fate is known or it rests.

    An order is noted as due before it is posted, and no longer when it is: what a life before left behind is
    never due, and so is only asked for.

    Parameters
    ----------
    journal, trading, tracker, doubts
        Where it is written, who is asked, who follows an order, and who resolves what is not known of one.
    do
        Puts a job into the queue of the symbol.
    tell_trouble
        Told of what failed, for people.
    """

    def __init__(
        self,
        journal: Journal,
        trading: Trading,
        tracker: Tracker,
        doubts: Doubts,
        do: Callable[[Job], None],
        tell_trouble: Tell,
    ) -> None:
        self._journal = journal
        self._books = journal.books
        self._trading = trading
        self._tracker = tracker
        self._doubts = doubts
        self._do = do
        self._tell_trouble = tell_trouble
        self._due: set[str] = set()  # client ids

    def is_due(self, order: Order) -> bool:
        """Tell whether an order that is journaled as sent is still to be posted."""
        return order.intent.client_id in self._due

    def withhold(self, order: Order) -> bool:
        """Never post this order; False: that was not to be done, or has begun."""
        if not self.is_due(order):
            return False
        self._due.discard(order.intent.client_id)
        return True

    async def post(self, order: Order, placement: Placement, reserved: Decimal = ZERO) -> None:
        """Journal an order as sent, post it, and follow it until its fate is known or it rests.

        Raises
        ------
        DataStoreError
            The books cannot be used any more.
        """
        await self._journal.write(lambda: self._books.send(order, placement.quantity, reserved))
        self._due.add(placement.client_id)
        await self._deliver(order, placement)

    def deliver(self, order: Order, placement: Placement, until_ns: int) -> None:
        """Have an order posted that is journaled as sent in the transaction under way; if that fails, it is not.

        Parameters
        ----------
        until_ns
            CLOCK_BOOTTIME after which it must not be posted any more.
        """

        async def act() -> None:
            if self._books.open.get(placement.client_id) is not order:
                return  # rolled back, or cancelled before
            if boot_ns() > until_ns:
                self._due.discard(placement.client_id)
                await self._tracker.reject(order, Refusal.GRANT_EXPIRED.because("before the order could be sent"))
            else:
                await self._deliver(order, placement)

        self._due.add(placement.client_id)
        self._do(act)

    async def _deliver(self, order: Order, placement: Placement) -> None:
        if placement.client_id not in self._due:
            return
        self._due.discard(placement.client_id)  # before it is posted: never again
        try:
            told = await self._place(order, placement)
        except ExchangeRefusedError as error:
            await self._tracker.reject(order, Refusal.EXCHANGE.because(str(error)))
        except BackOffError as error:
            await self._tracker.reject(order, Refusal.NOT_TAKEN.because(str(error)))
        except Exception as error:  # noqa: BLE001 -- whatever it was, the exchange may have the order
            await self._doubt(order, f"{type(error).__name__}: {error}")
        else:
            await self._answered(order, placement, told)

    async def _place(self, order: Order, placement: Placement) -> ExchangeOrder | None:
        """Post; one that reduces is posted again as long as the exchange surely did not take it."""
        while True:
            try:
                return await self._trading.place(placement)
            except BackOffError as error:
                if may_open_risk(order.intent):
                    raise
                self._tell_trouble(f"{order.intent.role} {placement.client_id} waits: {error}")
                await asyncio.sleep(error.wait_s if isinstance(error, CoolDownError) else PAUSE_S)

    async def _answered(self, order: Order, placement: Placement, told: ExchangeOrder | None) -> None:
        try:
            if told is not None:
                await self._tracker.apply(order, told)
        except (RetryError, BackOffError, ExchangeRefusedError) as error:  # its fills: they are asked for again
            self._tell_trouble(str(error))
        if order.state in IN_DOUBT:
            await self._doubt(order, "the exchange has taken it, and tells no more")
        if placement.kind == "market" or placement.time_in_force == "ioc":
            await self._watch_ending(order)

    async def _watch_ending(self, order: Order) -> None:
        """Look at an order that does not rest until it is at its end, or for so long that others must go on."""
        for pause_s in _FIRST_LOOKS_S:
            if is_over(order) or order.state in IN_DOUBT:
                return
            await asyncio.sleep(pause_s)
            await self._try_look(order)

    async def _doubt(self, order: Order, reason: str) -> None:
        """Nobody knows whether the exchange has it; what reduces is waited for, lest it be sold twice."""
        self._doubts.begin(order)
        if order.state is not OrderState.UNKNOWN:
            found = await self._try_look(order)
            if found and order.state not in IN_DOUBT:
                self._doubts.end(order)
                return
            await self._journal.write(lambda: self._books.doubt(order, reason))
        if not may_open_risk(order.intent):
            await self._doubts.resolve(order)

    async def _try_look(self, order: Order) -> bool:
        """Ask for an order once; False: nobody has it, or the exchange could not be asked."""
        try:
            return await self._tracker.look(order)
        except (RetryError, BackOffError, ExchangeRefusedError) as error:
            self._tell_trouble(str(error))
            return False
