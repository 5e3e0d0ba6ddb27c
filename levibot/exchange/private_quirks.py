"""What is special of each exchange where an account is concerned, in one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DAY_MS = 86_400_000
_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class PrivateQuirks:
    """One exchange.

    Parameters
    ----------
    stop_type
        The type of a market order that waits for its trigger, as a market lists it among its `orderTypes`;
        None: the exchange keeps no stops, or ccxt cannot send them.
    refused
        Codes of definite refusals that ccxt files under errors which say less.
    gone
        Codes of “there is no such order”, or none that is open.
    answers_orders
        Whether the answer to a new order tells its state.
    trades_page
        Own trades in one answer.
    trades_window_ms
        The longest time that one request for own trades may cover.
    newest_trades
        Whether a request for own trades without a time gives the newest ones, however old.
    finds_by_client_id
        Whether an order can be looked up and cancelled by our own id. Where that is not known, an order is sought
        in the lists, for “not found” would be believed.
    trades_by_order
        Whether one request can ask for the trades of one order.
    trades_from_id
        Whether that may go on from the number of a trade; then it needs no time.
    prices_by_id
        Whether the best prices of one market must be asked for by the exchange's own name of it, since ccxt asks
        for all and takes the answer for one.
    """

    stop_type: str | None = None
    refused: re.Pattern[str] = _NEVER
    gone: re.Pattern[str] = _NEVER
    answers_orders: bool = True
    trades_page: int = 100
    trades_window_ms: int | None = None
    newest_trades: bool = False
    finds_by_client_id: bool = False
    trades_by_order: bool = False
    trades_from_id: bool = False
    prices_by_id: bool = False


_TABLE: Mapping[str, PrivateQuirks] = {
    "binance": PrivateQuirks(
        stop_type="STOP_LOSS",
        refused=re.compile(r"-1013|-1020|-11\d\d"),  # filters, and requests that are wrong in themselves
        gone=re.compile(r"-2011|-2013"),
        trades_page=1000,
        trades_window_ms=_DAY_MS,
        newest_trades=True,
        finds_by_client_id=True,
        trades_by_order=True,
        trades_from_id=True,
    ),
    "mexc": PrivateQuirks(
        refused=re.compile(r"30000|30021|10072|700004|700006|700008"),
        gone=re.compile(r"-2011|-2013"),
        answers_orders=False,
        trades_page=100,
        trades_window_ms=7 * _DAY_MS,
        finds_by_client_id=True,
        trades_by_order=True,
        prices_by_id=True,
    ),
}
_UNKNOWN = PrivateQuirks()


def private_quirks_of(exchange_id: str) -> PrivateQuirks:
    """What is known of an exchange; of one that is not in the table, what is safe anywhere."""
    return _TABLE.get(exchange_id, _UNKNOWN)
