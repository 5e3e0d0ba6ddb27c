"""One market as the paper exchange sees it: its rules, its prices, and who there is to trade with."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from levibot.bus.messages import Bar, Book, Intent, MarketSpec, Side, Tick
from levibot.config_execution import PaperConfig
from levibot.execution.depth import Depth, Slice
from levibot.execution.impact import Impact
from levibot.execution.precision import ceil_to, floor_to
from levibot.execution.queues import Queues
from levibot.execution.quotes import Quote
from levibot.execution.refusals import Refusal

_CLOSING_NS = 30_000_000_000  # a price older than this closes no position


class PaperMarket:
    """Prices of one symbol, and whether they are good enough to trade on.

    With an order book, orders trade with its levels; without one, at the quote, worsened by `slippage` and by
    the impact of their size.

    Parameters
    ----------
    symbol
        Canonical symbol.
    paper
        Section ``[paper]``.
    written_ms
        Market time of what was written down of it before, Unix ms; 0: nothing was.

    Attributes
    ----------
    spec
        Rules of the market; None: not known yet.
    stale
        Why its prices are not to be trusted; empty: they are.
    tick
        Newest price update.
    depth
        Newest order book of the feed that is there now; None: it sends none.
    queues
        Positions of resting limit orders.
    """

    def __init__(self, symbol: str, paper: PaperConfig, written_ms: int) -> None:
        self.symbol = symbol
        self._written_ms = written_ms
        self.spec: MarketSpec | None = None
        self.stale = ""
        self.tick: Tick | None = None
        self.depth: Depth | None = None
        self.queues = Queues()
        self._impact = Impact()
        self._paper = paper
        self._stale_ns = int(paper.stale_after * 1e9)
        self._doubted = False  # since the newest tick the market was stale
        self._newcomers: set[str] = set()  # limit orders that rest since the newest tick

    @property
    def event_ms(self) -> int:
        """Market time of the newest price, or of the books before the first: funding is due since; 0: none yet."""
        return self.tick.event_ms if self.tick else self._written_ms

    @property
    def is_open(self) -> bool:
        """Whether entries may trade here."""
        return self.spec is not None and self.spec.active

    # ------------------------------------------------------------------ what comes in

    def learn(self, spec: MarketSpec, stale: str) -> None:
        """Take the rules, and why the market is stale."""
        self.spec, self.stale = spec, stale
        if stale:
            self._doubted, self.depth = True, None

    def note(self, tick: Tick) -> None:
        """Take a price."""
        if self.depth is not None and tick.epoch != self.depth.book.epoch:
            self.depth = None  # of a feed that is gone
        self.tick, self._doubted = tick, False
        self._newcomers.clear()

    def note_book(self, book: Book) -> bool:
        """Take an order book; tell whether it is one that can be."""
        depth = Depth(book)
        if depth.is_crossed or (self.tick is not None and book.epoch < self.tick.epoch):
            return False
        self.depth = depth
        return True

    def note_bar(self, bar: Bar) -> None:
        """Take a closed bar."""
        self._impact.note(bar)

    # ------------------------------------------------------------------ whether it can be traded on

    def unfit(self, now_ns: int) -> str:
        """Why nothing is filled now, as the reason of a refusal; empty: it can be."""
        tick = self.tick
        if self.stale:
            return Refusal.MARKET_STALE.because(f"the market data of {self.symbol} is stale: {self.stale}")
        if tick is None:
            return Refusal.NO_PRICE.because(f"no price of {self.symbol} yet")
        if self._doubted:
            return Refusal.STALE_PRICE.because(f"no price of {self.symbol} since its market data was stale")
        if now_ns - tick.received_ns > self._stale_ns:
            return self._old("price", now_ns - tick.received_ns)
        if Quote.of(tick, self._paper) is None:
            return Refusal.NO_PRICE.because(f"the newest price of {self.symbol} is none")
        if self.depth is not None and not self._is_confirmed(self.depth.book, tick, now_ns):
            return self._old("order book", now_ns - self.depth.book.received_ns)
        return ""

    def fresh_quote(self, now_ns: int) -> Quote | str:
        """Best prices that an order can be sent on, without quotes the last trade; or why there are none now."""
        tick = self.tick
        if self.stale:
            return f"waits for a fresh price: the market data is stale: {self.stale}"
        if tick is None:
            return "waits for a price: there is none yet"
        age_ns = now_ns - tick.received_ns
        if age_ns > _CLOSING_NS:
            return f"waits for a fresh price: the newest is {age_ns / 1e9:.0f} s old"
        bid, ask = (Decimal(repr(best if best > 0 else tick.last)) for best in (tick.bid, tick.ask))
        return Quote(bid, ask)

    def _old(self, what: str, age_ns: int) -> str:
        return Refusal.STALE_PRICE.because(
            f"the newest {what} of {self.symbol} is {age_ns / 1e9:.1f} s old, the limit is"
            f" {self._paper.stale_after} s"
        )

    def _is_confirmed(self, book: Book, tick: Tick, now_ns: int) -> bool:
        """Whether a book is young, or a young quote still agrees with it: a quiet market sends no new one."""
        if now_ns - book.received_ns <= self._stale_ns:
            return True
        return bool(book.bids and book.asks) and (book.bids[0][0], book.asks[0][0]) == (tick.bid, tick.ask)

    # ------------------------------------------------------------------ who there is to trade with

    def plan(self, side: Side, quantity: Decimal, limit: Decimal | None = None) -> list[Slice]:
        """What a taker would get now, price by price; less than `quantity` where the book ends or `limit` is."""
        assert self.spec is not None
        if self.depth is not None:
            return self.depth.plan(side, quantity, limit, self.spec.amount_step)
        if quantity <= 0 or (limit is not None and not self.crosses(side, limit)):
            return []
        price = self._modelled(side, quantity)
        if limit is not None:
            price = min(price, limit) if side == "buy" else max(price, limit)
        return [Slice(quantity, price)]

    def take(self, side: Side, slices: list[Slice]) -> None:
        """What a taker has got is there no more."""
        if self.depth is not None:
            self.depth.take(side, slices)

    def price(self, side: Side, quantity: Decimal) -> Decimal | None:
        """Average price of a market order now, rounded against it; None: there is nobody to trade with."""
        assert self.spec is not None
        slices = self.plan(side, quantity or self.spec.amount_step)
        total = sum((part.quantity for part in slices), Decimal(0))
        if not total:
            return None
        average = sum((part.quantity * part.price for part in slices), Decimal(0)) / total
        to_tick = ceil_to if side == "buy" else floor_to
        return to_tick(average, self.spec.price_tick) or self.spec.price_tick

    def crosses(self, side: Side, limit: Decimal) -> bool:
        """Tell whether a limit order of `side` would be a taker."""
        best = self.best(side)
        return best is not None and (best <= limit if side == "buy" else best >= limit)

    def best(self, side: Side) -> Decimal | None:
        """Best price that a taker of `side` meets; None: there is none."""
        if self.depth is not None:
            level = self.depth.best(side)
            return None if level is None else Decimal(repr(level))
        quote = Quote.of(self.tick, self._paper) if self.tick else None
        return None if quote is None else quote.ask if side == "buy" else quote.bid

    def _modelled(self, side: Side, quantity: Decimal) -> Decimal:
        assert self.spec is not None
        best = self.best(side)
        assert best is not None
        worse = self._paper.slippage + self._impact.of(float(quantity), self._paper.impact)
        if side == "buy":
            return ceil_to(best * (1 + Decimal(repr(worse))), self.spec.price_tick)
        return max(floor_to(best * (1 - Decimal(repr(worse))), self.spec.price_tick), self.spec.price_tick)

    # ------------------------------------------------------------------ resting orders

    def queue(self, orders: Sequence[tuple[Intent, float]]) -> None:
        """Look up where limit orders stand, given with their prices as floats."""
        if self.depth is None:
            return
        for intent, limit in orders:
            self.queues.see(intent.client_id, self.depth.resting(intent.side, limit))

    def begin_rest(self, client_id: str) -> None:
        """A limit order rests from now on: what the newest tick tells was traded before it was there."""
        self._newcomers.add(client_id)

    def is_through(self, side: Side, limit: float, client_id: str) -> bool:
        """Tell whether the market has traded through a resting limit order; touching it is not enough.

        With a book, an order that would now be met in it counts, and what trades do is told by `queues`.
        """
        if self.depth is not None:
            best = self.depth.best(side)
            return best is not None and (best <= limit if side == "buy" else best >= limit)
        tick = self.tick
        assert tick is not None
        traded = tick.volume > 0 and client_id not in self._newcomers
        if side == "sell":
            return tick.bid > limit or (traded and tick.last > limit)
        return 0 < tick.ask < limit or (traded and tick.last < limit)
