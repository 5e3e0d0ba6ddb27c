"""Valuations and tallies as rows of ``equity.sqlite``."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from levibot.bus.messages import FundsMoved, Position
from levibot.equity.valuation import SymbolValue, Valuation
from levibot.reports.tally import AccountTally, SymbolTally

VALUES = "event_ms, generation, seq, cash, equity, funds, realized, unrealized, fees, funding, marks"


def texts(amounts: Mapping[str, Decimal]) -> str:
    """Amounts by name as JSON of text."""
    return orjson.dumps({name: str(amount) for name, amount in amounts.items()}).decode()


def amounts(text: str) -> dict[str, Decimal]:
    """Undo `texts`."""
    return {name: Decimal(amount) for name, amount in orjson.loads(text).items()}


def values_of(valuation: Valuation) -> tuple[Any, ...]:
    """Columns `VALUES`."""
    money = (
        valuation.cash,
        valuation.equity,
        valuation.funds,
        valuation.realized,
        valuation.unrealized,
        valuation.fees,
        valuation.funding,
    )
    return valuation.event_ms, valuation.generation, valuation.seq, *map(str, money), texts(valuation.marks)


def valuation_of(values: Sequence[Any], quote: str) -> Valuation:
    """Undo `values_of`; its symbols are not known."""
    event_ms, generation, seq, *money, marks = values
    cash, equity, funds, realized, unrealized, fees, funding = map(Decimal, money)
    return Valuation(
        event_ms=event_ms,
        generation=generation,
        seq=seq,
        quote=quote,
        cash=cash,
        equity=equity,
        funds=funds,
        realized=realized,
        unrealized=unrealized,
        fees=fees,
        funding=funding,
        marks=amounts(marks),
    )


def save_tally(connection: sqlite3.Connection, tally: AccountTally, generation: str, newest: Valuation) -> None:
    """Write how far the events are added up, and the marks that were known last."""
    connection.execute(
        "INSERT OR REPLACE INTO account VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            tally.quote,
            generation,
            tally.seq,
            str(tally.cash),
            str(tally.funds),
            texts(tally.balances),
            newest.event_ms,
            texts(newest.marks),
        ),
    )
    connection.execute("DELETE FROM symbols")
    connection.executemany(
        "INSERT INTO symbols VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                symbol,
                str(one.position.quantity),
                str(one.position.entry_price),
                str(one.position.realized_pnl),
                texts(one.fees),
                str(one.fee_cost),
                str(one.funding),
                one.opened,
            )
            for symbol, one in tally.symbols.items()
        ],
    )


def restore_tally(tally: AccountTally, account: Sequence[Any], symbols: Sequence[Sequence[Any]]) -> None:
    """Let a tally go on from where it was saved.

    Parameters
    ----------
    tally
        Fresh.
    account
        ``seq, cash, funds, balances``.
    symbols
        Rows of the table.
    """
    tally.seq, cash, funds, balances = account
    tally.cash, tally.funds, tally.balances = Decimal(cash), Decimal(funds), amounts(balances)
    for symbol, quantity, entry_price, realized, fees, fee_cost, funding, opened in symbols:
        position = Position(symbol, Decimal(quantity), Decimal(entry_price), Decimal(realized))
        tally.symbols[symbol] = SymbolTally(position, amounts(fees), Decimal(fee_cost), Decimal(funding), opened)


def day_symbol(day: int, one: SymbolValue) -> tuple[Any, ...]:
    """Row of the table `day_symbols`."""
    money = (one.realized, one.unrealized, one.fees, one.funding)
    mark = None if one.mark is None else str(one.mark)
    return day, one.symbol, str(one.quantity), str(one.entry_price), mark, *map(str, money), one.opened


def symbol_of(row: Sequence[Any]) -> SymbolValue:
    """Undo `day_symbol`; `row` without the day."""
    symbol, quantity, entry_price, mark, realized, unrealized, fees, funding, opened = row
    return SymbolValue(
        symbol=symbol,
        quantity=Decimal(quantity),
        entry_price=Decimal(entry_price),
        mark=None if mark is None else Decimal(mark),
        realized=Decimal(realized),
        unrealized=Decimal(unrealized),
        fees=Decimal(fees),
        funding=Decimal(funding),
        opened=opened,
    )


def move(generation: str, event: FundsMoved) -> tuple[Any, ...]:
    """Row of the table `moves`."""
    return (
        generation,
        event.seq,
        event.event_ms,
        event.asset,
        str(event.amount),
        event.kind,
        event.reference,
    )
