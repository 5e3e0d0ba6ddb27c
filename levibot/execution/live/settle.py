"""Books what is missing at the exchange as sold by hand or spent elsewhere, when an operator says that it was."""

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
    """Writes off a shortage, as a job of the symbol's desk, so that nothing else is under way.

    What is missing of the base asset is booked as an order of the broker's own that was filled by hand, so that
    the ledger, risk, equity and protection follow it as they follow any other. It is believed only if the
    comparison of the whole account has found it, transfers considered, and two new readings agree, with all orders
    looked at before each. Its proceeds are never more than what the exchange has more of the quote asset than the
    books: else these would be short of that. If only the quote asset is short, that is booked as withdrawn. Trades
    of ours that the books cannot take are set aside for good.

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
        request, desk = self._request, self._desk
        try:
            booked = await self._settle()
        except (_RefusedError, RetryError, BackOffError, ExchangeRefusedError) as error:
            self._answer(SettleReport(request.request_id, str(error)))
            return
        desk.tell_trouble(f"{booked}: {request.reason}")
        self._answer(SettleReport(request.request_id, "", booked))
        self._reconciler.hurry()
        await desk.protection.review()

    async def _settle(self) -> str:
        """What was booked, for people."""
        desk, shortages = self._desk, self._reconciler.funds.shortages
        base, quote = base_of(desk.symbol), desk.books.quote
        why_unready = self._reconciler.unready(desk.symbol)
        if why_unready:
            raise _RefusedError(why_unready)
        done, told = [], list(desk.anomalies)  # what is found from now on, nobody has been told of
        if base in shortages and desk.position.quantity > 0:
            quantity, proceeds = await self._missing(base)
            price = await self._price(quantity, proceeds)
            await self._book(quantity, price)
            done.append(f"{plain(quantity)} that the exchange does not have are booked as sold at {plain(price)}")
        elif quote in shortages:
            done.append(await self._withdraw(quote))
        if told:  # at last: when something is refused, nothing has been booked
            done.append(await self._set_aside(told))
        if not done:
            raise _RefusedError(
                f"nothing is missing: the exchange has the {plain(desk.position.quantity)} {base} of the books, by"
                " the last comparison with it"
            )
        return "; ".join(done)

    async def _set_aside(self, trades: list[str]) -> str:
        desk, books = self._desk, self._desk.books

        def change() -> None:
            for trade_id in trades:
                books.set_aside(desk.symbol, trade_id)

        await desk.journal.write(change)
        desk.anomalies = {trade: why for trade, why in desk.anomalies.items() if trade not in trades}
        return f"trade {', '.join(trades)} is set aside, and never counted"

    async def _withdraw(self, quote: str) -> str:
        """Money of ours was spent by hand, on fees or another asset."""
        if self._request.price is not None:
            raise _RefusedError(f"{quote} alone is missing, and that has no price: leave --price out")
        short, _ = await self._missing(quote)
        books = self._desk.books

        def change() -> None:
            reference = f"{books.new_client_id('emergency')} {self._request.reason}"
            books.move_funds(quote, -short, "withdrawal", reference)

        await self._desk.journal.write(change)
        return f"{plain(short)} {quote} that the exchange does not have are booked as withdrawn"

    async def _missing(self, asset: str) -> tuple[Decimal, Decimal]:
        """What is to be written off, and the most that it can have brought; one that two readings agree on."""
        first, _ = await self._look(asset)
        await asyncio.sleep(_BETWEEN_S)
        short, proceeds = await self._look(asset)
        if short != first:
            raise _RefusedError(f"{plain(first)} {asset} were missing, and then {plain(short)}: try again")
        if short <= 0:
            raise _RefusedError(f"nothing is missing: the exchange has all the {asset} of the books")
        if asset == self._desk.books.quote:
            believed = self._reconciler.funds.shortages.get(asset, ZERO)
            if short != believed:  # what other symbols trade moves it too
                raise _RefusedError(
                    f"{plain(believed)} {asset} were missing, by the last comparison, and now {plain(short)}:"
                    " try again"
                )
            return short, ZERO
        return min(short, self._desk.position.quantity), proceeds

    async def _look(self, asset: str) -> tuple[Decimal, Decimal]:
        """What is short of an asset, and how much of the quote asset is there that the books do not have."""
        desk = self._desk
        await self._reconciler.compare_in_job(desk)
        doubtful = [order.intent.client_id for order in desk.orders if order.state in IN_DOUBT]
        if doubtful:
            raise _RefusedError(f"it is not known yet what became of order {doubtful[0]}: try again when it is")
        differences = await self._reconciler.funds.differences()
        return -differences.get(asset, ZERO), max(differences.get(desk.books.quote, ZERO), ZERO)

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
