"""What is told of equity: to HTTP, to `levibotctl equity`, to a dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from levibot.equity.journal import FILE
from levibot.equity.rows import VALUES, restore_tally, valuation_of
from levibot.equity.schema import MIGRATIONS
from levibot.equity.valuation import Valuation, value
from levibot.execution.position import ZERO
from levibot.execution.reader import StoreReader
from levibot.reports.performance import max_drawdown
from levibot.reports.rows import exact
from levibot.reports.tally import AccountTally

_POINTS = 1_500  # of a curve, at most; more than a screen has columns
_DIGITS = 10  # of a ratio
Document = dict[str, Any]


def equity_reader(state_dir: Path) -> StoreReader:
    """``equity.sqlite``; `DataStoreError` if it cannot be read."""
    return StoreReader(state_dir / FILE, MIGRATIONS)


def equity_document(state_dir: Path, days: int) -> Document:
    """Equity, its curve and its days.

    Parameters
    ----------
    state_dir
        Folder of the file; where there is none yet, nothing is known.
    days
        UTC days that are told, that of now among them.

    Returns
    -------
    dict
        As `api.documents.EquityForm` describes it; amounts are text.

    Raises
    ------
    DataStoreError
        If the file cannot be read.
    """
    if not (state_dir / FILE).exists():
        return _nothing("")
    with equity_reader(state_dir) as reader:
        return _document(reader, days)


def day_opening(state_dir: Path, symbol: str, day: int) -> Decimal | None:
    """What a symbol had earned at 00:00 UTC of a day, counted from 1970-01-01; None: that was not recorded.

    Raises
    ------
    DataStoreError
        If the record cannot be read.
    """
    if not (state_dir / FILE).exists():
        return None
    with equity_reader(state_dir) as reader:
        if not next(iter(reader.rows("SELECT 1 FROM days WHERE day = ?", day)), None):
            return None
        query = "SELECT realized, unrealized FROM day_symbols WHERE day = ? AND symbol = ?"
        for realized, unrealized in reader.rows(query, day, symbol):
            return Decimal(realized) + Decimal(unrealized)
        return ZERO  # it had never been traded


def drawdown(state_dir: Path) -> str | None:
    """Deepest fall of equity from a peak, as a fraction of it; None: nothing is recorded.

    Raises
    ------
    DataStoreError
        If the record cannot be read.
    """
    if not (state_dir / FILE).exists():
        return None
    with equity_reader(state_dir) as reader:
        points = reader.rows("SELECT equity, funds FROM points ORDER BY minute")
        deepest = max_drawdown((Decimal(equity), Decimal(funds)) for equity, funds in points)
    return exact(round(deepest, _DIGITS))


def _document(reader: StoreReader, days: int) -> Document:
    quote, generation = next(iter(reader.rows("SELECT quote, generation FROM account")), ("", ""))
    query = f"SELECT {VALUES} FROM points ORDER BY minute DESC LIMIT 1"
    newest = next((valuation_of(row, quote) for row in reader.rows(query)), None)
    if newest is None:
        return _nothing(quote)
    first_day = newest.day - days + 1
    return {
        "quote": quote,
        "now": _told(newest),
        "symbols": _symbols(reader, quote, newest),
        "days": list(_days(reader, quote, newest, first_day)),
        "points": _points(reader, first_day * 1440, newest.minute),
        "moves": [
            {"at": ms / 1000, "asset": asset, "amount": exact(Decimal(amount)), "kind": kind, "reference": why}
            for ms, asset, amount, kind, why in reader.rows(
                "SELECT event_ms, asset, amount, kind, reference FROM moves"
                " WHERE generation = ? AND event_ms >= ? ORDER BY seq",
                generation,
                first_day * 86_400_000,
            )
        ],
    }


def _nothing(quote: str) -> Document:
    return {"quote": quote, "now": None, "symbols": [], "days": [], "points": [], "moves": []}


def _symbols(reader: StoreReader, quote: str, newest: Valuation) -> list[Document]:
    """Each symbol as it was added up last, at the marks of the newest point."""
    tally = AccountTally(quote, ZERO)
    account = reader.row("SELECT seq, cash, funds, balances FROM account")
    restore_tally(tally, account, list(reader.rows("SELECT * FROM symbols ORDER BY symbol")))
    now = value(tally, newest.marks, newest.generation, newest.event_ms)
    query = "SELECT symbol, realized, unrealized FROM day_symbols WHERE day = ?"
    started = {symbol: Decimal(done) + Decimal(open_) for symbol, done, open_ in reader.rows(query, newest.day)}
    return [
        {
            "symbol": symbol,
            "quantity": exact(one.quantity),
            "entry_price": exact(one.entry_price),
            "mark": exact(one.mark),
            "realized_pnl": exact(one.realized),
            "unrealized_pnl": exact(one.unrealized),
            "day_pnl": exact(one.pnl - started.get(symbol, ZERO)),
            "fees": exact(one.fees),
            "funding": exact(one.funding),
            "fees_by_asset": {asset: exact(paid) for asset, paid in sorted(tally.symbols[symbol].fees.items())},
            "positions_opened": one.opened,
        }
        for symbol, one in now.symbols.items()
    ]


def _days(reader: StoreReader, quote: str, newest: Valuation, first_day: int) -> Iterable[Document]:
    rows = list(reader.rows(f"SELECT day, {VALUES} FROM days WHERE day >= ? ORDER BY day", first_day))
    starts = [(day, valuation_of(row, quote)) for day, *row in rows]
    ends = [*(start for _, start in starts[1:]), newest]
    for (day, start), end in zip(starts, ends, strict=True):
        profit = end.profit - start.profit
        yield {
            "at": day * 86_400,
            "equity_start": exact(start.equity),
            "equity_end": exact(end.equity),
            "pnl": exact(profit),
            "return_ratio": exact(round(_return(reader, start, end), _DIGITS)),
            "realized_pnl": exact(end.realized - start.realized),
            "unrealized_pnl": exact(end.unrealized - start.unrealized),
            "fees": exact(end.fees - start.fees),
            "funding": exact(end.funding - start.funding),
            "moved": exact(end.funds - start.funds),
        }


def _return(reader: StoreReader, start: Valuation, end: Valuation) -> Decimal:
    """Time-weighted return: what was put in or taken out between two points counts from the later one on.

    Where there was nothing, what is put in counts at once: it is what the first profit is measured on.
    """
    query = "SELECT equity, funds FROM points WHERE minute > ? AND minute < ? ORDER BY minute"
    between: Sequence[tuple[Decimal, Decimal]] = []
    if end.funds != start.funds:
        between = [(Decimal(e), Decimal(f)) for e, f in reader.rows(query, start.minute, end.minute)]
    growth, (equity, funds) = Decimal(1), (start.equity, start.funds)
    for next_equity, next_funds in [*between, (end.equity, end.funds)]:
        moved = next_funds - funds
        if equity > 0:
            growth *= (next_equity - moved) / equity
        elif equity + moved > 0:
            growth *= next_equity / (equity + moved)
        equity, funds = next_equity, next_funds
    return growth - 1


def _points(reader: StoreReader, first: int, last: int) -> list[Document]:
    """The curve, thinned evenly to so many points that a screen can show them."""
    step = max(1, -(-(last - first + 1) // _POINTS))
    query = f"SELECT MAX(minute), {VALUES} FROM points WHERE minute >= ? GROUP BY minute / ? ORDER BY minute"
    return [_told(valuation_of(row, "")) for _, *row in reader.rows(query, first, step)]


def _told(one: Valuation) -> Document:
    return {
        "at": one.event_ms / 1000,
        "equity": exact(one.equity),
        "cash": exact(one.cash),
        "funds": exact(one.funds),
        "realized_pnl": exact(one.realized),
        "unrealized_pnl": exact(one.unrealized),
        "fees": exact(one.fees),
        "funding": exact(one.funding),
    }
