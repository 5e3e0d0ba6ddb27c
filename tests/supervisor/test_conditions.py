"""The table of conditions: what each finds, and what it tells."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.bus.messages import LiveTradingReport
from levibot.supervisor.conditions import CONDITIONS
from levibot.supervisor.facts import Facts
from tests.supervisor.findings import MARKETS, found, only

MB = 1_000_000


def trading(**changed: Any) -> LiveTradingReport:
    """What a live broker tells."""
    known: dict[str, Any] = {
        "frozen": {},
        "unknown_orders": 0,
        "foreign_orders": 0,
        "reconciled_s": 1.0,
        "drift": {},
    }
    return LiveTradingReport(**{**known, **changed})


ROWS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("an account that cannot be reached", {"account": "account: no answer"}, {"account": "warning"}),
    ("one that is refused", {"account": "account refused: a wrong secret"}, {"account": "critical"}),
    ("a broker that says nothing of its account", {"account": None}, {}),
    ("all is well", {"market_ages": {"BTC/USDT": 1.0, "ETH/USDT": 1.0}, "market_limits": MARKETS}, {}),
    (
        "one market is silent",
        {"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0}, "market_limits": MARKETS},
        {"stale_feed:BTC/USDT": "warning"},
    ),
    (
        "one with a position is silent",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0},
            "market_limits": MARKETS,
            "held": frozenset({"BTC/USDT"}),
        },
        {"stale_feed:BTC/USDT": "critical"},
    ),
    (
        "all are silent: one alert",
        {"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 40.0}, "market_limits": MARKETS},
        {"stale_feed": "warning"},
    ),
    (
        "a replay is over",
        {"market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 40.0}, "market_limits": MARKETS, "feed_ended": True},
        {},
    ),
    (
        "a replay is over, with a position that has no price any more",
        {"feed_ended": True, "equity_known": False, "risk_state": "REDUCING", "held": frozenset({"BTC/USDT"})},
        {},
    ),
    (
        "one recording is over, and the other is not",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "ended", "ETH/USDT": "live"},
        },
        {},
    ),
    (
        "one market failed, the only other is silent",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 40.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "failed: x.csv:3: high below low", "ETH/USDT": "live"},
            "waiting": {"BTC/USDT": "feed"},
        },
        {"market_failed:BTC/USDT": "warning", "stale_feed:ETH/USDT": "warning"},
    ),
    (
        "a market with a position failed",
        {
            "market_ages": {"BTC/USDT": 1.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "failed: no file"},
            "held": frozenset({"BTC/USDT"}),
        },
        {"market_failed:BTC/USDT": "critical"},
    ),
    (
        "an exchange that is not reached: one alert",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 31.0},
            "market_limits": MARKETS,
            "market_reasons": dict.fromkeys(MARKETS, "failed: no route; it is tried again"),
        },
        {"market_failed": "warning"},
    ),
    (
        "a live source calls a market stale: it may have it back soon",
        {
            "market_ages": {"BTC/USDT": 1.0, "ETH/USDT": 1.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "stale: crossed book", "ETH/USDT": "live"},
            "market_stale": {"BTC/USDT": 9.0},
        },
        {},
    ),
    (
        "it has not, although prices come",
        {
            "market_ages": {"BTC/USDT": 1.0, "ETH/USDT": 1.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "stale: crossed book", "ETH/USDT": "live"},
            "market_stale": {"BTC/USDT": 11.0},
        },
        {"stale_feed:BTC/USDT": "warning"},
    ),
    (
        "a live source calls all markets stale, one sooner than the other: one alert",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 29.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "stale: no connection", "ETH/USDT": "stale: no connection"},
            "market_stale": {"BTC/USDT": 27.0, "ETH/USDT": 25.0},
        },
        {"stale_feed": "warning"},
    ),
    (
        "the exchange does not trade one market",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 1.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "halted", "ETH/USDT": "live"},
        },
        {"market_halted:BTC/USDT": "warning"},
    ),
    (
        "nor one that a position is in",
        {
            "market_ages": {"BTC/USDT": 31.0},
            "market_limits": MARKETS,
            "market_reasons": {"BTC/USDT": "halted"},
            "held": frozenset({"BTC/USDT"}),
        },
        {"market_halted:BTC/USDT": "critical"},
    ),
    (
        "an exchange that there is not: one alert",
        {
            "market_ages": {"BTC/USDT": 31.0, "ETH/USDT": 31.0},
            "market_limits": MARKETS,
            "market_reasons": dict.fromkeys(MARKETS, "failed: [exchange] id = 'binanse': no such exchange"),
        },
        {"market_failed": "warning"},
    ),
    ("the exchange has had enough", {"exchange": "mexc", "cool_down": 60.0}, {"cool_down": "warning"}),
    ("the recorder is too slow", {"recorder_dropped": 5}, {"recorder": "warning"}),
    ("the recorder has no disk", {"recorder_trouble": "no space left"}, {"recorder": "warning"}),
    ("engines wait: one alert", {"waiting": {"A/B": "broker", "C/D": "broker"}}, {"engine_waiting": "warning"}),
    (
        "an engine with a position waits",
        {"waiting": {"A/B": "broker"}, "held": frozenset({"A/B"})},
        {"engine_waiting": "critical"},
    ),
    (
        "no predictions: one alert",
        {"no_model": {"A/B": "no model yet", "C/D": "no model yet"}},
        {"no_predictions": "warning"},
    ),
    ("no pool", {"pool_trouble": "no inference process is ready"}, {"inference": "warning"}),
    ("no stop", {"unprotected": ("BTC/USDT",)}, {"unprotected:BTC/USDT": "critical"}),
    ("live trading that is well", {"trading": trading()}, {}),
    ("a frozen symbol", {"trading": trading(frozen={"A/B": "why"})}, {"frozen:A/B": "warning"}),
    (
        "a frozen symbol that is held",
        {"trading": trading(frozen={"A/B": "why"}), "held": frozenset({"A/B"})},
        {"frozen:A/B": "critical"},
    ),
    ("an asset that is short", {"trading": trading(drift={"B": "B is short"})}, {"drift:B": "critical"}),
    ("books that were never compared", {"trading": trading(reconciled_s=None)}, {"not_reconciled": "warning"}),
    ("books that were compared long ago", {"trading": trading(reconciled_s=301.0)}, {"not_reconciled": "warning"}),
    ("kill switch", {"latches": {"kill_switch": "why"}}, {"kill_switch": "warning"}),
    ("positions that are not closed", {"closing": {"BTC/USDT": "no price"}}, {"closing": "critical"}),
    ("a broker that does not say what is closed", {"closing": {}}, {"closing": "critical"}),
    ("daily stop", {"latches": {"daily_stop": "-3 %"}}, {"daily_stop": "critical"}),
    ("reducing", {"risk_state": "REDUCING", "risk_reason": "unstable:feed"}, {"reducing": "warning"}),
    ("halted is told by its latch", {"risk_state": "HALTED"}, {}),
    ("equity unknown", {"equity_known": False}, {"equity_unknown": "warning"}),
    (
        "equity unknown with positions",
        {"equity_known": False, "held": frozenset({"BTC/USDT"})},
        {"equity_unknown": "critical"},
    ),
    ("disk low", {"disk_free": 999 * MB, "disk_limit": 1000 * MB}, {"disk_low": "warning"}),
    ("disk very low", {"disk_free": 200 * MB, "disk_limit": 1000 * MB}, {"disk_low": "critical"}),
    ("disk fine", {"disk_free": 1000 * MB, "disk_limit": 1000 * MB}, {}),
    ("disk not known", {"disk_limit": 1000 * MB}, {}),
    ("ballast freed", {"ballast_freed": "0 bytes are free on the disk"}, {"disk_full": "critical"}),
    ("writes refused", {"refused_lately": 1}, {"writes_refused": "critical"}),
    ("clock ahead", {"clock_offset": 2.5}, {"clock_skew": "warning"}),
    ("clock behind", {"clock_offset": -2.5}, {"clock_skew": "warning"}),
    ("clock fine", {"clock_offset": 1.5, "kernel_error": 0.1}, {}),
    ("the kernel doubts the clock", {"kernel_error": 5.0}, {"clock_skew": "warning"}),
    (
        "a ledger was damaged and rebuilt",
        {"ledgers_aside": {"BTC/USDT": "BTC-USDT.sqlite.corrupt-20260131T000000Z"}},
        {"ledger_damaged:BTC/USDT": "warning"},
    ),
    ("altdata", {"altdata_missing": {"dune": "no key"}}, {"altdata:dune": "warning"}),
    ("notifier", {"notifier_trouble": "line 2"}, {"notifier": "warning"}),
]


@pytest.mark.parametrize(("facts", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_each_check_finds(facts: dict[str, Any], expected: dict[str, str]) -> None:
    assert found(Facts(**facts)) == expected


def test_every_finding_names_its_row_and_a_remedy() -> None:
    for row in CONDITIONS:
        for _, facts, _ in ROWS:
            for finding in row.find(Facts(**facts), False) or ():
                assert finding.key.partition(":")[0] == row.name
                assert finding.message
                assert finding.remedy


def test_a_full_disk_is_over_only_with_room_to_spare() -> None:
    facts = Facts(disk_free=1100 * MB, disk_limit=1000 * MB)
    assert found(facts, told=False) == {}
    assert found(facts, told=True) == {"disk_low": "warning"}


def test_alerts_about_engines_name_reason_engines_and_remedy() -> None:
    facts = Facts(
        engines=5,
        market_ages={"BTC/USDT": 1.0},
        market_limits=MARKETS,
        market_reasons={"BTC/USDT": "failed: x.csv:3: high 4.0 below low 6.0"},
        waiting={"ETH/USDT": "broker"},
        no_model={"A/B": "no model yet", "C/D": "no model yet", "E/F": "too old", "G/H": "no model yet"},
    )
    found = {finding.key: finding for row in CONDITIONS for finding in row.find(facts, False) or ()}
    failed, waits, silent = found["market_failed:BTC/USDT"], found["engine_waiting"], found["no_predictions"]
    assert failed.message == "the market of BTC/USDT cannot be opened: x.csv:3: high 4.0 below low 6.0"
    assert "`levibotctl add BTC/USDT`" in failed.remedy
    assert waits.message == "not ready for a minute: 1 of 5 engines (ETH/USDT); ETH/USDT waits for broker"
    assert "`levibotctl logs ETH/USDT`" in waits.remedy
    assert silent.message == (
        "no prediction for 4 of 5 engines (A/B, C/D, E/F, …), so nothing is opened: no model yet"
    )
    assert "`levibotctl train`" in silent.remedy


def test_the_command_that_the_pool_names_is_told_once() -> None:
    facts = Facts(engines=1, no_model={"A/B": "m/1 is stored but not promoted; run `levibotctl models promote m`"})
    (told,) = [finding for row in CONDITIONS for finding in row.find(facts, False) or ()]
    assert told.message.endswith("nothing is opened: m/1 is stored but not promoted")
    assert told.remedy.startswith("run `levibotctl models promote m`; ")


def test_a_refused_key_is_told_with_its_reason_and_engines_do_not_name_another() -> None:
    refused = "account refused: binance does not accept key 1234: Invalid signature"
    told = only(Facts(account=refused))
    assert told.message == (
        "the account cannot be opened, and nothing is traded: binance does not accept key 1234: Invalid signature"
    )
    assert told.remedy.startswith("mend what it names")
    (waiting,) = WAITING.find(Facts(engines=1, waiting={"BTC/USDT": "feed"}, account=refused), False) or []
    assert f"BTC/USDT waits for the broker's {refused}" in waiting.message


WAITING = next(row for row in CONDITIONS if row.name == "engine_waiting")


@pytest.mark.parametrize(
    ("key", "before", "over"),
    [
        ("engine_waiting", {"engines": 2, "ready": 1}, {"engines": 2, "ready": 2}),
        ("equity_unknown", {"equity_known": False}, {"equity_known": True}),
        ("account", {"account": ""}, {"account": "", "trading": trading()}),
        ("not_reconciled", {"trading": trading(reconciled_s=None)}, {"trading": trading()}),
        ("drift:BTC", {"trading": trading(drift={"BTC": "0.1 less"})}, {"trading": trading()}),
        ("frozen:BTC/USDT", {"trading": trading(frozen={"BTC/USDT": "why"})}, {"trading": trading()}),
    ],
)
def test_what_a_life_before_raised_ends_when_it_is_known_to_be_over(
    key: str, before: dict[str, Any], over: dict[str, Any]
) -> None:
    condition = next(row for row in CONDITIONS if row.name == key.partition(":")[0])
    assert not condition.surely_over(Facts(**before), key)
    assert condition.surely_over(Facts(**over), key)
