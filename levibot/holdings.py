"""Positions and what protects them, in words: for answers of the daemon and for `levibotctl`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_NAMES = {"stop": "stop", "take_profit": "target", "trailing_stop": "trailing stop"}


def in_words(holding: Mapping[str, Any], *, ends: bool) -> str:
    """``BTC/USDT +0.5, stop of 0.5 at 95 on the exchange``.

    Parameters
    ----------
    holding
        ``symbol``, ``quantity`` and ``protection``, as the daemon's documents have them.
    ends
        Whether the broker ends too, so that nobody watches what it keeps.
    """
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
    return f"{holding['symbol']} {holding['quantity']:+g}, {words}"


def list_in_words(holdings: Iterable[Mapping[str, Any]], *, ends: bool) -> str:
    """All of them in one line."""
    return "; ".join(in_words(holding, ends=ends) for holding in holdings)


def _order(order: Mapping[str, Any]) -> str:
    at = f" at {order['trigger_price']:g}" if order["trigger_price"] is not None else ""
    return f"{_NAMES.get(order['kind'], order['kind'])} of {order['quantity']:g}{at}"
