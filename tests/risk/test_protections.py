"""Locks after losses: when they begin, what they refuse, when they end, and that they are remembered."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from levibot.bus.messages import Grant, RiskRefused, Role
from levibot.config_risk import ProtectionsConfig
from tests.execution.examples import market
from tests.risk.market import BTC, DAY_MS, ETH, MORNING_MS, Desk, intent, only, position

MINUTE_MS = 60_000
OFF = {"cooldown_minutes": 0, "stop_guard_count": 0, "max_drawdown": 0, "low_profit_trades": 0}
TOMORROW_MS = (MORNING_MS // DAY_MS + 1) * DAY_MS


def desk_of(folder: Path, **protections: Any) -> Desk:
    """10 000 in cash, BTC and ETH at 100, and these protections alone."""
    rules = ProtectionsConfig.model_validate({**OFF, **protections})
    desk = Desk(folder / "risk.json", only(protections=rules, daily_loss=1.0, symbol_daily_loss=1.0))
    desk.know()
    at(desk, 0)
    return desk


def at(desk: Desk, minutes: float, price: float = 100.0) -> None:
    """It is so many minutes past nine."""
    for symbol in (BTC, ETH):
        desk.price(symbol, price, MORNING_MS + round(minutes * MINUTE_MS))


def trade(desk: Desk, number: int, price: str, *, role: Role = "stop", symbol: str = BTC) -> None:
    """Ten are bought at 100, and sold at `price`."""
    entry = intent(f"in{number}", symbol, quantity="10")
    leave = intent(f"out{number}", symbol, "sell", "10", role=role)
    broker = desk.broker
    desk.events(broker.submitted(entry), broker.filled(entry, "100"))
    desk.events(broker.submitted(leave), broker.filled(leave, price))


def verdict(desk: Desk, symbol: str = BTC) -> str:
    answer = desk.ask(f"probe{len(desk.risk.refusals)}-{desk.risk.granted}-{desk.now_ns}", symbol)
    desk.sleep(4)
    for known in (BTC, ETH):
        desk.price(known, 100.0, 0)
    assert isinstance(answer, Grant | RiskRefused)
    return "granted" if isinstance(answer, Grant) else answer.reason.partition(":")[0]


def locks(desk: Desk) -> list[tuple[str, str, float]]:
    """Symbol, rule, and minutes past nine when it ends."""
    found = desk.risk.summary(desk.now_ns)["locks"]
    return [(lock["symbol"], lock["rule"], (lock["until_ms"] - MORNING_MS) / MINUTE_MS) for lock in found]


def test_a_symbol_that_was_stopped_out_cools_down(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, cooldown_minutes=5)
    trade(desk, 1, "101", role="take_profit")
    trade(desk, 2, "99", role="exit")
    assert (verdict(desk), locks(desk)) == ("granted", [])
    trade(desk, 3, "99")
    assert locks(desk) == [(BTC, "cooldown", 5.0)]
    assert (verdict(desk), verdict(desk, ETH)) == ("cooldown", "granted")
    at(desk, 4.99)
    assert verdict(desk) == "cooldown"
    at(desk, 5)
    assert (verdict(desk), locks(desk)) == ("granted", [])


def test_what_an_operator_closes_is_not_stopped_out_but_an_emergency_is(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, cooldown_minutes=5)
    entry = intent("in1", quantity="10")
    closing = intent("out1", side="sell", quantity="10", role="emergency", limit_price="99")
    closing = msgspec.structs.replace(closing, kind="limit")
    desk.events(desk.broker.submitted(entry), desk.broker.filled(entry, "100"))
    desk.events(desk.broker.submitted(closing), desk.broker.filled(closing, "99"))
    assert (verdict(desk), locks(desk)) == ("granted", [])
    trade(desk, 2, "99", role="emergency")
    assert locks(desk) == [(BTC, "cooldown", 5.0)]


def test_too_many_stops_lock_all_symbols(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, stop_guard_count=3, stop_guard_lookback_minutes=60, stop_guard_lock_minutes=30)
    trade(desk, 1, "99")
    trade(desk, 2, "99", symbol=ETH)
    trade(desk, 3, "101")  # a stop that brought a profit
    trade(desk, 4, "99", role="exit")
    assert verdict(desk) == "granted"
    trade(desk, 5, "99")
    assert locks(desk) == [("*", "stop_guard", 30.0)]
    assert (verdict(desk), verdict(desk, ETH)) == ("stop_guard", "stop_guard")
    at(desk, 30)
    assert verdict(desk) == "granted"


def test_stops_before_the_lookback_are_forgotten(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, stop_guard_count=2, stop_guard_lookback_minutes=10, low_profit_lookback_minutes=1)
    desk.broker.event_ms = MORNING_MS
    trade(desk, 1, "99")
    desk.broker.event_ms = MORNING_MS + 10 * MINUTE_MS + 1
    trade(desk, 2, "99")
    assert locks(desk) == []
    desk.broker.event_ms += 1
    trade(desk, 3, "99")
    assert [rule for _, rule, _ in locks(desk)] == ["stop_guard"]


def test_a_symbol_that_loses_again_and_again_is_locked(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, low_profit_trades=2, low_profit=-0.02, low_profit_lock_minutes=90)
    trade(desk, 1, "99", role="exit")
    trade(desk, 2, "90", role="exit", symbol=ETH)
    trade(desk, 3, "99", role="exit")  # −2 % together
    assert verdict(desk) == "granted"
    trade(desk, 4, "99.9", role="exit")
    assert locks(desk) == [(BTC, "low_profit", 90.0)]
    assert (verdict(desk), verdict(desk, ETH)) == ("low_profit", "granted")


def test_a_fall_from_the_highest_equity_locks_all_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_drawdown=0.1, drawdown_lookback_minutes=60, drawdown_lock_minutes=20)
    desk.know("0", position(BTC, "100", "100"))
    at(desk, 1, 110.0)
    at(desk, 2, 99.1)
    assert locks(desk) == []
    at(desk, 3, 99.0)
    assert locks(desk) == [("*", "max_drawdown", 23.0)]
    at(desk, 23, 98.0)
    assert locks(desk) == [], "measured anew from where it began"


def test_the_highest_equity_leaves_the_lookback(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_drawdown=0.1, drawdown_lookback_minutes=60)
    desk.know("0", position(BTC, "100", "100"))
    for minute, price in ((1, 110.0), (30, 104.0), (62, 99.0)):
        at(desk, minute, price)
    assert locks(desk) == []
    at(desk, 63, 93.0)
    assert locks(desk) != []


def test_a_withdrawal_is_no_fall(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, max_drawdown=0.1)
    desk.events(desk.broker.moved("-5000"))
    at(desk, 1)
    assert locks(desk) == []
    assert desk.start().summary(desk.now_ns)["locks"] == []


def test_a_symbol_that_lost_too_much_today_opens_nothing_until_tomorrow(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json", only(symbol_daily_loss=0.01))
    desk.know("9000", position(BTC, "10", "100", realized="-500"))  # lost long ago
    at(desk, 0)
    at(desk, 1, 90.1)
    assert locks(desk) == []
    at(desk, 2, 90.0)
    at(desk, 3, 100.0)  # latched
    assert [rule for _, rule, _ in locks(desk)] == ["symbol_daily_loss"]
    assert (verdict(desk), verdict(desk, ETH)) == ("symbol_daily_loss", "granted")
    desk.start()
    desk.know("9000", position(BTC, "10", "100", realized="-500"))
    at(desk, 4)
    assert verdict(desk) == "symbol_daily_loss"
    desk.price(BTC, 100.0, TOMORROW_MS)
    assert verdict(desk) == "granted"


def test_the_loss_of_a_symbol_counts_what_is_realised_and_survives_a_restart(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json", only(symbol_daily_loss=0.01))
    desk.know()
    at(desk, 0)
    trade(desk, 1, "95", role="exit")
    desk.sleep(11)
    desk.start()
    at(desk, 1)
    desk.know("9950", position(BTC, "0", "0", realized="-50"))
    assert locks(desk) == []
    trade(desk, 2, "95", role="exit")
    assert [(symbol, rule) for symbol, rule, _ in locks(desk)] == [(BTC, "symbol_daily_loss")]
    desk.risk.reset_day("calm again", "ann", desk.now_ns)
    assert locks(desk) == []
    assert desk.start().summary(desk.now_ns)["locks"] == []


def test_locks_and_what_leads_to_them_survive_a_crash(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, stop_guard_count=2)
    trade(desk, 1, "99")
    desk.sleep(11)
    desk.start()
    desk.know("9990")
    at(desk, 1)
    trade(desk, 2, "99")
    assert [rule for _, rule, _ in locks(desk)] == ["stop_guard"]
    desk.start()
    assert [rule for _, rule, _ in locks(desk)] == ["stop_guard"], "written when it began"


def test_a_trade_that_was_closed_while_nobody_listened_is_judged_from_the_events(tmp_path: Path) -> None:
    """It was opened before the last write, and closed by its stop after it: nothing but the events tells."""
    desk = desk_of(tmp_path, cooldown_minutes=5)
    entry, stop = intent("in", quantity="10"), intent("out", side="sell", quantity="10", role="stop")
    broker = desk.broker
    desk.events(broker.submitted(entry), broker.filled(entry, "100"), broker.submitted(stop))
    desk.sleep(11)
    lost = [broker.filled(stop, "98")]
    desk.start()
    assert desk.risk.followed_seq == 3
    desk.risk.on_missed_events(lost)
    desk.know("9980")
    at(desk, 0)
    assert locks(desk) == [(BTC, "cooldown", 5.0)]


def test_dust_that_a_fee_leaves_ends_a_trade(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, cooldown_minutes=5)
    desk.risk.set_market(BTC, market(BTC), "")
    entry, stop = intent("in", quantity="10"), intent("out", side="sell", quantity="9.989", role="stop")
    broker = desk.broker
    desk.events(broker.submitted(entry), broker.filled(entry, "100", fee="0.0105", fee_asset="BTC"))
    desk.events(broker.submitted(stop), broker.filled(stop, "99"))
    assert desk.risk.portfolio.positions[BTC].quantity == Decimal("0.0005")
    assert locks(desk) == [(BTC, "cooldown", 5.0)]


def test_a_stop_that_is_filled_in_parts_is_one_trade(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, stop_guard_count=2)
    entry, stop = intent("in", quantity="10"), intent("out", side="sell", quantity="10", role="stop")
    broker = desk.broker
    desk.events(broker.submitted(entry), broker.filled(entry, "100"), broker.submitted(stop))
    for _ in range(3):
        desk.events(broker.filled(stop, "99", "3"))
    desk.events(broker.filled(intent("out", side="sell", quantity="1", role="stop"), "99"))
    assert BTC not in desk.risk.portfolio.positions
    assert locks(desk) == []
