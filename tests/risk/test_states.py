"""ACTIVE, REDUCING, HALTED: why, since when, and what survives a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from levibot.bus.messages import Grant, RiskRefused
from levibot.config_risk import RiskConfig
from levibot.errors import NewerSchemaError
from levibot.risk.stops import RiskStatus
from tests.full_disk import full_disk
from tests.risk.market import BTC, DAY_MS, ETH, MORNING_MS, Desk, intent, position

TOMORROW_MS = (MORNING_MS // DAY_MS + 1) * DAY_MS


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """8 000 in cash and 20 BTC at 100: the equity is 10 000."""
    desk = Desk(tmp_path / "state" / "risk.json")
    desk.price(BTC, 100.0)
    desk.price(ETH, 100.0)
    desk.know("8000", position(BTC, "20", "100"))
    return desk


def state(desk: Desk) -> str:
    return desk.risk.refresh(desk.now_ns).state


def may_open(desk: Desk) -> bool:
    desk.price(ETH, 100.0, event_ms=0)
    return isinstance(desk.ask(f"probe-{desk.now_ns}", ETH), Grant)


def test_all_is_well_at_first(desk: Desk) -> None:
    assert desk.risk.status == RiskStatus("ACTIVE", "", desk.wall_ms)
    assert may_open(desk)


def test_an_old_mark_of_an_open_position_reduces_until_a_new_one_comes(desk: Desk) -> None:
    desk.sleep(30)
    assert state(desk) == "ACTIVE"
    desk.sleep(1)
    assert desk.risk.status == RiskStatus("REDUCING", f"stale_mark: no fresh price of {BTC}", desk.wall_ms)
    began = desk.wall_ms
    desk.sleep(5)
    assert desk.risk.status.since_ms == began
    assert not may_open(desk)
    assert desk.risk.summary(desk.now_ns)["equity_now"] is None
    desk.price(BTC, 100.0)
    assert state(desk) == "ACTIVE"
    assert may_open(desk)


def test_a_position_that_is_closed_needs_no_price_any_more(desk: Desk) -> None:
    desk.know("8000", position(BTC, "20", "100"))
    desk.sleep(31)
    assert desk.risk.status.state == "REDUCING"
    closing = intent("out", quantity="20", side="sell", role="exit")
    assert desk.events(desk.broker.submitted(closing), desk.broker.filled(closing, "100"))
    assert desk.risk.status.state == "ACTIVE"


def test_a_position_that_was_never_priced_reduces(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json")
    desk.know("8000", position(BTC, "20", "100"))
    assert state(desk) == "REDUCING"
    desk.price(BTC, 100.0)
    assert state(desk) == "ACTIVE"


def test_conditions_hold_as_long_as_any_of_them(desk: Desk) -> None:
    desk.risk.stops.set_condition("feed", True, "6 restarts in an hour")
    desk.risk.stops.set_condition("broker", True, "gone")
    assert desk.risk.status.reason == "feed: 6 restarts in an hour; broker: gone"
    answer = desk.ask("a", ETH)
    assert isinstance(answer, RiskRefused)
    assert answer.reason == "reducing: feed: 6 restarts in an hour; broker: gone"
    desk.risk.stops.set_condition("feed", False)
    assert state(desk) == "REDUCING"
    desk.risk.stops.set_condition("broker", False)
    assert state(desk) == "ACTIVE"
    desk.risk.stops.set_condition("broker", False)
    assert state(desk) == "ACTIVE"


def test_conditions_do_not_survive_a_restart(desk: Desk) -> None:
    desk.risk.stops.set_condition("feed", True, "unstable")
    desk.start()
    assert desk.risk.status.state == "ACTIVE"


# ------------------------------------------------------------------ kill switch


def test_the_kill_switch_holds_over_restarts_until_it_is_released(desk: Desk) -> None:
    desk.risk.stops.engage_kill_switch("the operator said so", "ann")
    engaged = desk.wall_ms
    assert desk.risk.status == RiskStatus("REDUCING", "kill_switch: the operator said so", engaged)
    assert not may_open(desk)
    desk.sleep(100)
    desk.start()
    assert desk.risk.status == RiskStatus("REDUCING", "kill_switch: the operator said so", engaged)
    desk.know("10000")
    desk.price(ETH, 100.0, TOMORROW_MS + 5)
    assert not may_open(desk)
    desk.risk.stops.release_kill_switch("calm again", "ann")
    assert may_open(desk)
    desk.start()
    assert desk.risk.status.state == "ACTIVE"


def test_the_first_reason_of_a_latch_stays(desk: Desk) -> None:
    desk.risk.stops.engage_kill_switch("first", "ann")
    desk.sleep(10)
    desk.risk.stops.engage_kill_switch("second", "ann")
    assert desk.risk.status == RiskStatus("REDUCING", "kill_switch: first", desk.wall_ms - 10_000)


def test_halted_is_stronger_than_reducing(desk: Desk) -> None:
    desk.risk.stops.set_condition("feed", True, "unstable")
    desk.price(BTC, 80.0)
    assert state(desk) == "HALTED"
    assert desk.risk.status.reason.startswith("daily_stop: ")
    desk.risk.reset_day("calm again", "ann", desk.now_ns)
    assert state(desk) == "REDUCING"


def test_the_kill_switch_halts_only_after_flattening_which_is_remembered(desk: Desk) -> None:
    desk.risk.stops.engage_kill_switch("enough", "ann")
    desk.risk.stops.halt_after_flatten()
    assert state(desk) == "REDUCING", "nobody asked for it"
    desk.risk.stops.engage_kill_switch("really", "bob", flatten=True)
    assert state(desk) == "REDUCING"
    kill_switch = desk.start().stops.kill_switch
    assert kill_switch is not None
    assert (kill_switch.reason, kill_switch.who, kill_switch.flatten) == ("enough", "ann", True)
    desk.risk.stops.halt_after_flatten()
    assert desk.start().status.state == "HALTED"
    desk.risk.stops.release_kill_switch("calm again", "ann")
    assert desk.start().status.state == "ACTIVE"


def test_what_came_in_after_all_was_closed_is_closed_when_it_is_asked_for_again(desk: Desk) -> None:
    stops = desk.risk.stops
    stops.engage_kill_switch("enough", "ann", flatten=True)
    stops.halt_after_flatten()
    stops.engage_kill_switch("still enough", "ann")
    assert desk.risk.status.state == "HALTED"
    stops.engage_kill_switch("there is more", "bob", flatten=True)
    assert stops.kill_switch is not None
    assert (stops.kill_switch.flatten, stops.kill_switch.halted) == (True, False)
    assert stops.kill_switch.reason == "enough"
    assert desk.risk.status.state == "REDUCING"
    assert desk.audit[-1] == ("kill_switch_flatten", "bob", "there is more")
    desk.start()
    desk.risk.stops.halt_after_flatten()
    assert desk.risk.status.state == "HALTED"


def test_each_change_of_a_latch_is_told_to_the_audit_once(desk: Desk) -> None:
    stops = desk.risk.stops
    for _ in range(2):
        stops.engage_kill_switch("enough", "ann", flatten=True)
    for _ in range(2):
        stops.halt_after_flatten()
    desk.price(BTC, 80.0)
    for _ in range(2):
        stops.release_kill_switch("calm again", "bob")
    desk.price(BTC, 80.0, TOMORROW_MS)
    assert [(action, who) for action, who, _ in desk.audit] == [
        ("kill_switch_on", "ann"),
        ("kill_switch_flatten", "ann"),
        ("halted", "risk"),
        ("daily_stop_on", "risk"),
        ("kill_switch_off", "bob"),
        ("daily_stop_off", "risk"),
    ]
    assert desk.audit[4][2] == "calm again"


# ------------------------------------------------------------------ daily stop


@pytest.mark.parametrize(("price", "expected"), [(85.05, "ACTIVE"), (85.0, "HALTED"), (80.0, "HALTED")])
def test_an_unrealised_loss_of_three_percent_halts(desk: Desk, price: float, expected: str) -> None:
    desk.price(BTC, price)
    assert state(desk) == expected


def test_a_realised_loss_halts_too(desk: Desk) -> None:
    leave = intent("x", side="sell", quantity="20", role="exit")
    desk.events(desk.broker.submitted(leave), desk.broker.filled(leave, "84"))
    assert desk.risk.status.state == "HALTED"
    assert "-3.20%" in desk.risk.status.reason


def test_the_daily_stop_is_latched_and_survives_a_restart(desk: Desk) -> None:
    desk.price(BTC, 80.0)
    stopped = desk.wall_ms
    desk.price(BTC, 120.0)
    assert state(desk) == "HALTED"
    desk.sleep(60)
    desk.start()
    desk.know("8000", position(BTC, "20", "100"))
    desk.price(BTC, 120.0)
    assert desk.risk.status.state == "HALTED"
    assert desk.risk.status.since_ms == stopped


def test_only_a_new_utc_day_of_event_time_clears_the_daily_stop(desk: Desk) -> None:
    desk.price(BTC, 80.0)
    desk.sleep(2 * 86_400)
    desk.price(BTC, 80.0, TOMORROW_MS - 1)
    assert desk.risk.status.state == "HALTED"
    desk.price(BTC, 80.0, TOMORROW_MS)
    assert state(desk) == "ACTIVE"
    desk.price(BTC, 80.0, TOMORROW_MS - 1)  # a late price of yesterday brings nothing back
    assert state(desk) == "ACTIVE"


def test_a_new_day_counts_from_the_last_equity_before_midnight(desk: Desk) -> None:
    desk.price(BTC, 110.0, TOMORROW_MS - 1000)
    desk.price(BTC, 200.0, TOMORROW_MS)
    summary = desk.risk.summary(desk.now_ns)
    assert summary["equity_start_day"] == 10_200.0
    assert summary["equity_now"] == 12_000.0


def test_a_restart_never_takes_the_starting_equity_again(desk: Desk) -> None:
    desk.price(BTC, 90.0)
    desk.start()
    desk.price(BTC, 90.0)
    desk.know("8000", position(BTC, "20", "100"))
    summary = desk.risk.summary(desk.now_ns)
    assert (summary["equity_start_day"], summary["equity_now"]) == (10_000.0, 9_800.0)
    desk.price(BTC, 85.0)
    assert desk.risk.status.state == "HALTED"


def test_a_restart_after_midnight_counts_from_the_last_stored_equity(desk: Desk) -> None:
    desk.price(BTC, 110.0, TOMORROW_MS - 60_000)
    desk.sleep(11)
    desk.start()
    desk.price(BTC, 150.0, TOMORROW_MS + 60_000)
    desk.know("8000", position(BTC, "20", "100"))
    assert desk.risk.summary(desk.now_ns)["equity_start_day"] == 10_200.0


def test_the_stop_that_was_latched_yesterday_clears_after_a_restart_today(desk: Desk) -> None:
    desk.price(BTC, 80.0)
    desk.start()
    desk.price(BTC, 80.0, TOMORROW_MS)
    desk.know("8000", position(BTC, "20", "100"))
    assert state(desk) == "ACTIVE"
    assert desk.risk.summary(desk.now_ns)["equity_start_day"] == 9_600.0


def test_a_loss_while_the_supervisor_was_down_counts(desk: Desk) -> None:
    desk.start()
    desk.price(BTC, 80.0)
    desk.know("8000", position(BTC, "20", "100"))
    assert state(desk) == "HALTED"


def test_the_operator_may_reset_the_day(desk: Desk) -> None:
    desk.price(BTC, 80.0)
    desk.risk.reset_day("calm again", "ann", desk.now_ns)
    assert desk.risk.status.state == "ACTIVE"
    assert desk.risk.summary(desk.now_ns)["equity_start_day"] == 9_600.0
    desk.start()
    assert desk.risk.status.state == "ACTIVE"


def test_resetting_the_day_leaves_the_kill_switch(desk: Desk) -> None:
    desk.risk.stops.engage_kill_switch("enough", "ann")
    desk.risk.reset_day("calm again", "ann", desk.now_ns)
    assert desk.risk.status.state == "REDUCING"


# ------------------------------------------------------------------ the file


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 2, "latches": {"kill_switch": true}}', b"[]"])
def test_a_damaged_memory_reduces_because_the_kill_switch_may_have_been_on(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "risk.json"
    path.write_bytes(content)
    desk = Desk(path)
    aside = desk.risk.memory.set_aside
    assert aside is not None
    assert aside.read_bytes() == content
    assert desk.risk.status.state == "REDUCING"
    assert desk.risk.stops.kill_switch is not None
    assert aside.name in desk.risk.status.reason
    desk.risk.stops.release_kill_switch("calm again", "ann")
    assert desk.start().status.state == "ACTIVE"


def test_a_damaged_memory_is_found_damaged_again_until_another_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    path.write_bytes(b"{")
    with full_disk(room=0):
        desk = Desk(path)
        assert desk.risk.memory.refused
    desk.start()
    assert desk.risk.stops.kill_switch is not None
    desk.start()
    assert desk.risk.memory.set_aside is None
    assert desk.risk.stops.kill_switch is not None


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    path.write_text('{"schema": 3}')
    with pytest.raises(NewerSchemaError):
        Desk(path)
    assert path.read_text() == '{"schema": 3}'


def test_people_can_read_the_memory(desk: Desk) -> None:
    desk.risk.stops.engage_kill_switch("enough", "ann")
    written = json.loads(desk.path.read_text())
    latch = {"reason": "enough", "since": "2025-06-15T15:06:40Z", "who": "ann", "flatten": False, "halted": False}
    assert written["latches"] == {"kill_switch": latch}
    assert written["day_start"]["equity"] == "10000.0"


def test_a_full_disk_weakens_no_stop_and_is_caught_up_with(desk: Desk) -> None:
    before = desk.path.read_bytes()
    with full_disk(room=10):
        desk.risk.stops.engage_kill_switch("enough", "ann")
        desk.sleep(1)
    assert desk.risk.status.state == "REDUCING"
    assert desk.risk.memory.refused >= 1
    assert desk.path.read_bytes() == before
    desk.sleep(1)
    assert desk.start().status.state == "REDUCING"


def test_what_an_earlier_levibot_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    latches = {"kill_switch": {"reason": "enough", "since": "2025-06-15T15:06:40Z"}}
    day_start = {"day": MORNING_MS // DAY_MS, "equity": "12000", "book_value": "12000"}
    path.write_text(json.dumps({"schema": 1, "latches": latches, "day_start": day_start, "last": None}))
    desk = Desk(path)
    assert (desk.risk.memory.set_aside, desk.risk.status.state) == (None, "REDUCING")
    assert desk.risk.summary(desk.now_ns)["equity_start_day"] == 12_000.0


# ------------------------------------------------------------------ the summary


def test_the_summary_keeps_the_contract(desk: Desk) -> None:
    desk.price(BTC, 101.0)
    assert desk.risk.summary(desk.now_ns) == {
        "equity_now": 10_020.0,
        "equity_start_day": 10_000.0,
        "realized_today_pct": 0.0,
        "today_pct": 0.002,
        "positions_open": 1,
        "global_stop": False,
        "kill_switch": False,
        "state": "ACTIVE",
        "reason": "",
        "since_ms": desk.wall_ms,
        "grants_open": 0,
        "gross_exposure": 2_020.0,
        "net_exposure": 2_020.0,
        "locks": [],
        "policy": RiskConfig().model_dump(),
    }


def test_realised_today_is_told_from_unrealised(desk: Desk) -> None:
    leave = intent("x", side="sell", quantity="10", role="exit")
    desk.price(BTC, 105.0)
    desk.events(desk.broker.submitted(leave), desk.broker.filled(leave, "105"))
    summary = desk.risk.summary(desk.now_ns)
    assert (summary["realized_today_pct"], summary["today_pct"]) == (0.005, 0.01)


def test_what_is_unknown_is_none_never_a_number(tmp_path: Path) -> None:
    summary = Desk(tmp_path / "risk.json").risk.summary(0)
    unknown = ("equity_now", "equity_start_day", "realized_today_pct", "today_pct")
    assert {summary[key] for key in unknown} == {None}


def test_the_limits_are_those_of_the_configuration(tmp_path: Path) -> None:
    config = RiskConfig(position_cap=0.1, max_positions=2, daily_loss=0.05, grant_life=1.0, mark_max_age=5.0)
    assert Desk(tmp_path / "risk.json", config).risk.summary(0)["policy"] == config.model_dump()
