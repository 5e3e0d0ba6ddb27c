"""The metrics of the feed, from what its processes reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from levibot.bus.messages import FeedReport, LiveReport, MarketHealth, RecorderReport
from levibot.observability.metrics import Buckets, Reading
from levibot.supervisor.feed_metrics import FEED_FAMILIES
from levibot.supervisor.totals import Totals
from tests.supervisor.test_totals import heartbeat


@dataclass
class View:
    """What `DaemonView` shows of the feed: its newest words, and the sums over its processes."""

    feed: FeedReport | None
    totals: Totals
    symbols: list[str] = field(default_factory=lambda: ["BTC/USDT", "ETH/USDT"])

    def report(self, _worker: str) -> Any:
        return self.totals.heartbeat.report if self.totals.heartbeat else None

    @property
    def daemon(self) -> Any:
        return SimpleNamespace(manager=SimpleNamespace(workers={"feed": SimpleNamespace(totals=self.totals)}))


def view(*reports: FeedReport, runs: bool = True) -> Any:
    totals = Totals()
    for incarnation, report in enumerate(reports):
        totals.take(heartbeat(incarnation, report), 0.0, 0)
    return View(reports[-1] if runs and reports else None, totals)


def metrics(seen: Any) -> dict[str, Reading]:
    return {family.name: family.read(seen) for family in FEED_FAMILIES}


def live(frames: int, **markets: MarketHealth) -> LiveReport:
    by_symbol = {f"{base}/USDT": health for base, health in markets.items()}
    buckets = [0] * 8 + [frames]
    return LiveReport("mexc", by_symbol, 2, 3, 1, 4, frames, buckets, 0.5, 0.25, 7.5, "429", -1500)


def report(source: LiveReport | None, **states: str) -> FeedReport:
    symbols = {f"{base}/USDT": state for base, state in states.items()}
    return FeedReport(100, symbols, None, False, live=source, recorder=RecorderReport(9, 900, 1))


def test_a_live_feed_shows_everything() -> None:
    health = MarketHealth(trades=5, books=6, duplicates=1, stales=2, gaps=3, lag_ms=80)
    found = metrics(view(report(live(10, BTC=health), BTC="stale: no pong", ETH="live")))
    assert None not in found.values()
    assert found["levi_market_state"] == {
        ("BTC/USDT", "opening"): 0,
        ("BTC/USDT", "live"): 0,
        ("BTC/USDT", "stale"): 1,
        ("BTC/USDT", "halted"): 0,
        ("BTC/USDT", "ended"): 0,
        ("BTC/USDT", "failed"): 0,
        ("ETH/USDT", "opening"): 0,
        ("ETH/USDT", "live"): 1,
        ("ETH/USDT", "stale"): 0,
        ("ETH/USDT", "halted"): 0,
        ("ETH/USDT", "ended"): 0,
        ("ETH/USDT", "failed"): 0,
    }
    assert found["levi_market_trades_total"] == {"BTC/USDT": 5}
    assert found["levi_market_lag_seconds"] == {"BTC/USDT": 0.08}
    assert found["levi_feed_parse_seconds"] == Buckets([0] * 8 + [10], 0.5)
    assert found["levi_feed_clock_skew_seconds"] == -1.5
    assert (found["levi_feed_cool_down_seconds"], found["levi_feed_budget_used_ratio"]) == (7.5, 0.25)
    assert (found["levi_recorder_bytes_total"], found["levi_recorder_dropped_total"]) == (900, 1)


def test_counters_go_on_over_restarts_and_a_dead_feed_has_no_present() -> None:
    first, second = report(live(10, BTC=MarketHealth(trades=5))), report(live(4, BTC=MarketHealth(trades=1)))
    found = metrics(view(first, second))
    assert found["levi_feed_frames_total"] == 14
    assert found["levi_market_trades_total"] == {"BTC/USDT": 6}
    assert found["levi_feed_reconnects_total"] == 3  # one of each process, and the restart between them
    dead = metrics(view(first, second, runs=False))
    assert dead["levi_feed_frames_total"] == 14
    for name in ("state", "lag_seconds"):
        assert dead[f"levi_market_{name}"] is None
    for name in ("connections", "budget_used_ratio", "cool_down_seconds", "clock_skew_seconds"):
        assert dead[f"levi_feed_{name}"] is None


def test_a_symbol_that_is_traded_no_more_has_no_counters() -> None:
    seen = view(report(live(1, BTC=MarketHealth(trades=5), SOL=MarketHealth(trades=9))))
    assert metrics(seen)["levi_market_trades_total"] == {"BTC/USDT": 5}


def test_a_simulated_market_shows_its_state_and_nothing_of_an_exchange() -> None:
    found = metrics(view(FeedReport(100, {"BTC/USDT": "live"}, None, False)))
    told = {name for name, reading in found.items() if reading is not None}
    assert told == {"levi_feed_published_messages_total", "levi_feed_reconnects_total", "levi_market_state"}
    nothing = metrics(view())
    assert {name for name, reading in nothing.items() if reading is not None} == {"levi_feed_reconnects_total"}
