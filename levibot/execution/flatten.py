"""Closing positions on the operator's word: limit orders that fill at once or not at all, ever deeper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import (
    FlattenPositions,
    FlattenReport,
    Intent,
    MarketSpec,
    OrderCancelled,
    OrderDenied,
    OrderEvent,
    OrderRejected,
    OrderUnknown,
    Side,
    Tick,
)
from levibot.clock import boot_ns, wall_ms
from levibot.execution.books import Books
from levibot.execution.checks import may_open_risk
from levibot.execution.orders import Order
from levibot.execution.precision import ceil_to, floor_to, plain, size_refusal
from levibot.execution.quotes import Quote
from levibot.execution.venue import Venue

COLLAR = (Decimal("0.001"), Decimal("0.003"), Decimal("0.01"), Decimal("0.03"))  # worst price, by attempt
_ORDER_NS = 5_000_000_000  # an order that is open longer is cancelled: nothing of this is meant to rest
_PAUSE_NS = 500_000_000  # after the first attempt; doubled after each
_LONGEST_PAUSE_NS = 30_000_000_000
_LEASE_NS = 5_000_000_000  # whoever wants it says so again within this time


@dataclass
class _Target:
    """A position that is being closed."""

    asked_ns: int
    attempt: int = 0
    client_id: str = ""  # of the order that is under way
    sent_ns: int = 0
    next_ns: int = 0  # of the next attempt
    hindrance: str = ""  # why the last attempt, or the next, does not get on


class Flattener:
    """Closes positions, one order at a time for each symbol, until nothing but dust is left.

    Each order is a reduce-only limit order, immediate or cancel, priced from the newest quote less a part of
    it: the first of `COLLAR` at the first attempt, the next at each later one, and the last from then on. What
    protects the position stays where it is until the position is closed. It ends by itself when nobody has asked
    for it for five seconds.

    Parameters
    ----------
    books, venue
        The account, and where it trades.
    submit
        Has an order carried out; why the disk refused it, or None.
    cancel
        Cancels the order of a symbol and client id.
    """

    def __init__(
        self,
        books: Books,
        venue: Venue,
        submit: Callable[[Intent], str | None],
        cancel: Callable[[str, str], None],
    ) -> None:
        self._books = books
        self._venue = venue
        self._submit = submit
        self._cancel = cancel
        self._markets: dict[str, MarketSpec] = {}
        self._targets: dict[str, _Target] = {}

    def set_market(self, market: MarketSpec) -> None:
        """Learn or renew the rules of a market."""
        self._markets[market.symbol] = market

    def closes(self, symbol: str) -> bool:
        """Whether the position of `symbol` is being closed, so that no entry may be taken."""
        return symbol in self._targets

    def ask(self, request: FlattenPositions) -> FlattenReport:
        """Begin, or go on, to close positions; what is left of them now."""
        now = boot_ns()
        symbols = request.symbols or [s for s in {*self._books.positions, *self._books.resting} if self._holds(s)]
        for symbol in symbols:
            for order in self._entries(symbol):
                self._cancel(symbol, order.intent.client_id)
            if self._holds(symbol) and not self._dust(symbol):
                self._targets.setdefault(symbol, self._found(symbol, now)).asked_ns = now
        self.on_timer()
        left = {symbol: self._words(symbol) for symbol in sorted(symbols) if symbol in self._targets}
        left = left or self._unknown(request.symbols)
        dust = {symbol: self._dust(symbol) for symbol in sorted(symbols) if symbol not in self._targets}
        return FlattenReport(
            request.request_id, left, {symbol: amount for symbol, amount in dust.items() if amount}
        )

    def _unknown(self, symbols: Sequence[str]) -> dict[str, str]:
        """Why nothing can be called closed yet, for the books may not know what there is; nothing: they know."""
        unready = self._venue.account_unready()
        if not unready or not symbols:
            return {"account": unready} if unready else {}
        return {symbol: why for symbol in symbols if (why := self._venue.unready(symbol))}

    def heed(self, events: Iterable[OrderEvent]) -> None:
        """Remember why an order of ours came to nothing."""
        for event in events:
            if isinstance(event, OrderCancelled | OrderDenied | OrderRejected | OrderUnknown):
                target = self._targets.get(event.symbol)
                if target is not None and target.client_id == event.client_id:
                    target.hindrance = event.reason

    def on_timer(self) -> None:
        """Take the next step with each position that is due."""
        now = boot_ns()
        for symbol, target in list(self._targets.items()):
            if now - target.asked_ns > _LEASE_NS:
                del self._targets[symbol]
            else:
                self._step(symbol, target, now)

    # ------------------------------------------------------------------ one position

    def _step(self, symbol: str, target: _Target, now: int) -> None:
        order = self._books.open.get(target.client_id)
        if order is not None:
            if now - target.sent_ns > _ORDER_NS:
                target.sent_ns = now
                self._cancel(symbol, target.client_id)
            return
        if target.client_id:
            if now - target.sent_ns < _ORDER_NS and not self._books.knows(target.client_id):
                return  # a venue that is busy with the symbol journals it in its turn
            target.client_id = ""
            target.next_ns = now + min(_PAUSE_NS << min(target.attempt, 16), _LONGEST_PAUSE_NS)
            target.attempt += 1
        due = now >= target.next_ns and self._books.position(symbol).quantity and not self._dust(symbol)
        if due:
            self._attempt(symbol, target, now)
        if target.client_id not in self._books.open and (not self._holds(symbol) or self._dust(symbol)):
            del self._targets[symbol]

    def _attempt(self, symbol: str, target: _Target, now: int) -> None:
        market = self._markets.get(symbol)
        quote = self._venue.fresh_quote(symbol, now)
        target.hindrance = _obstacle(market) or (quote if isinstance(quote, str) else "")
        if market is None or isinstance(quote, str) or target.hindrance:
            return
        intent = self._order(market, quote, COLLAR[min(target.attempt, len(COLLAR) - 1)])
        target.client_id, target.sent_ns = intent.client_id, now
        refused = self._submit(intent)
        if refused is not None:  # nothing has happened, and the id was never used
            target.client_id, target.hindrance, target.next_ns = "", refused, now + _PAUSE_NS

    def _order(self, market: MarketSpec, quote: Quote, collar: Decimal) -> Intent:
        tick = self._venue.newest(market.symbol)
        held = self._books.position(market.symbol).quantity
        side: Side = "sell" if held > 0 else "buy"
        if side == "sell":
            price = max(floor_to(quote.bid * (1 - collar), market.price_tick), market.price_tick)
        else:
            price = ceil_to(quote.ask * (1 + collar), market.price_tick)
        return Intent(
            client_id=self._books.new_client_id("emergency"),
            symbol=market.symbol,
            side=side,
            kind="limit",
            quantity=abs(held),
            role="emergency",
            event_ms=tick.event_ms if tick else wall_ms(),
            reduce_only=True,
            limit_price=price,
            time_in_force="ioc",
        )

    # ------------------------------------------------------------------ what there is

    def _found(self, symbol: str, now: int) -> _Target:
        """A new target; an order that a broker before this one has sent is waited for first."""
        own = (
            client_id
            for client_id, order in self._books.resting.get(symbol, {}).items()
            if order.intent.role == "emergency" and order.intent.kind == "limit"
        )
        return _Target(now, client_id=next(own, ""), sent_ns=now)

    def _entries(self, symbol: str) -> list[Order]:
        return [order for order in self._books.resting.get(symbol, {}).values() if may_open_risk(order.intent)]

    def _holds(self, symbol: str) -> bool:
        return bool(self._books.position(symbol).quantity or self._entries(symbol))

    def _dust(self, symbol: str) -> str:
        """The quantity, if it is too small to be closed and nothing can be added to it; else empty."""
        held, market = self._books.position(symbol).quantity, self._markets.get(symbol)
        tick = self._venue.newest(symbol)
        if not held or market is None or tick is None or self._entries(symbol):
            return ""
        price = _price(tick.bid if held > 0 else tick.ask, tick)
        refusal = size_refusal(floor_to(abs(held), market.amount_step), price, market) if price > 0 else None
        return plain(held) if refusal else ""

    def _words(self, symbol: str) -> str:
        target, entries = self._targets[symbol], self._entries(symbol)
        held = plain(self._books.position(symbol).quantity)
        if order := self._books.open.get(target.client_id):
            return f"{held} left, attempt {target.attempt + 1}: order {target.client_id} is {order.state}"
        if entries and not self._books.position(symbol).quantity:
            return f"entry {entries[0].intent.client_id} is being cancelled"
        return f"{held} left after {target.attempt} attempts: {target.hindrance or 'the next follows'}"


def _obstacle(market: MarketSpec | None) -> str:
    """Why nothing can be sent in a market; empty: it can."""
    if market is None:
        return "the rules of the market are not known yet"
    return "" if market.active else "the market is not open for trading"


def _price(best: float, tick: Tick) -> Decimal:
    """The quote of one side; the last trade where the feed has no quotes."""
    return Decimal(repr(best if best > 0 else tick.last))
