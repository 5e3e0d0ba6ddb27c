"""A ledger forgets nothing, counts nothing twice, and says what is wrong with its file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from levibot.bus.messages import (
    OrderAccepted,
    OrderDenied,
    OrderSubmitted,
    Position,
)
from levibot.execution.ids import ClientId
from levibot.execution.ledger import SequenceHoleError
from levibot.execution.orders import OrderState
from tests.execution.examples import SYMBOL, D, entry, leave
from tests.execution.ledger_story import Story, opened

_NOON = 1_700_049_600_000  # 2023-11-15 12:00 UTC
_DAY = 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BTC-USDT.sqlite"


def state_of(path: Path, client_id: str) -> OrderState:
    """As the file has it, whether the order is at its end or not."""
    with closing(sqlite3.connect(path)) as file:
        ((state,),) = file.execute("SELECT state FROM orders WHERE client_id = ?", (client_id,))
    return OrderState(state)


def test_orders_position_and_history_come_back(path: Path) -> None:
    ledger, story = opened(path), Story()
    bought, waiting = entry("2"), entry("1")
    ledger.journal(bought)
    ledger.journal(waiting)
    for event in story.fill(bought, "100", fee="0.4"):
        assert ledger.apply(event)
    ledger.close()
    again = opened(path)
    assert again.position == Position(SYMBOL, D(2), D(100), D("-0.4"))
    assert again.open_ids() == [waiting.client_id]
    assert state_of(path, bought.client_id) is OrderState.FILLED
    assert (again.last_seq, again.trade_count) == (3, 1)
    assert list(again.history()) == story.events
    assert again.set_aside is None
    again.close()


def test_it_knows_when_the_position_was_entered_also_after_it_was_opened_again(path: Path) -> None:
    ledger, story = opened(path), Story()
    assert ledger.entered_ms == 0
    first, sold, second = entry("2"), leave("2"), entry("1")
    for number, intent in enumerate((first, sold, second), start=1):
        ledger.journal(intent)
        for event in story.fill(intent, "100"):
            ledger.apply(msgspec.structs.replace(event, event_ms=number * 1_000))
        assert ledger.entered_ms == (0 if intent is sold else number * 1_000)
    reduced = leave("0.5")
    ledger.journal(reduced)
    ledger.apply(*story.fill(reduced, "100"))
    ledger.close()
    again = opened(path)
    assert again.entered_ms == 3_000, "an exit of a part is no entry"
    again.close()


def test_an_event_that_comes_twice_counts_once(path: Path) -> None:
    ledger, story = opened(path), Story()
    bought = entry("2")
    ledger.journal(bought)
    for event in story.fill(bought, "100"):
        assert ledger.apply(event)
        assert not ledger.apply(event)
    assert ledger.position.quantity == 2
    ledger.close()


def test_events_that_come_together_are_all_taken_or_none(path: Path) -> None:
    ledger, story = opened(path), Story()
    bought, sold = entry("2"), leave("2")
    ledger.journal(bought)
    ledger.journal(sold)
    first = story.fill(bought, "100")
    second = story.fill(sold, "110")
    with pytest.raises(SequenceHoleError):
        ledger.apply(*first, second[-1])
    assert (ledger.last_seq, ledger.position.quantity) == (0, 0)
    applied = ledger.apply(*first, *second)
    assert [event for event, _ in applied] == [*first, *second]
    assert [position.quantity for _, position in applied] == [0, 0, 2, 2, 2, 0]
    assert applied[-1].position == ledger.position
    assert ledger.apply(*second) == []
    ledger.close()


def test_a_missing_event_is_reported_and_reconciling_brings_it(path: Path) -> None:
    ledger, story = opened(path), Story()
    bought = entry("2")
    ledger.journal(bought)
    first, _, last = story.fill(bought, "100")
    ledger.apply(first)
    with pytest.raises(SequenceHoleError, match="expected order event 2, got 3"):
        ledger.apply(last)
    outcome = ledger.reconcile(story.answer(since=1, quantity="2"))
    assert (outcome.applied, outcome.drift, ledger.last_seq) == (2, 0, 3)
    assert ledger.position.quantity == 2
    ledger.close()


def test_an_intent_that_never_arrived_is_closed(path: Path) -> None:
    ledger, story = opened(path), Story()
    lost = entry("1")
    ledger.journal(lost)
    outcome = ledger.reconcile(story.answer(unknown_ids=[lost.client_id, "somebody-elses"]))
    assert outcome.never_sent == [lost.client_id]
    assert ledger.open_ids() == []
    assert state_of(path, lost.client_id) is OrderState.DENIED
    ledger.close()


def test_stops_made_by_the_broker_are_adopted(path: Path) -> None:
    ledger, story = opened(path), Story()
    stop = leave("2", kind="stop", role="stop", trigger_price=D(98))
    story.add(OrderSubmitted, stop.client_id, intent=stop)
    story.add(OrderAccepted, stop.client_id, exchange_id="x")
    outcome = ledger.reconcile(story.answer(open_orders=[stop]))
    assert outcome.protective == [stop]
    assert ledger.open_orders() == {stop.client_id: (stop, OrderState.ACCEPTED)}
    ledger.close()


def test_a_position_that_differs_from_the_brokers_is_reported(path: Path) -> None:
    ledger = opened(path)
    assert ledger.reconcile(Story().answer(quantity="0.5")).drift == D("0.5")
    ledger.close()


def test_a_broker_that_knows_less_than_the_ledger_is_reported(path: Path) -> None:
    ledger, story = opened(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    assert ledger.reconcile(Story().answer()).broker_behind
    ledger.close()


def test_a_denial_that_was_not_journaled_closes_the_order_alone(path: Path) -> None:
    ledger, story = opened(path), Story()
    refused = entry("1")
    ledger.journal(refused)
    event = story.add(OrderDenied, refused.client_id, reason="disk full")
    assert ledger.apply(msgspec.structs.replace(event, seq=0, symbol_seq=0))
    assert (ledger.open_ids(), ledger.last_seq) == ([], 0)
    ledger.close()


def test_a_ledger_restored_from_an_older_copy_counts_under_a_new_name(path: Path) -> None:
    ledger, story = opened(path), Story()
    ledger.close()
    copy = path.read_bytes()
    ledger = opened(path)
    first = ledger.new_client_id("entry")
    ledger.close()
    path.write_bytes(copy)
    restored = opened(path)
    story.fill(entry("1", granted=False, client_id=first), "100")
    assert restored.reconcile(story.answer(quantity="1")).restored
    assert restored.new_client_id("entry") != first
    parsed = ClientId.parse(first)
    assert parsed is not None
    assert restored.generation != parsed.generation
    restored.close()


def test_a_ledger_restored_from_a_copy_within_a_reservation_repeats_no_id(path: Path) -> None:
    ledger = opened(path)
    seen = [ledger.new_client_id("entry")]
    ledger.close()
    copy = path.read_bytes()
    ledger = opened(path)
    seen += [ledger.new_client_id("entry") for _ in range(3)]
    ledger.close()
    path.write_bytes(copy)
    story, restored = Story(), opened(path)
    story.fill(entry("1", granted=False, client_id=seen[-1]), "100")
    assert restored.reconcile(story.answer(quantity="1")).restored
    assert restored.new_client_id("entry") not in seen
    restored.close()


def test_more_ids_than_are_reserved_at_once_all_differ(path: Path) -> None:
    ledger = opened(path)
    seen = {ledger.new_client_id("exit") for _ in range(200)}
    ledger.close()
    assert len(seen) == 200


def test_ids_are_never_used_twice_even_when_the_process_is_killed(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from levibot.execution.ledger import Ledger\n"
        f"ledger = Ledger.open(Path(sys.argv[1]), {SYMBOL!r}, 'test')\n"
        "for _ in range(5): print(ledger.new_client_id('entry'), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    seen: list[str] = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, check=False)
        seen += done.stdout.decode().split()
    assert len(seen) == len(set(seen)) == 15


def test_the_opening_value_of_a_day_survives_a_restart(path: Path) -> None:
    ledger, story = opened(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    assert ledger.daily_pnl(D(105), _NOON) == 10
    assert ledger.daily_pnl(D(110), _NOON + _DAY) == 10  # 105 was the last price of the day before
    ledger.close()
    again = opened(path)
    assert again.daily_pnl(D(101), _NOON + _DAY + 1) == -8
    assert again.total_pnl(D(101)) == 2
    again.close()


def test_history_that_comes_in_parts_is_complete_at_its_end(path: Path) -> None:
    ledger, story = opened(path), Story()
    for _ in range(4):
        story.fill(entry("1"), "100")
    parts = [ledger.reconcile(story.answer(quantity="4", events=story.events[i : i + 5])) for i in (0, 5, 10)]
    assert [part.complete for part in parts] == [False, False, True]
    assert [part.applied for part in parts] == [5, 5, 2]
    assert parts[-1].drift == 0
    assert list(ledger.history()) == story.events
    ledger.close()
