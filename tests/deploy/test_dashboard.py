"""The Grafana dashboard: every query of it is put to a real Prometheus that scrapes a real daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
import zmq

from levibot.bus.sockets import ipc
from tests.daemon.harness import DaemonUnderTest, daemon, live_settings
from tests.deadline import wait_for
from tests.deploy.real_prometheus import SCRAPE_SECONDS, RealPrometheus, free_port, prometheus
from tests.exchange.running import running
from tests.exchange.settings import Settings
from tests.ml.examples import stored_model
from tests.prometheus import DEPLOY

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "levibot.json").read_text())
TITLES = [
    "Equity",
    "PnL",
    "Global stop",
    "Inference p95",
    "Probability and confidence",
    "Engine states",
    "Positions",
    "Errors",
    "Market states",
]
LIVE_TITLES = [
    "Market data delay",
    "Stream from the exchange",
    "Rate limit",
]  # without a live source they are empty
EVERY_ANSWER_IS_A_SIGNAL: dict[str, Any] = {
    "engine.strategy_options.long_from": 0.5,
    "engine.strategy_options.short_to": 0.4999,
    "engine.strategy_options.costs": 0.0,
    "engine.strategy_options.least_gain": 0.0,
}
_WINDOW = f"{40 * SCRAPE_SECONDS:g}s"  # Grafana takes at least four scrapes
_VARIABLE = re.compile(r"label_values\((?P<metric>\w+), (?P<label>\w+)\)")


def queries(titles: list[str]) -> list[tuple[str, str]]:
    """Panel and expression of each query, with the variables as Grafana fills them in."""
    return [
        (f"{panel['title']} {target['refId']}", filled(target["expr"]))
        for panel in DASHBOARD["panels"]
        if panel["title"] in titles
        for target in panel["targets"]
    ]


def filled(expression: str) -> str:
    (symbol,) = (variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "symbol")
    return expression.replace("$__rate_interval", _WINDOW).replace("$symbol", symbol["allValue"])


def whole(expression: str) -> str:
    """Without the filter that hides what is 0, for in good times all of it is."""
    return expression.removesuffix(" > 0")


def test_the_panels_are_there_each_with_unit_and_thresholds() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"]] == [*TITLES, *LIVE_TITLES]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"], panel["title"]
        assert panel["description"], panel["title"]
        assert {panel["datasource"]["uid"], *(t["datasource"]["uid"] for t in panel["targets"])} == {
            "${datasource}"
        }


def test_no_panel_lies_on_another() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for grid in (panel["gridPos"],)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_data_source_of_grafana_knows_how_often_is_scraped() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "levibot.yml").read_text())["datasources"]
    scraping = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]


@pytest.fixture(scope="module")
def scraped() -> Iterator[RealPrometheus]:
    """A Prometheus that has seen a daemon with two engines, a pool of two, a model, and some trouble."""
    port = free_port()
    settings: dict[str, Any] = {
        "api.port": port,
        "engine.strategy": "ensemble",
        **EVERY_ANSWER_IS_A_SIGNAL,
        "inference.processes": 2,
    }
    with ExitStack() as stack:
        home, folder = (Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="levi-"))) for _ in range(2))
        under_test = stack.enter_context(daemon(home, **settings))
        peer = stack.enter_context(prometheus(folder, port))
        stored_model(under_test.data / "models")
        under_test.start()
        wait_for(lambda: peer.query("levi_engine_status == 1"), "the first scrape", seconds=60)
        first = under_test.engine()["pid"]
        os.kill(first, signal.SIGKILL)
        under_test.wait_replaced("engine-BTC-USDT", first)
        with junk(under_test) as send_junk:
            for name, expression in queries(TITLES):

                def found(expression: str = whole(expression)) -> Any:
                    send_junk()
                    return peer.query(expression)

                wait_for(found, f"data of {name}: {expression}", seconds=60, every=SCRAPE_SECONDS)
        yield peer


@contextmanager
def junk(under_test: DaemonUnderTest) -> Iterator[Any]:
    """Sends what nobody can read to supervisor and feed, which count it and go on."""
    run_dir = under_test.data / "run"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = [context.socket(kind) for kind in (zmq.PUSH, zmq.DEALER)]
    for socket, name in zip(sockets, ("heartbeat.sock", "feed.sock"), strict=True):
        socket.connect(ipc(run_dir / name))

    def send() -> None:
        for socket in sockets:
            socket.send(b"\xc1 junk")

    try:
        yield send
    finally:
        context.destroy(linger=0)


def test_every_query_of_every_panel_has_data(scraped: RealPrometheus) -> None:
    names = dict(queries(TITLES))
    assert len(names) >= len(TITLES)
    for name, expression in names.items():
        series = scraped.query(whole(expression))
        assert series, name
        values = [float(one["value"][1]) for one in series]
        assert all(value == value for value in values) or "p95" in name, name  # a rate of 0 has no percentile
        scraped.query(expression)


def test_every_query_of_the_live_panels_has_data(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="levi-")))
        exchange = stack.enter_context(running(Settings(dialect="binance")))
        under_test = stack.enter_context(daemon(home, **live_settings(exchange), **{"api.port": port}))
        peer = stack.enter_context(prometheus(tmp_path, port))
        under_test.start()
        names = dict(queries(LIVE_TITLES))
        assert len(names) > len(LIVE_TITLES)
        for name, expression in names.items():

            def found(expression: str = whole(expression)) -> Any:
                return peer.query(expression)

            wait_for(found, f"data of {name}: {expression}", seconds=60, every=SCRAPE_SECONDS)


@pytest.mark.parametrize(("title", "word"), [("Engine states", "running"), ("Market states", "live")])
def test_the_states_are_those_of_the_legend(scraped: RealPrometheus, title: str, word: str) -> None:
    (panel,) = (panel for panel in DASHBOARD["panels"] if panel["title"] == title)
    legend = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    for one in scraped.query(filled(panel["targets"][0]["expr"])):
        assert legend[one["value"][1]]["text"] == word


def test_the_variables_are_filled(scraped: RealPrometheus) -> None:
    by_name = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert by_name["datasource"]["query"] == "prometheus"
    match = _VARIABLE.fullmatch(by_name["symbol"]["query"]["query"])
    assert match is not None
    values = scraped.ask(f"label/{match['label']}/values", **{"match[]": match["metric"]})
    assert values == ["BTC/USDT", "ETH/USDT"]


def test_the_rules_are_evaluated_without_an_error_and_tell_the_trouble(scraped: RealPrometheus) -> None:
    def healthy() -> bool:
        rules = [rule for group in scraped.ask("rules")["groups"] for rule in group["rules"]]
        assert not [rule["lastError"] for rule in rules if rule.get("lastError")]
        return bool(rules) and all(rule["health"] == "ok" for rule in rules)

    wait_for(healthy, "all rules to be evaluated")

    def firing() -> set[str]:
        alerts = scraped.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    wait_for(lambda: "LeviBotMessagesRefused" in firing(), "the junk to be told")
    assert "LeviBotAbsent" not in firing()
