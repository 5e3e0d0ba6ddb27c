"""Answers about an account, checked before anything is believed; money as exact as the exchange wrote it.

The ccxt object that made them must have `number` set to `str`: otherwise money has been a binary float.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from levibot.bus.messages import Side
from levibot.exchange.failures import raise_malformed
from levibot.exchange.trading import Balance, ExchangeOrder, OrderStatus, OwnTrade, Transfer
from levibot.exchange.validation import read_time

_ID = re.compile(r"[A-Za-z0-9_.:/+=-]{1,128}")
_CLIENT_ID = re.compile(r"[^\s<>]{1,128}")  # other people's ids may hold anything but that
_ENDED: Mapping[str, OrderStatus] = {
    "canceled": "cancelled",
    "expired": "cancelled",
    "rejected": "rejected",
}


def read_order(found: Any, symbol: str, client_id: str = "", exchange_id: str = "") -> ExchangeOrder:
    """An order of `symbol`, and the one that was asked for.

    Parameters
    ----------
    found
        What ccxt made of the answer.
    symbol
        Its market.
    client_id, exchange_id
        Of the order that was asked for; empty: any.

    Raises
    ------
    MalformedAnswerError
        If it is none, or another.
    """
    what = f"order {client_id or exchange_id} of {symbol}".replace("  ", " ")
    order = _table(what, found)
    _expect(f"{what}: symbol", order.get("symbol"), symbol)
    number = read_id(f"{what}: id", order.get("id"))
    named = order.get("clientOrderId")
    if named and (not isinstance(named, str) or not _CLIENT_ID.fullmatch(named)):
        raise_malformed(f"{what}: client id", named, "an id")
    if client_id:
        _expect(f"{what}: client id", named, client_id)
    if exchange_id:
        _expect(f"{what}: id", number, exchange_id)
    quantity = _above_zero(f"{what}: amount", order.get("amount"))
    filled = _amount(f"{what}: filled", order.get("filled"))
    if filled > quantity:
        raise_malformed(f"{what}: filled", filled, f"no more than {quantity}")
    return ExchangeOrder(
        named or "",
        number,
        symbol,
        _side(what, order.get("side")),
        _status(what, order.get("status"), filled == quantity),
        quantity,
        filled,
        _price(f"{what}: price", order.get("price")) if "limit" in str(order.get("type")) else None,
        _price(f"{what}: trigger price", order.get("triggerPrice")),
        read_time(order.get("timestamp")),
    )


def read_orders(found: Any, symbol: str) -> list[ExchangeOrder]:
    """Orders of one market; `MalformedAnswerError` if one of them is none."""
    if not isinstance(found, list):
        raise_malformed(f"orders of {symbol}", found, "a list")
    return [read_order(order, symbol) for order in found]


def read_cancelled(found: Any, symbol: str, exchange_id: str) -> None:
    """An answer to a cancellation; `MalformedAnswerError` if it speaks of another order, or of none."""
    order = _table(f"cancellation in {symbol}", found)
    _expect(f"cancellation in {symbol}: symbol", order.get("symbol"), symbol)
    number = read_id(f"cancellation in {symbol}: id", order.get("id"))
    if exchange_id:
        _expect(f"cancellation in {symbol}: id", number, exchange_id)


def read_own_trades(found: Any, symbol: str, exchange_id: str = "") -> list[OwnTrade]:
    """Fills of one market, and of one order if that is given; oldest first, each once.

    Raises
    ------
    MalformedAnswerError
        If one of them is none or of another order, or two of the same id differ.
    """
    what = f"own trades of {symbol}"
    if not isinstance(found, list):
        raise_malformed(what, found, "a list")
    by_id: dict[str, OwnTrade] = {}
    for row in found:
        trade = _own_trade(row, symbol)
        if exchange_id:
            _expect(f"{what}: order", trade.exchange_id, exchange_id)
        if by_id.setdefault(trade.trade_id, trade) != trade:
            raise_malformed(what, trade, f"the same as {by_id[trade.trade_id]}, which has its id")
    return sorted(by_id.values(), key=lambda trade: trade.event_ms)  # stable: the exchange's order in a moment


def read_balances(found: Any) -> dict[str, Balance]:
    """Assets with anything in them; `MalformedAnswerError` if one of them is none."""
    table = _table("balances", found)
    told = table.get("info")
    if isinstance(told, dict) and not isinstance(told.get("balances", []), list):
        raise_malformed("balances", told["balances"], "a list")  # ccxt would make an empty account of it
    balances = {}
    for asset in _table("balances: total", table.get("total")):
        row = _table(f"balance of {asset}", table.get(asset))
        total = _amount(f"balance of {asset}: total", row.get("total"))
        free = _amount(f"balance of {asset}: free", row.get("free"))
        if free > total:
            raise_malformed(f"balance of {asset}: free", free, f"no more than {total}")
        if total:
            balances[asset] = Balance(total, free)
    return balances


def read_transfers(found: Any, kind: str) -> list[Transfer]:
    """Deposits that have arrived, or withdrawals that have left, be it only for the way.

    Parameters
    ----------
    found
        What ccxt made of the answer.
    kind
        ``"deposit"`` or ``"withdrawal"``.

    Raises
    ------
    MalformedAnswerError
        If one of them is none.
    """
    if not isinstance(found, list):
        raise_malformed(f"{kind}s", found, "a list")
    in_force = ("ok",) if kind == "deposit" else ("ok", "pending")
    return [_transfer(row, kind) for row in found if _table(kind, row).get("status") in in_force]


def read_prices(found: Any, symbol: str) -> tuple[Decimal, Decimal]:
    """Bid and ask; `MalformedAnswerError` if they are none."""
    what = f"best prices of {symbol}"
    prices = _table(what, _table(what, found).get(symbol))
    bid, ask = _above_zero(f"{what}: bid", prices.get("bid")), _above_zero(f"{what}: ask", prices.get("ask"))
    if bid >= ask:
        raise_malformed(what, (str(bid), str(ask)), "a bid below the ask")
    return bid, ask


def read_id(what: str, found: Any) -> str:
    """An id of the exchange; `MalformedAnswerError` if it is none, such as a page of HTML."""
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise_malformed(what, found, "an id")
    return found


def _own_trade(row: Any, symbol: str) -> OwnTrade:
    what = f"own trade of {symbol}"
    trade = _table(what, row)
    _expect(f"{what}: symbol", trade.get("symbol"), symbol)
    fee, fee_asset = _fee(what, trade)
    liquidity = trade.get("takerOrMaker")
    if liquidity not in ("taker", "maker", None):
        raise_malformed(f"{what}: takerOrMaker", liquidity, "taker or maker")
    return OwnTrade(
        read_id(f"{what}: id", trade.get("id")),
        read_id(f"{what}: order", trade.get("order")),
        symbol,
        _side(what, trade.get("side")),
        _above_zero(f"{what}: amount", trade.get("amount")),
        _above_zero(f"{what}: price", trade.get("price")),
        fee,
        fee_asset,
        liquidity == "maker",
        read_time(trade.get("timestamp")),
    )


def _fee(what: str, trade: Mapping[str, Any]) -> tuple[Decimal, str]:
    listed = trade.get("fees")
    told = listed if isinstance(listed, list) and listed else [trade.get("fee")]
    fees = [fee for fee in told if isinstance(fee, dict) and fee.get("cost") is not None]
    if not fees:
        return Decimal(0), ""
    if len(fees) > 1:
        raise_malformed(f"{what}: fees", fees, "one fee")
    asset = fees[0].get("currency")
    if not isinstance(asset, str) or not asset:
        raise_malformed(f"{what}: fee currency", asset, "an asset")
    return _number(f"{what}: fee", fees[0]["cost"]), asset


def _transfer(row: Mapping[str, Any], kind: str) -> Transfer:
    reference = row.get("id") or row.get("txid")
    asset = row.get("currency")
    if not isinstance(asset, str) or not asset:
        raise_malformed(f"{kind}: currency", asset, "an asset")
    what = f"{kind} of {asset}"
    number = read_id(f"{what}: id", reference)
    amount = _amount(f"{what}: amount", row.get("amount"))
    event_ms = read_time(row.get("updated") or row.get("timestamp"))
    if kind == "deposit":
        return Transfer(f"{kind} {number}", asset, amount, event_ms)
    fee = row.get("fee")
    cost = _amount(f"{what}: fee", fee["cost"]) if isinstance(fee, dict) and fee.get("cost") is not None else 0
    return Transfer(f"{kind} {number}", asset, -amount - cost, event_ms)


def _status(what: str, found: Any, is_whole: bool) -> OrderStatus:
    if found == "open":
        return "open"
    if found == "closed":  # an end with less than all was no filling, whatever it is called
        return "filled" if is_whole else "cancelled"
    ended = _ENDED.get(found) if isinstance(found, str) else None
    if ended is None:
        raise_malformed(f"{what}: status", found, "a known one")
    return ended


def _table(what: str, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise_malformed(what, found, "a table")
    return found


def _expect(what: str, found: Any, expected: str) -> None:
    if found != expected:
        raise_malformed(what, found, expected)


def _side(what: str, found: Any) -> Side:
    if found not in _SIDES:
        raise_malformed(f"{what}: side", found, "buy or sell")
    side: Side = found
    return side


def _price(what: str, found: Any) -> Decimal | None:
    """Some write 0 where there is none."""
    return (None if found is None else _amount(what, found)) or None


def _above_zero(what: str, found: Any) -> Decimal:
    number = _number(what, found)
    if number <= 0:
        raise_malformed(what, found, "a number above 0")
    return number


def _amount(what: str, found: Any) -> Decimal:
    number = _number(what, found)
    if number < 0:
        raise_malformed(what, found, "0 or more")
    return number


def _number(what: str, found: Any) -> Decimal:
    """Exact: a binary float is refused, for what the exchange wrote is lost then."""
    try:
        number = Decimal(found) if isinstance(found, str) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise_malformed(what, found, "a number, written out")
    return number


_SIDES: Iterable[str] = get_args(Side)
