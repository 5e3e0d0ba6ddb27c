"""The live venue: orders on a real exchange, behind the same door as the paper exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal

from levibot.bus.messages import (
    Bar,
    Book,
    Intent,
    LiveTradingReport,
    MarketSpec,
    OrderEvent,
    SettlePosition,
    SettleReport,
    Tick,
    Trades,
)
from levibot.clock import boot_ns
from levibot.exchange.trading import Placement
from levibot.execution.checks import Situation, form_refusal, market_refusal, may_open_risk, rounded
from levibot.execution.collateral import reserve_for
from levibot.execution.grants import GrantBook
from levibot.execution.live.account import Account, Protection
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.reconciler import Reconciler
from levibot.execution.live.settle import Settlement
from levibot.execution.orders import Order
from levibot.execution.position import ZERO
from levibot.execution.quotes import Quote
from levibot.execution.refusals import Refusal

_PRICE_S = 30.0  # no entry is sent on a price older than this
_MARGIN = Decimal("0.01")  # of its cost, set aside above the price that a market order is decided on
_LOOK_NS = 50_000_000


class LiveVenue:
    """One desk for each symbol, and what keeps the books in agreement with the exchange.

    What is asked of it is journaled at once, and done by the desks; what comes of it is told through
    `Account.journal`. It may be killed at any moment: what is journaled is enough to go on from.

    Parameters
    ----------
    account
        Books, exchange and settings.
    grants
        Checks the leave of orders that open risk.
    find_market
        Rules of a market as the exchange tells them; None: it has no such market.
    protect
        Makes what covers the positions of a symbol.
    """

    def __init__(
        self,
        account: Account,
        grants: GrantBook,
        find_market: Callable[[str], MarketSpec | None],
        protect: Callable[[SymbolDesk], Protection],
    ) -> None:
        self._account = account
        self._books = account.journal.books
        self._grants = grants
        self._find_market = find_market
        self._protect = protect
        self._stale: dict[str, str] = {}
        self._ticks: dict[str, Tick] = {}
        self._desks: dict[str, SymbolDesk] = {}
        self._is_started = False
        self._looked_ns = 0
        self.reconciler = Reconciler(account, lambda: list(self._desks.values()))

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to trade: first of all, ask what became of everything."""
        held = {symbol for symbol, position in self._books.positions.items() if position.quantity}
        for symbol in sorted(held | {symbol for symbol, orders in self._books.resting.items() if orders}):
            market = self._find_market(symbol)
            if market is not None:
                self._open_desk(market)
        self._is_started = True  # from now on, a desk begins to work when it is opened
        for desk in self._desks.values():
            desk.start()
        self.reconciler.start()

    async def close(self) -> None:
        """End all tasks, wherever they are."""
        await self.reconciler.close()
        await asyncio.gather(*(desk.close() for desk in self._desks.values()))

    def _open_desk(self, market: MarketSpec) -> SymbolDesk:
        desk = self._desks.get(market.symbol)
        if desk is None:
            desk = self._desks[market.symbol] = SymbolDesk(self._account, market, self._protect)
            desk.tick = self._ticks.get(market.symbol)
            if self._is_started:
                desk.start()
                self.reconciler.hurry()
        desk.market = market
        return desk

    # ------------------------------------------------------------------ what is so

    def set_market(self, market: MarketSpec, stale: str = "") -> None:
        """Learn or renew the rules of a market, and why it is stale; empty: it is not."""
        self._stale[market.symbol] = stale
        self._open_desk(market).stale = stale

    def has_market(self, symbol: str) -> bool:
        """Tell whether the rules of the market are known."""
        return symbol in self._desks

    def unready(self, symbol: str) -> str:
        """Why nothing can be said of `symbol` yet; empty: it can."""
        return self.reconciler.unready(symbol) if symbol in self._desks else "waiting for market"

    def account_unready(self) -> str:
        """Why nothing can be said of the account as a whole yet; empty: it can."""
        return self.reconciler.account_unready()

    def newest(self, symbol: str) -> Tick | None:
        """Newest price update of a symbol."""
        return self._ticks.get(symbol)

    def fresh_quote(self, symbol: str, now_ns: int) -> Quote | str:
        """Best prices of this moment, by the feed or, if that does not count, by asking; or why there are none."""
        desk = self._desks.get(symbol)
        if desk is None:
            return "the rules of the market are not known yet"
        return desk.fresh_quote(now_ns) or "waits for a fresh price: the exchange is being asked"

    def unprotected(self) -> list[str]:
        """Symbols with a position that no stop covers; dust, which none could cover, is left out."""
        held = [symbol for symbol, position in self._books.positions.items() if position.quantity]
        return [
            symbol
            for symbol in held
            if symbol not in self._desks or not self._desks[symbol].protection.is_covered()
        ]

    def settle(self, request: SettlePosition, answer: Callable[[SettleReport], object]) -> None:
        """Book what the exchange has less than the books as sold by hand; answered when that is sure."""
        desk = self._desks.get(request.symbol)
        if desk is None:
            answer(SettleReport(request.request_id, f"the rules of {request.symbol} are not known yet"))
            return
        desk.do(Settlement(desk, self.reconciler, request, answer).run, urgent=True)

    def live_report(self) -> LiveTradingReport:
        """How the books stand to the exchange."""
        return self.reconciler.report()

    # ------------------------------------------------------------------ what comes in

    def note(self, tick: Tick) -> None:
        """Remember a price without trading on it."""
        self._ticks[tick.symbol] = tick

    def on_tick(self, tick: Tick) -> list[OrderEvent]:
        """Take in a price, and look at what it may have filled; what comes of it is told later."""
        self.note(tick)
        desk = self._desks.get(tick.symbol)
        if desk is not None:
            desk.on_price(tick)
        return []

    def look_soon(self, symbol: str) -> None:
        """Something may have happened to an order: the private stream is a hint, what is true requests tell."""
        desk = self._desks.get(symbol)
        if desk is not None:
            desk.look_soon()

    def on_flow(self, item: Book | Trades | Bar) -> list[OrderEvent]:
        """Nothing: the exchange itself says what was filled."""
        return []

    def on_timer(self) -> list[OrderEvent]:
        """Look at orders when it is time; what comes of it is told later."""
        now = boot_ns()
        if now - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now
            for desk in self._desks.values():
                desk.on_timer(now)
        return []

    def resume(self, symbol: str) -> list[OrderEvent]:
        """Take in the newest price again; for when the market's rules have become known."""
        return self.on_tick(self._ticks[symbol]) if symbol in self._ticks else []

    def submit(self, intent: Intent, *, denied: str | None = None, wait: bool = False) -> list[OrderEvent]:
        """See `Venue`; the exchange fills at its own prices, `wait` or not."""
        if self._books.knows(intent.client_id):
            return []
        desk = self._desks.get(intent.symbol)
        with self._books.transaction(self._account.trading.exchange_ms()) as events:
            reason = denied or self._books.given_up_refusal(intent.client_id) or form_refusal(intent)
            order = self._books.submit(
                intent, rounded(intent, desk.market) if desk and not reason else intent, intent.oco
            )
            if desk is None:
                reason = reason or Refusal.UNKNOWN_MARKET.because(
                    f"the rules of {intent.symbol} are not known yet"
                )
            if reason is None and desk is not None:
                reason = self._carry_out(desk, intent, order)
            if reason:
                self._books.deny(order, reason)
        return events

    def give_grants_back(self, intents: Iterable[Intent]) -> None:
        """What was done with these orders has been rolled back: they may be submitted again."""
        for intent in intents:
            self._grants.give_back(intent.client_id)

    def cancel(self, symbol: str, client_id: str) -> list[OrderEvent]:
        """Have an order cancelled; one that is at its end, or that nobody knows, is left alone."""
        order, desk = self._books.resting.get(symbol, {}).get(client_id), self._desks.get(symbol)
        if order is not None and desk is not None:
            desk.cancel(order, Refusal.REQUESTED.because("cancelled on request"))
        return []

    # ------------------------------------------------------------------ decisions

    def _carry_out(self, desk: SymbolDesk, intent: Intent, order: Order) -> str | None:
        """Let the desk do it, after the commit; or why it must not."""
        if may_open_risk(intent):
            return self._enter(desk, intent, order)
        situation = self._situation(desk, order.intent)
        reason = market_refusal(order.intent, situation)
        if reason is None:
            desk.do(lambda: desk.exit(order), urgent=True)
        return reason

    def _enter(self, desk: SymbolDesk, intent: Intent, order: Order) -> str | None:
        terms, grant = order.intent, intent.grant
        situation = self._situation(desk, terms)
        reason = self._closed_to_entries(desk) or market_refusal(terms, situation)
        reason = reason or self._grants.use(intent, terms.quantity, boot_ns())
        if reason or grant is None or situation.price is None:
            return reason or Refusal.NO_GRANT.because("an order that can open a position needs one")
        dearest = situation.price * _dearer(terms)
        reserved = reserve_for(terms.quantity, dearest, desk.market) if terms.side == "buy" else ZERO
        self._books.send(order, terms.quantity, reserved)
        desk.posting.deliver(order, _placement(order.intent), grant.expires_ns)
        return None

    def _situation(self, desk: SymbolDesk, terms: Intent) -> Situation:
        quote, price = desk.quote(), terms.limit_price
        if price is None and quote is not None and desk.quote_age_s() <= _PRICE_S:
            price = quote.ask if terms.side == "buy" else quote.bid
        cash = self._books.available_cash() / _dearer(terms)
        selling = self._books.selling(terms)
        return Situation(desk.market, desk.position, selling, price, cash, self._books.quote)

    def _closed_to_entries(self, desk: SymbolDesk) -> str:
        symbol, stale = desk.symbol, self._stale.get(desk.symbol, "")
        unready = self.unready(symbol) or self.account_unready()
        if unready:
            return Refusal.NOT_READY.because(unready)
        if not desk.market.active:
            return Refusal.MARKET_INACTIVE.because(f"{symbol}: a position can only be closed")
        if stale:
            return Refusal.MARKET_STALE.because(f"{symbol}: {stale}")
        age_s = desk.quote_age_s()
        if desk.quote() is None or age_s > _PRICE_S:
            return Refusal.STALE_PRICE.because(f"{symbol} has none of the last {_PRICE_S:.0f} s")
        emulated = not self._account.trading.keeps_stops(symbol) and not self._account.config.allow_emulated_stops
        if emulated:
            return Refusal.NO_STOPS.because(
                f"the exchange keeps none in {symbol}: set live.allow_emulated_stops = true to have them watched"
            )
        frozen = self.reconciler.frozen(desk)
        return Refusal.FROZEN.because(frozen) if frozen else ""


def _dearer(terms: Intent) -> Decimal:
    """What an order may cost at most, over what it costs at the price that it is decided on."""
    return 1 + _MARGIN if terms.kind == "market" else Decimal(1)


def _placement(terms: Intent) -> Placement:
    """How an entry is posted."""
    return Placement(
        terms.client_id,
        terms.symbol,
        terms.side,
        terms.kind,
        terms.quantity,
        limit_price=terms.limit_price,
        time_in_force=terms.time_in_force,
        post_only=terms.post_only,
    )
