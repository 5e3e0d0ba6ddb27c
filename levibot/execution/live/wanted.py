"""What protection a position should have, and what is to be done so that it has it: pure rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import MarketSpec, OrderKind, Role
from levibot.execution.lots import Lot
from levibot.execution.orders import Order, OrderState
from levibot.execution.position import ZERO
from levibot.execution.precision import floor_to, size_refusal

ROLES: dict[OrderKind, Role] = {"stop": "stop", "trailing_stop": "stop", "take_profit": "take_profit"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A protective order that should rest somewhere.

    Attributes
    ----------
    entry_id
        Client id of the entry that it belongs to.
    quantity
        In the market's steps.
    trigger
        Price in the market's steps; that of a trailing stop is where it begins.
    offset
        Distance of a trailing stop.
    """

    entry_id: str
    kind: OrderKind
    quantity: Decimal
    trigger: Decimal
    offset: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Differences:
    """What parts what rests from what should.

    Attributes
    ----------
    missing
        To be made.
    resized
        To be given another quantity.
    needless
        To be withdrawn.
    """

    missing: list[Wanted]
    resized: list[tuple[Order, Decimal]]
    needless: list[Order]

    def __bool__(self) -> bool:
        return bool(self.missing or self.resized or self.needless)


def wanted_for(lots: Sequence[Lot], market: MarketSpec) -> list[Wanted]:
    """Protection of a long position, oldest lot first.

    What is too small to be closed at its stop is closed together with the next lot; dust that none
    takes in has no protection, for none would be accepted.
    """
    sized: list[tuple[Lot, Decimal]] = []
    carried = ZERO
    for lot in lots:
        if lot.stop is None and lot.target is None:
            continue
        total = lot.quantity + carried
        quantity = floor_to(total, market.amount_step)
        if is_dust(quantity, lot, market):
            carried = total
        else:
            sized.append((lot, total))
            carried = ZERO
    if carried and sized:
        lot, total = sized[-1]
        sized[-1] = lot, total + carried
    return [one for lot, total in sized for one in _protection(lot, floor_to(total, market.amount_step), market)]


def is_dust(quantity: Decimal, lot: Lot, market: MarketSpec) -> bool:
    """Tell whether `quantity` is too small to be sold at the stop of the lot, or at its target if it has none."""
    price = lot.stop or lot.target
    return price is None or size_refusal(quantity, price, market) is not None


def _protection(lot: Lot, quantity: Decimal, market: MarketSpec) -> Iterable[Wanted]:
    if lot.stop is not None:
        yield Wanted(lot.entry_id, "stop", quantity, _to_tick(lot.stop, market))
    if lot.target is not None:
        yield Wanted(lot.entry_id, "take_profit", quantity, _to_tick(lot.target, market))
    if lot.trail is not None and lot.stop is not None:
        yield Wanted(lot.entry_id, "trailing_stop", quantity, _to_tick(lot.stop, market), lot.trail)


def _to_tick(price: Decimal, market: MarketSpec) -> Decimal:
    return max(floor_to(price, market.price_tick), market.price_tick)


def differences(wanted: Iterable[Wanted], resting: Iterable[Order]) -> Differences:
    """Compare what should rest with the open protective orders of entries; others are left alone.

    An order that has been triggered, that is filling, or whose fate is not known is on its way out: what is
    wanted in its place waits for its end.
    """
    missing = {(one.entry_id, one.kind): one for one in wanted}
    found = Differences([], [], [])
    for order in resting:
        intent = order.intent
        if not intent.reduce_only or intent.parent_id is None or intent.kind not in ROLES:
            continue
        one = missing.pop((intent.parent_id, intent.kind), None)
        if order.state != OrderState.ACCEPTED:
            continue
        if one is None:
            found.needless.append(order)
        elif one.quantity != order.intent.quantity:
            found.resized.append((order, one.quantity))
    found.missing.extend(missing.values())
    return found


def rests_here(order: Order) -> bool:
    """Tell whether the broker watches the price for this order: no exchange has it."""
    return order.state == OrderState.ACCEPTED and not order.exchange_id
