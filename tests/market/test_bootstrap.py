"""Opening markets: what passes by itself is tried again, what does not is told once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from levibot.errors import ConfigError, ExchangeUnavailableError, FullDiskError, LockedStoreError
from levibot.market import bootstrap
from levibot.market.bootstrap import Bootstrapper
from levibot.market.states import AGAIN, LIVE

SYMBOL = "BTC/USDT"
BUDGET = Path("exchange-budget-feed.bin")


class Obstinate:
    """A source that fails once, and opens then."""

    opens_at_once = 1

    def __init__(self, error: Exception) -> None:
        self._errors = [error]

    async def open(self, symbol: str) -> str:
        if self._errors:
            raise self._errors.pop()
        return symbol


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ExchangeUnavailableError("away"), True),
        (OSError("an input or output error"), True),
        (FullDiskError(BUDGET, "make room"), True),
        (LockedStoreError(BUDGET, "end the other process"), True),
        (ConfigError("no such exchange"), False),
    ],
)
def test_what_passes_by_itself_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, passes: bool
) -> None:
    monkeypatch.setattr(bootstrap, "_FIRST_DELAY", 0.01)
    opened: list[str] = []
    states: list[str] = []

    async def act() -> str:
        source: Any = Obstinate(error)
        markets = Bootstrapper(
            source,
            lambda symbol, _: opened.append(symbol),
            lambda symbol, _: states.append(markets.states[symbol]),
            lambda _: None,
        )
        markets.want([SYMBOL])
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        await task
        await markets.stop()
        return markets.states[SYMBOL]

    final = asyncio.run(act())
    assert len(states) == 1
    assert states[0].endswith(AGAIN) is passes
    assert (final == LIVE, opened == [SYMBOL]) == (passes, passes)
