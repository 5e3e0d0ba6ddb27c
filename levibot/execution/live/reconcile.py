"""Brings the books of one symbol to agree with the exchange: open orders, and own trades since the last time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import msgspec

from levibot.bus.messages import Intent
from levibot.clock import boot_ns
from levibot.errors import BackOffError, OrderGoneError, RetryError
from levibot.exchange.trading import ExchangeOrder, OwnTrade
from levibot.execution.checks import may_open_risk
from levibot.execution.ids import ClientId
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.tracking import IN_DOUBT, fill_of, is_over
from levibot.execution.orders import Order, OrderState
from levibot.execution.precision import plain
from levibot.execution.refusals import Refusal

_OVERLAP_MS = 300_000  # trades are read again from this long before: an exchange may list one late
_AGAIN_S = 1.0  # after the exchange could not be asked
_PATIENCE_NS = 10_000_000_000  # with an exchange that does not answer, until other things are done
_SAVE_MS = 60_000  # a time up to which nothing happened is written down no oftener


class Reconciliation:
    """Compares one symbol with the exchange, as a job of its desk, so that nothing else is under way meanwhile.

    An order of our instance that the books do not know was made by a ledger that has been replaced: it is adopted
    with its fills, and cancelled if it could open a position. Orders of anybody else are left alone. An order of
    ours that was at its end in the books, and rests at the exchange, is withdrawn there; a trade of one is counted
    in an order of its own, with what protects the first.

    Parameters
    ----------
    desk
        Of the symbol.
    """

    def __init__(self, desk: SymbolDesk) -> None:
        self._desk = desk
        self._books = desk.books
        self.foreign_orders = 0  # open ones of somebody else
        self._foreign: set[str] = set()  # exchange ids of somebody else's orders that have traded
        self._adopted: list[Order] = []
        self._begun_ns = 0  # CLOCK_BOOTTIME; 0: not yet
        self.trouble = ""  # what keeps it from being compared for the first time

    async def begin(self) -> None:
        """Take up what a life before left, and compare, before anything else is done.

        While the exchange does not answer that is tried again, but only for so long: a stop that the broker
        watches must be able to fire. An exit makes sure of what it sells by itself; books from a backup know too
        little for that.

        Raises
        ------
        RetryError, BackOffError
            The exchange could not be asked all that time.
        ExchangeRefusedError
            The exchange does not let itself be asked about this symbol.
        """
        if not self._begun_ns:
            self._begun_ns = boot_ns()
            await self._take_up()
        while True:
            try:
                await self.run()
            except (RetryError, BackOffError) as error:
                self.trouble = str(error)
                if not self._books.restored_ms and boot_ns() - self._begun_ns > _PATIENCE_NS:
                    raise
                self._desk.tell_trouble(f"comparing with the exchange: {error}")
                await asyncio.sleep(_AGAIN_S)
            else:
                self.trouble = ""
                return

    async def _take_up(self) -> None:
        """Nothing is sent again: what was sent is asked for, what was not either begins anew or is denied."""
        desk, books = self._desk, self._books
        for order in desk.orders:
            if order.state is OrderState.SUBMITTED and may_open_risk(order.intent):
                await desk.journal.write(
                    partial(books.deny, order, Refusal.NOT_SENT.because("the broker was restarted"))
                )
            elif order.state in (OrderState.SUBMITTED, OrderState.TRIGGERED):
                desk.do(partial(desk.exit, order))

    async def run(self) -> None:
        """Compare once.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The exchange could not be asked; what was found until then is written down.
        """
        desk, now_ms = self._desk, self._desk.trading.exchange_ms()
        found = await desk.trading.open_orders(desk.symbol)
        await self._compare_orders(found)
        opened_ms = self._books.read_until("account") or 0  # what traded before is in the opening balance
        until_ms = self._books.read_until(desk.symbol) or opened_ms
        trades = await desk.trading.trades(desk.symbol, max(until_ms - _OVERLAP_MS, opened_ms))
        desk.anomalies = await self._compare_trades(trades)
        await self._judge_adopted()
        if now_ms - until_ms > _SAVE_MS and not desk.anomalies:  # these are found again, by the next life too
            await desk.journal.write(lambda: self._books.note_read(desk.symbol, now_ms))

    async def _judge_adopted(self) -> None:
        """An adopted order stays if it can only close what the books hold."""
        desk, adopted = self._desk, self._adopted
        self._adopted = []
        await self._replace_stops()
        for order in adopted:
            if is_over(order):
                continue
            if may_open_risk(order.intent):
                await desk.withdraw(
                    order, Refusal.ADOPTED.because("it could open a position that nobody asks for now")
                )
            elif order.remaining > desk.sellable():
                await desk.withdraw(order, Refusal.ADOPTED.because("the books hold less than it would sell"))

    async def _replace_stops(self) -> None:
        """Stops of no entry are replaced by those of entries: beside them the exchange would refuse any other."""
        desk = self._desk
        for order in desk.posted:
            intent, stop = order.intent, order.intent.trigger_price
            if intent.kind == "stop" and intent.parent_id is None and stop is not None:
                await desk.journal.write(partial(self._books.give_stop, desk.symbol, stop, order.remaining))
                await desk.withdraw(order, Refusal.ADOPTED.because("a stop of its entry takes its place"))

    async def _compare_orders(self, found: Iterable[ExchangeOrder]) -> None:
        desk, foreign = self._desk, 0
        seen = {told.client_id: told for told in found if told.client_id}
        for told in found:
            if not self._is_ours(told.client_id):
                foreign += 1
            elif not self._books.knows(told.client_id):
                await self._adopt(told)
            elif told.client_id not in self._books.open:
                await self._end_there(told)
        self.foreign_orders = foreign
        for order in desk.posted:
            listed = seen.get(order.intent.client_id)
            if listed is not None:
                await desk.tracker.apply(order, listed)
            elif order.state not in IN_DOUBT:
                await desk.look(order)
            elif not await desk.doubts.ask(order) and not may_open_risk(order.intent):
                # Before anything else is sold: it could be sold twice.
                desk.do(partial(desk.doubts.resolve, order), urgent=True)

    async def _end_there(self, told: ExchangeOrder) -> None:
        """Withdraw what is over in the books: it could yet fill, or lock what a stop has to sell."""
        desk = self._desk
        desk.tell_trouble(f"order {told.client_id} is open, and was at its end in the books: it is withdrawn")
        with suppress(OrderGoneError):  # the list was older than its end
            await desk.trading.cancel(desk.symbol, told.client_id, told.exchange_id)

    async def _compare_trades(self, trades: Iterable[OwnTrade]) -> dict[str, str]:
        """Count what is not counted yet; of what cannot be counted, why, by trade id."""
        desk = self._desk
        anomalies: dict[str, str] = {}
        trades = list(trades)
        self._foreign &= {trade.exchange_id for trade in trades}  # none of the others is ever read again
        for trade in trades:
            if trade.exchange_id in self._foreign or self._books.has_fill(desk.symbol, trade.trade_id):
                continue
            client_id = self._books.client_id_of(desk.symbol, trade.exchange_id) or await self._identify(trade)
            if client_id is None:
                continue
            if client_id in self._books.open:
                order = self._books.open[client_id]
                await desk.tracker.count(order, [trade])
                await desk.look(order)
            elif not self._books.is_set_aside(desk.symbol, trade.trade_id):
                anomaly = await self._count_late(trade, client_id)
                anomalies |= {trade.trade_id: anomaly} if anomaly else {}
        return anomalies

    async def _identify(self, trade: OwnTrade) -> str | None:
        """Our name of an order whose id at the exchange is not in the books; None: not ours, or dealt with."""
        desk = self._desk
        told = await desk.trading.order(desk.symbol, "", trade.exchange_id)
        if told is None:
            return None  # not known now: asked again next time
        if not self._is_ours(told.client_id):
            self._foreign.add(trade.exchange_id)
        elif told.client_id in self._books.open:
            await desk.tracker.apply(self._books.open[told.client_id], told)
        elif self._books.knows(told.client_id):
            return told.client_id
        else:
            await self._adopt(told)
        return None

    async def _count_late(self, trade: OwnTrade, client_id: str) -> str:
        """Count a trade of an order that is at its end in the books; or why that cannot be."""
        desk, books = self._desk, self._books
        text = f"trade {trade.trade_id} is of order {client_id}, which was at its end in the books"
        former, held = books.intent_of(client_id), desk.position.quantity
        if trade.side == "sell" and trade.quantity > held:
            return (
                f"{text}: it sold {plain(trade.quantity)}, and they hold {plain(held)}; if that was dealt with by"
                f" hand, `levibotctl settle {desk.symbol}` says so"
            )
        fill = fill_of(trade, books.quote)

        def count() -> None:
            intent = msgspec.structs.replace(
                former,
                client_id=books.new_client_id(former.role),
                kind="market",
                quantity=trade.quantity,
                event_ms=trade.event_ms,
                limit_price=None,
                post_only=False,
                trigger_price=None,
                trailing_offset=None,
                time_in_force="gtc",
                oco="",
                reason=text,
            )
            books.fill(books.submit(intent, intent), fill)

        await desk.journal.write_all([(trade.event_ms, count)])
        desk.tell_trouble(f"{text}: {trade.side} {plain(trade.quantity)} at {plain(trade.price)} is counted now")
        desk.do(desk.protection.review, urgent=True)  # the comparison of the whole account may take long
        return ""

    def _is_ours(self, client_id: str) -> bool:
        parsed = ClientId.parse(client_id)
        return parsed is not None and parsed.instance == self._books.instance

    async def _adopt(self, told: ExchangeOrder) -> None:
        desk, books = self._desk, self._books
        intent = _intent_of(told)
        made: list[Order] = []

        def submit() -> None:
            made.append(books.submit(intent, intent))
            books.send(made[-1], told.quantity)

        await desk.journal.write(submit)
        desk.tell_trouble(f"order {told.client_id} is ours, and the books do not know it: it is adopted")
        self._adopted.append(made[-1])
        await desk.tracker.apply(made[-1], told)


def _intent_of(told: ExchangeOrder) -> Intent:
    """The order as it must have been intended; on spot, what buys opens a position."""
    parsed = ClientId.parse(told.client_id)
    assert parsed is not None, "only orders of our own are adopted"
    opens = told.side == "buy"
    return Intent(
        client_id=told.client_id,
        symbol=told.symbol,
        side=told.side,
        kind="stop" if told.trigger_price else "limit" if told.limit_price else "market",
        quantity=told.quantity,
        role="entry" if opens else "exit" if parsed.role == "entry" else parsed.role,
        event_ms=told.created_ms,
        reduce_only=not opens,
        limit_price=told.limit_price,
        trigger_price=told.trigger_price,
    )
