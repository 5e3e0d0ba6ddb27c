"""How much more may be opened: the room that each limit leaves, the tightest one by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import MarketSpec, RiskRequest, Side, Tick
from levibot.execution.position import ZERO
from levibot.execution.precision import closable_refusal, floor_to, size_refusal
from levibot.risk.correlation import Correlations
from levibot.risk.exposure import Exposures
from levibot.risk.policy import RiskPolicy
from levibot.risk.refusal import RefusedError

_SIDES: tuple[Side, Side] = ("buy", "sell")
_QUANTITY_STEP = Decimal("1e-12")
_PRICE_DIGITS = 18  # before the point; nothing is traded at more
_COST_RESERVE = Decimal("1.005")  # of an entry: fee and slippage come on top of its notional


def entry_price(request: RiskRequest, mark: Decimal, tick: Tick, policy: RiskPolicy) -> Decimal:
    """Price at which a request is sized: the dearer of the engine's and ours.

    Raises
    ------
    RefusedError
        ``bad_price``, or ``price_collar``: it is too far from the last trade.
    """
    price = request.price
    if price <= 0 or price.adjusted() > _PRICE_DIGITS:
        raise RefusedError("bad_price", f"{price} is no price")
    last = Decimal(str(tick.last)) if 0 < tick.last < float("inf") else mark
    distance = abs(price - last) / last
    if distance > policy.price_collar:
        limit = f"at most {policy.price_collar:.2%} are allowed"
        raise RefusedError("price_collar", f"{price} is {distance:.2%} from the last trade at {last}, {limit}")
    return max(mark, price)


@dataclass(frozen=True, slots=True)
class _Room:
    name: str
    amount: Decimal  # quote asset
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The portfolio as an entry meets it.

    Attributes
    ----------
    equity
        Above 0.
    cash
        Neither spent nor promised to another entry.
    exposures
        Positions, open entries and grants.
    """

    policy: RiskPolicy
    equity: Decimal
    cash: Decimal
    exposures: Exposures
    correlations: Correlations

    def quantity(self, request: RiskRequest, price: Decimal, size: float, market: MarketSpec | None) -> Decimal:
        """Base quantity that may be opened at `price`, in whole steps of the market.

        Parameters
        ----------
        request
            Whose symbol, side and stop count.
        price
            At which it is valued.
        size
            Of the whole position, as a fraction of equity.
        market
            Its rules; None: not known.

        Raises
        ------
        RefusedError
            Named by the limit that leaves no room, or ``below_minimum``.
        """
        tightest = min(self._rooms(request.symbol, request.side, size), key=lambda room: room.amount)
        if self.policy.correlated_exposure * self.equity - self.exposures.gross < tightest.amount:
            correlated = self._correlated(request.symbol, request.side)
            tightest = min(tightest, correlated, key=lambda room: room.amount)
        step = market.amount_step if market is not None and market.amount_step else _QUANTITY_STEP
        quantity = floor_to(tightest.amount / price, step)
        if quantity <= 0:
            raise RefusedError(tightest.name, tightest.detail)
        flaw = _too_small(quantity, price, request, market) if market is not None else None
        if flaw:
            raise RefusedError("below_minimum", f"{tightest.name} allows no more: {flaw}")
        return quantity

    def _rooms(self, symbol: str, side: Side, size: float) -> Iterator[_Room]:
        """The room that each limit leaves; the tightest counts, of equal ones the first."""
        policy, equity, exposures = self.policy, self.equity, self.exposures
        wanted = min(policy.position_cap, Decimal(repr(size))) * equity
        held = exposures.of(symbol).gross
        yield _Room("position_cap", wanted - held, f"{held:.2f} of {wanted:.2f} are open or about to be")
        most = policy.gross_exposure * equity
        yield _Room("gross_exposure", most - exposures.gross, f"{exposures.gross:.2f} of {most:.2f} are taken")
        most, net = policy.net_exposure * equity, exposures.net(side)
        yield _Room("net_exposure", most - net, f"{net:.2f} of {most:.2f} are taken")
        if policy.max_order_notional is not None:
            yield _Room("max_order_notional", policy.max_order_notional, "an order costs no more")
        yield _Room("no_cash", self.cash / _COST_RESERVE, "the cash is spent, or promised to other orders")

    def _correlated(self, symbol: str, side: Side) -> _Room:
        """Room among markets that move together: around `symbol`, and around each that moves with it.

        A short moves with a long where the returns are opposed. What is not known counts as moving together,
        on whichever side it stands.
        """
        most = self.policy.correlated_exposure * self.equity
        stands = [
            (other, held_side, exposure.along(held_side))
            for other, exposure in self.exposures
            for held_side in _SIDES
            if exposure.along(held_side) > 0
        ]
        centres = [(symbol, side)]
        centres += [(other, its) for other, its, _ in stands if self._together(symbol, side, other, its)]
        worst, around = max((self._around(*centre, stands), centre[0]) for centre in centres)
        detail = f"{worst:.2f} of {most:.2f} are taken by what moves with {around}, or may"
        return _Room("correlated_exposure", most - worst, detail)

    def _around(self, symbol: str, side: Side, stands: Sequence[tuple[str, Side, Decimal]]) -> Decimal:
        """What moves with `symbol`, itself included."""
        return sum((amount for other, its, amount in stands if self._together(symbol, side, other, its)), ZERO)

    def _together(self, one: str, one_side: Side, other: str, other_side: Side) -> bool:
        if one == other:
            return one_side == other_side
        measured = self.correlations.between(one, other)
        if measured is None:
            return True
        return (measured if one_side == other_side else -measured) >= self.policy.config.correlation


def _too_small(quantity: Decimal, price: Decimal, request: RiskRequest, market: MarketSpec) -> str | None:
    """Why the market would not take the entry, or would not let it be closed by its protection."""
    fall = request.stop_loss if request.side == "buy" else request.take_profit
    worst = price * (1 - Decimal(repr(fall or 0.0)))
    refusal = size_refusal(quantity, price, market)
    return refusal or (closable_refusal(quantity, worst, market) if worst > 0 else None)
