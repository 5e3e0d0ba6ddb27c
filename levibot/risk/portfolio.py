"""The account as the broker tells it, valued at the feed's prices.

Nothing here comes from an engine, so the loss of a dead engine's position counts like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from levibot.bus.messages import (
    TERMINAL,
    AccountSnapshot,
    FundingPaid,
    FundsMoved,
    Intent,
    MarketSpec,
    OrderAccepted,
    OrderEvent,
    OrderFilled,
    OrderKind,
    OrderPartiallyFilled,
    OrderSubmitted,
    OrderUpdated,
    Position,
    Tick,
)
from levibot.errors import RetryError
from levibot.execution.position import ZERO, after_fill, base_of, cash_flow, flat, unrealized_pnl
from levibot.execution.precision import is_dust
from levibot.risk.day import Valuation
from levibot.risk.exposure import Exposures


class AccountBehindError(RetryError):
    """The events do not continue the account as it is known: ask the broker for a snapshot."""


@dataclass(slots=True)
class _Order:
    intent: Intent
    remaining: Decimal
    on_exchange: bool = False


@dataclass(frozen=True, slots=True)
class Protection:
    """A resting order that only closes; `on_exchange`: it works while the broker does not run."""

    kind: OrderKind
    quantity: Decimal  # that is not filled yet
    trigger_price: Decimal | None
    on_exchange: bool


class Portfolio:
    """Cash, positions, open orders and prices.

    Other assets than the quote count at the price of their market with it, once one is known: the last one,
    however old, for they do not come and go with the feed.

    Attributes
    ----------
    quote
        Asset in which the account is kept; empty before the first snapshot.
    cash
        Balance of `quote`.
    positions
        Open positions by symbol, dust too.
    realized
        Realised profit by symbol, ever, of closed positions too.
    balances
        Of other assets.
    funds
        By asset, what was paid in less what was paid out, ever.
    markets
        Rules by symbol, as far as they are known.
    seq
        Last event of the broker that is counted in; None before the first snapshot.

    Parameters
    ----------
    prices
        Of other assets, as they were counted last.
    """

    def __init__(self, prices: Mapping[str, Decimal]) -> None:
        self.quote = ""
        self.cash = ZERO
        self.positions: dict[str, Position] = {}
        self.realized: dict[str, Decimal] = {}
        self.balances: dict[str, Decimal] = {}
        self.funds: dict[str, Decimal] = {}
        self.markets: dict[str, MarketSpec] = {}
        self.seq: int | None = None
        self._orders: dict[str, _Order] = {}
        self._marks: dict[str, Tick] = {}
        self._middles: dict[str, Decimal] = {}  # of those that were asked for since their mark came
        self._prices: dict[str, Decimal] = dict(prices)  # of other assets

    def restore(self, snapshot: AccountSnapshot) -> None:
        """Take the whole account from the broker.

        A snapshot does not say how much of an open order is filled. The filled part of an entry then
        counts twice until the order ends: too careful rather than too bold.
        """
        self.quote = snapshot.quote
        self.cash = snapshot.cash
        self.positions = {held.symbol: held for held in snapshot.positions if held.quantity}
        self.realized = {held.symbol: held.realized_pnl for held in snapshot.positions}
        self.balances = dict(snapshot.balances)
        self.funds = dict(snapshot.funds)
        there = set(snapshot.exchange_orders)
        self._orders = {
            intent.client_id: _Order(intent, intent.quantity, intent.client_id in there)
            for intent in snapshot.open_orders
        }
        self.seq = snapshot.seq

    def apply(self, event: OrderEvent) -> bool:
        """Count one event of the broker in; False if it was counted in before.

        Raises
        ------
        AccountBehindError
            If events before it are missing, or it fills an order that is not known.
        """
        if self.seq is None or event.seq > self.seq + 1:
            raise AccountBehindError(f"event {event.seq} came after {self.seq}")
        if event.seq <= self.seq:
            return False
        if isinstance(event, OrderSubmitted):
            self._orders[event.client_id] = _Order(event.intent, event.intent.quantity)
        elif isinstance(event, OrderAccepted | OrderUpdated):
            self._note_terms(event)
        elif isinstance(event, OrderPartiallyFilled | OrderFilled):
            self._fill(event)
        elif isinstance(event, FundingPaid):
            self._fund(event)
        elif isinstance(event, FundsMoved):
            self._move(event)
        if isinstance(event, TERMINAL):
            self._orders.pop(event.client_id, None)
        self.seq = event.seq
        return True

    def _note_terms(self, event: OrderAccepted | OrderUpdated) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            return
        if isinstance(event, OrderAccepted):
            order.on_exchange = bool(event.exchange_id)
            return
        order.remaining += event.quantity - order.intent.quantity
        order.intent = msgspec.structs.replace(
            order.intent, quantity=event.quantity, trigger_price=event.trigger_price
        )

    def _fill(self, event: OrderPartiallyFilled | OrderFilled) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            raise AccountBehindError(f"event {event.seq} fills order {event.client_id}, which is not known")
        order.remaining = max(ZERO, order.remaining - event.fill.quantity)
        held = self.positions.get(event.symbol) or self._flat(event.symbol)
        held = after_fill(held, order.intent.side, event.fill)
        self.realized[event.symbol] = held.realized_pnl
        self.cash += cash_flow(order.intent.side, event.fill, self.quote)
        if event.fill.fee and event.fill.fee_asset not in (self.quote, base_of(event.symbol)):
            self._add(event.fill.fee_asset, -event.fill.fee)
        if held.quantity:
            self.positions[event.symbol] = held
        else:
            self.positions.pop(event.symbol, None)

    def _flat(self, symbol: str) -> Position:
        return msgspec.structs.replace(flat(symbol), realized_pnl=self.realized.get(symbol, ZERO))

    def _fund(self, event: FundingPaid) -> None:
        self.cash += event.amount
        self.realized[event.symbol] = realized = self.realized.get(event.symbol, ZERO) + event.amount
        held = self.positions.get(event.symbol)
        if held is not None:
            self.positions[event.symbol] = msgspec.structs.replace(held, realized_pnl=realized)

    def _move(self, event: FundsMoved) -> None:
        if event.asset == self.quote:
            self.cash += event.amount
        else:
            self._add(event.asset, event.amount)
        if event.kind != "correction":  # which is a loss, or a gain, that nobody can explain
            self.funds[event.asset] = self.funds.get(event.asset, ZERO) + event.amount

    def _add(self, asset: str, amount: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, ZERO) + amount

    def mark(self, tick: Tick) -> None:
        """Take the newest price of a symbol."""
        self._marks[tick.symbol] = tick
        self._middles.pop(tick.symbol, None)

    def tick(self, symbol: str) -> Tick | None:
        """The newest price of a symbol as it came, however old."""
        return self._marks.get(symbol)

    def has_seen(self, symbol: str, epoch: int, tick_seq: int) -> bool:
        """Whether that tick of `symbol`, or a later one, has arrived here."""
        tick = self._marks.get(symbol)
        return tick_seq == 0 or (tick is not None and tick.reaches(epoch, tick_seq))

    def price(self, symbol: str, now_ns: int, max_age_ns: int) -> Decimal | None:
        """Middle of the newest quote, None if it was received more than `max_age_ns` before `now_ns`."""
        tick = self._marks.get(symbol)
        if tick is None or now_ns - tick.received_ns > max_age_ns:
            return None
        return self.last_price(symbol)

    def last_price(self, symbol: str) -> Decimal:
        """Middle of the newest quote, however old; 0 if there was none."""
        middle = self._middles.get(symbol)  # a decision asks for each price many times
        if middle is None:
            tick = self._marks.get(symbol)
            if tick is None:
                return ZERO
            middle = self._middles[symbol] = (Decimal(str(tick.bid)) + Decimal(str(tick.ask))) / 2
        return middle

    def is_dust(self, symbol: str, quantity: Decimal) -> bool:
        """Whether a position of this size is none: it could not be closed. Nothing is dust too."""
        market = self.markets.get(symbol)
        return not quantity or (market is not None and is_dust(quantity, self.last_price(symbol), market))

    @property
    def open_positions(self) -> list[str]:
        """Symbols with more than dust."""
        return [symbol for symbol, held in self.positions.items() if not self.is_dust(symbol, held.quantity)]

    def unpriced(self, now_ns: int, max_age_ns: int) -> list[str]:
        """Symbols with an open position but without a price this young; dust is worth its last one."""
        return [symbol for symbol in self.open_positions if self.price(symbol, now_ns, max_age_ns) is None]

    def prices(self) -> dict[str, Decimal]:
        """Last price of each other asset of which there is some, or was, as far as one is known."""
        for asset in self.balances.keys() | self.funds.keys():
            price = self.last_price(f"{asset}/{self.quote}")
            if price:
                self._prices[asset] = price
        return self._prices

    def value(self, now_ns: int, max_age_ns: int, event_ms: int) -> Valuation | None:
        """What everything is worth in the quote asset; None while a mark is too old or missing."""
        if self.seq is None or self.unpriced(now_ns, max_age_ns):
            return None
        prices = self.prices()
        equity, profits = self.cash, dict(self.realized)
        for symbol, held in self.positions.items():
            price = self.last_price(symbol) or held.entry_price
            equity += held.quantity * price
            profits[symbol] = held.realized_pnl + unrealized_pnl(held, price)
        for asset, price in prices.items():
            equity += self.balances.get(asset, ZERO) * price
        return Valuation(
            event_ms=event_ms,
            equity=equity,
            book_value=self.book_value,
            funds={asset: self.funds.get(asset, ZERO) for asset in (self.quote, *prices)},
            profits=profits,
            prices=dict(prices),
        )

    @property
    def book_value(self) -> Decimal:
        """Cash plus positions at their entry prices: changes by realised profit and fees alone."""
        return self.cash + sum((held.quantity * held.entry_price for held in self.positions.values()), ZERO)

    @property
    def opening_symbols(self) -> set[str]:
        """Symbols with an open order that may open a position."""
        return {order.intent.symbol for order in self._opening_orders()}

    def exposures(self) -> Exposures:
        """Positions and open entries, valued at their last prices; an entry at its limit if that is more."""
        exposures = Exposures()
        for symbol, held in self.positions.items():
            exposures.hold(symbol, held.quantity * (self.last_price(symbol) or held.entry_price))
        for order in self._opening_orders():
            intent = order.intent
            price = max(self.last_price(intent.symbol), intent.limit_price or ZERO)
            exposures.may_open(intent.symbol, intent.side, order.remaining * price)
        return exposures

    def opening_cost(self) -> Decimal:
        """Quote amount that open entries may yet take, at limit price or mark; those without count 0."""
        total = ZERO
        for order in self._opening_orders():
            tick = self._marks.get(order.intent.symbol)
            mark = Decimal(str(tick.ask)) if tick else ZERO
            total += order.remaining * (order.intent.limit_price or mark)
        return total

    def free_cash(self) -> Decimal:
        """Cash that neither an open entry nor a short position has set aside.

        As the broker reckons: a short sets aside its proceeds and as much again.
        """
        shorts = (held for held in self.positions.values() if held.quantity < 0)
        set_aside = sum((-2 * held.quantity * held.entry_price for held in shorts), ZERO)
        return self.cash - set_aside - self.opening_cost()

    def protection(self, symbol: str) -> list[Protection]:
        """What waits for a price to close the position of `symbol`."""
        return [
            Protection(order.intent.kind, order.remaining, order.intent.trigger_price, order.on_exchange)
            for order in self._orders.values()
            if order.intent.symbol == symbol and order.intent.role in ("stop", "take_profit")
        ]

    def knows(self, client_id: str) -> bool:
        """Whether the broker has this order open."""
        return client_id in self._orders

    def _opening_orders(self) -> list[_Order]:
        return [order for order in self._orders.values() if not order.intent.reduce_only]
