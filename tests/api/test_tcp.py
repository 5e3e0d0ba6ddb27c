"""The TCP port: who may read, who may change, and by what name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from levibot.api import gate, server
from levibot.api.client import ApiClient
from tests.api.conftest import Serve
from tests.api.requests import ask, connected, raw_answer
from tests.api.small_daemon import SmallDaemon
from tests.deadline import wait_for

CHANGE = "/engines/stop/BTC/USDT"


# ---------------------------------------------------------------------- tokens


def test_reading_is_free_and_changes_need_the_token(
    serve: Serve, daemon: SmallDaemon, port: int, token: Callable[[], str], socket_path: Path
) -> None:
    serve()
    assert ask(port, "GET", "/engines/status").code == 200
    head = ask(port, "HEAD", "/health")
    assert (head.code, head.body) == (200, b"")
    refused = ask(port, "POST", CHANGE)
    assert refused.code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="levibot"'
    assert str(socket_path.parent / "api-token") in refused.json["remedy"]
    assert token() not in refused.body.decode()
    assert daemon.states["BTC/USDT"] == "running"
    assert ask(port, "POST", CHANGE, token=token()).json["status"] == "stopped"
    assert daemon.states["BTC/USDT"] == "stopped"
    assert not (socket_path.parent / "api-read-token").exists()


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "", "Basic dXNlcjpwYXNz", "Bearer \xff\xfe", "bearer  "]
)
def test_a_wrong_token_is_refused_and_counted(serve: Serve, daemon: SmallDaemon, port: int, header: str) -> None:
    traffic = serve().traffic
    with connected(port) as raw:
        raw.sendall(f"POST {CHANGE} HTTP/1.1\r\nHost: localhost\r\n".encode())
        raw.sendall(b"Authorization: " + header.encode("latin-1") + b"\r\n\r\n")
        assert raw_answer(raw).code == 401
    assert daemon.states["BTC/USDT"] == "running"
    assert traffic.refused_tokens == 1


def test_two_tokens_in_one_request_are_none(serve: Serve, port: int, token: Callable[[], str]) -> None:
    serve()
    with connected(port) as raw:
        line = f"Authorization: Bearer {token()}\r\n"
        raw.sendall(f"POST {CHANGE} HTTP/1.1\r\nHost: localhost\r\n{line}{line}\r\n".encode())
        assert raw_answer(raw).code == 401


def test_with_read_token_reading_needs_one_of_the_two(
    serve: Serve, daemon: SmallDaemon, port: int, token: Callable[[], str], socket_path: Path
) -> None:
    serve(read_token=True)
    refused = ask(port, "GET", "/engines/status")
    assert refused.code == 401
    assert str(socket_path.parent / "api-read-token") in refused.json["remedy"]
    assert ask(port, "GET", "/openapi.json").code == 401
    reading = (socket_path.parent / "api-read-token").read_text().strip()
    assert ask(port, "GET", "/engines/status", token=reading).code == 200
    assert ask(port, "GET", "/engines/status", token=token()).code == 200
    assert ask(port, "POST", CHANGE, token=reading).code == 401
    assert daemon.states["BTC/USDT"] == "running"
    assert ApiClient(socket_path).get("/health")["ok"], "the unix socket needs none"


def test_an_address_that_others_reach_always_needs_tokens(
    serve: Serve, port: int, token: Callable[[], str]
) -> None:
    serve(host="0.0.0.0", read_token=False)
    assert ask(port, "GET", "/engines/status").code == 401
    assert ask(port, "GET", "/engines/status", token=token()).code == 200


def test_guesses_are_slow_and_do_not_hold_up_who_knows_the_token(
    serve: Serve, port: int, token: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_REFUSAL_SECONDS", 60.0)
    monkeypatch.setattr(gate, "_MOST_REFUSALS", 2)
    traffic = serve().traffic
    guess = f"POST {CHANGE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n".encode()
    with connected(port) as first, connected(port) as second, connected(port) as third:
        first.sendall(guess)
        second.sendall(guess)
        wait_for(lambda: traffic.refused_tokens == 2, "two guesses to be under way")
        third.sendall(guess)
        turned_away = raw_answer(third)
        assert (turned_away.code, turned_away.headers["retry-after"]) == (429, "1")
        assert ask(port, "POST", CHANGE, token=token()).code == 200
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.recv(1)


def test_a_bad_token_file_keeps_the_port_shut_until_it_is_mended(
    serve: Serve, daemon: SmallDaemon, port: int, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AGAIN_SECONDS", 0.05)
    path = socket_path.parent / "api-token"
    path.write_text("secret")
    serve()
    with pytest.raises(ConnectionRefusedError):
        ask(port, "GET", "/health")
    [alert] = ApiClient(socket_path).get("/engines/status") and daemon.alerts_raised.standing()
    assert (alert.key, alert.severity) == ("api_token", "critical")
    assert str(path) in alert.message
    assert "secret" not in alert.message
    path.unlink()
    wait_for(lambda: not daemon.alerts_raised.standing(), "the port to be served")
    assert ask(port, "GET", "/health").code == 200


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:1234", 200),
        ("[::1]:8383", 200),
        ("[::1]", 200),
        ("bot.example:8383", 200),
        ("evil.example", 421),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("[::2]", 421),
        ("10.0.0.1", 421),
        ("", 421),
    ],
)
def test_the_host_is_checked_against_rebinding(serve: Serve, port: int, host: str, code: int) -> None:
    serve(allowed_hosts=["bot.example"])
    with connected(port) as raw:
        raw.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = raw_answer(raw)
    assert answer.code == code
    assert code == 200 or "api.allowed_hosts" in answer.json["remedy"]


def test_a_request_without_host_or_with_two_is_refused(serve: Serve, port: int) -> None:
    serve()
    for hosts, code in (("", 421), ("Host: localhost\r\nHost: evil.example\r\n", 400)):
        with connected(port) as raw:
            raw.sendall(f"GET /health HTTP/1.1\r\n{hosts}\r\n".encode())
            assert raw_answer(raw).code == code


def test_any_address_of_this_machine_is_its_own_name(serve: Serve, port: int, token: Callable[[], str]) -> None:
    serve(host="0.0.0.0")
    answer = ask(port, "GET", "/health", host="127.0.0.2", token=token())
    assert answer.code == 200
    assert ask(port, "GET", "/health", host="127.0.0.2", token=token(), Host="127.0.0.3").code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_foreign_page_changes_nothing_even_with_the_token(
    serve: Serve, daemon: SmallDaemon, port: int, token: Callable[[], str], headers: dict[str, str]
) -> None:
    serve()
    sent = {name: value.format(port=port) for name, value in headers.items()}
    assert ask(port, "POST", CHANGE, token=token(), **sent).code == 403
    assert daemon.states["BTC/USDT"] == "running"
    assert "access-control-allow-origin" not in ask(port, "GET", "/engines/status", **sent).headers


def test_a_page_of_its_own_may_change_with_the_token(serve: Serve, port: int, token: Callable[[], str]) -> None:
    serve()
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
    assert ask(port, "POST", CHANGE, **own).code == 401
    assert ask(port, "POST", CHANGE, token=token(), **own).code == 200


# ---------------------------------------------------------------------- the port


def test_a_taken_port_is_told_and_taken_as_soon_as_it_is_free(
    serve: Serve, daemon: SmallDaemon, port: int, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AGAIN_SECONDS", 0.05)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        face = serve()
        assert ApiClient(socket_path).get("/health")["ok"], "the unix socket serves"
        [alert] = daemon.alerts_raised.standing()
        assert (alert.key, alert.severity) == ("api_port", "warning")
        assert str(port) in alert.message
        assert "api.port" in alert.remedy
        assert face.describe()["address"] is None
    wait_for(lambda: not daemon.alerts_raised.standing(), "the port to be served")
    wait_for(lambda: face.describe()["address"] == f"http://127.0.0.1:{port}", "its address")
    assert ask(port, "GET", "/health").code == 200


@pytest.mark.parametrize("host", ["no-such-host.invalid", "300.1.1.1", "192.0.2.1", "x" * 300])
def test_an_address_that_is_not_ours_is_told(serve: Serve, daemon: SmallDaemon, host: str) -> None:
    serve(host=host)
    [alert] = daemon.alerts_raised.standing()
    assert alert.key == "api_port"
    assert host in alert.message


def test_without_a_port_there_is_no_token_either(serve: Serve, socket_path: Path) -> None:
    serve(port=0)
    assert not (socket_path.parent / "api-token").exists()


def test_the_audit_names_the_token_and_never_holds_it(
    serve: Serve, daemon: SmallDaemon, port: int, token: Callable[[], str]
) -> None:
    serve()
    assert ask(port, "POST", CHANGE, token="no token at all, but long enough for one").code == 401
    assert ask(port, "POST", CHANGE, token=token()).code == 200
    ((caller, entry),) = daemon.recorded
    assert (caller.way, caller.name, caller.address) == ("tcp", "api-token", "127.0.0.1")
    assert token() not in f"{caller!r}{entry!r}"
