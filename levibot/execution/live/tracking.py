"""Brings an order in the books up to what the exchange says of it; hearing it twice changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from levibot.bus.messages import Fill, Tick
from levibot.exchange.trading import ExchangeOrder, OwnTrade, Trading
from levibot.execution.live.journal import Journal
from levibot.execution.orders import TERMINAL_STATES, Order, OrderState
from levibot.execution.position import ZERO
from levibot.execution.refusals import Refusal
from levibot.execution.triggers import is_reached, trigger_price

IN_DOUBT = frozenset({OrderState.SENT, OrderState.UNKNOWN})
_EARLIER_MS = 60_000  # fills are asked for from this long before the order: clocks of an exchange differ


def is_over(order: Order) -> bool:
    """Tell whether an order is at its end."""
    return order.state in TERMINAL_STATES


def is_posted(order: Order) -> bool:
    """Tell whether the exchange has the order, or may have it; others rest in the broker."""
    return not is_over(order) and (bool(order.exchange_id) or order.state in IN_DOUBT)


def may_be_filled(order: Order, tick: Tick) -> bool:
    """Whether an order on the exchange may have been filled, given a price."""
    if not is_posted(order):
        return False
    sells = order.intent.side == "sell"
    if order.trigger:
        return is_reached(order.intent, order.trigger, trigger_price(tick, order.intent.side))
    if order.limit:
        return tick.bid >= order.limit or tick.last >= order.limit if sells else 0 < tick.ask <= order.limit
    return True


def fill_of(trade: OwnTrade, quote: str) -> Fill:
    """A trade as the books count it; a fee whose asset the exchange does not name is none, in the quote asset."""
    liquidity: Literal["maker", "taker"] = "maker" if trade.is_maker else "taker"
    asset = trade.fee_asset or quote
    return Fill(trade.trade_id, trade.quantity, trade.price, trade.fee, asset, liquidity)


class Tracker:
    """Follows the orders of one symbol on the exchange.

    The exchange's own trades alone are fills: its trade id is the fill id, so that each counts once. An order is
    at its end when the exchange says so and all that it calls filled is counted.

    Parameters
    ----------
    symbol
        Of the orders.
    journal, trading
        Where it is written, and who is asked.
    filled
        Told of an order that fills were counted for.
    ended
        Told of an order that is at its end now.
    found
        Told of an order that was in doubt, and that the exchange has.
    """

    def __init__(
        self,
        symbol: str,
        journal: Journal,
        trading: Trading,
        filled: Callable[[Order], None],
        ended: Callable[[Order], None],
        found: Callable[[Order], None],
    ) -> None:
        self._symbol = symbol
        self._journal = journal
        self._books = journal.books
        self._trading = trading
        self._filled = filled
        self._ended = ended
        self._found = found
        self.reasons: dict[str, str] = {}  # client id → why its cancellation was asked for

    async def look(self, order: Order) -> bool:
        """Ask for one order, and write down what is new; False: the exchange says that it has none.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            It could not be asked; nothing has changed.
        """
        told = await self._trading.order(self._symbol, order.intent.client_id, order.exchange_id)
        if told is None:
            return False
        await self.apply(order, told)
        return True

    async def apply(self, order: Order, told: ExchangeOrder) -> None:
        """Write down what the exchange has told of an order, its fills first.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            Its fills could not be read; what was written is whole.
        """
        if is_over(order):
            return
        if order.state in IN_DOUBT and not (told.status == "rejected" and not told.filled):
            await self._journal.write(lambda: self._books.accept(order, order.reserved, told.exchange_id))
            self._found(order)
        if told.filled > order.filled:
            since_ms = max(told.created_ms - _EARLIER_MS, 0)
            await self.count(order, await self._trading.trades_of(self._symbol, told.exchange_id, since_ms))
        if told.status != "open" and not is_over(order) and order.filled >= told.filled:
            await self._end(order, told)

    async def count(self, order: Order, trades: Iterable[OwnTrade]) -> None:
        """Count those fills of an order that are not counted yet."""
        news = {
            trade.trade_id: trade for trade in trades if not self._books.has_fill(self._symbol, trade.trade_id)
        }
        if not news or is_over(order):
            return
        await self._journal.write_all([(trade.event_ms, self._counting(order, trade)) for trade in news.values()])
        self._filled(order)
        if is_over(order):
            self._finish(order)

    def _counting(self, order: Order, trade: OwnTrade) -> Callable[[], None]:
        fill = fill_of(trade, self._books.quote)
        return lambda: self._books.fill(order, fill)

    async def _end(self, order: Order, told: ExchangeOrder) -> None:
        if told.status == "rejected" and not order.filled:
            await self.reject(order, Refusal.EXCHANGE.because("rejected"))
        elif told.status == "filled":
            because = f"it calls {told.filled} of {order.intent.quantity} all"
            await self.cancel(order, Refusal.EXCHANGE.because(because))
        else:
            await self.cancel(order, self.reasons.get(order.intent.client_id) or self._why_cancelled(order))

    @staticmethod
    def _why_cancelled(order: Order) -> str:
        if order.intent.time_in_force == "ioc":
            return Refusal.IOC.because("what did not fill at once")
        return Refusal.EXCHANGE.because("cancelled there, and not by this broker")

    async def cancel(self, order: Order, reason: str) -> None:
        """The rest of an order is withdrawn, as the exchange has confirmed, or it rests in the broker."""
        await self._journal.write(lambda: self._books.cancel(order, reason))
        self._finish(order)

    def _finish(self, order: Order) -> None:
        self.reasons.pop(order.intent.client_id, None)
        self._ended(order)

    async def reject(self, order: Order, reason: str) -> None:
        """The exchange has refused an order, or never got it."""
        if order.filled > ZERO or order.state not in {OrderState.SUBMITTED, *IN_DOUBT}:
            await self.cancel(order, reason)
            return
        await self._journal.write(lambda: self._books.reject(order, reason))
        self._finish(order)
