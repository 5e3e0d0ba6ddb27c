"""What a strategy returns is checked before anything follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.errors import StrategyError
from levibot.strategies.base import Signal, check_signal


@pytest.mark.parametrize("answer", [None, Signal("long"), Signal("flat", 0.0, 1.0), Signal("short", 1, 0, "why")])
def test_sense_passes(answer: Signal | None) -> None:
    assert check_signal(answer) is answer


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
