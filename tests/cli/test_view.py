"""Tables made of status documents."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from rich.console import Console

from levibot.cli.view import duration, entry_view, status_view
from tests.api.small_daemon import SmallDaemon


@pytest.fixture
def document() -> dict[str, Any]:
    return asyncio.run(SmallDaemon().status())


def drawn(view: Any, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (7620, "2h07m"), (90_000, "1d01h")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_not_known_yet_is_drawn_too(document: dict[str, Any]) -> None:
    kept = ("symbol", "worker", "status", "ready", "waiting_for", "detail", "restarts")
    for entry in [*document["engines"], *document["workers"]]:
        entry.update({key: None for key in entry if key not in kept})
    for key in ("market_ms", "equity", "uptime_seconds", "disclosure", "risk_reason"):
        document["daemon"][key] = None
    assert "BTC/USDT" in drawn(status_view(document))
    assert "BTC/USDT" in drawn(entry_view(document["engines"][0]))


def test_the_headline_warns(document: dict[str, Any]) -> None:
    document["daemon"] |= {
        "risk_state": "HALTED",
        "risk_reason": "daily loss",
        "model": "",
        "model_trouble": "no model lightgbm-simulated yet; run `levibotctl train`",
        "code_changed": True,
        "shutting_down": True,
    }
    text = drawn(status_view(document))
    assert "risk HALTED (daily loss)" in text
    assert "levibotctl upgrade" in text
    assert "no model lightgbm-simulated yet; run `levibotctl train`" in text
    assert "shutting down" in text


def test_a_state_says_what_it_waits_for(document: dict[str, Any]) -> None:
    waiting, crashed, refused = document["engines"]
    waiting |= {"status": "starting", "ready": False, "waiting_for": "feed"}
    crashed |= {"status": "crashed", "ready": False, "next_attempt_at": 4_000_000_000.0}
    refused |= {"status": "stopped", "ready": False, "detail": "the code has changed"}
    text = drawn(status_view(document))
    assert "starting, waits for feed" in text
    assert "crashed, again in " in text
    assert "stopped, the code has changed" in text


def test_a_long_reason_costs_no_column(document: dict[str, Any]) -> None:
    document["engines"][0] |= {"status": "stopped", "ready": False, "detail": "no such folder; set a path " * 5}
    text = drawn(status_view(document), width=150)
    assert "RSS" in text
    assert text.count("folder") == 5


def test_the_pool_and_its_model_are_shown(document: dict[str, Any]) -> None:
    document["workers"].append({**document["workers"][0], "worker": "inference-0", "answered": 12})
    text = drawn(status_view(document))
    assert "model lightgbm-simulated/20260101T000000Z-001" in text
    assert "inference-0 running" in text
    assert "answered 12" in text


def test_the_probability_of_a_rise_is_shown_or_why_there_is_none(document: dict[str, Any]) -> None:
    assert "0.62" in drawn(status_view(document))
    for engine in document["engines"][:2]:
        engine |= {"prob_up": None, "no_model": "no model lightgbm-simulated yet; run `levibotctl train`"}
    text = drawn(status_view(document))
    assert "no signal for BTC/USDT, ETH/USDT: no model lightgbm-simulated yet; run `levibotctl train`" in text
    assert text.count("long") == len(document["engines"]) - 2, "no signal is shown where there is none now"


def test_what_each_component_says_is_shown_or_why_it_does_not_count(document: dict[str, Any]) -> None:
    first, _second, third = document["engines"]
    assert "without" not in drawn(status_view(document)), "nobody expects what is not configured"
    assert "tft does not count: absent: inference.tft_processes is 0" in drawn(entry_view(first))
    first["components"]["tft"] |= {"trouble": "no answer from tft-0 within 2 s", "configured": True}
    third["components"]["tft"] |= {"trouble": "expired", "source": "tft/1", "configured": True}
    text = drawn(status_view(document))
    names = f"{first['symbol']}, {third['symbol']}"
    assert f"without tft: {names}: no answer from tft-0 within 2 s (and 1 other reason)" in text
    assert "without lightgbm" not in text
    text = drawn(entry_view(third))
    assert "lightgbm 0.625 (lightgbm-simulated/20260101T000000Z-001)" in text
    assert "tft does not count: expired (tft/1)" in text


def test_errors_of_a_running_engine_are_shown(document: dict[str, Any]) -> None:
    once, often, never = document["engines"]
    for engine, count in ((once, 1), (often, 7), (never, 0)):
        engine |= {"status": "running", "ready": True, "detail": "", "next_attempt_at": None, "error_count": count}
    text = drawn(status_view(document))
    assert "running, 1 error " in text
    assert "running, 7 errors " in text
    assert text.count(" error") == 2


def test_positions_of_symbols_no_longer_traded_are_shown(document: dict[str, Any]) -> None:
    assert "no longer traded" not in drawn(status_view(document))
    document["untraded_positions"] = {"SOL/USDT": 0.5, "XRP/USDT": 30.0}
    assert "no longer traded: SOL/USDT +0.5, XRP/USDT +30;" in drawn(status_view(document))


def test_an_entry_is_written_for_people(document: dict[str, Any]) -> None:
    document["engines"][0] |= {"ready": True, "paused": False, "bar_ms": 1_735_703_280_000}
    text = drawn(entry_view(document["engines"][0]))
    assert "yes" in text
    assert "no" in text
    assert "2025-01-01 03:48:00 UTC" in text


def test_texts_of_others_are_not_taken_for_markup(document: dict[str, Any]) -> None:
    document["alerts"][0]["message"] = "value [red]1[/red] and [/nonsense]"
    assert "value [red]1[/red] and [/nonsense]" in drawn(status_view(document))


def test_the_end_of_a_replay_is_said(document: dict[str, Any]) -> None:
    assert "has ended" not in drawn(status_view(document))
    document["daemon"]["recording_ended"] = True
    assert "the recording has ended at 2023-11-14 22:13:20 UTC: no more prices" in drawn(status_view(document))


def live(document: dict[str, Any], **markets: str) -> dict[str, Any]:
    """The document of a daemon that streams from an exchange; its feed's entry."""
    document["daemon"] |= {"source": "ccxt", "disclosure": "LIVE prices of mexc, paper money"}
    feed: dict[str, Any] = document["workers"][0]
    for engine, state in zip(document["engines"], markets.values(), strict=False):
        engine["market"] = state
    health = {
        **dict.fromkeys(("trades", "books", "duplicates", "stales", "gaps", "corrections"), 0),
        **dict.fromkeys(("backfilled", "synthetic", "renewals", "malformed"), 0),
        "lag_ms": None,
    }
    feed["markets"] = {f"{base}/USDT": state for base, state in markets.items()}
    feed["live"] = {
        "exchange": "mexc",
        "markets": {"BTC/USDT": {**health, "trades": 9757, "gaps": 3, "lag_ms": 81}, "ETH/USDT": health},
        "connections": 2,
        "dials": 5,
        "reconnects": 1,
        "probes": 12,
        "frames": 120_000,
        "parse_seconds_mean": 0.00021,
        "budget_used": 0.25,
        "cool_down_s": 0.0,
        "cool_down_reason": "",
        "skew_ms": -1200,
        "trouble": "",
    }
    return feed


def table_head(document: dict[str, Any]) -> str:
    return next(line for line in drawn(status_view(document)).splitlines() if line.strip().startswith("symbol"))


def test_the_market_of_each_engine_is_shown_where_it_is_live(document: dict[str, Any]) -> None:
    assert "market" not in table_head(document)
    live(document, BTC="live", ETH="stale: no pong for 15 s, and no trade although the exchange shows some")
    text = drawn(status_view(document))
    assert "market" in table_head(document)
    assert "LIVE prices of mexc, paper money" in text
    assert "stale: no pong for 15 s, and no" in text
    assert "mexc: 2 connections" in text
    assert "RSS" in text


def test_a_cool_down_is_shown_with_the_time_that_is_left(document: dict[str, Any]) -> None:
    feed = live(document, BTC="live")
    feed["live"] |= {"cool_down_s": 59.6, "cool_down_reason": "429 Too Many Requests"}
    for view in (status_view(document), entry_view(feed)):
        assert "asked nothing for another 60 s: 429 Too Many Requests" in drawn(view)


def test_the_feed_shows_its_exchange_its_markets_and_its_recording(document: dict[str, Any]) -> None:
    feed = live(document, BTC="live", ETH="stale: crossed book", SOL="opening")
    feed["recorder"] = {"messages": 1234, "bytes": 5_600_000, "dropped": 7, "trouble": "the disk is slow"}
    text = drawn(entry_view(feed))
    for words in (
        "2 open, 5 dialled",
        "120000, 0.21 ms each",
        "25% of the feed's share",
        "-1200 ms",
        "stale: crossed book",
        "9757",
        "81 ms",
        "1234 messages, 5.6 MB, 7 left out",
        "the disk is slow",
    ):
        assert words in text
    assert "{" not in text
    narrow = drawn(entry_view(feed), width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    for words in ("stale: crossed book", "81 ms", "gaps"):
        assert words in narrow
    feed["recorder"]["dropped"] = 0
    assert "records 5.6 MB" in drawn(status_view(document))


def test_a_narrow_terminal_leaves_columns_out_but_cuts_nothing(document: dict[str, Any]) -> None:
    wide, narrow = drawn(status_view(document)), drawn(status_view(document), width=80)
    assert "RSS" in wide
    assert "RSS" not in narrow
    for kept in ("ETH/USDT:USDT", "running", "101.50", "+0.5", "-2.50"):
        assert kept in narrow
    assert max(map(len, narrow.splitlines())) <= 80
