"""The decision core: what it asks for, what it sends, and what it never does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from levibot.bus.messages import (
    Intent,
    MarketStale,
    OrderDenied,
    OrderUnknown,
    Role,
)
from levibot.engine import inputs
from levibot.strategies.base import Signal
from tests.engine.scene import SYMBOL, Scene, Scripted, ScriptedTicks

LONG, SHORT, FLAT = Signal("long"), Signal("short"), Signal("flat")


def stop_order(scene: Scene, role: Role = "stop") -> Intent:
    return Intent("levi-stop", SYMBOL, "sell", "stop", abs(scene.position.quantity), role, 0, reduce_only=True)


# ---------------------------------------------------------------------------- opening


def test_a_signal_asks_risk_and_a_grant_sends_one_protected_entry() -> None:
    scene = Scene(stop_loss=0.02, take_profit=0.04)
    scene.tick(price=200.0)
    scene.bar(Signal("long", 0.6, 0.5))
    (request,) = scene.requests
    assert (request.side, request.probability, request.confidence) == ("buy", 0.6, 0.5)
    assert scene.intents == []
    scene.grant("0.12345")
    (intent,) = scene.intents
    assert (intent.client_id, intent.side, intent.role, intent.kind) == (
        request.client_id,
        "buy",
        "entry",
        "market",
    )
    assert intent.quantity == Decimal("0.123")
    assert intent.grant is not None
    assert not intent.reduce_only
    assert intent.stop_loss == (request.price * Decimal("0.98")).quantize(Decimal("0.01"))
    assert intent.take_profit == (request.price * Decimal("1.04")).quantize(Decimal("0.01"))


def test_a_short_entry_has_its_protection_on_the_other_side() -> None:
    scene = Scene(can_short=True, take_profit=0.0)
    scene.bar(SHORT)
    scene.grant()
    (intent,) = scene.intents
    assert intent.side == "sell"
    assert intent.stop_loss == Decimal("102.00")
    assert intent.take_profit is None


def test_price_of_a_request_is_that_of_the_newest_data() -> None:
    scene = Scene()
    scene.bar(LONG, close=123.0)
    assert scene.requests[-1].price == Decimal("123.00")
    scene.refuse()
    scene.tick(price=130.0)
    scene = Scene(ScriptedTicks())
    scene.tick(LONG, price=130.0)
    assert scene.requests[-1].price == Decimal("130.01")
    assert scene.requests[-1].market_seq == scene.tick_seq


def test_on_spot_short_means_flat() -> None:
    scene = Scene(can_short=False)
    scene.bar(SHORT)
    assert scene.requests == []
    scene.enter("long")
    scene.bar(SHORT)
    assert scene.intents[-1].role == "exit"
    scene.fill(scene.intents[-1])
    scene.bar(SHORT)
    assert len(scene.requests) == 1


@pytest.mark.parametrize("quantity", ["0", "0.0009", "0.049", "NaN", "-1"])
def test_a_grant_too_small_for_the_market_sends_nothing(quantity: str) -> None:
    scene = Scene()
    scene.bar(LONG)
    try:
        scene.grant(quantity)
    except ValueError:  # the message itself refuses it
        return
    assert scene.intents == []
    assert scene.core.settled


def test_a_grant_that_comes_too_late_is_not_used() -> None:
    scene = Scene()
    scene.bar(LONG)
    scene.now_ns += 2_500_000_000
    scene.grant(life=10.0)
    assert scene.intents == []
    scene.bar(LONG)
    scene.grant(life=0.0)
    assert scene.intents == []
    assert scene.core.settled


def test_no_answer_is_a_no_and_the_late_grant_is_ignored() -> None:
    scene = Scene()
    scene.bar(LONG)
    deadline = scene.core.deadline_ns
    assert deadline is not None
    assert deadline > scene.now_ns
    scene.wait(2.0)
    assert scene.core.settled
    scene.grant()
    assert scene.intents == []


def test_a_refusal_does_not_spin() -> None:
    scene = Scene(ScriptedTicks())
    scene.bar(LONG)
    scene.refuse()
    for _ in range(100):
        scene.tick(LONG)
        scene.wait(0.01)
    assert len(scene.requests) == 1
    assert len(scene.noted("entry_refused")) == 1
    scene.bar(LONG)
    assert len(scene.requests) == 2


def test_a_grant_for_something_else_is_refused() -> None:
    scene = Scene(can_short=True)
    scene.bar(LONG)
    request = scene.requests[-1]
    scene.bar(SHORT)
    scene.grant(request=request)
    assert scene.intents == []


def test_no_entry_without_a_fresh_signal() -> None:
    scene = Scene()
    scene.bar(LONG)
    scene.refuse()
    scene.bar(None)
    scene.bar(None)
    assert len(scene.requests) == 1


# ---------------------------------------------------------------------------- closing


def test_an_exit_goes_out_at_once_without_a_grant_for_the_whole_position() -> None:
    scene = Scene()
    scene.enter()
    scene.bar(FLAT)
    intent = scene.intents[-1]
    assert (intent.role, intent.side, intent.quantity) == ("exit", "sell", scene.position.quantity)
    assert intent.reduce_only
    assert intent.grant is None
    assert len(scene.requests) == 1


def test_a_flip_is_an_exit_and_an_entry_at_a_later_decision() -> None:
    scene = Scene(can_short=True)
    scene.enter("long")
    scene.bar(SHORT)
    assert scene.intents[-1].role == "exit"
    scene.fill(scene.intents[-1])
    assert len(scene.requests) == 1
    scene.bar(SHORT)
    assert scene.requests[-1].side == "sell"


def test_none_leaves_a_position_as_it_is() -> None:
    scene = Scene()
    scene.enter()
    scene.bar(None)
    assert len(scene.intents) == 1


def test_an_exit_that_was_denied_is_sent_again_after_a_while() -> None:
    scene = Scene()
    scene.enter()
    scene.bar(FLAT)
    first = scene.intents[-1]
    scene.happen(OrderDenied(*scene.stamp(first.client_id), "not now"))
    scene.wait(1.0)
    assert scene.intents[-1] is first
    scene.wait(5.0)
    assert scene.intents[-1].client_id != first.client_id
    assert scene.intents[-1].role == "exit"


def test_an_exit_goes_out_while_paused_stale_or_gapped() -> None:
    for obstacle in (
        inputs.Paused(0),
        inputs.HoleFound(0, "lost"),
        inputs.MarketChanged(0, MarketStale(SYMBOL, 1, 1, 1, "silent")),
    ):
        scene = Scene()
        scene.enter()
        scene.give(obstacle)
        scene.bar(FLAT)
        assert scene.intents[-1].role == "exit"


def test_dust_counts_as_flat() -> None:
    scene = Scene()
    entry = scene.enter()
    scene.bar(FLAT)
    scene.fill(scene.intents[-1], entry.quantity - Decimal("0.0005"))
    scene.wait(60)
    assert len(scene.intents) == 2
    scene.bar(LONG)
    assert len(scene.requests) == 2


def test_what_has_become_too_cheap_to_be_closed_is_closed_when_it_is_worth_enough_again() -> None:
    scene = Scene(can_short=True)
    scene.bar(SHORT)
    scene.grant("0.07")
    scene.fill(scene.intents[-1])
    scene.bar(FLAT, close=71.0)  # 4.97 USDT, less than the market takes
    scene.wait(60)
    assert len(scene.intents) == 1
    scene.tick(price=72.0)
    scene.wait(1)
    assert [intent.role for intent in scene.intents] == ["entry", "exit"]


# ---------------------------------------------------------------------------- following orders


def test_a_cancelled_entry_that_was_partly_filled_is_closed_when_the_signal_has_turned() -> None:
    scene = Scene()
    scene.bar(LONG)
    scene.grant()
    entry = scene.intents[-1]
    scene.fill(entry, Decimal("0.4"), last=False)
    scene.bar(FLAT)
    scene.bar(FLAT)
    assert scene.cancelled == [entry.client_id]
    assert scene.intents == [entry]
    scene.cancel(entry)
    assert scene.intents[-1].role == "exit"
    assert scene.intents[-1].quantity == Decimal("0.4")


def test_an_unknown_order_blocks_entries_until_it_is_resolved() -> None:
    scene = Scene()
    scene.bar(LONG)
    scene.grant()
    entry = scene.intents[-1]
    scene.happen(OrderUnknown(*scene.stamp(entry.client_id), "no answer"))
    scene.bar(LONG)
    assert len(scene.requests) == 1
    scene.reconcile()
    scene.bar(LONG)
    assert len(scene.requests) == 2


def test_a_protective_stop_makes_it_flat_and_it_goes_on() -> None:
    scene = Scene()
    scene.enter()
    stop = stop_order(scene)
    scene.submitted(stop)
    assert scene.core.settled
    scene.fill(stop)
    assert scene.noted("order_filled")[-1].fields["role"] == "stop"
    scene.bar(FLAT)
    assert len(scene.intents) == 1
    scene.bar(LONG)
    scene.grant()
    assert len(scene.intents) == 2


def test_an_order_left_by_a_crash_is_followed_before_anything_else() -> None:
    scene = Scene(ready=False)
    scene.load()
    scene.reconcile(inputs.OpenOrder("left", "entry", "buy"), inputs.OpenOrder("levi-stop", "stop", "sell"))
    assert not scene.core.settled
    scene.bar(LONG)
    assert scene.requests == []
    scene.bar(FLAT)
    assert scene.cancelled == ["left"]


def test_an_intent_that_cannot_be_journaled_is_counted_and_the_exit_tried_again() -> None:
    scene = Scene()
    scene.enter()
    scene.bar(FLAT)
    lost = scene.intents[-1]
    scene.give(inputs.IntentFailed(scene.now_ns, lost.client_id, "disk full"))
    assert scene.noted("intent_not_journaled")[-1].level == "error"
    scene.wait(10)
    assert scene.intents[-1] is lost
    scene.wait(21)
    assert scene.intents[-1].client_id != lost.client_id


def test_without_a_client_id_nothing_is_sent() -> None:
    scene = Scene()
    scene.storable = False
    scene.bar(LONG)
    assert scene.requests == []
    scene.storable = True
    scene.enter()
    scene.storable = False
    scene.bar(FLAT)
    assert len(scene.intents) == 1
    scene.storable = True
    scene.wait(31)
    assert scene.intents[-1].role == "exit"


def test_drift_freezes_entries_and_is_told_once() -> None:
    scene = Scene()
    scene.reconcile(drift="1 BTC")
    scene.reconcile(drift="1 BTC")
    scene.bar(LONG)
    assert scene.requests == []
    assert len(scene.noted("ledger_drift_found")) == 1
    scene.reconcile()
    scene.bar(LONG)
    assert len(scene.requests) == 1


# ---------------------------------------------------------------------------- strategy and operator


@pytest.mark.parametrize("answer", [ValueError("boom"), Signal("long", float("nan")), "long", 7])
def test_a_strategy_that_fails_is_counted_and_the_engine_goes_on(answer: object) -> None:
    scene = Scene()
    scene.bar(answer)
    (note,) = scene.noted("strategy_failed")
    assert note.level == "error"
    assert "Traceback" in note.fields["traceback"]
    assert scene.requests == []
    scene.bar(LONG)
    assert len(scene.requests) == 1


def test_pause_withdraws_what_would_open_risk() -> None:
    scene = Scene()
    scene.bar(LONG)
    scene.give(inputs.Paused(scene.now_ns))
    scene.grant()
    assert scene.intents == []
    scene.give(inputs.Resumed(scene.now_ns))
    scene.bar(LONG)
    scene.grant()
    entry = scene.intents[-1]
    scene.give(inputs.Paused(scene.now_ns))
    assert scene.cancelled == [entry.client_id]
    scene.cancel(entry)
    scene.bar(LONG)
    assert len(scene.requests) == 2


def test_signals_are_counted_and_changes_noted() -> None:
    scene = Scene(Scripted())
    for answer in (LONG, LONG, FLAT, None, FLAT):
        scene.bar(answer)
    assert scene.core.signals == {"long": 2, "short": 0, "flat": 2}
    assert [note.fields["direction"] for note in scene.noted("signal_changed")] == ["long", "flat"]


# ---------------------------------------------------------------------------- trailing stops


def test_an_entry_carries_the_trailing_stop_of_the_signal_or_of_the_configuration() -> None:
    scene = Scene()
    scene.bar(Signal("long", trailing_stop=0.03))
    scene.grant()
    assert scene.intents[-1].trailing_stop == Decimal("3.00")
    plain = Scene()
    plain.bar(LONG)
    plain.grant()
    assert plain.intents[-1].trailing_stop is None


def test_what_would_be_dust_at_its_stop_is_not_sent_and_not_asked_for_again_at_this_bar() -> None:
    scene = Scene()
    scene.bar(LONG)
    scene.grant("0.056")  # 5.49 USDT at the stop; 5.5 are needed
    assert scene.intents == []
    scene.wait(60)
    assert len(scene.requests) == 1
