"""The decision core and market data: nothing is opened on data that are missing, stale, torn or halted."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from levibot.bus.messages import (
    MarketEnded,
    MarketGap,
    MarketRecovered,
    MarketStale,
    SpecChanged,
)
from levibot.engine import inputs
from levibot.engine.commands import AskSnapshot
from levibot.strategies.base import Signal
from tests.engine.scene import SYMBOL, Scene, ScriptedTicks, make_bar, make_tick, market_spec

LONG, SHORT, FLAT = Signal("long"), Signal("short"), Signal("flat")


def test_nothing_is_opened_before_history_and_reconciliation() -> None:
    scene = Scene(ready=False)
    scene.bar(LONG)
    scene.load()
    scene.bar(LONG)
    assert scene.requests == []
    assert scene.strategy.asked == []
    scene.reconcile()
    scene.bar(LONG)
    assert len(scene.requests) == 1
    assert scene.strategy.warmed == [11, 12]


def test_a_hole_asks_for_history_and_holds_entries_back_until_it_is_there() -> None:
    scene = Scene()
    commands = scene.give(inputs.HoleFound(scene.now_ns, "bar 7 was lost"))
    assert any(isinstance(command, AskSnapshot) for command in commands)
    scene.bar(LONG)
    assert scene.requests == []
    scene.load([make_bar(number) for number in range(1, 12)])
    scene.bar(LONG)
    assert len(scene.requests) == 1


def test_lost_bars_of_a_snapshot_reach_the_strategy_once_and_only_the_newest_is_decided_on() -> None:
    scene = Scene()
    scene.strategy.answer = LONG
    scene.load([make_bar(number) for number in range(5, 15)])
    assert scene.strategy.warmed[10:] == [11, 12, 13]
    assert scene.strategy.asked == [14]
    assert len(scene.requests) == 1
    scene.bar_number = 14
    scene.give(inputs.BarClosed(scene.now_ns, make_bar(13)))
    assert scene.strategy.asked == [14]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (MarketStale(SYMBOL, 1, 1, 1, "silent"), "stale"),
        (MarketEnded(SYMBOL, 1, 1, 1), "ended"),
        (MarketGap(SYMBOL, 1, 1, 1, 0, 500, False), "since the last hole"),
    ],
)
def test_no_entry_on_stale_ended_or_torn_data(event: object, words: str) -> None:
    scene = Scene()
    scene.give(inputs.MarketChanged(scene.now_ns, event))  # type: ignore[arg-type]
    scene.bar(LONG)
    assert scene.requests == []
    assert all(words in note.fields["reason"] for note in scene.noted("entry_held_back"))


def test_entries_go_on_when_the_market_has_recovered() -> None:
    scene = Scene()
    scene.give(inputs.MarketChanged(scene.now_ns, MarketStale(SYMBOL, 1, 1, 1, "silent")))
    scene.give(inputs.MarketChanged(scene.now_ns, MarketRecovered(SYMBOL, 1, 2, 2)))
    scene.bar(LONG)
    assert len(scene.requests) == 1


def test_a_market_that_was_stale_when_history_was_loaded_opens_nothing_until_it_recovers() -> None:
    scene = Scene(ready=False)
    history = inputs.HistoryLoaded(
        scene.now_ns, market_spec(), [make_bar(number) for number in range(1, 11)], stale="silent"
    )
    scene.give(history)
    scene.reconcile()
    scene.bar(LONG)
    assert scene.requests == []
    assert scene.noted("entry_held_back")[-1].fields["reason"] == "market is stale: silent"
    scene.give(inputs.MarketChanged(scene.now_ns, MarketRecovered(SYMBOL, 1, 2, 2)))
    scene.bar(LONG)
    assert len(scene.requests) == 1


def test_a_hole_that_is_repaired_while_the_market_is_stale_does_not_make_it_fresh() -> None:
    scene = Scene()
    scene.give(inputs.HoleFound(scene.now_ns, "lost"))
    scene.give(inputs.HistoryLoaded(scene.now_ns, scene.spec, [], make_tick(1), "silent"))
    scene.bar(LONG)
    assert scene.requests == []


def change_rules(scene: Scene, *, active: bool) -> None:
    rules = msgspec.structs.replace(scene.spec, active=active)
    scene.give(inputs.MarketChanged(scene.now_ns, SpecChanged(SYMBOL, 1, 1, 1, rules)))


def test_a_halted_market_is_left_but_not_entered_until_it_trades_again() -> None:
    scene = Scene()
    scene.enter()
    change_rules(scene, active=False)
    scene.bar(FLAT)
    assert scene.intents[-1].role == "exit"
    scene.submitted(scene.intents[-1])
    scene.fill(scene.intents[-1])
    asked = len(scene.requests)
    scene.bar(LONG)
    assert len(scene.requests) == asked
    assert scene.noted("entry_held_back")[-1].fields["reason"] == "market is not active"
    change_rules(scene, active=True)
    scene.bar(LONG)
    assert len(scene.requests) == asked + 1


def test_a_halt_withdraws_the_question_and_the_entry_that_are_on_their_way() -> None:
    scene = Scene()
    scene.bar(LONG)
    change_rules(scene, active=False)
    scene.grant()
    assert scene.intents == []
    change_rules(scene, active=True)
    scene.bar(LONG)
    scene.grant()
    scene.submitted(scene.intents[-1])
    change_rules(scene, active=False)
    assert scene.cancelled == [scene.intents[-1].client_id]


def test_new_rules_size_the_next_order() -> None:
    scene = Scene()
    rules = msgspec.structs.replace(scene.spec, amount_step=Decimal("0.4"))
    scene.give(inputs.MarketChanged(scene.now_ns, SpecChanged(SYMBOL, 1, 1, 1, rules)))
    scene.bar(LONG)
    scene.grant("1")
    assert scene.intents[-1].quantity == Decimal("0.8")


def test_no_entry_on_a_synthetic_bar_nor_on_old_data() -> None:
    scene = Scene(ScriptedTicks(), market_max_age=30.0)
    scene.bar(LONG, synthetic=True)
    assert scene.requests == []
    scene.bar(None)
    scene.now_ns += 31_000_000_000
    old = make_tick(99, event_ms=scene.bar_number * 60_000, received_ns=scene.now_ns - 31_000_000_000)
    scene.strategy.answer = LONG
    scene.give(inputs.TickKept(scene.now_ns, old))
    assert scene.requests == []
    assert scene.noted("entry_held_back")[-1].fields["reason"] == "market data is too old"


def test_a_strategy_must_be_warm_again_after_missing_minutes() -> None:
    scene = Scene()
    scene.bar_number += 5
    scene.bar(LONG)
    assert scene.requests == []
    scene.bar(LONG)
    assert len(scene.requests) == 1
