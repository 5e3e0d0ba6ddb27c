"""How a watch makes steady alerts of unsteady facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from levibot.supervisor.conditions import Condition
from levibot.supervisor.facts import Facts, Finding
from levibot.supervisor.watch import Watch

MARKETS = {"BTC/USDT": 30.0, "ETH/USDT": 30.0}


LIVE_AGES = {"BTC/USDT": 1.0, "ETH/USDT": 1.0}


def test_a_live_market_that_is_back_is_told_soon_and_one_that_flaps_is_not() -> None:
    listener, stale = Listener(), {"BTC/USDT": 20.0}
    conditions = Watch(listener.raise_alert, listener.clear, [])

    def look(seconds: range, state: str, age: float, market_stale: dict[str, float]) -> None:
        facts = Facts(
            live_source=True,
            market_ages={"BTC/USDT": age, "ETH/USDT": 1.0},
            market_limits=MARKETS,
            market_reasons={"BTC/USDT": state, "ETH/USDT": "live"},
            market_stale=market_stale,
        )
        for second in seconds:
            conditions.look(facts, second)

    look(range(10), "stale: no pong", 40.0, stale)
    look(range(10, 14), "live", 1.0, stale)  # for less than the steadiness that the lookout asks for
    look(range(14, 20), "stale: no pong", 1.0, stale)
    look(range(20, 25), "live", 1.0, {})
    assert listener.said == [("stale_feed:BTC/USDT", "warning")]
    look(range(25, 27), "live", 1.0, {})
    assert listener.said == [("stale_feed:BTC/USDT", "warning"), ("stale_feed:BTC/USDT", "over")]


@dataclass
class Listener:
    """Notes what a watch says."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def raise_alert(self, key: str, severity: str, _message: str, _remedy: str) -> None:
        self.said.append((key, severity))

    def clear(self, key: str) -> None:
        self.said.append((key, "over"))


def watch(listener: Listener, standing: list[str] | None = None, **numbers: float) -> Watch:
    """A watch over one condition: refused writes."""
    row = Condition("x", find=_find, **{"after": 3.0, "calm": 5.0, **numbers})
    return Watch(listener.raise_alert, listener.clear, standing or [], [row])


def _find(facts: Facts, _told: bool) -> list[Finding]:
    severity = "critical" if facts.refused_lately > 1 else "warning"
    return [Finding("x:a", severity, "wrong", "mend it")] if facts.refused_lately else []


GOOD, BAD, WORSE = Facts(), Facts(refused_lately=1), Facts(refused_lately=2)


def test_it_is_told_after_its_time_and_over_after_its_calm() -> None:
    listener = Listener()
    conditions = watch(listener)
    for second in range(3):
        conditions.look(BAD, second)
    assert listener.said == []
    for second in range(3, 10):
        conditions.look(BAD, second)
    assert listener.said == [("x:a", "warning")]
    for second in range(10, 15):
        conditions.look(GOOD, second)
    assert listener.said == [("x:a", "warning")]
    conditions.look(GOOD, 15)
    assert listener.said == [("x:a", "warning"), ("x:a", "over")]


def test_what_comes_and_goes_is_told_neither_way() -> None:
    listener = Listener()
    conditions = watch(listener)
    for second in range(60):
        conditions.look(BAD if second % 3 else GOOD, second)
    assert listener.said == []
    for second in range(60, 64):
        conditions.look(BAD, second)
    for second in range(64, 120):
        conditions.look(GOOD if second % 3 else BAD, second)
    assert listener.said == [("x:a", "warning")]


def test_it_is_told_again_only_if_it_got_worse() -> None:
    listener = Listener()
    conditions = watch(listener, after=0.0)
    for second, facts in enumerate([BAD, BAD, WORSE, WORSE, BAD, BAD]):
        conditions.look(facts, second)
    assert listener.said == [("x:a", "warning"), ("x:a", "critical")]


def test_what_a_life_before_raised_ends_only_when_it_is_known_to_be_over() -> None:
    listener = Listener()
    conditions = watch(listener, ["x:a", "y"])
    for second in range(45):
        conditions.look(GOOD, second)
    assert listener.said == []
    conditions.look(GOOD, 45)
    assert listener.said == [("x:a", "over")]
    assert not conditions.owns("y")


@pytest.mark.parametrize("key", ["stale_feed", "stale_feed:BTC/USDT", "market_failed:BTC/USDT"])
@pytest.mark.parametrize(("state", "over"), [("live", True), ("opening", False), (None, False)])
def test_what_a_life_before_told_of_a_market_ends_when_it_is_known_to_be_live(
    key: str, state: str | None, over: bool
) -> None:
    listener = Listener()
    conditions = Watch(listener.raise_alert, listener.clear, [key])
    facts = Facts(
        live_source=True,
        market_ages={"BTC/USDT": 1.0},
        market_limits=MARKETS,
        market_reasons={"BTC/USDT": state} if state else {},
    )
    for second in range(5):
        conditions.look(facts, second)
    assert listener.said == []
    conditions.look(facts, 5)
    assert listener.said == ([(key, "over")] if over else [])


def test_what_is_not_known_neither_begins_nor_ends() -> None:
    listener = Listener()
    conditions = Watch(listener.raise_alert, listener.clear, [])
    known: dict[str, Any] = {"unprotected": ("BTC/USDT",), "notifier_trouble": "line 2", "cool_down": 9.0}
    for second in range(10):
        conditions.look(Facts(**known), second)
    told = [("cool_down", "warning"), ("unprotected:BTC/USDT", "critical"), ("notifier", "warning")]
    assert listener.said == told
    for second in range(10, 100):
        conditions.look(Facts(unprotected=None, notifier_trouble=None, cool_down=None), second)
    assert listener.said == told
    for second in range(100, 120):
        conditions.look(Facts(), second)
    assert listener.said[3:] == [("unprotected:BTC/USDT", "over"), ("cool_down", "over"), ("notifier", "over")]


def test_a_silent_market_is_not_over_because_all_the_others_are_silent_too() -> None:
    listener = Listener()
    conditions = Watch(listener.raise_alert, listener.clear, [])

    def look(seconds: range, btc: float, eth: float) -> None:
        facts = Facts(market_ages={"BTC/USDT": btc, "ETH/USDT": eth}, market_limits=MARKETS)
        for second in seconds:
            conditions.look(facts, second)

    look(range(10), btc=31.0, eth=1.0)
    look(range(10, 30), btc=51.0, eth=31.0)
    assert listener.said == [("stale_feed:BTC/USDT", "warning"), ("stale_feed", "warning")]
    look(range(30, 70), btc=71.0, eth=1.0)
    assert listener.said[2:] == [("stale_feed", "over")]
    look(range(70, 110), btc=1.0, eth=1.0)
    assert listener.said[3:] == [("stale_feed:BTC/USDT", "over")]


@pytest.mark.parametrize("symbols", [["BTC/USDT"], ["BTC/USDT", "ETH/USDT"]])
def test_markets_that_tick_too_seldom_are_one_alert_until_they_tick_often_enough(symbols: list[str]) -> None:
    listener = Listener()
    conditions = Watch(listener.raise_alert, listener.clear, [])

    def look(seconds: range, ticks_every: int) -> None:
        for second in seconds:
            ages = dict.fromkeys(symbols, float(second % ticks_every))
            conditions.look(Facts(market_ages=ages, market_limits=MARKETS), second)

    look(range(400), ticks_every=40)
    key = "stale_feed" if len(symbols) > 1 else "stale_feed:BTC/USDT"
    assert listener.said == [(key, "warning")]
    look(range(400, 440), ticks_every=20)
    assert listener.said == [(key, "warning"), (key, "over")]


def test_what_a_strategy_misses_for_half_a_minute_is_told() -> None:
    listener = Listener()
    conditions = Watch(listener.raise_alert, listener.clear, [])
    for second in range(60):
        conditions.look(Facts(no_model={"A/B": "no model yet"}), second)
        assert listener.said == ([("no_predictions", "warning")] if second >= 30 else [])
