"""Counters over the processes of a worker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import (
    BrokerReport,
    EngineReport,
    FeedReport,
    Heartbeat,
    InferenceReport,
    LiveReport,
    MarketHealth,
    NotifierReport,
    RecorderReport,
    Report,
)
from levibot.supervisor.totals import Totals
from workers.engine_start import EMPTY_REPORT


def heartbeat(incarnation: int, report: Report | None = None, **values: Any) -> Heartbeat:
    plain: dict[str, Any] = {
        "worker": "engine-BTC-USDT",
        "incarnation": incarnation,
        "pid": 1,
        "ready": True,
        "waiting_for": "",
        "paused": False,
        "turns": 1,
        "market_ns": None,
        "decision_ns": None,
        "errors": 0,
        "last_error": "",
        "queue_depth": 0,
        "dropped": 0,
        "preloaded": True,
    }
    return Heartbeat(**{**plain, **values, "report": report})


def engine(**values: Any) -> EngineReport:
    return msgspec.structs.replace(EMPTY_REPORT, **values)


def told(*heartbeats: Heartbeat) -> Totals:
    totals = Totals()
    for number, beat in enumerate(heartbeats):
        totals.take(beat, float(number), number * 1000)
    return totals


def report_of(totals: Totals) -> Any:
    assert totals.heartbeat is not None
    return totals.heartbeat.report


def test_before_the_first_heartbeat_nothing_is_known() -> None:
    totals = Totals()
    assert (totals.heartbeat, totals.processes, totals.heard_ms, totals.heard_at) == (None, 0, None, None)


def test_counters_of_past_processes_are_added() -> None:
    first = engine(ticks=5, signals={"long": 2}, order_buckets=[1, 2, 3], order_seconds=0.5)
    second = engine(ticks=1, signals={"short": 1, "long": 1}, order_buckets=[0, 0, 1], order_seconds=0.25)
    totals = told(heartbeat(1, first, dropped=7), heartbeat(2, second, dropped=1))
    report = report_of(totals)
    assert (report.ticks, report.signals) == (6, {"long": 3, "short": 1})
    assert (report.order_buckets, report.order_seconds) == ([1, 2, 4], 0.75)
    assert totals.heartbeat is not None
    assert (totals.heartbeat.dropped, totals.processes) == (8, 2)
    assert (totals.heard_at, totals.heard_ms) == (1.0, 1000)


def test_states_and_durable_counts_are_the_newest_alone() -> None:
    totals = told(
        heartbeat(1, engine(price=1.0, trade_count=3), queue_depth=9),
        heartbeat(2, engine(price=2.0, trade_count=4), queue_depth=1),
    )
    report = report_of(totals)
    assert (report.price, report.trade_count) == (2.0, 4)
    assert totals.heartbeat is not None
    assert totals.heartbeat.queue_depth == 1


def test_an_empty_histogram_of_a_process_that_has_just_begun_takes_nothing_away() -> None:
    totals = told(heartbeat(1, engine(inference_buckets=[1, 2])), heartbeat(2, engine()))
    assert report_of(totals).inference_buckets == [1, 2]
    later = told(heartbeat(1, engine()), heartbeat(2, engine(inference_buckets=[3, 4])))
    assert report_of(later).inference_buckets == [3, 4]


def test_a_process_without_a_report_of_its_own_yet_shows_that_of_the_one_before() -> None:
    totals = told(heartbeat(1, engine(ticks=5)), heartbeat(2, None))
    assert report_of(totals).ticks == 5


@pytest.mark.parametrize(
    ("first", "second", "total"),
    [
        (FeedReport(5, {}, None, False, 1), FeedReport(2, {}, 9, False), FeedReport(7, {}, 9, False, 1)),
        (BrokerReport(3, 1, {"a": 3}, 2), BrokerReport(4, 0, {"a": 4}, 1), BrokerReport(4, 0, {"a": 4}, 3)),
        (
            InferenceReport("m/1", "", 1, 2, 3, 4, 5, 6),
            InferenceReport("m/2", "old", 1, 1, 1, 1, 1, 1),
            InferenceReport("m/2", "old", 2, 3, 4, 5, 6, 7),
        ),
        (NotifierReport(1, 2, 3), NotifierReport(1, 1, 1), NotifierReport(2, 3, 1)),
    ],
)
def test_reports_of_every_kind_add_up(first: Report, second: Report, total: Report) -> None:
    assert report_of(told(heartbeat(1, first), heartbeat(2, second))) == total


def live(**values: Any) -> LiveReport:
    plain = LiveReport("mexc", {}, 1, 1, 0, 0, 10, [4] * 8 + [10], 0.5, 0.25, 0.0, "", 3)
    return msgspec.structs.replace(plain, **values)


def test_what_a_live_source_counted_adds_up_by_symbol_and_its_states_are_the_newest() -> None:
    first = live(markets={"A/B": MarketHealth(trades=5, gaps=1, lag_ms=9), "C/D": MarketHealth(trades=2)})
    second = live(
        markets={"A/B": MarketHealth(trades=3, lag_ms=4)},
        reconnects=2,
        connections=0,
        cool_down_s=60.0,
        skew_ms=None,
    )
    total = report_of(
        told(
            heartbeat(1, FeedReport(5, {}, None, False, live=first, recorder=RecorderReport(3, 900, 1))),
            heartbeat(2, FeedReport(5, {}, None, False, live=second, recorder=RecorderReport(4, 100, 0, "slow"))),
        )
    )
    assert total.recorder == RecorderReport(7, 1000, 1, "slow")
    assert total.live.markets == {"A/B": MarketHealth(trades=8, gaps=1, lag_ms=4), "C/D": MarketHealth(trades=2)}
    assert (total.live.dials, total.live.reconnects, total.live.frames) == (2, 2, 20)
    assert (total.live.parse_buckets, total.live.parse_seconds) == ([8] * 8 + [20], 1.0)
    assert (total.live.connections, total.live.cool_down_s, total.live.skew_ms) == (0, 60.0, None)


def test_a_feed_that_is_not_connected_yet_takes_nothing_away() -> None:
    beats = heartbeat(1, FeedReport(5, {}, None, False, live=live())), heartbeat(2, FeedReport(0, {}, None, False))
    assert report_of(told(*beats)).live.frames == 10


@given(st.lists(st.lists(st.integers(0, 5), min_size=1), min_size=1))
def test_a_counter_never_falls(processes: list[list[int]]) -> None:
    totals, seen = Totals(), [0]
    for incarnation, steps in enumerate(processes):
        ticks = 0
        for step in steps:
            ticks += step
            totals.take(heartbeat(incarnation, engine(ticks=ticks)), 0.0, 0)
            seen.append(report_of(totals).ticks)
    assert seen == sorted(seen)
    assert seen[-1] == sum(map(sum, processes))
    assert totals.processes == len(processes)
