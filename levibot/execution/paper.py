"""The paper exchange: fills orders at the market's prices, keeps stops and targets, forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from levibot.bus.messages import Fill, Intent, MarketSpec, OrderEvent, Role, Tick
from levibot.clock import boot_ns
from levibot.config_execution import PaperConfig
from levibot.execution.books import Books, Order
from levibot.execution.checks import (
    Situation,
    form_refusal,
    is_conditional,
    market_refusal,
    may_open_risk,
    reduce_refusal,
    reducible,
    reserve_for,
    rounded,
)
from levibot.execution.grants import GrantBook
from levibot.execution.position import ZERO, opposite
from levibot.execution.precision import fee_of, size_refusal
from levibot.execution.quotes import Quote
from levibot.execution.refusals import Refusal

_FIRST = {"stop": 0, "market": 1, "take_profit": 2, "limit": 3}


class PaperExchange:
    """Decides what happens to orders; `Books` writes it down.

    Parameters
    ----------
    books
        The account.
    paper
        Spread, slippage, and how old a price may be.
    grants
        Checks the leave of orders that open risk.
    """

    def __init__(self, books: Books, paper: PaperConfig, grants: GrantBook) -> None:
        self._books = books
        self._paper = paper
        self._grants = grants
        self._stale_ns = int(paper.stale_after * 1e9)
        self._markets: dict[str, MarketSpec] = {}
        self._stale: dict[str, str] = {}  # symbol → why its prices are not to be trusted
        self._ticks: dict[str, Tick] = {}

    def set_market(self, market: MarketSpec, stale: str = "") -> None:
        """Learn or renew the rules of a market, and why it is stale; empty: it is not."""
        self._markets[market.symbol] = market
        self._stale[market.symbol] = stale

    def has_market(self, symbol: str) -> bool:
        """Tell whether the rules of the market are known."""
        return symbol in self._markets

    def unready(self, symbol: str) -> str:
        """Why nothing can be said of `symbol` yet; empty: it can."""
        return "" if symbol in self._markets else "waiting for market"

    def newest(self, symbol: str) -> Tick | None:
        """Newest price update of a symbol."""
        return self._ticks.get(symbol)

    def unprotected(self) -> list[str]:
        """Symbols with a position that stops do not cover; dust, which none could cover, is left out."""
        return [symbol for symbol in self._books.positions if self._is_unprotected(symbol)]

    def _is_unprotected(self, symbol: str) -> bool:
        position, market, tick = self._books.position(symbol), self._markets.get(symbol), self._ticks.get(symbol)
        resting = self._books.resting.get(symbol, {}).values()
        stops = [order for order in resting if order.intent.kind == "stop" and reducible(order.intent, position)]
        open_ = abs(position.quantity) - sum((order.remaining for order in stops), ZERO)
        if open_ <= 0:
            return False
        price = Decimal(str(max(tick.bid, tick.ask, tick.last))) if tick else position.entry_price
        return market is None or size_refusal(open_, price, market) is None

    # ------------------------------------------------------------------ what comes in

    def submit(self, intent: Intent, *, denied: str | None = None, wait: bool = False) -> list[OrderEvent]:
        """Carry out an order, once: an id that is known already changes nothing.

        Parameters
        ----------
        intent
            The order.
        denied
            Why it must not be carried out, if the caller knows a reason.
        wait
            Fill on the next tick, not on the newest one.
        """
        if self._books.knows(intent.client_id):
            return []
        tick = self._ticks.get(intent.symbol)
        with self._books.transaction(tick.event_ms if tick else intent.event_ms) as events:
            market = self._markets.get(intent.symbol)
            quote = None if wait else self._fresh_quote(intent.symbol)
            reason = denied or self._given_up(intent) or form_refusal(intent)
            order = self._books.submit(intent, intent if reason or not market else rounded(intent, market))
            reason = reason or self._refusal(intent, order.intent, market, quote)
            if reason:
                self._books.deny(order, reason)
            else:
                self._place(order, market, quote)
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
        with self._books.transaction(self._event_ms(order.intent)) as events:
            self._books.cancel(order, "cancelled on request")
        return events

    def note(self, tick: Tick) -> None:
        """Remember a price without trading on it."""
        self._ticks[tick.symbol] = tick

    def on_tick(self, tick: Tick) -> list[OrderEvent]:
        """Take in a price; fills what it triggers."""
        self.note(tick)
        resting = self._books.resting.get(tick.symbol)
        if not resting or not any(_triggered(order, tick) for order in resting.values()):
            return []
        return self._trade(tick.symbol)

    def on_timer(self) -> list[OrderEvent]:
        """Nothing happens here by time alone."""
        return []

    def resume(self, symbol: str) -> list[OrderEvent]:
        """Fill what the newest price triggers; for when the market's rules have become known."""
        return self._trade(symbol) if symbol in self._ticks else []

    # ------------------------------------------------------------------ decisions

    def _given_up(self, intent: Intent) -> str | None:
        if intent.trailing_offset is not None or intent.trailing_stop is not None:
            return Refusal.BAD_ORDER.because("trailing stops are not supported by the paper exchange yet")
        if self._books.is_given_up(intent.client_id):
            return Refusal.GIVEN_UP.because("this client id was given up at a reconciliation: make a new one")
        return None

    def _refusal(
        self, intent: Intent, order: Intent, market: MarketSpec | None, quote: Quote | None
    ) -> str | None:
        entry = may_open_risk(intent)
        if market is None:
            if entry:
                return Refusal.UNKNOWN_MARKET.because(f"the rules of {intent.symbol} are not known yet")
            return reduce_refusal(order, self._books.position(order.symbol))
        closed = self._closed_to_entries(intent.symbol)
        if entry and closed:
            return closed
        if entry and quote is None:
            return self._no_price(intent.symbol)
        price = order.limit_price or (quote.market_price(order.side, market, self._paper) if quote else None)
        position = self._books.position(order.symbol)
        situation = Situation(market, position, price, self._books.available_cash(), self._books.quote)
        reason = market_refusal(order, situation)
        return reason or (self._grants.use(intent, order.quantity, boot_ns()) if entry else None)

    def _closed_to_entries(self, symbol: str) -> str:
        if not self._markets[symbol].active:
            return f"{symbol} is not open for trading: a position can only be closed"
        stale = self._stale[symbol]
        return f"the market data of {symbol} is stale: {stale}" if stale else ""

    def _no_price(self, symbol: str) -> str:
        tick = self._ticks.get(symbol)
        if tick is None:
            return f"no price of {symbol} yet"
        age = (boot_ns() - tick.received_ns) / 1e9
        return f"the newest usable price of {symbol} is {age:.1f} s old, the limit is {self._paper.stale_after} s"

    def _place(self, order: Order, market: MarketSpec | None, quote: Quote | None) -> None:
        intent = order.intent
        if market is None or quote is None:  # an exit: it waits for the next tick
            self._books.accept(order)
        elif intent.kind == "market":
            self._books.accept(order)
            self._fill(order, quote.market_price(intent.side, market, self._paper), quote, taker=True)
        elif intent.kind == "limit":
            self._place_limit(order, market, quote)
        else:
            self._books.accept(order)
            if _triggered(order, self._ticks[intent.symbol]):
                self._fill(order, quote.market_price(intent.side, market, self._paper), quote, taker=True)

    def _place_limit(self, order: Order, market: MarketSpec, quote: Quote) -> None:
        intent, limit = order.intent, order.intent.limit_price or ZERO
        crossing = quote.ask <= limit if intent.side == "buy" else quote.bid >= limit
        if crossing and intent.post_only:
            self._books.reject(order, f"post_only, but {limit} would cross the market ({quote.bid}/{quote.ask})")
            return
        opens = may_open_risk(intent)
        self._books.accept(order, reserve_for(intent.quantity, limit, market) if opens and not crossing else ZERO)
        if crossing:
            best = quote.market_price(intent.side, market, self._paper)
            self._fill(order, min(best, limit) if intent.side == "buy" else max(best, limit), quote, taker=True)

    def _trade(self, symbol: str) -> list[OrderEvent]:
        tick, market, quote = self._ticks[symbol], self._markets.get(symbol), self._fresh_quote(symbol)
        if market is None or quote is None:
            return []
        resting = self._books.resting.get(symbol, {})
        triggered = [order for order in resting.values() if _triggered(order, tick)]
        if self._closed_to_entries(symbol):
            triggered = [order for order in triggered if not may_open_risk(order.intent)]
        if not triggered:
            return []
        with self._books.transaction(tick.event_ms) as events:
            for order in sorted(triggered, key=lambda order: _FIRST[order.intent.kind]):
                if order.intent.client_id not in resting:
                    continue  # cancelled by one before it
                price = quote.market_price(order.intent.side, market, self._paper)
                if order.intent.kind == "limit":
                    price = order.intent.limit_price or price
                self._fill(order, price, quote, taker=order.intent.kind != "limit")
        return events

    # ------------------------------------------------------------------ fills

    def _fill(self, order: Order, price: Decimal, quote: Quote, *, taker: bool) -> None:
        books, intent = self._books, order.intent
        market = self._markets[intent.symbol]
        quantity = order.remaining
        if intent.reduce_only:
            quantity = min(quantity, reducible(intent, books.position(intent.symbol)))
        if quantity > 0:
            rate = market.taker_fee if taker else market.maker_fee
            fill_id = f"fill-{books.seq + 1}"
            fee = fee_of(quantity * price, rate)
            books.fill(order, Fill(fill_id, quantity, price, fee, market.quote, "taker" if taker else "maker"))
            if not intent.reduce_only:
                self._protect(order, quantity, fill_id, quote)
        if intent.client_id in books.open:
            books.cancel(order, "nothing left to reduce")
        self._cancel_siblings(order)

    def _cancel_siblings(self, order: Order) -> None:
        books, symbol = self._books, order.intent.symbol
        position = books.position(symbol)
        for other in list(books.resting.get(symbol, {}).values()):
            if order.oco and other.oco == order.oco:
                books.cancel(other, f"the other order of the pair, {order.intent.client_id}, was filled")
            elif other.intent.reduce_only and not reducible(other.intent, position):
                books.cancel(other, "the position is closed")

    def _protect(self, entry: Order, quantity: Decimal, pair: str, quote: Quote) -> None:
        intent, market = entry.intent, self._markets[entry.intent.symbol]
        protection: tuple[tuple[Role, Decimal | None], ...] = (
            ("stop", intent.stop_loss),
            ("take_profit", intent.take_profit),
        )
        for role, trigger in protection:
            if trigger is None:
                continue
            order = self._child(entry, role, quantity, trigger, pair)
            reason = size_refusal(quantity, trigger, market)
            if reason is None:
                self._books.accept(order)
                continue
            self._books.deny(order, reason)
            if role == "stop":
                self._leave(entry, quantity, pair, quote, reason)
                return
        self._fire_if_crossed(intent.symbol, pair, quote)

    def _fire_if_crossed(self, symbol: str, pair: str, quote: Quote) -> None:
        tick, market = self._ticks[symbol], self._markets[symbol]
        for order in list(self._books.resting[symbol].values()):
            if order.oco == pair and order.intent.client_id in self._books.open and _triggered(order, tick):
                self._fill(order, quote.market_price(order.intent.side, market, self._paper), quote, taker=True)

    def _leave(self, entry: Order, quantity: Decimal, pair: str, quote: Quote, why: str) -> None:
        """Sell what cannot be protected."""
        exit_order = self._child(entry, "emergency", quantity, None, pair)
        market = self._markets[entry.intent.symbol]
        price = quote.market_price(exit_order.intent.side, market, self._paper)
        reason = size_refusal(quantity, price, market)
        if reason:
            self._books.deny(exit_order, f"dust, and unprotected: {reason}; its stop: {why}")
        else:
            self._place(exit_order, market, quote)

    def _child(self, entry: Order, role: Role, quantity: Decimal, trigger: Decimal | None, pair: str) -> Order:
        intent = Intent(
            client_id=self._books.new_client_id(role),
            symbol=entry.intent.symbol,
            side=opposite(entry.intent.side),
            kind="stop" if role == "stop" else "take_profit" if role == "take_profit" else "market",
            quantity=quantity,
            role=role,
            event_ms=self._books.event_ms,
            reduce_only=True,
            trigger_price=trigger,
            parent_id=entry.intent.client_id,
        )
        return self._books.submit(intent, intent, pair)

    # ------------------------------------------------------------------ prices

    def _fresh_quote(self, symbol: str) -> Quote | None:
        tick = self._ticks.get(symbol)
        if tick is None or boot_ns() - tick.received_ns > self._stale_ns:
            return None
        return Quote.of(tick, self._paper)

    def _event_ms(self, intent: Intent) -> int:
        tick = self._ticks.get(intent.symbol)
        return tick.event_ms if tick else intent.event_ms


def _triggered(order: Order, tick: Tick) -> bool:
    intent = order.intent
    sells = intent.side == "sell"
    if is_conditional(intent):
        price = tick.last if tick.last > 0 else tick.bid if sells else tick.ask
        below = sells == (intent.kind == "stop")
        return price <= order.trigger if below else price >= order.trigger
    if intent.kind == "market":
        return True
    if sells:
        return tick.bid > order.limit or (tick.volume > 0 and tick.last > order.limit)
    return tick.ask < order.limit or (tick.volume > 0 and tick.last < order.limit)
