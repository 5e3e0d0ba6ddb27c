"""What a real daemon tells Prometheus."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from functools import partial

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest
from tests.prometheus import promtool

pytestmark = pytest.mark.unmeasured

BTC = "BTC/USDT"

CONTRACT = {  # names that dashboards already use: type and labels
    "levi_engine_uptime_seconds": ("gauge", {"symbol"}),
    "levi_engine_last_heartbeat": ("gauge", {"symbol"}),
    "levi_engine_status": ("gauge", {"symbol"}),
    "levi_equity_now": ("gauge", set()),
    "levi_realized_today_pct": ("gauge", set()),
    "levi_positions_open": ("gauge", set()),
    "levi_global_stop": ("gauge", set()),
    "levi_engine_errors": ("counter", {"symbol"}),
    "levi_signals": ("counter", {"symbol", "side"}),
}


def scrape(daemon: DaemonUnderTest) -> dict[str, Metric]:
    """Metrics by name, a counter's without ``_total``."""
    text = daemon.api.get_bytes("/metrics").decode()
    return {family.name: family for family in parse_text(text)}


def values(daemon: DaemonUnderTest, name: str, key: str, **labels: str) -> dict[str, float]:
    """Values of the samples of that name with `labels`, by another label."""
    return {
        sample.labels[key]: sample.value
        for family in scrape(daemon).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


def request(daemon: DaemonUnderTest, method: str, path: str, accept: str) -> tuple[int, str, bytes]:
    """Status, content type and body of a request as Prometheus makes it."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.data / "run" / "api.sock"))
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read()
    finally:
        connection.close()


def test_the_names_that_dashboards_use_are_there_and_promtool_has_no_complaint(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon()
    daemon.start()
    daemon.wait(lambda: daemon.engine()["signal"], "a signal", seconds=60)
    daemon.wait(lambda: daemon.api.get("/risk/summary")["realized_today_pct"] is not None, "the day's start")
    promtool("check", "metrics", text=daemon.api.get_bytes("/metrics").decode())
    metrics = scrape(daemon)
    for name, (kind, labels) in CONTRACT.items():
        assert metrics[name].type == kind
        assert {frozenset(sample.labels) for sample in metrics[name].samples} == {frozenset(labels)}, name
    assert values(daemon, "levi_engine_status", "symbol") == {BTC: 1, "ETH/USDT": 1}
    assert sum(values(daemon, "levi_signals_total", "side", symbol=BTC).values()) > 0
    assert values(daemon, "levi_bus_messages_total", "channel")["heartbeat"] > 0
    assert metrics["levi_build_info"].samples[0].labels["mode"] == "paper"


@pytest.mark.long
def test_both_paths_answer_in_the_form_that_is_asked_for(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    for path in ("/metrics", "/metrics/prom"):
        status, kind, body = request(daemon, "GET", path, accept)
        assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
        names = {family.name for family in parse_open(body.decode())}  # refuses what is no OpenMetrics
        assert {"levi_equity_now", "levi_worker_restarts", "process_resident_memory_bytes"} <= names
        status, kind, body = request(daemon, "GET", path, "*/*")
        assert kind.startswith("text/plain; version=0.0.4")
        assert {family.name for family in parse_text(body.decode())} == names
        assert request(daemon, "HEAD", path, "*/*")[::2] == (200, b"")
    assert request(daemon, "GET", "/nowhere", "*/*")[0] == 404
    assert values(daemon, "levi_http_requests_total", "route", code="404") == {"(none)": 1}
    assert values(daemon, "levi_http_requests_total", "route", code="200")["/metrics/prom"] == 3


def test_a_killed_engine_is_counted_and_its_counters_never_fall(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    ticks = daemon.wait(lambda: values(daemon, "levi_engine_ticks_total", "symbol").get(BTC), "ticks")
    before = values(daemon, "levi_worker_restarts_total", "cause", symbol=BTC)
    assert set(before.values()) == {0}  # there from the start, or the first could not be seen as a rise
    first = daemon.engine()["pid"]
    os.kill(first, signal.SIGKILL)
    daemon.wait_replaced("engine-BTC-USDT", first)
    after = values(daemon, "levi_worker_restarts_total", "cause", symbol=BTC)
    assert after == before | {"crash": 1}
    assert values(daemon, "levi_worker_restart_budget_left", "symbol")[BTC] == 4
    assert values(daemon, "levi_engine_ticks_total", "symbol")[BTC] >= ticks


@pytest.mark.long
def test_a_crashed_engine_is_visible_with_its_last_words_but_no_opinion(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(policy__engine__restart_delays=[30.0])
    daemon.start()
    first = daemon.engine()["pid"]
    os.kill(first, signal.SIGKILL)  # the first restart comes at once, the second after 30 s
    second = daemon.wait_replaced("engine-BTC-USDT", first)["pid"]
    said = partial(values, daemon, "levi_signal_confidence", "symbol")
    daemon.wait(lambda: {BTC, "ETH/USDT"} <= said().keys(), "signals", seconds=60)
    os.kill(second, signal.SIGKILL)

    def state() -> str:
        states = values(daemon, "levi_worker_state", "state", worker="engine-BTC-USDT")
        assert sum(states.values()) == 1
        return max(states, key=lambda word: states[word])

    daemon.wait(lambda: state() == "crashed", "the crash to be shown")
    assert values(daemon, "levi_engine_status", "symbol")[BTC] == 2
    assert BTC in values(daemon, "levi_engine_last_heartbeat", "symbol")
    assert BTC in values(daemon, "levi_signals_total", "symbol")
    for name in ("levi_signal_confidence", "levi_engine_daily_pnl", "levi_worker_resident_memory_bytes"):
        found = values(daemon, name, "symbol")
        assert "ETH/USDT" in found, name
        assert BTC not in found, name


def test_a_removed_symbol_is_no_longer_shown(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    assert "ETH/USDT" in values(daemon, "levi_engine_status", "symbol")
    daemon.post("/engines/remove/ETH/USDT?keep=true")
    assert list(values(daemon, "levi_engine_status", "symbol")) == [BTC]


def test_orders_and_the_time_that_they_take_are_shown(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(engine__strategy=f"{FAULTS}:Long", symbols=[BTC])
    daemon.start()

    name = "levi_order_latency_seconds"
    daemon.wait(lambda: values(daemon, f"{name}_count", "symbol").get(BTC), "an accepted order", seconds=60)
    assert 0 < values(daemon, f"{name}_sum", "symbol")[BTC] < 10
    assert values(daemon, f"{name}_bucket", "le", symbol=BTC)["+Inf"] >= 1
    daemon.wait(lambda: values(daemon, "levi_orders", "state")["FILLED"] == 1, "the order to be filled")
    assert values(daemon, "levi_orders", "state")["REJECTED"] == 0
    daemon.wait(lambda: values(daemon, "levi_position", "symbol")[BTC] > 0, "the position in the engine's report")
    assert values(daemon, "levi_trades_total", "symbol")[BTC] == 1
    daemon.post("/engines/stop/BTC/USDT")
    assert values(daemon, "levi_position", "symbol")[BTC] > 0  # the broker's word, not the dead engine's
    assert BTC not in values(daemon, "levi_engine_total_pnl", "symbol")  # nobody values it any more
