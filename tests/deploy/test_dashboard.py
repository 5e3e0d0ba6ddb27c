"""The Grafana dashboard: every query of it is put to a real Prometheus that scrapes a real daemon."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.daemon.harness import DaemonUnderTest, daemon
from tests.deadline import wait_for
from tests.deploy.real_prometheus import SCRAPE_SECONDS, RealPrometheus, free_port, prometheus
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
]
_WINDOW = f"{40 * SCRAPE_SECONDS:g}s"  # Grafana takes at least four scrapes
_MODEL = ("levi_inference_", "levi_signal_prob_up")  # asked of a pool only


def queries() -> list[tuple[str, str]]:
    """Panel and expression of each query, with the variables as Grafana fills them in."""
    return [
        (f"{panel['title']} {target['refId']}", filled(target["expr"]))
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


def filled(expression: str) -> str:
    (symbol,) = (variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "symbol")
    return expression.replace("$__rate_interval", _WINDOW).replace("$symbol", symbol["allValue"])


def whole(expression: str) -> str:
    """Without the filter that hides what is 0, for in good times all of it is."""
    return expression.removesuffix(" > 0")


def test_there_are_the_eight_panels_each_with_unit_and_thresholds() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"]] == TITLES
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(TITLES)
    for panel in DASHBOARD["panels"]:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"], panel["title"]
        assert panel["description"], panel["title"]
        assert {panel["datasource"]["uid"], *(t["datasource"]["uid"] for t in panel["targets"])} == {"${datasource}"}


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


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonUnderTest, RealPrometheus]]:
    """A daemon that has had its troubles, and a Prometheus that has seen them."""
    port = free_port()
    folder = tmp_path_factory.mktemp("p")
    with ExitStack() as stack:
        home = Path(stack.enter_context(_short_folder()))
        under_test = stack.enter_context(daemon(home, api__port=port))
        peer = stack.enter_context(prometheus(folder, port))
        under_test.start()
        wait_for(lambda: peer.query('up{job="levibot"} == 1'), "the first scrape", seconds=20)
        _make_trouble(under_test, peer)
        yield under_test, peer


def _short_folder() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory(prefix="levi-")
