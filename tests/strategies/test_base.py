"""What a strategy returns is checked before anything follows from it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
import pytest

from levibot.errors import StrategyError
from levibot.strategies.base import Signal, check_signal


@pytest.mark.parametrize("answer", [None, Signal("long"), Signal("flat", 0.0, 1.0), Signal("short", 1, 0, "why")])
def test_sense_passes(answer: Signal | None) -> None:
    assert check_signal(answer) == answer


def test_values_of_other_kinds_come_back_plain_so_that_they_can_be_sent() -> None:
    class Number(float):
        """As NumPy's float64: a float, but none that can be encoded."""

    class Way(str, Enum):  # noqa: UP042 - what users write
        UP = "long"

    class Text(str):
        pass

    signal = check_signal(Signal(Way.UP, Number(0.6), Number(0.5), Text("why")))  # type: ignore[arg-type]
    assert signal == Signal("long", 0.6, 0.5, "why")
    msgspec.msgpack.encode(signal)


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
    ],
)
def test_nonsense_is_an_error(answer: Any) -> None:
    with pytest.raises(StrategyError):
        check_signal(answer)
