"""A real daemon on the loopback exchange: what its feed knows is shown, measured and told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from levibot.api.client import ApiError
from tests.api.requests import free_port
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest, live_settings
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings

pytestmark = pytest.mark.unmeasured

ONE_DIALECT = pytest.mark.parametrize("exchange", ["binance"], indirect=True)
BTC, ETH = "BTC/USDT", "ETH/USDT"


@pytest.fixture(params=["binance", "mexc"])
def exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    """Ether trades once in ten minutes, and its prices stand still as long."""
    with running(Settings(dialect=request.param, quiet=(ETH,))) as exchange:
        yield exchange


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def live(make_daemon: MakeDaemon, exchange: RunningExchange, port: int) -> DaemonUnderTest:
    daemon = make_daemon(**live_settings(exchange), api__port=port)
    daemon.start()
    daemon.wait(lambda: set(markets(daemon).values()) == {"live"}, "both markets to be live", seconds=60)
    return daemon


def markets(daemon: DaemonUnderTest) -> dict[str, str]:
    return {engine["symbol"]: engine["market"] for engine in daemon.status()["engines"]}


def source(daemon: DaemonUnderTest) -> dict[str, Any]:
    found: dict[str, Any] = daemon.worker("feed")["live"]
    return found


def alert(daemon: DaemonUnderTest, key: str) -> dict[str, Any] | None:
    return next((alert for alert in daemon.status()["alerts"] if alert["key"] == key), None)


def ailment(daemon: DaemonUnderTest) -> str:
    """What `/health` says is wrong; nothing if all is well."""
    try:
        daemon.api.get("/health")
    except ApiError as error:
        return str(error)
    return ""


def metric(port: int, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])


def shown(daemon: DaemonUnderTest, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("levibotctl")), "-c", str(daemon.config), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=90).stdout


def test_what_a_live_feed_knows_is_shown_and_a_quiet_market_is_no_trouble(
    live: DaemonUnderTest, exchange: RunningExchange, port: int
) -> None:
    live.wait(lambda: source(live)["probes"] >= 3, "the quiet market to be asked about", seconds=60)
    live.wait(lambda: source(live)["markets"][BTC]["trades"] > 0, "trades")
    told = source(live)
    assert told["exchange"] == live.status()["daemon"]["exchange"] == exchange.dialect
    assert told["connections"] >= 1
    assert told["frames"] > 0
    assert 0 < told["budget_used"] < 1
    assert (told["cool_down_s"], abs(told["skew_ms"]) < 1000) == (0, True)
    assert live.status()["daemon"]["disclosure"] == f"LIVE prices of {exchange.dialect}, paper money"
    assert live.engine(BTC)["market_health"]["trades"] > 0
    assert live.engine(ETH)["market_data_age_seconds"] < 10
    assert metric(port, f'levi_market_state{{symbol="{ETH}",state="live"}}') == 1
    assert metric(port, f'levi_market_trades_total{{symbol="{BTC}"}}') > 0
    assert metric(port, "levi_feed_connections") >= 1
    table = shown(live, "status")
    assert f"{exchange.dialect}: " in table
    assert "live" in table
    assert "asked whether silence is right" in shown(live, "status", "feed")
    assert live.status()["alerts"] == []


@ONE_DIALECT
@pytest.mark.long
def test_a_cool_down_is_told_with_the_time_that_is_left(
    live: DaemonUnderTest, exchange: RunningExchange, port: int
) -> None:
    exchange.arm("status", "GET *", status=429, retry_after=15)  # the quiet market is asked about soon
    live.wait(lambda: alert(live, "cool_down"), "the alert", seconds=60)
    message = alert(live, "cool_down")["message"]  # type: ignore[index]
    assert message.startswith(f"{exchange.dialect} is asked nothing for another ")
    assert "429" in message
    assert 0 < source(live)["cool_down_s"] <= 15
    assert metric(port, "levi_feed_cool_down_seconds") > 0
    assert "asked nothing for another" in shown(live, "status")
    exchange.clear()
    live.wait(lambda: not source(live)["cool_down_s"], "its end", seconds=60)
    live.wait(lambda: set(markets(live).values()) == {"live"}, "both markets to be live again", seconds=60)


@pytest.mark.long
def test_markets_that_stay_stale_are_told_with_the_reason(
    live: DaemonUnderTest, exchange: RunningExchange, port: int
) -> None:
    exchange.arm("refuse")
    exchange.drop_connections()
    live.wait(lambda: all(word.startswith("stale: ") for word in markets(live).values()), "stale markets")
    live.wait(lambda: alert(live, "stale_feed"), "the alert", seconds=60)
    message = alert(live, "stale_feed")["message"]  # type: ignore[index]
    assert message.startswith("no market data can be trusted: ")
    assert message.partition(": ")[2]
    assert "no market data" in ailment(live)
    exchange.clear()
    live.wait(lambda: set(markets(live).values()) == {"live"}, "both markets to be live again", seconds=60)
    live.wait(lambda: not alert(live, "stale_feed"), "the alert to be over soon", seconds=60)
    assert not ailment(live)
    assert metric(port, "levi_feed_reconnects_total") >= 1


@ONE_DIALECT
def test_a_reload_of_how_the_exchange_is_reached_restarts_the_feed_alone(
    live: DaemonUnderTest, exchange: RunningExchange, port: int
) -> None:
    before, frames = live.worker_pids(), source(live)["frames"]
    live.write_config(exchange__feed_share=0.3, exchange__account="other")
    report = live.post("/daemon/reload")
    assert report["restarted"] == ["feed"]
    assert "but for exchange.account: these apply after `levibotctl upgrade`" in report["message"]
    live.wait_replaced("feed", before["feed"])
    live.wait(lambda: set(markets(live).values()) == {"live"}, "both markets to be live again", seconds=60)
    after = live.worker_pids()
    changed = {worker for worker in before if before[worker] != after[worker]}
    assert changed == {"feed"}, [record for record in live.events() if record["event"].startswith("worker")]
    live.wait(lambda: metric(port, "levi_feed_frames_total") > frames, "more frames than before", seconds=60)
    assert metric(port, "levi_feed_reconnects_total") >= 1


@ONE_DIALECT
@pytest.mark.long
def test_an_exchange_that_comes_up_long_after_the_daemon_costs_no_engine(
    make_daemon: MakeDaemon, exchange: RunningExchange
) -> None:
    exchange.arm("refuse")
    daemon = make_daemon(**live_settings(exchange), **{"policy.engine.hang_after": 4.0})
    daemon.start(ready=False)
    limit = 2 * daemon.settings["policy.engine.hang_after"]
    daemon.wait(lambda: daemon.engine(BTC)["uptime_seconds"] > limit + 2, "a long wait", seconds=60)
    daemon.wait(lambda: markets(daemon)[BTC].startswith("failed: "), "an attempt to have failed", seconds=60)
    daemon.wait(lambda: "no market can be opened: " in ailment(daemon), "the daemon to say so", seconds=60)
    exchange.clear()
    daemon.wait(lambda: set(markets(daemon).values()) == {"live"}, "both markets to be live", seconds=60)
    daemon.wait_ready()
    daemon.wait(lambda: not ailment(daemon), "the daemon to be well", seconds=60)
    ticks = daemon.engine(BTC)["ticks"]
    daemon.wait(lambda: daemon.engine(BTC)["ticks"] > ticks + 20, "ticks", seconds=60)
    assert daemon.events("worker_condemned") == []
    assert all(engine["restarts"] == 0 for engine in daemon.status()["engines"])


@ONE_DIALECT
@pytest.mark.long
def test_a_market_that_the_exchange_does_not_trade_is_told_until_it_does(
    make_daemon: MakeDaemon, exchange: RunningExchange
) -> None:
    exchange.arm("halted", symbol=BTC)
    daemon = make_daemon(**live_settings(exchange))
    daemon.start(ready=False)
    daemon.wait(lambda: markets(daemon) == {BTC: "halted", ETH: "live"}, "the halt to be noticed", seconds=60)
    told = daemon.wait(lambda: alert(daemon, f"market_halted:{BTC}"), "the alert", seconds=60)
    assert told["message"].startswith(f"{exchange.dialect} does not trade {BTC} now")
    assert alert(daemon, f"stale_feed:{BTC}") is None
    assert not ailment(daemon), "the other market is live"
    exchange.clear()
    daemon.post("/workers/restart/feed")  # reads the markets at once
    daemon.wait(lambda: markets(daemon)[BTC] == "live", "trade again", seconds=60)
    daemon.wait(lambda: not alert(daemon, f"market_halted:{BTC}"), "the alert to be over", seconds=60)
