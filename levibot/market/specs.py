"""What an exchange would say of a market, where no exchange is there to ask: steps, limits and fees."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from levibot.bus.messages import MarketSpec

FEE = Decimal("0.001")  # maker and taker: the usual spot fee
MIN_COST = Decimal(5)  # in the quote asset

# base asset: (price tick, amount step) of its main market
_KNOWN = {
    "BTC": ("0.01", "0.00001"),
    "ETH": ("0.01", "0.0001"),
    "BNB": ("0.01", "0.001"),
    "SOL": ("0.01", "0.001"),
    "LTC": ("0.01", "0.001"),
    "AVAX": ("0.001", "0.01"),
    "LINK": ("0.001", "0.01"),
    "XRP": ("0.0001", "0.1"),
    "ADA": ("0.0001", "0.1"),
    "DOGE": ("0.00001", "1"),
    "DOT": ("0.001", "0.01"),
    "TRX": ("0.0001", "0.1"),
}
_DOLLARS = {"USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI"}


def market_spec(symbol: str, price: float, price_decimals: int | None = None) -> MarketSpec:
    """Build the spec of `symbol` from the known table, or from its data.

    Parameters
    ----------
    symbol
        Canonical; a swap (``BTC/USDT:USDT``) can be sold short, a spot market cannot.
    price
        A typical price, from which unknown steps follow.
    price_decimals
        Decimals that prices have in the data; None if there is no data to tell.
    """
    pair, _, settle = symbol.partition(":")
    base, _, quote = pair.partition("/")
    magnitude = math.floor(math.log10(price))
    if base in _KNOWN and quote in _DOLLARS:
        tick, step = map(Decimal, _KNOWN[base])
        if price_decimals is not None:
            tick = min(tick, _power_of_ten(-price_decimals))
    else:
        decimals = price_decimals if price_decimals is not None else 4 - magnitude
        tick = _power_of_ten(-max(0, decimals))
        step = _power_of_ten(min(0, magnitude - 5))
    return MarketSpec(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=step,
        price_tick=tick,
        min_amount=step,
        min_cost=MIN_COST if quote in _DOLLARS else Decimal(0),
        maker_fee=FEE,
        taker_fee=FEE,
        can_short=bool(settle),
    )


def decimals_of(prices: Iterable[float]) -> int:
    """Most decimals that any of `prices` has when written shortest."""
    return max(-int(Decimal(repr(price)).normalize().as_tuple().exponent) for price in (0.0, *prices))


def decimals_of_tick(spec: MarketSpec) -> int:
    """Decimals of the price tick."""
    return max(0, -int(spec.price_tick.normalize().as_tuple().exponent))


def _power_of_ten(exponent: int) -> Decimal:
    return Decimal(1).scaleb(exponent)
