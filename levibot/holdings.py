"""Positions and what protects them, in words: for answers of the daemon and for `levibotctl`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

_NAMES = {"stop": "stop", "take_profit": "target", "trailing_stop": "trailing stop"}


def in_words(holding: Mapping[str, Any], *, ends: bool) -> str:
    """``BTC/USDT +0.5, stop of 0.5 at 95 on the exchange``.

    Parameters
    ----------
    holding
        ``symbol``, ``quantity``, ``protection`` and ``dust``, as the daemon's documents have them.
    ends
        Whether the broker ends too, so that nobody watches what it keeps.
    """
    held = f"{holding['symbol']} {_amount(holding['quantity'], '+')}"
    if holding["dust"]:
        return f"{held}, dust: too small to be sold"
    watched = "kept by the broker, NOT watched until the next start" if ends else "watched by the broker"
    protection = [
        f"{' and '.join(_order(order) for order in orders)} {where}"
        for where, orders in (
            ("on the exchange", [order for order in holding["protection"] if order["on_exchange"]]),
            (watched, [order for order in holding["protection"] if not order["on_exchange"]]),
        )
        if orders
    ]
    words = ", ".join(protection) or "NOT protected by any order"
    if holding.get("missing"):
        words = f"of which {holding['missing']:g} are NOT at the exchange and protected by nothing, {words}"
    frozen = f"; FROZEN: {holding['frozen']}" if holding.get("frozen") else ""
    return f"{held}, {words}{frozen}"


def list_in_words(holdings: Iterable[Mapping[str, Any]], *, ends: bool) -> str:
    """All of them in one line."""
    return "; ".join(in_words(holding, ends=ends) for holding in holdings)


def _order(order: Mapping[str, Any]) -> str:
    at = f" at {_amount(order['trigger_price'])}" if order["trigger_price"] is not None else ""
    return f"{_NAMES.get(order['kind'], order['kind'])} of {_amount(order['quantity'])}{at}"


def _amount(number: float, sign: str = "") -> str:
    """All digits, without an exponent."""
    text = format(Decimal(repr(number)), f"{sign}f")
    return text.rstrip("0").rstrip(".") if "." in text else text
