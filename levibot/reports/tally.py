"""What events add up to: positions, cash, fees, funding; the one rule for reports, equity and audits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from levibot.bus.messages import (
    TERMINAL,
    Fill,
    FundingPaid,
    FundsMoved,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    Side,
)
from levibot.errors import GiveUpError
from levibot.execution.position import ZERO, after_fill, base_of, cash_flow, flat, quote_of, unrealized_pnl


class UnknownOrderError(GiveUpError):
    """A fill of an order that was never submitted."""


@dataclass(slots=True)
class SymbolTally:
    """One symbol since its first event.

    Attributes
    ----------
    position
        Signed quantity, entry price, and profit realised after fees and funding.
    fees
        Paid, by asset.
    fee_cost
        Fees that the realised profit contains, in the quote asset: those in a third asset are not in it.
    funding
        What the quote balance gained by it.
    opened
        Positions opened.
    """

    position: Position
    fees: dict[str, Decimal] = field(default_factory=dict)
    fee_cost: Decimal = ZERO
    funding: Decimal = ZERO
    opened: int = 0

    @classmethod
    def of(cls, symbol: str) -> SymbolTally:
        """Nothing yet."""
        return cls(flat(symbol))

    def fill(self, side: Side, fill: Fill) -> None:
        """Count a fill in."""
        before, self.position = self.position, after_fill(self.position, side, fill)
        was, now = before.quantity, self.position.quantity
        self.opened += bool(now) and (not was or was * now < 0)
        if fill.fee:
            self.fees[fill.fee_asset] = self.fees.get(fill.fee_asset, ZERO) + fill.fee
            self.fee_cost += _fee_cost(before, side, fill)

    def fund(self, amount: Decimal) -> None:
        """Count funding in."""
        self.funding += amount
        realized = self.position.realized_pnl + amount
        self.position = msgspec.structs.replace(self.position, realized_pnl=realized)

    def unrealized(self, mark: Decimal | None) -> Decimal:
        """Profit of the open position at `mark`; None: at its entry price."""
        return ZERO if mark is None else unrealized_pnl(self.position, mark)


def _fee_cost(before: Position, side: Side, fill: Fill) -> Decimal:
    if fill.fee_asset == quote_of(before.symbol):
        return fill.fee
    if fill.fee_asset != base_of(before.symbol):
        return ZERO
    free = after_fill(before, side, msgspec.structs.replace(fill, fee=ZERO))
    return free.realized_pnl - after_fill(before, side, fill).realized_pnl


class AccountTally:
    """The whole account, from its first event.

    Parameters
    ----------
    quote, opening
        Asset in which it is kept, and what it began with.

    Attributes
    ----------
    side_of
        Tells the side of an order that was submitted before the events that come; nobody knows it at first.
    cash
        Balance of the quote asset.
    funds
        What was put in less what was taken out, in the quote asset: equity less this is profit.
    balances
        Of other assets, in which fees were paid or that were deposited.
    symbols
        By symbol, flat ones too.
    seq
        Newest event that is counted in.
    """

    def __init__(self, quote: str, opening: Decimal) -> None:
        self.quote = quote
        self.cash = self.funds = opening
        self.balances: dict[str, Decimal] = {}
        self.symbols: dict[str, SymbolTally] = {}
        self.seq = 0
        self.side_of: Callable[[str], Side] = _nobody_knows
        self._sides: dict[str, Side] = {}

    def of(self, symbol: str) -> SymbolTally:
        """Of one symbol."""
        return self.symbols.setdefault(symbol, SymbolTally.of(symbol))

    def apply(self, event: OrderEvent) -> None:
        """Count the next event in.

        Raises
        ------
        UnknownOrderError
            If it fills an order that nobody submitted; it is not counted in then.
        """
        match event:
            case OrderSubmitted():
                self._sides[event.client_id] = event.intent.side
                self.of(event.symbol)
            case OrderPartiallyFilled() | OrderFilled():
                self._fill(event.symbol, self._side(event.client_id), event.fill)
            case FundingPaid():
                self.cash += event.amount
                self.of(event.symbol).fund(event.amount)
            case FundsMoved():
                self._move(event.asset, event.amount)
        if isinstance(event, TERMINAL):
            self._sides.pop(event.client_id, None)
        self.seq = event.seq

    def equity(self, marks: dict[str, Decimal]) -> Decimal:
        """Cash and positions at their marks; `KeyError` names a symbol whose mark is missing."""
        total = self.cash
        for symbol, tally in sorted(self.symbols.items()):  # so that it is rounded the same each time
            if tally.position.quantity:
                total += tally.position.quantity * marks[symbol]
        return total

    def _side(self, client_id: str) -> Side:
        return self._sides.get(client_id) or self.side_of(client_id)

    def _fill(self, symbol: str, side: Side, fill: Fill) -> None:
        if fill.fee and fill.fee_asset not in (self.quote, base_of(symbol)):
            self._add(fill.fee_asset, -fill.fee)
        self.cash += cash_flow(side, fill, self.quote)
        self.of(symbol).fill(side, fill)

    def _move(self, asset: str, amount: Decimal) -> None:
        if asset == self.quote:
            self.cash += amount
            self.funds += amount
        else:
            self._add(asset, amount)

    def _add(self, asset: str, amount: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, ZERO) + amount


def _nobody_knows(client_id: str) -> Side:
    raise UnknownOrderError(f"a fill of order {client_id}, which was never submitted")
