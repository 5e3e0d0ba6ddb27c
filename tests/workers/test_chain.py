"""Processes die, messages are lost, prices come late: nothing is doubled, lost, leaked or stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.strategies.base import Signal
from tests.workers.chain import Chain

_WISHES = [Signal("long"), Signal("short"), Signal("flat"), None]


@pytest.mark.parametrize("seed", range(6))
def test_after_any_trouble_all_agree_and_trade_on(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path, seed, monkeypatch)
    for _ in range(4):
        _trouble(chain)
        chain.lossy, chain.signal = False, None
        for turn in range(150):  # longer than any wait for something that was lost
            chain.turn(priced=turn % 5 == 0)
        chain.check()
        if chain.paused:
            chain.pause(False)
        for wish, sign in ((Signal("flat"), 0), (Signal("long"), 1), (Signal("flat"), 0), (Signal("short"), -1)):
            _reach(chain, wish, sign)
    assert len(chain.sent) > 10
    chain.close()


def _trouble(chain: Chain) -> None:
    random = chain.random
    for _ in range(random.randint(30, 120)):
        if random.random() < 0.3:
            chain.signal = random.choice(_WISHES)
        fate = random.random()
        if fate < 0.03:
            chain.restart_broker()
        elif fate < 0.055:
            chain.restart_engine()
        elif fate < 0.06:
            chain.restart_supervisor()
        elif fate < 0.09:
            chain.lossy = not chain.lossy
        elif fate < 0.095:
            chain.pause(not chain.paused)
        chain.turn(priced=random.random() < 0.9)


def _reach(chain: Chain, wish: Signal, sign: int) -> None:
    chain.signal = wish
    for _ in range(300):
        chain.turn()
        if (chain.held > 0) - (chain.held < 0) == sign:
            return
    raise AssertionError(f"stuck at {chain.held} on the way to {wish.direction}: {chain.risk.status}")
