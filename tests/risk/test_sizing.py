"""How large a position may be."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from math import inf, nan
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import RiskRequest
from levibot.config_risk import RiskConfig
from levibot.risk.refusal import RefusedError
from levibot.risk.sizing import (
    kelly,
    kelly_size,
    odds_after_costs,
    position_size,
    round_trip_costs,
    volatility_scale,
)
from tests.execution.examples import market
from tests.risk.market import BTC, MORNING_MS, tick


def request(**changed: Any) -> RiskRequest:
    """A bet on 4.6 % against 2.6 %: with costs of .2 %, b = 4.4 / 2.8."""
    asked = RiskRequest(1, "a", BTC, "buy", Decimal(100), 0.6, 0.2, 0.6, MORNING_MS, 0, 0, 0.026, 0.046)
    return msgspec.structs.replace(asked, **changed)


def test_the_golden_value() -> None:
    confidence, volatility, odds = 0.2, 0.6, 1.2
    scale = volatility_scale(volatility, target=0.15) * (0.5 + 0.5 * confidence)
    assert kelly(0.6, odds) == pytest.approx(0.8 / 3)
    assert kelly_size(0.6, odds, scale, RiskConfig()) == pytest.approx(0.0100, abs=1e-12)


def test_the_golden_value_from_a_request_whose_barriers_pay_that_much() -> None:
    win, loss, costs = 0.026, 0.018, 0.002  # (W − c)/(L + c) = 1.2
    assert odds_after_costs(win, loss, costs) == pytest.approx(1.2)
    asked = request(stop_loss=loss, take_profit=win)
    assert position_size(asked, costs, RiskConfig()) == pytest.approx(0.0100, abs=1e-12)
    assert position_size(asked, costs, RiskConfig(use_confidence=False)) == pytest.approx(0.1 / 6, abs=1e-12)


@pytest.mark.parametrize(
    ("volatility", "expected"),
    [(0.15, 1.0), (0.6, 0.25), (0.3, 0.5), (10.0, 0.05), (0.01, 1.5)]
    + [(unknown, 0.5) for unknown in (None, 0.0, -1.0, nan, inf)],
)
def test_volatility_scales_and_unknown_is_careful(volatility: float | None, expected: float) -> None:
    assert volatility_scale(volatility, 0.15) == expected


def test_a_short_is_sized_by_the_probability_of_its_own_bet() -> None:
    sizes = {position_size(request(side=side), 0.002, RiskConfig()) for side in ("buy", "sell")}
    assert len(sizes) == 1


@pytest.mark.parametrize(
    "bet",
    [
        {"probability": 0.3},  # f* = .3 − .7/1.57 < 0
        {"probability": 0.0},
        {"probability": 0.6, "take_profit": 0.001},  # costs more than it can win
        {"probability": 0.5, "take_profit": None},  # wins as much as it loses, before costs
    ],
)
def test_a_bet_that_does_not_pay_is_refused(bet: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="no_edge: "):
        position_size(request(**bet), 0.002, RiskConfig())


@pytest.mark.parametrize(
    "nonsense",
    [
        {"probability": 1.1},
        {"probability": nan},
        {"confidence": -0.1},
        {"confidence": nan},
        {"stop_loss": 0.0},
        {"stop_loss": 1.0},
        {"take_profit": inf},
        {"probability": None, "stop_loss": nan},
        {"stop_loss": None, "take_profit": -0.1},
    ],
)
def test_numbers_that_are_none_are_refused(nonsense: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="bad_request"):
        position_size(request(**nonsense), 0.002, RiskConfig())


def test_without_a_probability_the_cap_is_made_smaller_and_never_larger() -> None:
    def size(**changed: Any) -> float:
        return position_size(request(probability=None, **changed), 0.002, RiskConfig())

    assert size(confidence=1.0, volatility=None) == pytest.approx(0.1)
    assert size(confidence=1.0, volatility=0.6) == pytest.approx(0.05)
    assert size(confidence=0.2, volatility=0.6) == pytest.approx(0.03)
    assert size(confidence=1.0, volatility=0.01) == 0.2


def test_costs_are_both_fees_and_the_spread() -> None:
    quote = msgspec.structs.replace(tick(BTC, 100.0, 0), bid=99.9, ask=100.1)
    assert round_trip_costs(market(BTC), quote) == pytest.approx(2 * 0.002 + 2 * 0.001)
    assert round_trip_costs(None, None) == 0


@given(
    probability=st.none() | st.floats(0, 1),
    confidence=st.floats(0, 1),
    volatility=st.none() | st.floats(allow_nan=True),
    loss=st.floats(0.001, 0.5),
    win=st.none() | st.floats(0.001, 5),
    costs=st.floats(0, 0.1),
    cap=st.floats(0.01, 1),
)
def test_no_bet_is_sized_beyond_the_cap_or_below_nothing(
    probability: float | None,
    confidence: float,
    volatility: float | None,
    loss: float,
    win: float | None,
    costs: float,
    cap: float,
) -> None:
    asked = request(
        probability=probability, confidence=confidence, volatility=volatility, stop_loss=loss, take_profit=win
    )
    with suppress(RefusedError):
        assert 0 <= position_size(asked, costs, RiskConfig(position_cap=cap)) <= cap
