"""Makes requests and intents: sizes and prices in the steps of the market, protection at the wanted distances."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from levibot.bus.messages import Grant, Intent, MarketSpec, Position, RiskRequest, Side, Tick
from levibot.config import EngineConfig
from levibot.engine.market_view import MarketView
from levibot.execution.checks import worst_exit
from levibot.execution.position import opposite
from levibot.execution.precision import closable_refusal, floor_to, is_dust, sellable
from levibot.strategies.base import Signal


class Barriers(NamedTuple):
    """Where a position is closed: distances from the requested price, as fractions; 0: none."""

    stop_loss: float
    take_profit: float
    trailing_stop: float

    @classmethod
    def of(cls, signal: Signal, config: EngineConfig) -> Barriers:
        """Those that the strategy named, for the rest those of the configuration."""
        return cls(
            config.stop_loss if signal.stop_loss is None else signal.stop_loss,
            config.take_profit if signal.take_profit is None else signal.take_profit,
            config.trailing_stop if signal.trailing_stop is None else signal.trailing_stop,
        )


def entry_request(
    request_id: int,
    client_id: str,
    symbol: str,
    side: Side,
    signal: Signal,
    barriers: Barriers,
    market: MarketView,
) -> RiskRequest:
    """What risk is asked: whether, and how much, may be bought or sold at the newest price.

    Parameters
    ----------
    request_id, client_id
        Of the question, and of the order that may follow from it.
    symbol, side
        Of the entry.
    signal, barriers
        What the strategy wants, and the protection that goes with it.
    market
        Its rules must be known.
    """
    assert market.spec is not None
    newest = market.newest
    return RiskRequest(
        request_id=request_id,
        client_id=client_id,
        symbol=symbol,
        side=side,
        price=to_price(market.price_to(side), market.spec.price_tick),
        probability=signal.probability,
        confidence=signal.confidence,
        volatility=market.volatility.annualised,
        event_ms=market.event_ms,
        market_seq=newest.seq if newest else 0,
        market_epoch=newest.epoch if newest else 0,
        stop_loss=barriers.stop_loss,
        take_profit=barriers.take_profit or None,
    )


def entry_intent(
    spec: MarketSpec, barriers: Barriers, request: RiskRequest, grant: Grant, newest: Tick | None
) -> Intent | None:
    """Market order as large as `grant` allows, with its protection; None if that is dust at its stop.

    Parameters
    ----------
    spec
        Steps and least amounts of the market.
    barriers
        Distances of its protection.
    request, grant
        What risk was asked, and what it answered.
    newest
        Tick; the broker fills on none older.
    """
    if not grant.max_quantity.is_finite():
        return None
    quantity = floor_to(grant.max_quantity, spec.amount_step)
    away = 1 if request.side == "buy" else -1
    stop = request.price * (1 - away * Decimal(repr(barriers.stop_loss)))
    target = request.price * (1 + away * Decimal(repr(barriers.take_profit)))
    trailing = to_price(request.price * Decimal(repr(barriers.trailing_stop)), spec.price_tick)
    intent = Intent(
        client_id=request.client_id,
        symbol=request.symbol,
        side=request.side,
        kind="market",
        quantity=quantity,
        role="entry",
        event_ms=request.event_ms,
        stop_loss=to_price(stop, spec.price_tick),
        take_profit=to_price(target, spec.price_tick) if barriers.take_profit and target > 0 else None,
        trailing_stop=trailing if trailing > 0 else None,
        market_seq=newest.seq if newest else 0,
        market_epoch=newest.epoch if newest else 0,
        grant=grant,
    )
    return None if closable_refusal(quantity, worst_exit(intent, request.price), spec) else intent


def grant_flaw(grant: Grant, request: RiskRequest, now_ns: int, too_late_ns: int) -> str:
    """Why a grant is no leave to do now what was asked; empty if it is."""
    if now_ns >= too_late_ns:
        return "the grant came too late"
    if (grant.side, grant.symbol) != (request.side, request.symbol):
        return "the grant is for something else"
    return ""


def exit_intent(
    client_id: str, position: Position, quantity: Decimal, event_ms: int, newest: Tick | None
) -> Intent:
    """Market order that closes `quantity` of `position`; it needs no grant and can never flip it."""
    return Intent(
        client_id=client_id,
        symbol=position.symbol,
        side=opposite(held_side(position)),
        kind="market",
        quantity=quantity,
        role="exit",
        event_ms=event_ms,
        reduce_only=True,
        market_seq=newest.seq if newest else 0,
        market_epoch=newest.epoch if newest else 0,
    )


def wanted_sign(signal: Signal, spec: MarketSpec | None) -> int:
    """Sign of the position that a signal asks for; 0: none, or one that the market does not allow."""
    if signal.direction == "long":
        return 1
    return -1 if signal.direction == "short" and spec is not None and spec.can_short else 0


def held_side(position: Position) -> Side:
    """Side that opened a position."""
    return "buy" if position.quantity > 0 else "sell"


def to_price(value: float | Decimal, tick: Decimal) -> Decimal:
    """Multiple of the price step `tick` nearest to `value`; a step of 0 changes nothing."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return (exact / tick).to_integral_value() * tick if tick else exact


def tradable(quantity: Decimal, spec: MarketSpec | None, price: float) -> Decimal:
    """Size of a position in whole steps; what is too small to be closed at `price` counts as nothing."""
    if spec is None:
        return abs(quantity)
    dust = is_dust(quantity, Decimal(repr(price)) if price > 0 else Decimal(0), spec)
    return Decimal(0) if dust else sellable(quantity, spec)
