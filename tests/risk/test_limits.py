"""Each limit refuses by its name, and leaves what room there is."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.messages import Grant, RiskAnswer, RiskRefused
from tests.execution.examples import market
from tests.risk.market import BTC, ETH, MORNING_MS, Desk, intent, only, position
from tests.risk.test_correlation import FIRST, bar, closes

SOL = "SOL/USDT"


def desk_of(folder: Path, **limits: Any) -> Desk:
    """10 000 in cash, three markets at 100."""
    desk = Desk(folder / "risk.json", only(**limits))
    desk.know()
    for symbol in (BTC, ETH, SOL):
        desk.price(symbol, 100.0)
    return desk


def quantity(answer: RiskAnswer) -> Decimal:
    assert isinstance(answer, Grant), answer
    return answer.max_quantity


def refused(answer: RiskAnswer) -> str:
    assert isinstance(answer, RiskRefused), answer
    return answer.reason.partition(":")[0]


def test_a_size_below_the_cap_is_of_the_position_not_of_each_order(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, kelly_fraction=0.25)
    bet = {"probability": 0.6, "confidence": 0.2, "volatility": 0.6, "stop_loss": 0.02, "take_profit": 0.024}
    assert quantity(desk.ask("a", **bet)) == pytest.approx(Decimal(1)), "the golden value: a hundredth"
    assert refused(desk.ask("b", **bet)) == "position_cap"
    desk.sleep(4)
    order = intent("a", quantity="0.4")
    desk.events(desk.broker.submitted(order), desk.broker.filled(order, "100"))
    assert quantity(desk.ask("c", **bet)) == pytest.approx(Decimal("0.6"))


def test_a_bet_that_does_not_pay_is_refused_by_name(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    assert refused(desk.ask("a", probability=0.1, take_profit=0.02)) == "no_edge"
    assert desk.risk.refusals == {"no_edge": 1}


def test_gross_exposure_counts_both_sides(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, gross_exposure=0.5)
    desk.know("10000", position(ETH, "20", "100"), position(SOL, "-20", "100"))  # equity 10 000
    assert quantity(desk.ask("a")) == 10
    assert refused(desk.ask("b")) == "gross_exposure"


def test_net_exposure_is_the_difference_and_pending_orders_hedge_nothing(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, net_exposure=0.25, position_cap=0.5)
    desk.know("10000", position(ETH, "20", "100"), position(SOL, "-10", "100"))  # equity 11 000, net 1 000
    assert quantity(desk.ask("a", side="sell")) == Decimal("37.5")
    desk.sleep(4)
    pending = intent("short", BTC, side="sell", quantity="10", limit_price="100")
    desk.events(desk.broker.submitted(pending))
    assert quantity(desk.ask("b", ETH)) == Decimal("17.5")
    assert refused(desk.ask("c", ETH)) == "net_exposure"


def move(desk: Desk, **returns: list[float]) -> None:
    for name, changes in returns.items():
        bars = [bar(f"{name}/USDT", FIRST + at, price) for at, price in enumerate(closes(changes))]
        desk.risk.on_bars(bars)


UP_DOWN = [0.001, -0.001, 0.002, -0.0005] * 12
APART = [0.001, 0.001, -0.001, -0.001] * 12


def test_markets_that_move_together_share_one_limit(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, correlated_exposure=0.3)
    move(desk, BTC=UP_DOWN, ETH=UP_DOWN, SOL=APART)
    assert quantity(desk.ask("a")) == 20
    assert quantity(desk.ask("b", ETH)) == 10
    assert quantity(desk.ask("c", SOL)) == 20
    assert refused(desk.ask("d", ETH)) == "correlated_exposure"


def test_what_is_not_known_counts_as_moving_together(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, correlated_exposure=0.3)
    assert quantity(desk.ask("a")) == 20
    assert quantity(desk.ask("b", ETH)) == 10
    assert refused(desk.ask("c", SOL)) == "correlated_exposure"


def test_a_short_hedges_a_market_that_moves_along_and_adds_to_one_that_is_opposed(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, correlated_exposure=0.3)
    move(desk, BTC=UP_DOWN, ETH=UP_DOWN, SOL=[-change for change in UP_DOWN])
    assert quantity(desk.ask("a")) == 20
    assert quantity(desk.ask("b", ETH, side="sell")) == 20
    assert quantity(desk.ask("c", SOL, side="sell")) == 10


def test_no_market_in_the_middle_joins_more_than_the_limit(tmp_path: Path) -> None:
    """ETH moves with BTC and with SOL, which do not move with each other: around ETH there are all three."""
    desk = desk_of(tmp_path, correlated_exposure=0.3, correlation=0.5)
    fast = [0.001, -0.001] * 24  # not correlated with APART
    both = [one + other for one, other in zip(fast, APART, strict=True)]
    move(desk, BTC=fast, ETH=both, SOL=APART)
    assert quantity(desk.ask("a", ETH)) == 20
    assert quantity(desk.ask("b", BTC)) == 10
    assert refused(desk.ask("c", SOL)) == "correlated_exposure"


def test_so_many_grants_a_minute_of_event_time(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, orders_per_minute=2)
    quantity(desk.ask("a"))
    quantity(desk.ask("b", ETH))
    assert refused(desk.ask("c", SOL)) == "orders_per_minute"
    desk.price(SOL, 100.0, MORNING_MS + 59_999)
    assert refused(desk.ask("d", SOL)) == "orders_per_minute"
    desk.price(SOL, 100.0, MORNING_MS + 60_000)
    quantity(desk.ask("e", SOL))


def test_a_restart_forgets_no_grant_of_the_last_minute(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, orders_per_minute=2)
    quantity(desk.ask("a"))
    desk.risk.store_if_due(60_000_000_000)
    quantity(desk.ask("b", ETH))
    risk = desk.start()
    risk.on_missed_events([desk.broker.submitted(intent("b", ETH))])  # granted after the last write
    desk.know()
    for symbol in (BTC, ETH, SOL):
        desk.price(symbol, 100.0)
    assert refused(desk.ask("c", SOL)) == "orders_per_minute"


def test_grants_of_a_market_time_that_is_still_to_come_are_none_of_the_last_minute(tmp_path: Path) -> None:
    """A recording is played again, or a clock was ahead."""
    desk = desk_of(tmp_path, orders_per_minute=2)
    quantity(desk.ask("a"))
    quantity(desk.ask("b", ETH))
    desk.risk.store_if_due(60_000_000_000)
    desk.start()
    desk.know()
    for symbol in (BTC, ETH, SOL):
        desk.price(symbol, 100.0, MORNING_MS - 3_600_000)
    quantity(desk.ask("c", SOL))


def test_a_grant_that_is_out_counts_at_the_price_to_which_its_market_has_risen(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, position_cap=0.2)
    assert quantity(desk.ask("a")) == 20
    desk.price(BTC, 101.0)
    desk.events(desk.broker.moved("100"))
    assert refused(desk.ask("b")) == "position_cap", "2020 of 10100"


def test_one_order_costs_no_more_than_its_limit(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_order_notional=500.0)
    assert quantity(desk.ask("a")) == 5
    assert quantity(desk.ask("b")) == 5


@pytest.mark.parametrize(("price", "granted"), [("98", True), ("97.9", False), ("102", True), ("102.1", False)])
def test_a_price_far_from_the_last_trade_is_refused(tmp_path: Path, price: str, granted: bool) -> None:
    desk = desk_of(tmp_path, price_collar=0.02)
    answer = desk.ask("a", price=price)
    assert isinstance(answer, Grant) if granted else refused(answer) == "price_collar"


def test_a_size_that_the_market_would_not_take_or_not_close_is_refused_here(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_order_notional=5.5)
    desk.risk.set_market(BTC, market(BTC), "")  # min_cost 5
    assert refused(desk.ask("a", stop_loss=0.02)) == "below_minimum"
    desk.risk.use(only(max_order_notional=6.0))
    assert quantity(desk.ask("b", stop_loss=0.02)) == Decimal("0.060")
    assert refused(desk.ask("c", stop_loss=0.2)) == "below_minimum", "what is left at its stop is dust"


def test_a_grant_is_in_whole_steps_of_the_market(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_order_notional=333.3333)
    desk.risk.set_market(BTC, market(BTC), "")
    assert quantity(desk.ask("a")) == Decimal("3.333")


def test_dust_takes_no_place_and_hinders_neither_side(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_positions=1)
    for symbol in (BTC, ETH):
        desk.risk.set_market(symbol, market(symbol), "")
    desk.know("10000", position(ETH, "0.0404", "100"))
    assert desk.risk.summary(desk.now_ns)["positions_open"] == 0
    quantity(desk.ask("a"))
    desk.sleep(4)
    quantity(desk.ask("b", ETH, side="sell"))
    desk.know("10000", position(ETH, "0.05", "100"))
    assert refused(desk.ask("c")) == "max_positions"


def test_dust_without_a_fresh_price_stops_nothing(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.risk.set_market(ETH, market(ETH), "")
    desk.know("10000", position(ETH, "0.01", "100"))
    desk.sleep(60)
    desk.price(BTC, 100.0)
    assert desk.risk.refresh(desk.now_ns).state == "ACTIVE"
    assert desk.risk.summary(desk.now_ns)["equity_now"] == 10_001.0


def test_other_limits_are_in_force_at_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.risk.use(only(position_cap=0.05))
    assert quantity(desk.ask("a")) == 5
