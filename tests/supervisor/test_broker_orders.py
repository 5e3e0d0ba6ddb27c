"""What the broker is told, and told again, until it says that it is so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from levibot.bus.messages import FlattenPositions, FlattenReport, Message, SetTradingState, TradingStateReport
from levibot.risk.memory import RiskMemory
from levibot.risk.stops import Stops
from levibot.supervisor import broker_orders
from levibot.supervisor.broker_orders import BrokerOrders

BTC = "BTC/USDT"


class Place:
    """The supervisor's side; the broker's words are the test's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ns = 1_000_000_000_000
        self.begin()

    def begin(self) -> None:
        """A new supervisor, that knows what is on disk."""
        self.sent: list[Message] = []
        self.stops = Stops(RiskMemory(self.path, lambda: 1_700_000_000_000), lambda: 0, lambda *_: None)
        self.orders = BrokerOrders(self.stops, self.sent.append, structlog.get_logger())

    def turn(self, seconds: float = 0.0) -> list[Message]:
        """Let time pass; what is said to the broker."""
        self.now_ns += int(seconds * 1e9)
        self.sent.clear()
        self.orders.turn()
        return list(self.sent)

    def entries(self, request: Any, *left: str) -> None:
        assert isinstance(request, SetTradingState)
        self.orders.on_trading_state(TradingStateReport(request.request_id, request.state, list(left)))

    def closed(self, request: Any, left: dict[str, str] | None = None, dust: dict[str, str] | None = None) -> None:
        assert isinstance(request, FlattenPositions)
        self.orders.on_flatten(FlattenReport(request.request_id, left or {}, dust or {}))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path / "risk.json")
    monkeypatch.setattr(broker_orders, "boot_ns", lambda: made.now_ns)
    return made


def test_it_is_asked_again_until_no_entry_is_left(place: Place) -> None:
    place.stops.engage_kill_switch("too hot", "alice")
    (first,) = place.turn()
    assert isinstance(first, SetTradingState)
    assert (first.state, first.reason) == ("REDUCING", "kill_switch: too hot")
    assert place.turn(0.1) == []
    place.entries(first, "a", "b")
    assert (place.orders.entries_left, place.orders.confirmed) == (["a", "b"], False)
    (second,) = place.turn(0.5)
    place.entries(first)  # an old answer says nothing
    assert not place.orders.confirmed
    place.entries(second)
    assert place.orders.confirmed
    assert place.turn(4) == []
    (reminder,) = place.turn(1)  # a broker that opened its books anew has forgotten it
    assert place.orders.confirmed
    place.entries(reminder, "c")
    assert not place.orders.confirmed, "an order that nobody knew of is one of ours"


def test_entries_may_rest_while_trading_is_active(place: Place) -> None:
    (first,) = place.turn()
    place.entries(first, "a")
    assert place.orders.confirmed


def test_what_the_kill_switch_wants_closed_is_asked_for_until_it_is_and_then_all_is_halted(place: Place) -> None:
    place.stops.engage_kill_switch("too hot", "alice", flatten=True)
    state, close = place.turn()
    place.entries(state)
    assert isinstance(close, FlattenPositions)
    assert close.symbols == []
    place.closed(close, left={BTC: "attempt 1"})
    assert place.stops.status.state == "REDUCING"
    (again,) = place.turn(0.5)
    assert place.orders.kill_report is not None
    assert place.orders.kill_report.left == {BTC: "attempt 1"}
    assert place.orders.kill_left == {BTC: "attempt 1"}
    place.closed(again, dust={"ETH/USDT": "0.0001"})
    assert place.orders.kill_left is None
    assert place.stops.status.state == "HALTED"
    (halted,) = place.turn(0.5)
    assert isinstance(halted, SetTradingState)
    assert halted.state == "HALTED"


def test_it_goes_on_after_a_restart_of_either_side_and_ends_when_the_switch_is_released(place: Place) -> None:
    place.stops.engage_kill_switch("too hot", "alice", flatten=True)
    place.turn()
    place.begin()
    assert [type(message) for message in place.turn()] == [SetTradingState, FlattenPositions]
    place.sent.clear()
    place.orders.broker_started()
    assert [type(message) for message in place.sent] == [SetTradingState, FlattenPositions]
    place.stops.release_kill_switch("", "alice")
    (active,) = place.turn(5)
    assert isinstance(active, SetTradingState)
    assert active.state == "ACTIVE"


def test_single_positions_are_closed_within_a_time_or_given_up(place: Place) -> None:
    async def close() -> tuple[FlattenReport | None, FlattenReport | None]:
        task = asyncio.create_task(place.orders.close([BTC], "removed", 10))
        await asyncio.sleep(0)
        place.closed(place.sent[-1], left={BTC: "attempt 1"})
        await asyncio.sleep(0.03)
        assert not task.done()
        place.turn(1)
        place.closed(place.sent[-1])
        done = await task
        vain = asyncio.create_task(place.orders.close([BTC], "removed", 10))
        await asyncio.sleep(0)
        place.closed(place.sent[-1], left={BTC: "no price"})
        place.now_ns += 11_000_000_000
        return done, await vain

    done, vain = asyncio.run(close())
    assert done is not None
    assert done.left == {}
    assert vain is not None
    assert vain.left == {BTC: "no price"}
    assert not [message for message in place.turn(5) if isinstance(message, FlattenPositions)]
    assert place.stops.status.state == "ACTIVE"
