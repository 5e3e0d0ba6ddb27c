"""What a strategy returns is checked before anything follows from it."""

from __future__ import annotations

import struct
from enum import Enum
from typing import Any

import msgspec
import pytest

from levibot.errors import StrategyError
from levibot.strategies.base import (
    BookStrategy,
    CorrectionStrategy,
    Question,
    Signal,
    TickStrategy,
    TradeStrategy,
    check_answer,
    check_signal,
)
from levibot.strategies.ensemble import Ensemble
from levibot.strategies.sma_cross import SmaCross


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Signal("long"),
        Signal("flat", 0.0, 1.0),
        Signal("short", 1, 0, "why"),
        Signal("long", stop_loss=0.008, take_profit=0.012),
        Signal("long", take_profit=9.9),
    ],
)
def test_sense_passes(answer: Signal | None) -> None:
    assert check_signal(answer) == answer


def test_values_of_other_kinds_come_back_plain_so_that_they_can_be_sent() -> None:
    class Number(float):
        """As NumPy's float64: a float, but none that can be encoded."""

    class Way(str, Enum):  # noqa: UP042 - what users write
        UP = "long"

    class Text(str):
        pass

    signal = check_signal(
        Signal(Way.UP, Number(0.6), Number(0.5), Text("why"), Number(0.1), Number(0.2))  # type: ignore[arg-type]
    )
    assert signal == Signal("long", 0.6, 0.5, "why", 0.1, 0.2)
    msgspec.msgpack.encode(signal)
    question = check_answer(Question(Text("set"), [Number(1.5), 2]), may_ask=True)  # type: ignore[arg-type]
    assert question == Question("set", (1.5, 2.0))
    msgspec.msgpack.encode(question)


@pytest.mark.parametrize(
    "answer",
    [
        "long",
        1,
        True,
        object(),
        Signal("up"),  # type: ignore[arg-type]
        Signal([]),  # type: ignore[arg-type]
        Signal("long", float("nan")),
        Signal("long", 1.01),
        Signal("long", -0.01),
        Signal("long", "0.5"),  # type: ignore[arg-type]
        Signal("long", None, float("inf")),
        Signal("long", None, None),  # type: ignore[arg-type]
        Signal("long", None, True),
        Signal("long", reason=None),  # type: ignore[arg-type]
        Signal("long", stop_loss=0.0),
        Signal("long", stop_loss=1.0),
        Signal("long", stop_loss=float("nan")),
        Signal("long", stop_loss="far"),  # type: ignore[arg-type]
        Signal("long", take_profit=0.0),
        Signal("long", take_profit=10.0),
        Signal("long", take_profit=True),
        Question("set", (1.0,)),
    ],
)
def test_nonsense_is_an_error(answer: Any) -> None:
    with pytest.raises(StrategyError):
        check_signal(answer)


@pytest.mark.parametrize(
    "question",
    [
        Question("", (1.0,)),
        Question(7, (1.0,)),  # type: ignore[arg-type]
        Question("set", ()),
        Question("set", "12"),  # type: ignore[arg-type]
        Question("set", (float("inf"),)),
        Question("set", (float("-inf"), float("nan"))),
        Question("set", (1.0, 2.0), b"\0" * 24),
        Question("set", (1.0,), [1.0]),  # type: ignore[arg-type]
        Question("set", (True,)),
    ],
)
def test_a_question_that_makes_no_sense_is_an_error(question: Question) -> None:
    with pytest.raises(StrategyError):
        check_answer(question, may_ask=True)


def test_only_a_strategy_that_hears_the_answer_may_ask() -> None:
    question = Question("set", (1.0, -2.0), struct.pack("<4d", 3.0, 4.0, 1.0, -2.0))
    assert check_answer(question, may_ask=True) == question
    assert question.steps == 2
    with pytest.raises(StrategyError, match="on_predictions"):
        check_answer(question, may_ask=False)


def test_what_the_built_in_strategies_want_to_hear() -> None:
    for strategy in (SmaCross(), Ensemble()):
        assert isinstance(strategy, CorrectionStrategy)
        assert not isinstance(strategy, TickStrategy | TradeStrategy | BookStrategy)
