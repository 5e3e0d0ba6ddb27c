"""The paper exchange: fills orders as a real one would, keeps stops and targets, forgets nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from levibot.bus.messages import (
    Bar,
    Book,
    Intent,
    MarketSpec,
    OrderEvent,
    SettlePosition,
    SettleReport,
    Tick,
    Trades,
)
from levibot.clock import boot_ns
from levibot.config_execution import PaperConfig
from levibot.execution.books import Books
from levibot.execution.checks import (
    Situation,
    form_refusal,
    market_refusal,
    may_open_risk,
    reduce_refusal,
    rounded,
)
from levibot.execution.flights import Flights
from levibot.execution.grants import GrantBook
from levibot.execution.orders import Order
from levibot.execution.paper_funding import Funding
from levibot.execution.paper_market import PaperMarket
from levibot.execution.paper_matching import Matching
from levibot.execution.paper_protection import Protection
from levibot.execution.paper_trades import rests_with_limit, served
from levibot.execution.precision import size_refusal
from levibot.execution.quotes import Quote
from levibot.execution.refusals import Refusal
from levibot.execution.triggers import trigger_price


class PaperExchange:
    """Decides what happens to orders; `Books` writes it down.

    Orders are a while on their way, and meet the prices of their arrival. A taker walks the order book, or pays
    a modelled price where there is none; a limit order rests behind those that are there already. Nothing is
    filled while the market data cannot be trusted: entries are refused, exits wait, stops fire afterwards.

    Parameters
    ----------
    books
        The account.
    paper
        Section ``[paper]``.
    grants
        Checks the leave of orders that open risk.
    clock
        CLOCK_BOOTTIME in ns.
    """

    def __init__(
        self, books: Books, paper: PaperConfig, grants: GrantBook, clock: Callable[[], int] = boot_ns
    ) -> None:
        self._books = books
        self._paper = paper
        self._grants = grants
        self._clock = clock
        self._markets: dict[str, PaperMarket] = {}
        self._protection = Protection(books)
        self._matching = Matching(books, self._protection, clock)
        self._funding = Funding(books, paper.funding_rate)
        self._flights = Flights(books, paper.latency, clock())

    def set_market(self, market: MarketSpec, stale: str = "") -> None:
        """Learn or renew the rules of a market, and why it is stale; empty: it is not."""
        self._market(market.symbol).learn(market, stale)

    def has_market(self, symbol: str) -> bool:
        """Tell whether the rules of the market are known."""
        return self._market(symbol).spec is not None

    def unready(self, symbol: str) -> str:
        """Why nothing can be said of `symbol` yet; empty: it can."""
        return "" if self.has_market(symbol) else "waiting for market"

    def account_unready(self) -> str:
        """The account is in the books alone."""
        return ""

    def settle(self, request: SettlePosition, answer: Callable[[SettleReport], object]) -> None:
        """Refused: on paper nothing can be missing."""
        answer(SettleReport(request.request_id, "on paper nothing can be missing: there is no exchange beside it"))

    def live_report(self) -> None:
        """There is no exchange to compare with."""
        return

    def newest(self, symbol: str) -> Tick | None:
        """Newest price update of a symbol."""
        return self._market(symbol).tick

    def fresh_quote(self, symbol: str, now_ns: int) -> Quote | str:
        """Best prices that an order can be sent on; or why there are none now."""
        return self._market(symbol).fresh_quote(now_ns)

    def unprotected(self) -> list[str]:
        """Symbols with a position that stops do not cover; dust, which none could cover, is left out."""
        return [symbol for symbol in self._books.positions if self._is_unprotected(symbol)]

    def _is_unprotected(self, symbol: str) -> bool:
        open_ = self._protection.without_stop(symbol)
        if open_ <= 0:
            return False
        market = self._market(symbol)
        tick, entry_price = market.tick, self._books.position(symbol).entry_price
        price = Decimal(repr(max(tick.bid, tick.ask, tick.last))) if tick else entry_price
        return market.spec is None or size_refusal(open_, price, market.spec) is None

    # ------------------------------------------------------------------ what comes in

    def submit(self, intent: Intent, *, denied: str | None = None, wait: bool = False) -> list[OrderEvent]:
        """See `Venue`."""
        if self._books.knows(intent.client_id):
            return []
        market = self._market(intent.symbol)
        with self._books.transaction(market.event_ms or intent.event_ms) as events:
            reason = denied or self._books.given_up_refusal(intent.client_id) or form_refusal(intent)
            resting = intent if reason or market.spec is None else rounded(intent, market.spec)
            order = self._books.submit(intent, resting, intent.oco)
            reason = reason or self._refusal(intent, order, market)
            if reason:
                self._books.deny(order, reason)
            elif self._flights.take_time:
                self._books.send(order, order.intent.quantity, self._matching.needed(order, market))
                self._flights.depart(order, self._clock())
            else:
                self._matching.arrive(order, market, wait=wait)
        return events

    def give_grants_back(self, intents: Iterable[Intent]) -> None:
        """What was done with these orders has been rolled back: they may be submitted again."""
        for intent in intents:
            self._grants.give_back(intent.client_id)

    def cancel(self, symbol: str, client_id: str) -> list[OrderEvent]:
        """Cancel a resting order; one that is at its end, or that nobody knows, is left alone."""
        order = self._books.resting.get(symbol, {}).get(client_id)
        if order is None:
            return []
        market = self._market(symbol)
        with self._books.transaction(market.event_ms or order.intent.event_ms) as events:
            self._books.cancel(order, Refusal.REQUESTED.because("cancelled on request"))
            self._matching.cover(order, market)
        return events

    def note(self, tick: Tick) -> None:
        """Remember a price without trading on it."""
        self._market(tick.symbol).note(tick)

    def on_tick(self, tick: Tick) -> list[OrderEvent]:
        """Take in a price; fills what it triggers."""
        self.note(tick)
        return self._trade(tick.symbol)

    def on_flow(self, item: Book | Trades | Bar) -> list[OrderEvent]:
        """Take in an order book, public trades or a closed bar; fills what they let through."""
        market = self._market(item.symbol)
        match item:
            case Bar():
                market.note_bar(item)
            case Book() if market.note_book(item):
                self._queue(market)
                return self._trade(item.symbol)
            case Trades():
                return self._pass_by(market, item)
        return []

    def on_timer(self) -> list[OrderEvent]:
        """Let orders arrive whose time has come."""
        events: list[OrderEvent] = []
        for symbol in self._flights.symbols(self._clock()):
            events += self._trade(symbol)
        return events

    def resume(self, symbol: str) -> list[OrderEvent]:
        """Fill what the newest price triggers; for when the market's rules have become known."""
        return self._trade(symbol)

    # ------------------------------------------------------------------ whether an order is taken

    def _refusal(self, intent: Intent, order: Order, market: PaperMarket) -> str | None:
        reason = self._market_refusal(order, market)
        if reason or not may_open_risk(intent):
            return reason
        return self._grants.use(intent, order.intent.quantity, self._clock())

    def _market_refusal(self, order: Order, market: PaperMarket) -> str | None:
        """Why the order cannot be taken at the prices of now, or None."""
        intent, position = order.intent, self._books.position(order.intent.symbol)
        entry = may_open_risk(intent)
        if market.spec is None:
            unknown = Refusal.UNKNOWN_MARKET.because(f"the rules of {intent.symbol} are not known yet")
            return unknown if entry else reduce_refusal(intent, position)
        unfit = market.unfit(self._clock())
        if entry and not market.spec.active:
            return Refusal.MARKET_INACTIVE.because(
                f"{intent.symbol} is not open for trading: a position can only be closed"
            )
        if unfit and (entry or intent.time_in_force == "ioc"):
            return unfit
        price = intent.limit_price or (None if unfit else market.price(intent.side, intent.quantity))
        cash = self._books.available_cash() + order.reserved
        selling = self._books.selling(intent)
        return market_refusal(intent, Situation(market.spec, position, selling, price, cash, self._books.quote))

    def _land(self, order: Order, market: PaperMarket) -> None:
        """An order arrives after its time on the way: what it meets may have changed."""
        late = may_open_risk(order.intent) and self._flights.is_late(order, self._clock())
        if late:
            reason: str | None = Refusal.LATE.because("the order was on its way for too long")
        else:
            reason = self._market_refusal(order, market)
        if reason:
            self._books.reject(order, reason)
        else:
            self._matching.arrive(order, market)

    # ------------------------------------------------------------------ what prices bring about

    def _trade(self, symbol: str) -> list[OrderEvent]:
        """Carry out what the market as it is now lets through."""
        market, now = self._market(symbol), self._clock()
        resting = self._books.resting.get(symbol, {})
        unfit = market.spec is None or market.unfit(now)
        landing = [order for order in resting.values() if self._flights.is_due(order, market.event_ms, now)]
        funding = not unfit and self._funding.is_due(symbol, market.event_ms)
        moves = not unfit and any(self._matching.moves(order, market) for order in resting.values())
        if not (landing or funding or moves):
            return []
        with self._books.transaction(market.event_ms) as events:
            if funding:
                self._pay_funding(market)
            for order in landing:
                if order.intent.client_id in resting:  # else cancelled by one before it
                    self._land(order, market)
            if not unfit:
                self._matching.match(market)
        return events

    def _pass_by(self, market: PaperMarket, trades: Trades) -> list[OrderEvent]:
        """Public trades fill limit orders whose turn has come, and all through whose price they go."""
        resting = self._books.resting.get(market.symbol, {})
        working = [order for order in resting.values() if rests_with_limit(order)]
        if not working or trades.backfilled or market.spec is None or market.unfit(self._clock()):
            return []
        fills = served(working, trades, market)
        if not fills:
            return []
        with self._books.transaction(market.event_ms) as events:
            for client_id, quantity in fills.items():
                if order := resting.get(client_id):
                    self._matching.make(order, quantity, market)
        return events

    def _queue(self, market: PaperMarket) -> None:
        resting = self._books.resting.get(market.symbol, {})
        working = [order for order in resting.values() if rests_with_limit(order)]
        market.queue([(order.intent, order.limit) for order in working])
        market.queues.keep(resting.keys())

    def _pay_funding(self, market: PaperMarket) -> None:
        assert market.tick is not None
        mark = Decimal(repr(trigger_price(market.tick, "sell")))
        self._funding.pay(market.symbol, market.event_ms, mark)

    def _market(self, symbol: str) -> PaperMarket:
        market = self._markets.get(symbol)
        if market is None:
            written_ms = self._books.written_ms(symbol)
            market = self._markets[symbol] = PaperMarket(symbol, self._paper, written_ms)
        return market
