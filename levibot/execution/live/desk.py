"""The desk of one symbol: all that is done for it on the exchange goes through here, one thing at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from levibot.bus.messages import Intent, MarketSpec, OrderKind, Position, Role, Tick
from levibot.clock import boot_ns
from levibot.errors import (
    BackOffError,
    CoolDownError,
    DataStoreError,
    ExchangeRefusedError,
    LeviBotError,
    OrderGoneError,
    RetryError,
)
from levibot.execution.checks import may_open_risk
from levibot.execution.live.account import Account, Protection
from levibot.execution.live.doubt import Doubts
from levibot.execution.live.jobs import Job, JobQueue
from levibot.execution.live.journal import Tell
from levibot.execution.live.posting import PAUSE_S, Posting
from levibot.execution.live.prices import OwnPrices
from levibot.execution.live.tracking import IN_DOUBT, Tracker, is_over, is_posted, may_be_filled
from levibot.execution.orders import Order, OrderState
from levibot.execution.position import ZERO, base_of, opposite
from levibot.execution.quotes import Quote

_NS = 1_000_000_000
_POLL_NS = 5 * _NS  # between two looks at a resting order, if no price says that it may have been filled
_AGAIN_NS = _NS  # after one that could not be had
_SILENT_NS = _NS  # without a tick for so long, the exchange is asked for its prices
_HINT_NS = _NS // 2  # between two looks that prices call for
_CANCELLED_S = 0.1  # between two looks at an order whose cancellation was asked for
_KINDS: dict[Role, OrderKind] = {"stop": "stop", "take_profit": "take_profit"}


class SymbolDesk:
    """Serialises what is done on the exchange for one symbol.

    `do` puts a job into the queue; the other coroutines are for jobs, and for `Protection`, which runs in one.

    Parameters
    ----------
    account
        Books, exchange and settings.
    market
        Rules of the market.
    protect
        Makes what covers the position.
    """

    def __init__(self, account: Account, market: MarketSpec, protect: Callable[[SymbolDesk], Protection]) -> None:
        self.symbol = market.symbol
        self.market = market
        self.journal = account.journal
        self.books = account.journal.books
        self.trading = account.trading
        self.config = account.config
        self.tick: Tick | None = None
        self.stale = ""  # why the feed's prices do not count; empty: they do
        self.tell_trouble: Tell = lambda text: account.tell_trouble(f"{self.symbol}: {text}")
        self._broken = account.broken
        self._jobs = JobQueue()
        self._task: asyncio.Task[None] | None = None
        self.missing = ZERO  # base amount that the books hold and the exchange does not have
        self.foreign = ZERO  # base amount that the exchange has and the books do not: fees are paid of it first
        self.anomalies: dict[str, str] = {}  # trades of ours that cannot be counted, and why
        self._poll_due_ns = self._hint_due_ns = 0
        self._is_polling = False
        self._cancelling: set[str] = set()  # client ids with a cancellation in the queue
        self._unwanted: dict[str, tuple[Order, str]] = {}  # in doubt; to be cancelled if they are there
        self.prices = OwnPrices(self.symbol, self.trading, self.tell_trouble)
        self.tracker = Tracker(
            self.symbol, self.journal, self.trading, self._on_filled, self._on_ended, self._on_found
        )
        self.doubts = Doubts(self.symbol, self.tracker, self.trading, self.books, self.config.unknown_after)
        self.posting = Posting(self.journal, self.trading, self.tracker, self.doubts, self.do, self.tell_trouble)
        self.protection = protect(self)

    # ------------------------------------------------------------------ what is so

    @property
    def position(self) -> Position:
        """What is held, by the books."""
        return self.books.position(self.symbol)

    @property
    def orders(self) -> list[Order]:
        """Orders of the symbol that are not at their end."""
        return list(self.books.resting.get(self.symbol, {}).values())

    @property
    def posted(self) -> list[Order]:
        """Those of them that the exchange has, or may have; the others rest in the broker, or are to be posted."""
        return [order for order in self.orders if is_posted(order) and not self.posting.is_due(order)]

    def sellable(self) -> Decimal:
        """Base amount that can be sold: the position, less what fees and transfers took, and what is missing.

        Fees of other symbols may be paid in this asset for years; as long as the account has it from elsewhere,
        they take nothing of the position.
        """
        taken = min(self.books.balances.get(base_of(self.symbol), ZERO) + self.foreign, ZERO)
        return max(self.position.quantity + taken - self.missing, ZERO)

    def quote(self) -> Quote | None:
        """Best prices by the feed, however old they are: see `quote_age_s`; None: it has told none."""
        tick = self.tick
        if tick is None:
            return None
        bid, ask = (tick.bid, tick.ask) if 0 < tick.bid <= tick.ask else (tick.last, tick.last)
        return Quote(Decimal(repr(bid)), Decimal(repr(ask))) if bid > 0 else None

    def quote_age_s(self) -> float:
        """Seconds since the newest price of the feed was received."""
        return float("inf") if self.tick is None else (boot_ns() - self.tick.received_ns) / _NS

    def is_fed(self, now_ns: int) -> bool:
        """Tell whether the feed has a price that counts, of this moment; `now_ns` is CLOCK_BOOTTIME."""
        return self.tick is not None and not self.stale and now_ns - self.tick.received_ns < _SILENT_NS

    def fresh_quote(self, now_ns: int) -> Quote | None:
        """Best prices of this moment, by the feed or by asking; None: they are being asked for."""
        if self.is_fed(now_ns):
            return self.quote()
        quote = self.prices.fresh(now_ns)
        if quote is None:
            self.prices.refresh(now_ns)
        return quote

    # ------------------------------------------------------------------ the actor

    def start(self) -> None:
        """Begin to do what is in the queue."""
        assert self._task is None, "two would do two things at a time"
        self._task = asyncio.create_task(self._work(), name=f"desk {self.symbol}")

    async def close(self) -> None:
        """End what is being done, wherever it is: what is journaled is enough to go on from."""
        await self.prices.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def do(self, job: Job, *, urgent: bool = False) -> None:
        """Put a job into the queue, at its end or before all that is not urgent."""
        self._jobs.put(job, urgent=urgent)

    async def done(self, job: Job, *, urgent: bool = False) -> None:
        """Put a job into the queue from outside, and wait until it is done; raises what it raises."""
        result: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def act() -> None:
            try:
                await job()
            except BaseException as error:
                if not result.cancelled():
                    result.set_exception(error)
                if not isinstance(error, Exception) or isinstance(error, DataStoreError):
                    raise
            else:
                if not result.cancelled():
                    result.set_result(None)

        self._jobs.put(act, urgent=urgent)
        await result

    async def _work(self) -> None:
        while True:
            job = await self._jobs.next()
            try:
                await job()
            except DataStoreError as error:
                self._broken(error)
                return
            except LeviBotError as error:
                self.tell_trouble(str(error))
            except Exception as error:  # noqa: BLE001 -- one job that fails stops no other
                self.tell_trouble(f"{type(error).__name__}: {error}")

    # ------------------------------------------------------------------ orders, in a job

    def cancel(self, order: Order, reason: str) -> None:
        """Have an order withdrawn; to say so again while that is under way changes nothing.

        An entry of which nobody knows whether the exchange has it is withdrawn as soon as that is known, and what
        protects the position goes on meanwhile.
        """
        client_id = order.intent.client_id
        if client_id in self._cancelling:
            return
        self._cancelling.add(client_id)

        async def act() -> None:
            try:
                doubtful = order.state in IN_DOUBT and not self.posting.is_due(order)
                if doubtful and may_open_risk(order.intent) and not await self.doubts.ask(order):
                    self._unwanted[client_id] = order, reason
                else:
                    await self.withdraw(order, reason)
            finally:
                self._cancelling.discard(client_id)

        self.do(act, urgent=True)

    async def withdraw(self, order: Order, reason: str) -> None:
        """Cancel an order, and return when it is at its end by the exchange's own word, its fills counted.

        Raises
        ------
        DataStoreError
            The books cannot be used any more.
        """
        if is_over(order):
            return
        if self.posting.withhold(order):
            await self.tracker.cancel(order, f"{reason}; it was not sent yet")
        if is_over(order):
            return
        self.tracker.reasons[order.intent.client_id] = reason
        if order.state in IN_DOUBT:
            await self.doubts.resolve(order)
        if not is_over(order) and not is_posted(order):
            await self.tracker.cancel(order, reason)
        while not is_over(order):
            try:
                await self._ask_to_cancel(order)
                if not await self.tracker.look(order):
                    await self._miss(order)
            except (RetryError, BackOffError, ExchangeRefusedError) as error:
                self.tell_trouble(f"cancelling {order.intent.client_id}: {error}")
                await asyncio.sleep(error.wait_s if isinstance(error, CoolDownError) else PAUSE_S)
            else:
                await asyncio.sleep(0 if is_over(order) else _CANCELLED_S)

    async def _ask_to_cancel(self, order: Order) -> None:
        try:
            await self.trading.cancel(self.symbol, order.intent.client_id, order.exchange_id)
        except OrderGoneError:
            pass  # no proof: the look that follows tells
        except RetryError as error:
            self.tell_trouble(f"cancelling {order.intent.client_id}: {error}")  # it may have been: look

    async def exit(self, order: Order) -> None:
        """Have an order that reduces carried out, unless that has begun or it was rolled back."""
        if self.books.open.get(order.intent.client_id) is not order:
            return
        if order.state in (OrderState.SUBMITTED, OrderState.TRIGGERED):
            await self.protection.exit(order)

    async def look(self, order: Order) -> None:
        """Bring the books up to what the exchange says of an order.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            It could not be asked.
        """
        if not is_posted(order):
            return
        if order.state in IN_DOUBT:
            await self.doubts.ask(order)
        elif not await self.tracker.look(order):
            await self._miss(order)

    async def _miss(self, order: Order) -> None:
        """The exchange does not know an order that it had taken."""
        await self.journal.write(lambda: self.books.doubt(order, "the exchange says that it has no such order"))
        await self.doubts.resolve(order)

    async def child(
        self, role: Role, quantity: Decimal, trigger: Decimal | None, parent: Order | None, oco: str = ""
    ) -> Order:
        """Journal an order of the broker's own, SUBMITTED, that reduces the position of this symbol.

        Parameters
        ----------
        role
            A stop and a take profit wait for `trigger`; others are market orders.
        parent
            The entry that it belongs to; None: the position as a whole.
        """
        made: list[Order] = []
        side = opposite(parent.intent.side) if parent else "sell" if self.position.quantity > 0 else "buy"

        def submit() -> None:
            intent = Intent(
                client_id=self.books.new_client_id(role),
                symbol=self.symbol,
                side=side,
                kind=_KINDS.get(role, "market"),
                quantity=quantity,
                role=role,
                event_ms=self.books.event_ms,
                reduce_only=True,
                trigger_price=trigger,
                parent_id=parent.intent.client_id if parent else None,
                oco=oco,
            )
            made.append(self.books.submit(intent, intent, oco))

        await self.journal.write(submit)
        return made[-1]

    # ------------------------------------------------------------------ what brings itself about

    def on_price(self, tick: Tick) -> None:
        """Take in a price: what it may have filled is looked at soon."""
        self.tick = tick
        if any(may_be_filled(order, tick) for order in self.books.resting.get(self.symbol, {}).values()):
            self.look_soon()
        self.protection.on_price(tick)

    def look_soon(self) -> None:
        """Something may have happened to an order on the exchange, as a stream that is no proof has said."""
        self._poll_due_ns = min(self._poll_due_ns, self._hint_due_ns)

    def on_timer(self, now_ns: int) -> None:
        """Look at the orders on the exchange when it is time."""
        self.protection.on_timer(now_ns)
        for client_id, (order, reason) in list(self._unwanted.items()):
            if order.state not in IN_DOUBT:
                del self._unwanted[client_id]
                self.cancel(order, reason)
        if self._is_polling:
            return
        posted = self.posted
        doubtful = any(order.state in IN_DOUBT and self.doubts.is_due(order) for order in posted)
        if doubtful or (posted and now_ns >= self._poll_due_ns):
            self._is_polling = True
            self.do(self._poll)

    async def _poll(self) -> None:
        pause_ns = _POLL_NS
        try:
            for order in self.posted:
                if order.state in IN_DOUBT and not self.doubts.is_due(order):
                    continue
                try:
                    await self.look(order)
                except (RetryError, BackOffError, ExchangeRefusedError) as error:
                    self.tell_trouble(str(error))
                    pause_ns = _AGAIN_NS
        finally:
            now = boot_ns()
            self._poll_due_ns, self._hint_due_ns = now + pause_ns, now + _HINT_NS
            self._is_polling = False

    def _on_filled(self, order: Order) -> None:
        self.do(lambda: self.protection.on_filled(order), urgent=True)

    def _on_found(self, order: Order) -> None:
        self.doubts.end(order)

    def _on_ended(self, order: Order) -> None:
        self.doubts.end(order)
        self.do(lambda: self.protection.on_ended(order), urgent=True)
