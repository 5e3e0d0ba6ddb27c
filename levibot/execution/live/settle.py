"""Books what is missing at the exchange as sold by hand, when an operator says that it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from levibot.bus.messages import Fill, Intent, SettlePosition, SettleReport
from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeRefusedError, LeviBotError, RetryError
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.reconciler import Reconciler
from levibot.execution.live.tracking import IN_DOUBT
from levibot.execution.position import ZERO, base_of
from levibot.execution.precision import floor_to, plain

_BETWEEN_S = 0.5  # two readings of the balances
_PRICE_S = 3.0  # for a price, where the feed has none


class _RefusedError(LeviBotError):
    """Nothing is booked, for this reason."""


class Settlement:
    """Writes off a shortage of the base asset, as a job of the symbol's desk, so that nothing else is under way.

    What is missing is booked as an order of the broker's own that was filled by hand, so that the ledger, risk,
    equity and protection follow it as they follow any other. It is believed only if the comparison of the whole
    account has found it, transfers considered, and two new readings agree, with all orders looked at before each.
    Its proceeds are never more than what the exchange has more of the quote asset than the books: else these
    would be short of that.

    Parameters
    ----------
    desk
        Of the symbol.
    reconciler
        Knows what is short.
    request
        What the operator says.
    answer
        Told what became of it, once.
    """

    def __init__(
        self,
        desk: SymbolDesk,
        reconciler: Reconciler,
        request: SettlePosition,
        answer: Callable[[SettleReport], object],
    ) -> None:
        self._desk = desk
        self._reconciler = reconciler
        self._request = request
        self._answer = answer

    async def run(self) -> None:
        """Do it, or say why not."""
        request = self._request
        try:
            quantity, proceeds = await self._missing()
            price = await self._price(quantity, proceeds)
            await self._book(quantity, price)
        except (_RefusedError, RetryError, BackOffError, ExchangeRefusedError) as error:
            self._answer(SettleReport(request.request_id, str(error)))
            return
        what = f"{plain(quantity)} that the exchange does not have are booked as sold at {plain(price)}"
        self._desk.tell_trouble(f"{what}: {request.reason}")
        self._answer(SettleReport(request.request_id, "", quantity, price))
        self._reconciler.hurry()
        await self._desk.protection.review()

    async def _missing(self) -> tuple[Decimal, Decimal]:
        """What is to be written off, and the most that it can have brought."""
        desk, base = self._desk, base_of(self._desk.symbol)
        why_unready = self._reconciler.unready(desk.symbol)
        if why_unready:
            raise _RefusedError(why_unready)
        if base not in self._reconciler.funds.shortages or desk.position.quantity <= 0:
            raise _RefusedError(
                f"nothing is missing: the exchange has the {plain(desk.position.quantity)} {base} of the books, by"
                " the last comparison with it"
            )
        first, _ = await self._look(base)
        await asyncio.sleep(_BETWEEN_S)
        short, proceeds = await self._look(base)
        if short != first:
            raise _RefusedError(f"{plain(first)} {base} were missing, and then {plain(short)}: try again")
        if short <= 0:
            raise _RefusedError(f"nothing is missing: the exchange has all the {base} of the books")
        return min(short, desk.position.quantity), proceeds

    async def _look(self, base: str) -> tuple[Decimal, Decimal]:
        """What is short of the base asset, and how much of the quote asset is there that the books do not have."""
        desk = self._desk
        await self._reconciler.compare_in_job(desk)
        doubtful = [order.intent.client_id for order in desk.orders if order.state in IN_DOUBT]
        if doubtful:
            raise _RefusedError(f"it is not known yet what became of order {doubtful[0]}: try again when it is")
        differences = await self._reconciler.funds.differences()
        return -differences.get(base, ZERO), max(differences.get(desk.books.quote, ZERO), ZERO)

    async def _price(self, quantity: Decimal, proceeds: Decimal) -> Decimal:
        desk, given, quote = self._desk, self._request.price, self._desk.books.quote
        most = floor_to(proceeds / quantity, desk.market.price_tick)
        if given is not None and given > most:
            raise _RefusedError(
                f"{plain(quantity)} at {plain(given)} would have brought more than the {plain(proceeds)} {quote}"
                f" that the exchange has beyond the books; at most {plain(most)}, and 0 is for what is lost"
            )
        return min(await self._mark(), most) if given is None else given

    async def _mark(self) -> Decimal:
        end = boot_ns() + int(_PRICE_S * 1e9)
        while (found := self._desk.fresh_quote(boot_ns())) is None:
            if boot_ns() > end:
                raise _RefusedError("no fresh price is known: say at what price it was sold, with --price")
            await asyncio.sleep(0.05)
        return found.bid

    async def _book(self, quantity: Decimal, price: Decimal) -> None:
        desk, books = self._desk, self._desk.books

        def change() -> None:
            client_id = books.new_client_id("emergency")
            intent = Intent(
                client_id=client_id,
                symbol=desk.symbol,
                side="sell",
                kind="limit",
                quantity=quantity,
                role="emergency",
                event_ms=books.event_ms,
                reduce_only=True,
                limit_price=price,
                reason=self._request.reason,
            )
            order = books.submit(intent, intent)
            books.fill(order, Fill(f"settled-{client_id}", quantity, price, ZERO, books.quote, "taker"))
            desk.missing = ZERO

        await desk.journal.write(change)
