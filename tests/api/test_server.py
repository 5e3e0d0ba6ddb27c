"""The real uvicorn on real sockets."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from levibot.api.caller import Caller, user_name
from levibot.api.client import ApiClient, ApiError, NotRunningError
from tests.api.small_daemon import SmallDaemon, serving


@pytest.fixture
def daemon() -> SmallDaemon:
    return SmallDaemon()


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def client(daemon: SmallDaemon, socket_path: Path) -> Iterator[ApiClient]:
    with serving(daemon, socket_path):
        yield ApiClient(socket_path)


def refusal(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("written", ["BTC/USDT", "BTC-USDT", "btcusdt"])
def test_symbol_is_found_however_it_is_written(client: ApiClient, written: str) -> None:
    assert client.get(f"/engines/status/{written}")["symbol"] == "BTC/USDT"


def test_swap_is_not_its_spot_market(client: ApiClient) -> None:
    assert client.get("/engines/status/ETH%2FUSDT%3AUSDT")["symbol"] == "ETH/USDT:USDT"


def test_engine_commands_answer_by_the_contract(client: ApiClient, daemon: SmallDaemon) -> None:
    done = client.post("/engines/stop/BTC-USDT")
    assert (done["ok"], done["symbol"], done["status"]) == (True, "BTC/USDT", "stopped")
    assert daemon.states["BTC/USDT"] == "stopped"
    assert client.post("/engines/start/BTC/USDT") == {"ok": True, "symbol": "BTC/USDT", "status": "started"}
    assert client.post("/engines/restart/BTC/USDT")["status"] == "restarted"
    assert client.post("/workers/restart/feed") == {"ok": True, "worker": "feed", "status": "restarted"}
    assert refusal(lambda: client.post("/workers/restart/BTC")).code == 404
    assert client.post("/engines/pause/BTC/USDT")["status"] == "paused"
    assert client.post("/engines/resume/BTC/USDT")["status"] == "resumed"
    assert client.post("/engines/reset")["status"] == "reset"
    assert client.post("/engines/reset/ETHUSDT")["symbol"] == "ETH/USDT"
    assert daemon.calls == ["restart BTC/USDT", "restart feed", "reset None", "reset ETH/USDT"]


def test_add_takes_only_the_canonical_form(client: ApiClient, daemon: SmallDaemon) -> None:
    assert refusal(lambda: client.post("/engines/add/SOLUSDT")).code == 400
    assert client.post("/engines/add/SOL/USDT")["message"] == "holds until the next reload"
    assert client.post("/engines/remove/SOLUSDT")["status"] == "removed"
    assert "SOL/USDT" not in daemon.states


def test_refusals_have_their_status_codes(client: ApiClient, daemon: SmallDaemon) -> None:
    unknown = refusal(lambda: client.post("/engines/stop/DOGE/USDT"))
    assert unknown.code == 404
    assert "no such symbol: 'DOGE/USDT'" in str(unknown)
    assert refusal(lambda: client.get("/engines/status/DOGE/USDT")).code == 404
    assert refusal(lambda: client.post("/engines/start/BTC/USDT")).code == 409
    daemon.stopping = True
    stopping = refusal(lambda: client.post("/engines/stop/BTC/USDT"))
    assert stopping.code == 503
    assert str(stopping) == "the daemon is stopping\nstart it again"


def test_unknown_path_and_bad_parameter_are_explained(client: ApiClient) -> None:
    assert refusal(lambda: client.get("/nothing")).code == 404
    assert refusal(lambda: client.get("/daemon/stop")).code == 405
    bad = refusal(lambda: client.post("/live/kill", on="maybe"))
    assert bad.code == 422
    assert str(bad).startswith("on: ")


@pytest.mark.parametrize(
    ("path", "code"),
    [("/engines/stop/DOGE", 404), ("/engines/resume/BTC/USDT", 409), ("/daemon/reload", 400)],
)
def test_every_refusal_has_a_remedy(daemon: SmallDaemon, client: ApiClient, path: str, code: int) -> None:
    daemon.broken_file = True
    error = refusal(lambda: client.post(path))
    assert error.code == code
    assert "`levibotctl " in str(error).splitlines()[-1]


def test_a_broken_file_refuses_the_reload_with_its_line(client: ApiClient, daemon: SmallDaemon) -> None:
    assert client.post("/daemon/reload")["added"] == ["SOL/USDT"]
    daemon.broken_file = True
    error = refusal(lambda: client.post("/daemon/reload"))
    assert error.code == 400
    assert "/etc/x.toml:3: feed.sped" in str(error)


def test_an_unforeseen_error_is_reported_and_the_server_lives(client: ApiClient, daemon: SmallDaemon) -> None:
    error = refusal(lambda: client.post("/daemon/upgrade"))
    assert error.code == 500
    assert "ValueError: this daemon cannot be upgraded" in str(error)
    assert daemon.errors == ["this daemon cannot be upgraded"]
    assert client.get("/engines/status")["total"] == 3


def test_kill_switch_health_and_risk(client: ApiClient, daemon: SmallDaemon) -> None:
    assert client.post("/live/kill", on="true", reason="too hot")["kill_switch"] is True
    live = client.get("/live/status")
    assert {"kill_switch": True, "reason": "too hot", "mode": "paper", "active": False}.items() <= live.items()
    assert client.get("/risk/summary")["positions_open"] == 1
    assert client.get("/health")["ok"] is True
    daemon.healthy = False
    assert refusal(lambda: client.get("/health")).code == 503


def test_socket_is_private_and_gone_after_the_end(daemon: SmallDaemon, socket_path: Path) -> None:
    with serving(daemon, socket_path):
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    assert not socket_path.exists()
    with pytest.raises(NotRunningError, match="levibotctl start"):
        ApiClient(socket_path).get("/health")


def test_stale_socket_is_replaced(daemon: SmallDaemon, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    with serving(daemon, socket_path):
        assert ApiClient(socket_path).get("/health")["ok"]


def test_a_successors_socket_is_left_in_place(daemon: SmallDaemon, socket_path: Path) -> None:
    with serving(daemon, socket_path):
        moved = socket_path.rename(socket_path.with_name("old.sock"))
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(socket_path))
    assert socket_path.exists()
    moved.unlink()


def test_an_open_request_does_not_hold_up_the_end(daemon: SmallDaemon, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as idle, socket.socket(socket.AF_UNIX) as asking:
        with serving(daemon, socket_path):
            idle.connect(str(socket_path))
            asking.connect(str(socket_path))
            asking.sendall(b"GET /alerts HTTP/1.1\r\nHost: localhost\r\n\r\n")  # is never answered
            ApiClient(socket_path).get("/health")
            began = time.monotonic()
        assert time.monotonic() - began < 10
        asking.settimeout(60)
        with suppress(ConnectionResetError):
            while asking.recv(1000):  # a timeout here means that the server left the connection open
                pass


def test_a_change_is_seen_by_whoever_asks_after_it(client: ApiClient) -> None:
    for wanted in ("stopped", "running") * 20:
        client.get("/engines/status")  # is shared for some milliseconds
        client.post(f"/engines/{'stop' if wanted == 'stopped' else 'start'}/BTC/USDT")
        assert client.get("/engines/status")["engines"][0]["status"] == wanted


def test_a_status_that_cannot_be_rendered_is_reported(client: ApiClient, daemon: SmallDaemon) -> None:
    daemon.states["ETH/USDT"] = object()  # type: ignore[assignment]
    daemon.states["BTC/USDT"] = 2**70  # type: ignore[assignment]
    assert refusal(lambda: client.get("/engines/status")).code == 500
    assert daemon.errors
    daemon.states = {"BTC/USDT": "running"}
    assert client.get("/engines/status")["total"] == 1


def test_changes_are_recorded_with_who_what_why_and_what_became_of_it(
    client: ApiClient, daemon: SmallDaemon
) -> None:
    client.get("/engines/status")
    client.post("/engines/pause/btcusdt")
    refusal(lambda: client.post("/engines/pause/BTC/USDT"))
    refusal(lambda: client.post("/engines/pause/DOGE"))  # nothing that could be done
    refusal(lambda: client.post("/live/kill", on="maybe"))
    client.post("/live/kill", on="true", flatten="true", reason="too hot")
    client.post("/risk/reset_day")
    refusal(lambda: client.post("/daemon/upgrade"))
    told = [(e["action"], e["subject"], e["options"], e["reason"]) for _, e in daemon.recorded]
    assert told == [
        ("pause", "BTC/USDT", {}, ""),
        ("pause", "BTC/USDT", {}, ""),
        ("kill", "portfolio", {"on": "true", "flatten": "true"}, "too hot"),
        ("reset-day", "portfolio", {}, ""),
        ("upgrade", "daemon", {}, ""),
    ]
    outcomes = [entry["outcome"] for _, entry in daemon.recorded]
    assert outcomes[:2] == ["done", "refused: BTC/USDT is paused already"]
    assert outcomes[4] == "refused: ValueError: this daemon cannot be upgraded"
    callers = {caller for caller, _ in daemon.recorded}
    assert callers == {Caller("unix", user_name(os.getuid()), os.getuid(), os.getpid())}
    assert [entry["action"] for entry in client.get("/audit?count=2")["entries"]] == ["reset-day", "upgrade"]
    assert refusal(lambda: client.get("/audit?count=0")).code == 422
