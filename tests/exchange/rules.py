"""What an exchange checks before it accepts an order."""

from __future__ import annotations

from decimal import Decimal

from tests.exchange.accounts import MARKET_TYPES, STOP_TYPES, OrderRequest, Reason, RejectedError
from tests.exchange.market import SymbolMarket


def check(state: SymbolMarket, request: OrderRequest) -> None:
    """Raise `RejectedError` for an order that breaks its market's rules."""
    if state.status != "trading":
        raise RejectedError(Reason.MARKET_CLOSED)
    _check_amount(state, request)
    for price, name in ((request.price, "price"), (request.stop_price, "stopPrice")):
        if price is not None:
            _check_price(state, price, name)
    if request.type not in MARKET_TYPES and request.price is None:
        raise RejectedError(Reason.BAD_PARAMETER, "price")
    if request.type in STOP_TYPES and request.stop_price is None:
        raise RejectedError(Reason.BAD_PARAMETER, "stopPrice")
    _check_cost(state, request)
    best = state.book.best("sell" if request.side == "buy" else "buy")
    if request.type in MARKET_TYPES and request.type not in STOP_TYPES and best is None:
        raise RejectedError(Reason.NO_OPPONENT)
    if request.type == "post_only" and best is not None and request.price is not None:
        crosses = request.price >= best[0] if request.side == "buy" else request.price <= best[0]
        if crosses:
            raise RejectedError(Reason.WOULD_TAKE)
    if request.type in STOP_TYPES and request.stop_price is not None:
        falling = (request.side == "sell") == request.type.startswith("stop_loss")
        if state.last <= request.stop_price if falling else state.last >= request.stop_price:
            raise RejectedError(Reason.WOULD_TRIGGER)


def _check_amount(state: SymbolMarket, request: OrderRequest) -> None:
    if request.amount is None:
        if request.cost is None:
            raise RejectedError(Reason.BAD_PARAMETER, "quantity")
        return
    if request.amount <= 0:
        raise RejectedError(Reason.BAD_PARAMETER, "quantity")
    rules = state.instrument
    if request.amount != rules.to_step(request.amount):
        raise RejectedError(Reason.LOT_SIZE)
    if not rules.min_amount <= request.amount <= rules.max_amount:
        raise RejectedError(Reason.LOT_SIZE)


def _check_price(state: SymbolMarket, price: Decimal, name: str) -> None:
    if price <= 0:
        raise RejectedError(Reason.BAD_PARAMETER, name)
    if price != state.instrument.to_tick(price):
        raise RejectedError(Reason.PRICE_FILTER)


def _check_cost(state: SymbolMarket, request: OrderRequest) -> None:
    cost = request.cost
    if request.amount is not None:
        cost = request.amount * (request.price or request.stop_price or state.last)
    if cost is not None and cost < state.instrument.min_cost:
        raise RejectedError(Reason.NOTIONAL)
