"""The broker: takes orders and questions from engines and the supervisor, prices from the feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from levibot.bus.messages import (
    AccountRequest,
    AccountSnapshot,
    Bar,
    Book,
    BrokerReport,
    BrokerRequest,
    CancelOrder,
    FlattenPositions,
    Intent,
    MarketSpec,
    NotReady,
    OrderDenied,
    OrderEvent,
    OrderEvents,
    Reconciled,
    ReconcileRequest,
    RiskState,
    SettlePosition,
    SetTradingState,
    SubmitOrder,
    Tick,
    Trades,
    TradingStateReport,
)
from levibot.clock import boot_ns, wall_ms
from levibot.errors import DataStoreError, FullDiskError, LockedStoreError
from levibot.execution.books import Books
from levibot.execution.checks import may_open_risk
from levibot.execution.flatten import Flattener
from levibot.execution.followers import Followers, Send
from levibot.execution.orders import Order
from levibot.execution.refusals import Refusal
from levibot.execution.venue import Venue

_PATIENCE_NS = 1_000_000_000  # for the tick that an intent was decided on
_RETRY_NS = 500_000_000  # after the disk refused a write
_EVENTS_IN_ONE_MESSAGE = 1_000


@dataclass
class _Held:
    """An intent that is ahead of the broker's own view of the market, or that the disk refused."""

    sender: bytes
    intent: Intent
    deadline_ns: int


class Broker:
    """Wires requests, prices and followers to a venue: the paper exchange or a real one.

    Parameters
    ----------
    books, exchange
        The account, and what trades on it.
    send
        Sends a reply to an identity; False if there is no such peer.
    symbols
        That are served from the start.
    report_failure
        Told in words of each failure that was survived.

    Raises
    ------
    DataStoreError
        From any method: the books cannot be used any more. A full disk or a lock is survived.
    """

    def __init__(
        self,
        books: Books,
        exchange: Venue,
        send: Send,
        symbols: tuple[str, ...],
        report_failure: Callable[[str], None],
    ) -> None:
        self._books = books
        self._exchange = exchange
        self._send = send
        self._fail = report_failure
        self.wanted = set(symbols)
        self.paused = False
        self._trading_state: RiskState = "ACTIVE"
        self._state_reason = ""
        self._held: dict[str, _Held] = {}
        self._disk_retry_ns = 0
        self._told = Followers(send)
        self._flattener = Flattener(books, exchange, self._submit_own, self._cancel)

    # ------------------------------------------------------------------ markets

    def symbols(self) -> set[str]:
        """Symbols whose prices are needed: those wanted, and those with a position or a resting order."""
        held = {symbol for symbol, position in self._books.positions.items() if position.quantity}
        resting = {symbol for symbol, orders in self._books.resting.items() if orders}
        return self.wanted | held | resting

    def set_market(self, market: MarketSpec, stale: str = "") -> None:
        """Learn the rules of a market, and why its prices cannot be trusted; empty: they can."""
        self._exchange.set_market(market, stale)
        self._flattener.set_market(market)
        self._resume(market.symbol)

    def on_tick(self, tick: Tick) -> None:
        """Take in a price; an old or repeated one is skipped."""
        newest = self._exchange.newest(tick.symbol)
        if newest is not None and tick.epoch == newest.epoch and tick.seq <= newest.seq:
            return
        if not self._disk_retry_ns or boot_ns() >= self._disk_retry_ns:
            self._survive(lambda: self.publish(self._exchange.on_tick(tick)))
        else:
            self._exchange.note(tick)
        if self._held and not self._disk_retry_ns:  # what the disk refuses is tried again by the timer alone
            self._release(tick.symbol)

    def on_flow(self, item: Book | Trades | Bar) -> None:
        """Take in an order book, public trades or a closed bar; while the disk refuses writes, in vain."""
        if not self._disk_retry_ns:
            self._survive(lambda: self.publish(self._exchange.on_flow(item)))

    def on_timer(self) -> None:
        """Deal with intents that have waited long enough."""
        now = boot_ns()
        if not self._disk_retry_ns:
            self._survive(lambda: self.publish(self._exchange.on_timer()))
            self._flattener.on_timer()
        for held in list(self._held.values()):
            if now < held.deadline_ns or held.intent.client_id not in self._held:
                continue
            del self._held[held.intent.client_id]
            entry = may_open_risk(held.intent)
            why = f"the broker has not seen tick {held.intent.market_seq} in time"
            late = Refusal.LATE.because(why) if entry else None
            self._submit(held.sender, held.intent, denied=late, wait=True)
        if self._disk_retry_ns and now >= self._disk_retry_ns:
            self._disk_retry_ns = 0
            for symbol in [symbol for symbol, orders in self._books.resting.items() if orders]:
                self._resume(symbol)

    def _resume(self, symbol: str) -> None:
        self._survive(lambda: self.publish(self._exchange.resume(symbol)))

    # ------------------------------------------------------------------ requests

    def handle(self, requests: Sequence[tuple[bytes, BrokerRequest]]) -> None:
        """Deal with what came together, from whom; orders that follow each other share one commit."""
        orders: list[tuple[bytes, Intent]] = []
        for sender, request in requests:
            if isinstance(request, SubmitOrder):
                orders.append((sender, request.intent))
                continue
            self._arrive(orders)
            orders = []
            self._answer(sender, request)
        self._arrive(orders)

    def _answer(
        self,
        sender: bytes,
        request: CancelOrder
        | ReconcileRequest
        | AccountRequest
        | SetTradingState
        | FlattenPositions
        | SettlePosition,
    ) -> None:
        match request:
            case CancelOrder(symbol, client_id):
                self._cancel(symbol, client_id)
            case ReconcileRequest():
                self._reconcile(sender, request)
            case AccountRequest():
                self._account(sender, request)
            case SetTradingState():
                left = self.bar_entries(request.state, request.reason)
                self._send(sender, TradingStateReport(request.request_id, request.state, left))
            case FlattenPositions():
                self._send(sender, self._flattener.ask(request))
            case SettlePosition():
                self._exchange.settle(request, lambda report: self._send(sender, report))

    def bar_entries(self, state: RiskState, reason: str) -> list[str]:
        """Take `state` as what trading is from now on; unless it is ACTIVE, withdraw the entries there are.

        New risk is barred before what rests is cancelled, so that none slips in between.

        Returns
        -------
        list of str
            Client ids of the entries that are not at their end yet.
        """
        self._trading_state, self._state_reason = state, reason
        if state != "ACTIVE":
            for client_id, held in list(self._held.items()):
                if may_open_risk(held.intent):
                    self._cancel(held.intent.symbol, client_id)
            for order in self._entries():
                self._cancel(order.intent.symbol, order.intent.client_id)
        return [order.intent.client_id for order in self._entries()]

    def _entries(self) -> list[Order]:
        return [order for order in self._books.open.values() if may_open_risk(order.intent)]

    def report(self, refused: int) -> BrokerReport:
        """The broker's part of a heartbeat."""
        counts = {state: count for state, count in self._books.counts.items() if count}
        return BrokerReport(
            seq=self._books.seq,
            open_orders=len(self._books.open),
            orders=counts,
            refused_messages=refused,
            unprotected=self._exchange.unprotected(),
            refused_writes=self._books.refused_writes,
            live=self._exchange.live_report(),
        )

    def _arrive(self, orders: Sequence[tuple[bytes, Intent]]) -> None:
        due = []
        for sender, intent in orders:
            self.wanted.add(intent.symbol)
            if intent.client_id in self._held:
                continue
            if not self._has_seen(intent):
                self._held[intent.client_id] = _Held(sender, intent, boot_ns() + _PATIENCE_NS)
            else:
                due.append((sender, intent))
        if len(due) < 2 or not self._submit_together([intent for _, intent in due]):
            self._submit_one_by_one(due)

    def _submit_together(self, intents: list[Intent]) -> bool:
        """Carry out orders with one commit; False if that failed, and nothing of it has happened."""
        events: list[OrderEvent] = []
        try:
            with self._books.group():
                for intent in intents:
                    events += self._exchange.submit(intent, denied=self._barred(intent))
        except Exception:  # noqa: BLE001 -- whatever it was: the order at fault will say it again, alone
            self._exchange.give_grants_back(intents)
            return False
        self.publish(events)
        return True

    def _submit_one_by_one(self, orders: Sequence[tuple[bytes, Intent]]) -> None:
        """Carry out orders so that one which cannot be dealt with touches no other."""
        failures: list[Exception] = []
        for sender, intent in orders:
            try:
                self._submit(sender, intent)
            except DataStoreError:
                raise
            except Exception as error:  # noqa: BLE001 -- raised below
                failures.append(error)
        if failures:
            raise ExceptionGroup("orders that could not be dealt with", failures)

    def _has_seen(self, intent: Intent) -> bool:
        """Whether the price that the intent was decided on has arrived here."""
        newest = self._exchange.newest(intent.symbol)
        if newest is None:
            return not intent.market_seq
        return newest.reaches(intent.market_epoch, intent.market_seq)

    def _release(self, symbol: str) -> None:
        for held in list(self._held.values()):
            if held.intent.symbol == symbol and self._has_seen(held.intent):
                del self._held[held.intent.client_id]
                self._submit(held.sender, held.intent)

    def _submit(self, sender: bytes, intent: Intent, *, denied: str | None = None, wait: bool = False) -> None:
        entry = may_open_risk(intent)
        denied = denied or self._barred(intent)
        failure = self._survive(lambda: self.publish(self._exchange.submit(intent, denied=denied, wait=wait)))
        if failure is None:
            return
        if entry:
            self._send(sender, OrderEvents([unnumbered_denial(intent, failure)]))
        else:
            self._held[intent.client_id] = _Held(sender, intent, boot_ns() + _RETRY_NS)

    def _submit_own(self, intent: Intent) -> str | None:
        return self._survive(lambda: self.publish(self._exchange.submit(intent)))

    def _barred(self, intent: Intent) -> str | None:
        if not may_open_risk(intent):
            return None
        if self._trading_state != "ACTIVE":
            return Refusal.TRADING_STATE.because(f"trading is {self._trading_state}: {self._state_reason}")
        if self._flattener.closes(intent.symbol):
            return Refusal.TRADING_STATE.because("the position is being closed")
        return Refusal.PAUSED.because("the broker is paused: no new risk") if self.paused else None

    def _cancel(self, symbol: str, client_id: str) -> None:
        held = self._held.pop(client_id, None)
        if held is not None:
            self._submit(
                held.sender, held.intent, denied=Refusal.REQUESTED.because("cancelled before it was placed")
            )
            return
        self._survive(lambda: self.publish(self._exchange.cancel(symbol, client_id)))

    def _reconcile(self, sender: bytes, request: ReconcileRequest) -> None:
        symbol, books = request.symbol, self._books
        self.wanted.add(symbol)
        unready = self._exchange.unready(symbol)
        if unready:
            self._send(sender, NotReady(request.request_id, unready))
            return
        unknown = [
            client_id
            for client_id in request.open_ids
            if client_id not in self._held and not books.knows(client_id)
        ]
        failure = self._survive(lambda: self._give_up(unknown))
        if failure is not None:
            self._send(sender, NotReady(request.request_id, failure))
            return
        self._told.follow(sender, symbol)
        answer = Reconciled(
            request_id=request.request_id,
            symbol=symbol,
            symbol_seq=books.symbol_seq.get(symbol, 0),
            events=books.events_of(symbol, request.since, _EVENTS_IN_ONE_MESSAGE),
            position=books.position(symbol),
            open_orders=[order.intent for order in books.resting.get(symbol, {}).values()],
            unknown_ids=unknown,
        )
        self._send(sender, answer)

    def _give_up(self, client_ids: list[str]) -> None:
        if client_ids:
            with self._books.transaction(0):
                self._books.give_up(client_ids)

    def _account(self, sender: bytes, request: AccountRequest) -> None:
        books, unready = self._books, self._exchange.account_unready()
        if unready:  # no grant before all that was done is known
            self._send(sender, NotReady(request.request_id, unready))
            return
        self._told.follow_account(sender)
        if request.since is None or request.since > books.seq:  # after another database was put in place
            self._send(
                sender,
                AccountSnapshot(
                    request_id=request.request_id,
                    seq=books.seq,
                    cash=books.cash,
                    quote=books.quote,
                    positions=list(books.positions.values()),
                    open_orders=[order.intent for order in books.open.values()],
                    balances=dict(books.balances),
                    funds=books.funds_moved(),
                    exchange_orders=[client_id for client_id, order in books.open.items() if order.exchange_id],
                ),
            )
            return
        missed = books.events_since(request.since, _EVENTS_IN_ONE_MESSAGE)
        self._send(sender, OrderEvents(missed))
        while len(missed) == _EVENTS_IN_ONE_MESSAGE:
            missed = books.events_since(missed[-1].seq, _EVENTS_IN_ONE_MESSAGE)
            self._send(sender, OrderEvents(missed))

    # ------------------------------------------------------------------ events out

    def publish(self, events: list[OrderEvent]) -> None:
        """Send events to whom they concern: the engine of each symbol, and who follows the account."""
        if not events:
            return
        self._flattener.heed(events)
        self._told.tell(events)

    def _survive(self, act: Callable[[], None]) -> str | None:
        """Run `act`; None, or why the disk did not take it. What it would have changed is as before."""
        try:
            act()
        except (FullDiskError, LockedStoreError) as error:
            self._disk_retry_ns = boot_ns() + _RETRY_NS
            self._fail(str(error))
            return str(error)
        return None


def unnumbered_denial(intent: Intent, reason: str) -> OrderDenied:
    """A denial that could not be journaled: it is no part of the history, so it has no numbers."""
    return OrderDenied(
        seq=0,
        symbol_seq=0,
        symbol=intent.symbol,
        client_id=intent.client_id,
        event_ms=intent.event_ms,
        recorded_ms=wall_ms(),
        reason=Refusal.BROKER_UNUSABLE.because(reason),
    )
