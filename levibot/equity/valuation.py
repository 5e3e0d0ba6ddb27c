"""An account at one moment, in the quote asset; all of it follows from events and marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from levibot.execution.position import ZERO
from levibot.reports.tally import AccountTally, SymbolTally

Marks = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class SymbolValue:
    """One symbol at one moment.

    Attributes
    ----------
    mark
        Price of an open position, None if it is flat; a position without one counts at its entry price.
    realized, unrealized
        Profit after fees and funding.
    fees, funding
        That the realised profit contains: what was paid, and what was gained.
    opened
        Positions opened.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark: Decimal | None
    realized: Decimal
    unrealized: Decimal
    fees: Decimal
    funding: Decimal
    opened: int

    @classmethod
    def of(cls, tally: SymbolTally, mark: Decimal | None) -> SymbolValue:
        """What a tally is worth at a price."""
        position = tally.position
        mark = mark if position.quantity else None
        return cls(
            symbol=position.symbol,
            quantity=position.quantity,
            entry_price=position.entry_price,
            mark=mark,
            realized=position.realized_pnl,
            unrealized=tally.unrealized(mark),
            fees=tally.fee_cost,
            funding=tally.funding,
            opened=tally.opened,
        )

    @property
    def pnl(self) -> Decimal:
        """All that the symbol earned."""
        return self.realized + self.unrealized


@dataclass(frozen=True, slots=True)
class Valuation:
    """The account at one moment.

    Attributes
    ----------
    event_ms
        Market time.
    generation, seq
        Of the broker's database, and its newest event that is counted in.
    equity
        Cash and positions at their marks.
    funds
        What was put in less what was taken out: equity less this is profit.
    marks
        Of open positions.
    symbols
        Each by itself, flat ones too.
    """

    event_ms: int
    generation: str
    seq: int
    quote: str
    cash: Decimal
    equity: Decimal
    funds: Decimal
    realized: Decimal
    unrealized: Decimal
    fees: Decimal
    funding: Decimal
    marks: Marks
    symbols: Mapping[str, SymbolValue] = field(default_factory=dict)

    @property
    def minute(self) -> int:
        """Minutes since 1970."""
        return self.event_ms // 60_000

    @property
    def day(self) -> int:
        """UTC days since 1970."""
        return self.event_ms // 86_400_000

    @property
    def profit(self) -> Decimal:
        """All that was ever earned."""
        return self.equity - self.funds


def unmarked(tally: AccountTally, marks: Marks) -> list[str]:
    """Symbols with an open position and no mark."""
    return [symbol for symbol, one in tally.symbols.items() if one.position.quantity and symbol not in marks]


def value(tally: AccountTally, marks: Marks, generation: str, event_ms: int) -> Valuation:
    """What an account is worth; a position without a mark counts at its entry price."""
    held = {symbol: one.position for symbol, one in tally.symbols.items() if one.position.quantity}
    used = {symbol: marks.get(symbol, position.entry_price) for symbol, position in sorted(held.items())}
    symbols = {symbol: SymbolValue.of(one, used.get(symbol)) for symbol, one in sorted(tally.symbols.items())}
    return Valuation(
        event_ms=event_ms,
        generation=generation,
        seq=tally.seq,
        quote=tally.quote,
        cash=tally.cash,
        equity=tally.equity(used),
        funds=tally.funds,
        realized=sum((one.realized for one in symbols.values()), ZERO),
        unrealized=sum((one.unrealized for one in symbols.values()), ZERO),
        fees=sum((one.fees for one in symbols.values()), ZERO),
        funding=sum((one.funding for one in symbols.values()), ZERO),
        marks=used,
        symbols=symbols,
    )
