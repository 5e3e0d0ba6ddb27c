"""The HTTP contract, line by line, on a real daemon over TCP; and what its port withstands."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from levibot.api.server import MOST_CONNECTIONS
from tests.api.requests import Answer, ask, free_port, is_ended
from tests.api.test_stream import listening
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest
from tests.deadline import wait_for

pytestmark = pytest.mark.unmeasured

ENGINE_FIELDS = {
    "symbol": str,
    "status": str,
    "uptime_seconds": float,
    "last_heartbeat": float,
    "error_count": int,
    "last_error": (str, type(None)),
    "position": (float, type(None)),
    "daily_pnl": (float, type(None)),
    "total_pnl": (float, type(None)),
    "trade_count": int,
}


class Face:
    """A daemon, as programs see it over TCP."""

    def __init__(self, under_test: DaemonUnderTest, port: int) -> None:
        self.daemon = under_test
        self.port = port

    @property
    def token(self) -> str:
        return (self.daemon.data / "api-token").read_text(encoding="ascii").strip()

    def get(self, path: str, code: int = 200) -> Any:
        return self._ask("GET", path, code)

    def post(self, path: str, code: int = 200) -> Any:
        return self._ask("POST", path, code)

    def _ask(self, method: str, path: str, code: int) -> Any:
        answer: Answer = ask(self.port, method, path, token=self.token)
        assert answer.code == code, (path, answer.code, answer.body)
        if code >= 400:
            assert {"detail", "remedy"} <= set(answer.json)
        return answer.json


@pytest.fixture
def face(make_daemon: MakeDaemon) -> Face:
    port = free_port()
    return Face(
        make_daemon(api__port=port, engine__strategy=f"{FAULTS}:Quiet"), port
    )  # so that no fill comes between


def test_the_contract(face: Face) -> None:
    daemon = face.daemon
    daemon.start()

    # GET /engines/status → {total, running, crashed, stopped, engines: [...]}
    status = face.get("/engines/status")
    assert {name: status[name] for name in ("total", "running", "crashed", "stopped")} == {
        "total": 2,
        "running": 2,
        "crashed": 0,
        "stopped": 0,
    }
    for name, kind in ENGINE_FIELDS.items():
        assert isinstance(status["engines"][0][name], kind), name
    assert status["engines"][0]["status"] == "running"
    assert abs(status["engines"][0]["last_heartbeat"] - time.time()) < 60, "Unix seconds"

    # GET /engines/status/{symbol}, the symbol written in three ways; 404 for an unknown one
    for written in ("BTC/USDT", "BTC-USDT", "BTCUSDT", "BTC%2FUSDT"):
        assert face.get(f"/engines/status/{written}")["symbol"] == "BTC/USDT"
    assert "DOGE" in face.get("/engines/status/DOGE/USDT", code=404)["detail"]

    # POST /engines/{start,stop,restart}/{symbol} → {ok, symbol, status}; 409 when it already is, 404
    face.post("/engines/start/BTC/USDT", code=409)
    done = face.post("/engines/stop/BTC-USDT")
    assert (done["ok"], done["symbol"], done["status"]) == (True, "BTC/USDT", "stopped")
    status = face.get("/engines/status")
    assert (status["running"], status["stopped"]) == (1, 1)
    assert face.get("/engines/status/BTCUSDT")["status"] == "stopped"
    face.post("/engines/stop/BTC/USDT", code=409)
    assert face.post("/engines/start/BTCUSDT") == {"ok": True, "symbol": "BTC/USDT", "status": "started"}
    daemon.wait_ready()
    pid = daemon.engine()["pid"]
    assert face.post("/engines/restart/BTC/USDT") == {"ok": True, "symbol": "BTC/USDT", "status": "restarted"}
    daemon.wait_replaced("engine-BTC-USDT", pid)
    for verb in ("start", "stop", "restart"):
        face.post(f"/engines/{verb}/DOGE-USDT", code=404)

    # GET /risk/summary; POST /risk/reset_day → {ok, message}
    summary = daemon.wait(lambda: (found := face.get("/risk/summary"))["equity_now"] and found, "an equity")
    assert (summary["equity_now"], summary["positions_open"], summary["global_stop"]) == (10_000.0, 0, False)
    assert {"equity_start_day", "realized_today_pct"} <= set(summary)
    assert summary["policy"]["max_positions"] == 5
    reset = face.post("/risk/reset_day")
    assert reset["ok"] is True
    assert "daily stop" in reset["message"]

    # POST /live/kill?on=&reason=; GET /live/status → {kill_switch, reason, mode, active}
    live = {"kill_switch": False, "reason": "", "mode": "paper", "active": True}
    assert live.items() <= face.get("/live/status").items()
    killed = {"kill_switch": True, "reason": "too hot", "mode": "paper", "active": False}
    assert killed.items() <= face.post("/live/kill?on=true&reason=too%20hot").items()
    assert killed.items() <= face.get("/live/status").items()
    assert face.get("/risk/summary")["global_stop"] is True
    assert live.items() <= face.post("/live/kill?on=false").items()

    # GET /health, /alerts, /openapi.json, /stream/engines
    assert face.get("/health") == {"ok": True, "wrong": []}
    assert isinstance(face.get("/alerts"), list)
    assert "/engines/status/{symbol}" in face.get("/openapi.json")["paths"]
    with listening(face.port) as listener:
        first = listener.next()
        assert (first.name, first.data["total"]) == ("status", 2)
        face.post("/engines/pause/ETH/USDT")
        told = listener.next()
        while told.name != "state":
            told = listener.next()
        assert told.data == {"name": "ETH/USDT", "was": "running", "status": "paused"}
    assert daemon.stop() == 0


def test_a_crashed_engine_is_counted_and_health_says_so(make_daemon: MakeDaemon, switch: Path) -> None:
    port = free_port()
    overrides = {
        'overrides."BTC/USDT".strategy': f"{FAULTS}:DiesAtOnce",
        'overrides."BTC/USDT".strategy_options.switch': str(switch),
    }
    face = Face(make_daemon(api__port=port, **overrides), port)
    switch.touch()
    face.daemon.start(ready=False)
    face.daemon.wait(lambda: face.get("/engines/status")["crashed"] == 1, "a crashed engine", seconds=60)
    answer = face.get("/health", code=503)
    assert answer["ok"] is False
    assert "engine-BTC-USDT" in answer["detail"]


def test_the_token_is_made_at_the_first_start_and_survives_the_next(face: Face) -> None:
    path = face.daemon.data / "api-token"
    face.daemon.start(ready=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = face.token
    assert ask(face.port, "POST", "/engines/reset").code == 401
    assert face.post("/engines/reset")["ok"]
    assert face.daemon.stop() == 0
    face.daemon.start(ready=False)
    assert face.token == first
    assert face.daemon.stop() == 0
    said = face.daemon.output() + json.dumps(face.daemon.events())
    assert first not in said
    assert f"http://127.0.0.1:{face.port}" in said


@pytest.mark.long
def test_open_streams_and_requests_do_not_hold_up_the_stop(face: Face) -> None:
    face.daemon.write_config(policy__engine__stop_grace=2.0)
    face.daemon.start()
    with listening(face.port) as listener, socket.create_connection(("127.0.0.1", face.port)) as half:
        half.sendall(b"GET /health HTTP/1.1\r\n")
        listener.next()
        assert face.daemon.stop(seconds=8) == 0, "engines have a grace of 2 s, the interface one of 1 s"
        while listener.response.readline():  # raises if it was cut off instead of ended
            pass
        assert is_ended(half)


@pytest.mark.long
def test_a_taken_port_is_an_alert_and_nothing_more(face: Face) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", face.port))
        other.listen()
        face.daemon.start()
        [alert] = [alert for alert in face.daemon.status()["alerts"] if alert["key"] == "api_port"]
        assert str(face.port) in alert["message"]
        assert face.daemon.status()["daemon"]["api"]["address"] is None

    def served() -> bool:
        return face.daemon.status()["daemon"]["api"]["address"] is not None

    face.daemon.wait(served, "the port to be taken", seconds=60)
    assert face.get("/health")["ok"]
    assert "api_port" not in [alert["key"] for alert in face.daemon.status()["alerts"]]


@pytest.fixture
def crowd(face: Face) -> Iterator[Callable[[int, bytes], None]]:
    """Opens connections that send something and stay."""
    with ExitStack() as stack:

        def connect(number: int, sent: bytes) -> None:
            for _ in range(number):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", face.port), timeout=30))
                raw.sendall(sent)

        yield connect


@pytest.mark.long
def test_a_crowd_of_idle_slow_and_deaf_clients_disturbs_no_engine(
    face: Face, crowd: Callable[[int, bytes], None]
) -> None:
    face.daemon.start()
    before = {engine["worker"]: engine["pid"] for engine in face.daemon.status()["engines"]}
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    crowd(150, b"")
    crowd(150, b"GET /engines/status" + host)
    crowd(50, b"GET /stream/engines" + host + b"\r\n")
    crowd(100, (b"GET /openapi.json" + host + b"\r\n") * 100)
    beats = {engine["worker"]: engine["last_heartbeat"] for engine in face.daemon.status()["engines"]}

    def went_on() -> bool:
        engines = face.daemon.status()["engines"]
        return all(engine["last_heartbeat"] > beats[engine["worker"]] + 5 for engine in engines)

    wait_for(went_on, "heartbeats of the next five seconds", seconds=60, every=0.1)
    status = face.daemon.status()
    assert {engine["worker"]: engine["pid"] for engine in status["engines"]} == before
    assert not any(entry["restarts"] for entry in [*status["engines"], *status["workers"]])
    assert status["daemon"]["api"]["connections"] <= MOST_CONNECTIONS + 20
    assert not status["daemon"]["errors"]
