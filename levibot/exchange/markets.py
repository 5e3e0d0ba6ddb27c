"""Markets as the exchange describes them, read exactly: steps, limits, fees, and whether they trade."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

import msgspec

from levibot.bus.messages import MarketSpec
from levibot.errors import MalformedAnswerError
from levibot.exchange.failures import raise_malformed
from levibot.market.specs import FEE
from levibot.symbols import is_canonical

_DECIMAL_PLACES, _SIGNIFICANT_DIGITS, _TICK_SIZE = 2, 3, 4  # ccxt's precision modes
_TYPES = {"spot", "swap"}


class Reading(NamedTuple):
    """All markets of one answer."""

    specs: dict[str, MarketSpec]  # by symbol
    unreadable: dict[str, str]  # symbol → why


def read_markets(markets: Any, precision_mode: int, fees: Mapping[str, Any]) -> Reading:
    """Specifications of all spot markets and linear swaps.

    Parameters
    ----------
    markets
        What ccxt's `fetch_markets` returned.
    precision_mode
        ccxt's: decimal places or steps. Markets whose prices have significant digits cannot be read.
    fees
        ``exchange.fees``: of markets that name none.

    Raises
    ------
    MalformedAnswerError
        If no market in it can be read. A single one that cannot is one of thousands, and told apart.
    """
    reading = Reading({}, {})
    if not isinstance(markets, list):
        raise_malformed("markets", markets, "a list")
    for market in markets:
        if not isinstance(market, dict) or not _is_wanted(market):
            continue
        try:
            reading.specs[market["symbol"]] = read_spec(market, precision_mode, fees)
        except MalformedAnswerError as error:
            reading.unreadable[market["symbol"]] = str(error)
    if not reading.specs:
        why = next(iter(reading.unreadable.values()), "no spot market and no linear swap is in it")
        raise MalformedAnswerError(f"markets: none of {len(markets)} could be read: {why}")
    return reading


def read_spec(market: Mapping[str, Any], precision_mode: int, fees: Mapping[str, Any]) -> MarketSpec:
    """Specification of one market.

    Raises
    ------
    MalformedAnswerError
        If a part of it is missing or no number.
    """
    symbol = market["symbol"]
    precision = _table(market, "precision")
    limits = _table(market, "limits")
    step = _step(f"{symbol} precision.amount", precision.get("amount"), precision_mode)
    tick = _step(f"{symbol} precision.price", precision.get("price"), precision_mode)
    return MarketSpec(
        symbol=symbol,
        base=_text(market, "base"),
        quote=_text(market, "quote"),
        amount_step=step,
        price_tick=tick,
        min_amount=max(step, _limit(limits, symbol, "amount")),
        min_cost=_limit(limits, symbol, "cost"),
        maker_fee=_fee(market, fees, "maker"),
        taker_fee=_fee(market, fees, "taker"),
        can_short=market.get("type") == "swap",
        active=market.get("active") is not False,
    )


def merge(
    before: Mapping[str, MarketSpec], now: Mapping[str, MarketSpec]
) -> tuple[dict[str, MarketSpec], list[MarketSpec]]:
    """Take in a new reading: what is gone stays, as inactive, since a position in it may be open.

    Returns
    -------
    tuple
        All markets, and those that are new or have changed.

    Raises
    ------
    MalformedAnswerError
        If most active markets are gone at once: that is an answer cut short, no delisting.
    """
    trading = [symbol for symbol, spec in before.items() if spec.active]
    kept = sum(symbol in now for symbol in trading)
    if trading and kept * 2 < len(trading):
        raise MalformedAnswerError(f"markets: only {kept} of {len(trading)} that traded before are in the answer")
    gone = {symbol: _inactive(spec) for symbol, spec in before.items() if symbol not in now}
    merged = {**now, **gone}
    return merged, [spec for symbol, spec in merged.items() if before.get(symbol) != spec]


def _inactive(spec: MarketSpec) -> MarketSpec:
    return msgspec.structs.replace(spec, active=False)


def _is_wanted(market: Mapping[str, Any]) -> bool:
    symbol = market.get("symbol")
    return (
        isinstance(symbol, str)
        and is_canonical(symbol)
        and market.get("type") in _TYPES
        and (market.get("type") == "spot" or market.get("linear") is True)
    )


def _step(what: str, value: Any, precision_mode: int) -> Decimal:
    if precision_mode == _DECIMAL_PLACES and isinstance(value, int):
        return Decimal(1).scaleb(-value)
    if precision_mode != _TICK_SIZE:
        raise_malformed(what, value, "a step; prices with significant digits are not supported")
    return _decimal(what, value, least_exclusive=True)


def _limit(limits: Mapping[str, Any], symbol: str, name: Literal["amount", "cost"]) -> Decimal:
    least = _table(limits, name).get("min")
    return Decimal(0) if least is None else _decimal(f"{symbol} limits.{name}.min", least)


def _fee(market: Mapping[str, Any], fees: Mapping[str, Any], side: Literal["maker", "taker"]) -> Decimal:
    value = market.get(side)
    if value is None:
        value = _table(fees, "trading").get(side)
    if value is None:
        return FEE
    fee = _number(f"{market['symbol']} {side}", value)  # a maker's may be negative
    if abs(fee) >= 1:
        raise_malformed(f"{market['symbol']} {side}", value, "a fraction")
    return fee


def _decimal(what: str, value: Any, *, least_exclusive: bool = False) -> Decimal:
    number = _number(what, value)
    if number < 0 or (least_exclusive and number == 0):
        raise_malformed(what, value, "a number above 0" if least_exclusive else "0 or more")
    return number


def _number(what: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise_malformed(what, value, "a number")
    try:
        number = Decimal(str(value))  # the shortest text that is this float: what the exchange wrote
    except InvalidOperation:
        raise_malformed(what, value, "a number")
    if not number.is_finite():
        raise_malformed(what, value, "a finite number")
    return number


def _table(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _text(market: Mapping[str, Any], key: str) -> str:
    value = market.get(key)
    if not isinstance(value, str) or not value:
        raise_malformed(f"{market['symbol']} {key}", value, "a text")
    return value
