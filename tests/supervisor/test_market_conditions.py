"""Conditions of market data: what is silent, stale or cannot be opened, and what an exchange wants."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.supervisor.conditions import CONDITIONS
from levibot.supervisor.facts import Facts
from levibot.supervisor.market_conditions import blindness
from tests.supervisor.findings import MARKETS, only


@pytest.mark.parametrize(("state", "told"), [("opening", "for 31 s: opening"), ("live", "for 31 s")])
def test_a_silent_market_is_told_with_what_the_feed_knows_of_it(state: str, told: str) -> None:
    facts = Facts(market_ages={"BTC/USDT": 31.0}, market_limits=MARKETS, market_reasons={"BTC/USDT": state})
    (finding,) = (finding for row in CONDITIONS for finding in row.find(facts, False) or ())
    assert finding.message == f"no market data of BTC/USDT {told}"


@pytest.mark.parametrize(
    ("ages", "told"),
    [
        ((1.0, 1.0), "the market data of BTC/USDT cannot be trusted: no pong"),
        ((31.0, 1.0), "no market data of BTC/USDT for 31 s: no pong"),
        ((40.0, 31.0), "no market data of any symbol for 31 s: no pong"),
    ],
)
def test_a_stale_market_of_a_live_source_says_why(ages: tuple[float, float], told: str) -> None:
    facts = Facts(
        market_ages=dict(zip(MARKETS, ages, strict=True)),
        market_limits=MARKETS,
        market_reasons={"BTC/USDT": "stale: no pong", "ETH/USDT": "live" if ages[1] < 30 else "stale: no pong"},
        market_stale={"BTC/USDT": 26.0},
    )
    assert only(facts).message == told


def test_a_failure_that_may_pass_asks_for_nothing_but_patience() -> None:
    ages, reason = {"BTC/USDT": 1.0, "ETH/USDT": 1.0}, "failed: no route; it is tried again"
    finding = only(Facts(market_ages=ages, market_limits=MARKETS, market_reasons={"BTC/USDT": reason}))
    assert finding.message == "the market of BTC/USDT cannot be opened: no route"
    assert finding.remedy.startswith("it is tried again by itself; `levibotctl doctor`")


def test_a_failure_of_the_settings_is_mended_there() -> None:
    ages, reason = {"BTC/USDT": 1.0}, "failed: [exchange] id = 'binanse': no such exchange; did you mean binance?"
    remedy = only(Facts(market_ages=ages, market_limits=MARKETS, market_reasons={"BTC/USDT": reason})).remedy
    assert "`levibotctl config check`" in remedy
    assert "`levibotctl upgrade`" in remedy
    assert "levibotctl add" not in remedy


def test_a_market_that_an_exchange_does_not_have_is_corrected_in_the_symbols() -> None:
    ages, reason = {"BTC/USDT": 1.0}, "failed: mexc has no market BTC/USDT; remove it from symbols"
    facts = Facts(market_ages=ages, market_limits=MARKETS, market_reasons={"BTC/USDT": reason}, live_source=True)
    assert only(facts).remedy.startswith("correct symbols in the configuration and `levibotctl reload`")


LIVE_AGES = {"BTC/USDT": 1.0, "ETH/USDT": 1.0}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"market_ages": LIVE_AGES}, ""),
        ({"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0}}, ""),
        ({"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 40.0}}, "no market data of any symbol for 31 s"),
        ({"market_ages": {"BTC/USDT": 31.0}}, "no market data of BTC/USDT for 31 s"),
        ({"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 40.0}, "feed_ended": True}, ""),
        ({"market_ages": {}}, ""),
        (
            {"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0}, "held": frozenset({"BTC/USDT"})},
            "no market data of BTC/USDT for 31 s; there is a position",
        ),
        ({"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0}, "held": frozenset({"ETH/USDT"})}, ""),
        (
            {"market_ages": LIVE_AGES, "market_reasons": dict.fromkeys(LIVE_AGES, "failed: no file")},
            "the market of BTC/USDT cannot be opened: no file",
        ),
        ({"market_ages": LIVE_AGES, "market_reasons": {"BTC/USDT": "failed: no file", "ETH/USDT": "live"}}, ""),
        (
            {
                "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 31.0},
                "market_reasons": {"BTC/USDT": "halted", "ETH/USDT": "stale: no pong"},
            },
            "no market data of ETH/USDT for 31 s: no pong",
        ),
        (
            {
                "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 31.0},
                "market_reasons": {"BTC/USDT": "ended", "ETH/USDT": "stale: no pong"},
            },
            "no market data of ETH/USDT for 31 s: no pong",
        ),
    ],
)
def test_a_daemon_that_sees_no_market_is_not_well(facts: dict[str, Any], told: str) -> None:
    assert blindness(Facts(market_limits=MARKETS, **facts)) == told


def test_a_cool_down_tells_who_wants_it_why_and_for_how_long() -> None:
    finding = only(Facts(exchange="mexc", cool_down=59.6, cool_down_reason="429 Too Many Requests"))
    assert finding.message == "mexc is asked nothing for another 60 s: 429 Too Many Requests"
    assert "requests_per_minute" in finding.remedy


def test_holes_in_a_recording_are_counted() -> None:
    finding = only(Facts(recorder_dropped=5, recorder_trouble="the disk is slow"))
    assert finding.message == (
        "the recording of market data has holes: the disk is slow; 5 messages were left out within a minute"
    )
