"""A live venue on an account of the loopback exchange, which can die at any moment and be started again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from levibot.bus.messages import Intent, OrderEvent, Tick
from levibot.clock import boot_ns
from levibot.config_execution import LiveConfig
from levibot.errors import DataStoreError
from levibot.exchange.credentials import Credentials
from levibot.exchange.session import ExchangeSession
from levibot.exchange.trading import Placement
from levibot.execution.books import Books
from levibot.execution.grants import GrantBook
from levibot.execution.ids import ClientId
from levibot.execution.live.account import Account
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.journal import Journal
from levibot.execution.live.venue import LiveVenue
from levibot.execution.orders import Order
from tests.exchange.mexc_sockets import trade_id as mexc_trade_id
from tests.exchange.running import RunningExchange
from tests.exchange_adapter.trading import open_trading
from tests.execution.examples import EPOCH, KEY, entry, leave

T = TypeVar("T")
D = Decimal
SYMBOL = "BTC/USDT"
INSTANCE = "test"
ORDER = "POST /api/v3/order"
CANCEL = "DELETE /api/v3/order"
LOOK = "GET /api/v3/order"
SECONDS = 60.0


class PlainExits:
    """Sells what it is told to sell, at the market, and covers nothing: protection is tested elsewhere."""

    def __init__(self, desk: SymbolDesk) -> None:
        self.desk = desk
        self.told: list[tuple[str, str]] = []
        self.reviews = 0

    def on_price(self, tick: Tick) -> None:
        self.told.append(("price", tick.symbol))

    async def on_filled(self, order: Order) -> None:
        self.told.append(("filled", order.intent.client_id))

    async def on_ended(self, order: Order) -> None:
        self.told.append(("ended", order.intent.client_id))

    async def exit(self, order: Order) -> None:
        terms = order.intent
        quantity = min(order.remaining, self.desk.sellable())
        kind = "limit" if terms.limit_price else "market"
        placement = Placement(terms.client_id, terms.symbol, "sell", kind, quantity, limit_price=terms.limit_price)
        await self.desk.posting.post(order, placement)

    async def review(self) -> None:
        self.reviews += 1

    def on_timer(self, now_ns: int) -> None:
        pass

    def trouble(self) -> str:
        return ""

    def is_covered(self) -> bool:
        return False


class Life:
    """One life of a broker: books, venue, and a timer that drives it."""

    def __init__(self, path: Path, trading: Any, session: ExchangeSession, **settings: Any) -> None:
        self.events: list[OrderEvent] = []
        self.troubles: list[str] = []
        self.broken: list[DataStoreError] = []
        self.exits: dict[str, PlainExits] = {}
        self.trading = trading
        self.books = Books(path, INSTANCE, "USDT", D(0))
        journal = Journal(self.books, self.events.extend, self.troubles.append, trading.exchange_ms)
        config = LiveConfig(**{"allow_emulated_stops": True, "unknown_after": 0.6, **settings})
        account = Account(journal, trading, config, self.troubles.append, self.broken.append)
        self.venue = LiveVenue(account, GrantBook(KEY, EPOCH), session.markets.get, self._protect)
        self.venue.set_market(session.spec(SYMBOL))
        self._timer: asyncio.Task[None] | None = None

    def _protect(self, desk: SymbolDesk) -> PlainExits:
        return self.exits.setdefault(desk.symbol, PlainExits(desk))

    def start(self) -> None:
        self.venue.start()
        self._timer = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            self.events += self.venue.on_timer()
            await asyncio.sleep(0.02)

    async def die(self) -> None:
        """Stop where it is, as a killed process does: nothing is told to anybody, the database is not closed."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        await self.venue.close()

    async def end(self) -> None:
        await self.die()
        self.books.close()

    # ------------------------------------------------------------------ what is asked of it

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for a condition."""
        try:
            async with asyncio.timeout(SECONDS):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{what or condition}: {self.kinds()}, {self.troubles[-5:]}") from None

    async def until_ready(self) -> None:
        await self.until(lambda: not self.venue.unready(SYMBOL) and not self.venue.account_unready(), "ready")

    async def until_over(self, client_id: str) -> None:
        await self.until(lambda: self.books.knows(client_id) and client_id not in self.books.open, client_id)

    def submit(self, intent: Intent) -> str:
        self.events += self.venue.submit(intent)
        return intent.client_id

    def kinds(self, client_id: str | None = None) -> list[str]:
        """Kinds of the events of an order, or of all."""
        return [
            type(event).__name__.removeprefix("Order")
            for event in self.books.events_since(0)
            if client_id in (None, event.client_id)
        ]

    def reason(self, client_id: str) -> str:
        events = [event for event in self.books.events_since(0) if event.client_id == client_id]
        return str(getattr(events[-1], "reason", ""))

    @property
    def position(self) -> Decimal:
        return self.books.position(SYMBOL).quantity


class Hiding:
    """Says of the first orders asked for that there is no such order, as an exchange may for a moment."""

    def __init__(self, trading: Any, times: int) -> None:
        self._trading = trading
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trading, name)

    async def order(self, symbol: str, client_id: str, exchange_id: str) -> Any:
        if self.times:
            self.times -= 1
            return None
        return await self._trading.order(symbol, client_id, exchange_id)


class LiveHouse:
    """An exchange, a state directory, and the lives that are led there."""

    def __init__(self, exchange: RunningExchange, state_dir: Path, account: Any = None) -> None:
        self.exchange = exchange
        self.state_dir = state_dir
        self.path = state_dir / "broker.sqlite"
        self.session: Any = None
        self.trading: Any = None
        self._sequence = 0
        self._living: list[Life] = []
        self.account = account or exchange.exchange.accounts[0]
        self._known_orders = set(self.account.orders)

    def play(self, scenario: Callable[[], Awaitable[T]]) -> T:
        """Run a scenario with an open session; nothing of it may be left."""

        async def act() -> T:
            async with (
                asyncio.timeout(SECONDS * 2),
                open_trading(
                    self.exchange, self.state_dir, Credentials(self.account.key, self.account.secret)
                ) as trading,
            ):
                self.trading = trading
                self.session = trading._session
                try:
                    return await scenario()
                finally:
                    for life in self._living:
                        await life.end()

        return asyncio.run(act())

    async def begin(self, **settings: Any) -> Life:
        """A new life, which is ready when this returns."""
        life = self.make(**settings)
        life.start()
        await life.until_ready()
        # The opening bears the time that the exchange is thought to have, which may be ahead of its own by half a
        # round trip: what traded within that is taken to be of before the opening.
        opened_ms = life.books.read_until("account")
        await life.until(lambda: self.exchange.exchange.clock.market_ms() > opened_ms, "time after the opening")
        self.price(life)
        return life

    def start_anew(self, name: str) -> None:
        """Another account's books, in the same house; what was done before does not count any more."""
        self.path = self.state_dir / name
        self._known_orders = set(self.account.orders)

    def make(self, *, trading: Any = None, **settings: Any) -> Life:
        life = Life(self.path, trading or self.trading, self.session, **settings)
        self._living.append(life)
        return life

    def new_id(self, role: str = "E") -> str:
        self._sequence += 1
        roles: dict[str, Any] = {"E": "entry", "X": "exit"}
        generation = f"{abs(hash(str(self.state_dir))) % 10**8:08d}"
        return str(ClientId(INSTANCE, generation, self._sequence, roles[role]))

    def price(self, life: Life) -> None:
        """Tell a life the best prices of the exchange."""
        bid, ask = self.best("buy"), self.best("sell")
        seq = self._sequence = self._sequence + 1
        event_ms = self.trading.exchange_ms()
        tick = Tick(SYMBOL, 1, seq, 0, event_ms, boot_ns(), float(bid), float(ask), float(bid))
        life.events += life.venue.on_tick(tick)

    def best(self, side: Any) -> Decimal:
        found = self.market.book.best(side)
        assert found is not None
        return found[0]

    @property
    def market(self) -> Any:
        return self.exchange.exchange.market.symbols[SYMBOL]

    def entry(self, quantity: str = "0.01", **terms: Any) -> Intent:
        return entry(quantity, client_id=self.new_id(), **terms)

    def limit(self, factor: str, **terms: Any) -> Intent:
        """A limit entry away from the market by a factor."""
        price = self.market.instrument.to_tick(self.best("sell") * D(factor))
        return self.entry(kind="limit", limit_price=price, **terms)

    def leave(self, quantity: str = "0.01", **terms: Any) -> Intent:
        return leave(quantity, client_id=self.new_id("X"), **terms)

    # ------------------------------------------------------------------ what the exchange knows

    @property
    def orders(self) -> list[Any]:
        """Orders at the exchange since the start of the test, oldest first."""
        return [order for number, order in self.account.orders.items() if number not in self._known_orders]

    def at_exchange(self, client_id: str) -> list[Any]:
        return [order for order in self.orders if order.client_id == client_id]

    def trade_through(self, client_id: str, amount: str = "5") -> None:
        """Somebody sells below the price of a resting purchase."""
        (order,) = self.at_exchange(client_id)
        market, below = self.exchange.exchange.market, order.price - self.market.instrument.tick
        self.exchange.run(lambda exchange: market.trade(SYMBOL, below, D(amount), True, market.clock.market_ms()))

    async def cancel(self, life: Life, client_id: str) -> None:
        """Have an order cancelled, and wait for its end."""
        life.venue.cancel(SYMBOL, client_id)
        await life.until_over(client_id)

    def check(self, life: Life) -> None:
        """Each order once, each fill once, and money to the last decimal."""
        ids = [order.client_id for order in self.orders]
        assert len(ids) == len(set(ids)), ids
        ours = [fill for order in self.orders if order.client_id.startswith(INSTANCE) for fill in order.fills]
        counted = [
            event.fill
            for event in life.books.events_since(0)
            if type(event).__name__ in ("OrderFilled", "OrderPartiallyFilled")
        ]
        name = mexc_trade_id if self.exchange.dialect == "mexc" else _binance_trade_id
        assert sorted(fill.fill_id for fill in counted) == sorted(name(fill) for fill in ours)
        bought = sum((f.amount if f.side == "buy" else -f.amount for f in ours), D(0))
        bought -= sum((f.fee for f in ours if f.fee_asset == "BTC"), D(0))
        assert life.position == bought
        opened = next(e.amount for e in life.books.events_since(0) if getattr(e, "kind", "") == "opening")
        spent = sum((f.cost if f.side == "buy" else -f.cost for f in ours), D(0))
        spent += sum((f.fee for f in ours if f.fee_asset == "USDT"), D(0))
        assert life.books.cash == opened - spent


def _binance_trade_id(fill: Any) -> str:
    return str(fill.trade_id)
