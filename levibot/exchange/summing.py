"""Single trades summed up as some exchanges stream them: those that one order made at one price are one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from levibot.exchange.validation import PublicTrade


def sum_up(trades: Sequence[PublicTrade]) -> list[PublicTrade]:
    """Trades as the stream of an exchange tells of them that has `Quirks.sums_trades`.

    Neighbours by id, of the same moment, side and price become one, with their amounts together and the id of
    the last. Two orders of one millisecond may become one by this, under the id of the second: nothing is
    counted twice, for the stream told of that id too.

    Parameters
    ----------
    trades
        As a request gives them; ids are whole numbers that grow by one.
    """
    summed: list[PublicTrade] = []
    for trade in sorted(trades, key=lambda trade: int(trade.id or 0)):
        before = summed[-1] if summed else None
        if before is not None and _continues(before, trade):
            amount = Decimal(str(before.amount)) + Decimal(str(trade.amount))
            summed[-1] = trade._replace(amount=float(amount))
        else:
            summed.append(trade)
    return summed


def _continues(before: PublicTrade, trade: PublicTrade) -> bool:
    return int(before.id or 0) + 1 == int(trade.id or 0) and (before.event_ms, before.side, before.price) == (
        trade.event_ms,
        trade.side,
        trade.price,
    )
