"""How large a position may be: Kelly × volatility × confidence, below a cap. Pure arithmetic.

All fractions are of equity, and of the whole position, not of an order that adds to it.
"""

from __future__ import annotations

from math import isfinite

from levibot.bus.messages import MarketSpec, RiskRequest, Tick
from levibot.config_risk import RiskConfig
from levibot.risk.refusal import RefusedError

_LEAST_SCALE, _MOST_SCALE = 0.05, 1.5  # of the part that volatility decides
_UNKNOWN_SCALE = 0.5


def kelly(win_probability: float, odds: float) -> float:
    """Part of the capital that grows it fastest: f* = p − (1 − p)/b (Kelly 1956, Thorp 2006).

    Parameters
    ----------
    win_probability
        Of the bet that is made: the probability of a fall, for a short.
    odds
        b: average net win over average net loss, above 0.
    """
    return win_probability - (1 - win_probability) / odds


def odds_after_costs(win: float, loss: float, costs: float) -> float:
    """What a won bet brings for each unit that a lost one takes: b = (W − c)/(L + c).

    Parameters
    ----------
    win, loss
        Distances of target and stop from the entry, as fractions of its price.
    costs
        Of a round trip, as a fraction of the position.
    """
    return (win - costs) / (loss + costs)


def round_trip_costs(market: MarketSpec | None, tick: Tick | None) -> float:
    """Both fees as a taker, and half a spread each way; as a fraction of the position.

    What is not known costs nothing here; it is judged elsewhere whether that may be traded at all.
    """
    fees = 2 * float(market.taker_fee) if market is not None else 0.0
    spread = max(0.0, 2 * (tick.ask - tick.bid) / (tick.ask + tick.bid)) if tick is not None else 0.0
    return fees + spread


def volatility_scale(volatility: float | None, target: float) -> float:
    """Target over measured volatility, both a year, from .05 to 1.5; .5 if it is not known."""
    if volatility is None or not isfinite(volatility) or volatility <= 0:
        return _UNKNOWN_SCALE
    return min(max(target / volatility, _LEAST_SCALE), _MOST_SCALE)


def kelly_size(win_probability: float, odds: float, scale: float, limits: RiskConfig) -> float:
    """Position with a known edge: min(cap, λ · clip(f*, 0, 1) · scale).

    Parameters
    ----------
    win_probability, odds
        As of `kelly`.
    scale
        What volatility and confidence leave of it.
    limits
        ``kelly_fraction`` (λ) and ``position_cap``.
    """
    edge = min(max(kelly(win_probability, odds), 0.0), 1.0)
    return min(limits.position_cap, limits.kelly_fraction * edge * scale)


def position_size(request: RiskRequest, costs: float, limits: RiskConfig) -> float:
    """Fraction of equity that the position of `request` may have.

    A strategy that estimates no probability has no edge that could be reckoned with. Its position is the
    cap, made smaller by volatility and confidence, never larger. A bet without a target wins as much as its
    stop loses.

    Parameters
    ----------
    request
        ``probability`` is that of the bet itself: that the target is reached before the stop. So it is
        1 − p(rise) for a short, and is used as it is.
    costs
        Of a round trip, as a fraction of the position.
    limits
        λ, cap, target volatility, and whether the confidence counts.

    Raises
    ------
    RefusedError
        ``bad_request``: a number is none; ``no_edge``: the bet does not pay on average.
    """
    confidence, probability, loss = request.confidence, request.probability, request.stop_loss
    if not 0 <= confidence <= 1:
        raise RefusedError("bad_request", f"confidence is {confidence}, expected 0..1")
    for name, distance, most in (("stop_loss", loss, 1), ("take_profit", request.take_profit, 10)):
        if distance is not None and not 0 < distance < most:
            raise RefusedError("bad_request", f"{name} is {distance}, expected a part of the price below {most}")
    scale = volatility_scale(request.volatility, limits.target_volatility)
    if limits.use_confidence:
        scale *= 0.5 + 0.5 * confidence
    if probability is None or loss is None:
        return limits.position_cap * min(1.0, scale)
    if not 0 <= probability <= 1:
        raise RefusedError("bad_request", f"probability is {probability}, expected 0..1")
    win = loss if request.take_profit is None else request.take_profit
    odds = odds_after_costs(win, loss, costs)
    if odds <= 0 or kelly(probability, odds) <= 0:
        bet = f"{probability:.3f} of {win:.2%} against {loss:.2%} at costs of {costs:.2%}"
        raise RefusedError("no_edge", f"{bet} does not pay")
    return kelly_size(probability, odds, scale, limits)
