"""A strategy that asks a model first: whose answer counts, which one no longer does, and what it leads to."""

from __future__ import annotations

from decimal import Decimal

import pytest

from levibot.bus.messages import MarketStale
from levibot.engine import inputs
from levibot.strategies.base import Opinion, Signal
from tests.engine.scene import QUESTION, SECOND, SYMBOL, Scene, Scripted, ScriptedModel, make_bar, make_prediction

LONG, FLAT = Signal("long", 0.6, 0.2), Signal("flat")


def model_scene() -> tuple[Scene, ScriptedModel]:
    strategy = ScriptedModel()
    return Scene(strategy, stop_loss=0.02, take_profit=0.04), strategy


def test_a_question_goes_out_and_its_answer_is_acted_on() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    (asked,) = scene.questions
    assert (asked.bar_ms, asked.question) == (11 * 60_000, QUESTION)
    assert not scene.core.settled
    assert scene.requests == []
    scene.predict(LONG, 0.6)
    assert strategy.predictions == [(make_prediction(11, 0.6),)]
    (request,) = scene.requests
    assert (request.side, request.probability, request.confidence) == ("buy", 0.6, 0.2)
    assert not scene.core.settled, "risk is yet to answer"
    scene.refuse()
    assert scene.core.settled


def test_numbers_of_questions_are_its_own_and_grow() -> None:
    scene, _ = model_scene()
    for _ in range(3):
        scene.bar(QUESTION)
    assert [question.request_id for question in scene.questions] == [1, 2, 3]


def test_an_answer_to_an_older_question_is_ignored() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    scene.tick(QUESTION)
    first, second = scene.questions
    assert first.bar_ms == second.bar_ms
    assert scene.predict(LONG, question=first) == []
    assert scene.miss(LONG, question=first) == []
    assert strategy.predictions == []
    assert not scene.core.settled
    scene.predict(LONG, question=second)
    assert len(scene.requests) == 1


def test_an_answer_comes_once() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    scene.predict(FLAT)
    assert scene.predict(LONG) == []
    assert scene.miss(LONG) == []
    assert len(strategy.predictions) == 1
    assert scene.requests == []


@pytest.mark.parametrize("answer", [None, FLAT, LONG])
def test_the_next_bar_ends_a_question(answer: Signal | None) -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    asked = scene.questions[-1]
    scene.bar(answer)
    assert scene.predict(LONG, question=asked) == []
    assert strategy.predictions == []
    assert scene.core.settled == (answer is not LONG)


def test_a_tick_does_not_end_it() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    scene.tick(None)
    scene.predict(LONG)
    assert len(strategy.predictions) == len(scene.requests) == 1


def test_a_missed_answer_is_no_error_and_opens_nothing() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    scene.miss()
    assert strategy.predictions == [()]
    assert scene.requests == scene.intents == []
    assert not [note for note in scene.notes if note.level == "error"]
    assert scene.core.settled


def test_a_missed_answer_leaves_what_is_open_as_it_is_or_closes_it_if_the_strategy_says_so() -> None:
    scene, _ = model_scene()
    scene.enter()
    scene.bar(QUESTION)
    scene.miss(None)
    assert len(scene.intents) == 1
    scene.bar(QUESTION)
    scene.miss(FLAT)
    assert scene.intents[-1].role == "exit"


def test_silence_ends_at_last() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    due_ns = scene.core.deadline_ns
    assert due_ns is not None
    scene.wait((due_ns - scene.now_ns) / SECOND - 0.001)
    assert strategy.predictions == []
    scene.wait(0.001)
    assert strategy.predictions == [()]
    assert scene.core.settled
    assert scene.core.deadline_ns is None


def test_the_deadline_is_that_of_whichever_answer_is_due_first() -> None:
    scene, _ = model_scene()
    scene.bar(QUESTION)
    of_model = scene.core.deadline_ns
    scene.tick(LONG)
    of_both = scene.core.deadline_ns
    assert of_model is not None
    assert of_both is not None
    assert of_both < of_model
    scene.refuse()
    assert scene.core.deadline_ns == of_model


def test_nobody_is_asked_before_it_is_warm() -> None:
    scene = Scene(ScriptedModel(), ready=False)
    scene.load([make_bar(10)])
    scene.reconcile()
    scene.bar_number += 5  # minutes are missing
    scene.bar(QUESTION)
    assert scene.questions == []
    assert scene.core.settled
    scene.bar(QUESTION)
    assert len(scene.questions) == 1


def test_a_bar_that_was_lost_ends_a_question_as_well() -> None:
    scene, strategy = model_scene()
    scene.bar(QUESTION)
    asked = scene.questions[-1]
    scene.strategy.answer = None
    scene.give(inputs.HoleFound(scene.now_ns, "lost"))
    scene.load([make_bar(number) for number in range(5, 13)])
    assert scene.predict(LONG, question=asked) == []
    assert strategy.predictions == []
    assert scene.core.settled


@pytest.mark.parametrize("verdict", [ValueError("boom"), Signal("long", 7.0), QUESTION])
def test_a_strategy_that_fails_at_an_answer_is_counted(verdict: object) -> None:
    scene, _ = model_scene()
    scene.bar(QUESTION)
    scene.predict(verdict)
    (note,) = scene.noted("strategy_failed")
    assert note.level == "error"
    assert scene.requests == []
    assert scene.core.settled


def test_a_question_of_a_strategy_that_cannot_hear_the_answer_is_an_error() -> None:
    scene = Scene(Scripted())
    scene.bar(QUESTION)
    assert len(scene.noted("strategy_failed")) == 1
    assert scene.questions == []


def test_a_pause_keeps_questions_alive_for_exits_are_still_wanted() -> None:
    scene, _ = model_scene()
    scene.enter()
    scene.give(inputs.Paused(scene.now_ns))
    scene.bar(QUESTION)
    scene.predict(FLAT)
    assert scene.intents[-1].role == "exit"


# ---------------------------------------------------------------------------- barriers


def test_barriers_of_the_signal_take_the_place_of_the_configured_ones() -> None:
    scene, _ = model_scene()
    scene.bar(Signal("long", stop_loss=0.01, take_profit=0.03))
    scene.grant()
    assert scene.intents[-1].stop_loss == (scene.requests[-1].price * Decimal("0.99")).quantize(Decimal("0.01"))
    assert scene.intents[-1].take_profit == (scene.requests[-1].price * Decimal("1.03")).quantize(Decimal("0.01"))


def test_a_barrier_that_is_not_named_is_the_configured_one() -> None:
    scene = Scene(can_short=True, stop_loss=0.02, take_profit=0.0)
    scene.bar(Signal("short", stop_loss=0.01))
    scene.grant()
    assert scene.intents[-1].stop_loss == (scene.requests[-1].price * Decimal("1.01")).quantize(Decimal("0.01"))
    assert scene.intents[-1].take_profit is None


def test_an_entry_has_the_barriers_of_the_signal_that_it_was_asked_for_with() -> None:
    scene, _ = model_scene()
    scene.bar(Signal("long", stop_loss=0.01, take_profit=0.03))
    scene.tick(Signal("long", stop_loss=0.5, take_profit=0.6))
    scene.grant(request=scene.requests[0])
    assert scene.intents[-1].stop_loss == (scene.requests[0].price * Decimal("0.99")).quantize(Decimal("0.01"))


def test_what_was_thought_is_told_until_a_hole_and_again_after_the_next_answer() -> None:
    scene, strategy = model_scene()
    strategy.opinion = Opinion(0.6)
    scene.bar(QUESTION)
    assert (scene.core.judged, scene.core.opinion) == (False, Opinion()), "there was no answer yet"
    scene.predict(LONG, 0.6)
    assert scene.core.opinion == Opinion(0.6)
    scene.bar(QUESTION)
    assert scene.core.judged, "the next answer is on its way"
    scene.predict(None)
    scene.give(inputs.HoleFound(scene.now_ns, "lost 2 messages"))
    assert (scene.core.judged, scene.core.opinion) == (False, Opinion())
    scene.load([make_bar(number) for number in range(1, 16)])
    assert not scene.core.judged, "it is of a bar before the hole"
    scene.bar_number = 15
    scene.bar(QUESTION)
    scene.predict(None)
    assert scene.core.opinion == Opinion(0.6)
    scene.give(inputs.MarketChanged(scene.now_ns, MarketStale(SYMBOL, 1, 1, 0, "line lost")))
    assert not scene.core.judged


def test_bars_that_nobody_judges_leave_what_was_thought_behind() -> None:
    scene, _ = model_scene()
    scene.bar(QUESTION)
    scene.predict(LONG, 0.6)
    scene.bar(None)
    assert scene.core.judged
    scene.bar(None)
    assert not scene.core.judged
