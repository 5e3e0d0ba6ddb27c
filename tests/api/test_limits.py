"""What one client may take: size, time and number of what it sends, and of what it leaves unread."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from levibot.api import connection, server
from levibot.api.client import ApiClient
from tests.api.conftest import Serve
from tests.api.requests import Answer, ask, connected, is_ended, raw_answer
from tests.api.small_daemon import SmallDaemon
from tests.deadline import wait_for

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"


def send(port: int, request: bytes) -> Answer:
    """Answer to raw bytes."""
    with connected(port) as raw:
        raw.sendall(request)
        return raw_answer(raw)


def is_explained(answer: Answer) -> bool:
    return answer.headers["content-type"] == "application/json" and set(answer.json) == {"detail", "remedy"}


def is_cut_off(raw: socket.socket, part: bytes, every: float = 0.0) -> bool:
    """Whether sending comes to an end because the other side does not want more."""
    end = time.monotonic() + 60
    try:
        while time.monotonic() < end:
            raw.sendall(part)
            time.sleep(every)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


# ---------------------------------------------------------------------- form and size


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"GET /engines/status/%zz HTTP/1.1", 400),
        (b"GET /engines/status/% HTTP/1.1", 400),
        (b"GET /engines/status/%ff%fe HTTP/1.1", 400),
        (b"GET /engines/status/\xff\xfe HTTP/1.1", 400),
        (b"GET /live/status?a=%c3%28 HTTP/1.1", 400),
        (b"GET /alerts?state=standing&state=cleared HTTP/1.1", 400),
        (b"GET /alerts?sta%74e=standing&state= HTTP/1.1", 400),
        (b"GET /engines/status/%E2%82%AC HTTP/1.1", 404),
        (b"GET /engines/status/%00 HTTP/1.1", 404),
        (b"GET /engines/status/../../etc/passwd HTTP/1.1", 404),
        (b"GET /nothing HTTP/1.1", 404),
        (b"GET /%2e%2e HTTP/1.1", 404),
        (b"GET /engines/status?" + b"x" * 5000 + b" HTTP/1.1", 414),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1", 414),
        (b"NONSENSE /health HTTP/1.1", 400),
        (b"GET /health HTTP/9.9", 400),
        (b"GET health HTTP/1.1", 400),
        (b"GET", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_a_malformed_request_is_a_clear_refusal(serve: Serve, port: int, request_line: bytes, code: int) -> None:
    traffic = serve().traffic
    answer = send(port, request_line + b"\r\nHost: localhost\r\n\r\n")
    assert answer.code == code
    assert is_explained(answer)
    assert sum(count for (_, found), count in traffic.requests.items() if found == code) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GET"])
def test_a_wrong_method_names_the_right_one(
    serve: Serve, port: int, token: Callable[[], str], method: str
) -> None:
    serve()
    answer = ask(port, method, "/live/kill", token=token())
    assert answer.code == 405
    assert answer.headers["allow"] == "POST"
    assert is_explained(answer)


@pytest.mark.parametrize("headers", [b"X: " + b"x" * 20_000 + b"\r\n", b"X: y\r\n" * 5000])
def test_large_headers_are_refused(serve: Serve, port: int, headers: bytes) -> None:
    serve()
    answer = send(port, b"GET /health " + HEAD + headers + b"\r\n")
    assert answer.code == 431
    assert is_explained(answer)


def test_a_head_without_end_is_cut_off(serve: Serve, port: int) -> None:
    traffic = serve().traffic
    with connected(port) as raw:
        raw.sendall(b"GET /health " + HEAD)
        assert is_cut_off(raw, b"X: " + b"x" * 1000 + b"\r\n")
    wait_for(lambda: sum(c for (_, code), c in traffic.requests.items() if code == 431), "the refusal's count")


@pytest.mark.parametrize(
    "body",
    [b"x" * 20_000, [b"x" * 1000] * 20],
    ids=["with its length", "in chunks"],
)
def test_a_large_body_is_refused_before_anything_is_done(
    serve: Serve, daemon: SmallDaemon, port: int, token: Callable[[], str], body: Any
) -> None:
    serve()
    chunked = {"Transfer_Encoding": "chunked"} if isinstance(body, list) else {}
    answer = ask(port, "POST", "/engines/stop/BTC/USDT", token=token(), body=body, **chunked)
    assert answer.code == 413
    assert is_explained(answer)
    assert daemon.states["BTC/USDT"] == "running"


def test_a_small_body_is_read_and_ignored(serve: Serve, port: int, token: Callable[[], str]) -> None:
    serve()
    with connected(port) as raw:
        head = f"POST /engines/stop/BTC/USDT HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token()}\r\n"
        raw.sendall(head.encode() + b"Content-Length: 2\r\n\r\n{}")
        assert raw_answer(raw).code == 200
        raw.sendall(GET)
        assert raw_answer(raw).json["ok"], "the connection is good for the next request"


def test_a_body_that_goes_on_after_its_refusal_is_cut_off(serve: Serve, port: int) -> None:
    serve()
    with connected(port) as raw:
        raw.sendall(b"GET /health " + HEAD + b"Content-Length: 1000000000\r\n\r\n")
        assert raw_answer(raw).code == 413
        assert is_cut_off(raw, b"x" * 65536)


def test_a_body_that_never_comes_whole_changes_nothing(
    serve: Serve, daemon: SmallDaemon, port: int, token: Callable[[], str]
) -> None:
    serve()
    with connected(port) as raw:
        head = f"POST /engines/stop/BTC/USDT HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token()}\r\n"
        raw.sendall(head.encode() + b"Content-Length: 10\r\n\r\nhalf")
        ask(port, "GET", "/health")
    ask(port, "GET", "/health")
    assert daemon.states["BTC/USDT"] == "running"


# ---------------------------------------------------------------------- time


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(connection, "STUCK_SECONDS", 0.3)
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 1)
    monkeypatch.setattr(server, "_SWEEP_TICKS", 1)


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP", b"GET /health " + HEAD, GET[:-2]])
def test_a_request_that_is_not_sent_in_time_is_ended(serve: Serve, port: int, begun: bytes) -> None:
    traffic = serve().traffic
    with connected(port) as raw:
        raw.sendall(begun)
        assert raw_answer(raw).code == 408
        assert is_ended(raw)
    assert traffic.dropped["slow_request"] == 1


@pytest.mark.usefixtures("_hurried")
def test_dripping_does_not_prolong_a_request(serve: Serve, port: int) -> None:
    serve()
    with connected(port) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert is_cut_off(raw, b"\r\n", every=0.02), "empty lines begin no request"


@pytest.mark.usefixtures("_hurried")
def test_a_body_that_is_late_is_ended(serve: Serve, port: int, token: Callable[[], str]) -> None:
    serve()
    with connected(port) as raw:
        head = f"POST /engines/stop/BTC/USDT HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token()}\r\n"
        raw.sendall(head.encode() + b"Content-Length: 10\r\n\r\nhalf")
        assert raw_answer(raw).code == 408
        assert is_ended(raw)


@pytest.mark.usefixtures("_hurried")
def test_an_idle_connection_is_ended_after_its_last_answer(serve: Serve, port: int) -> None:
    serve()
    with connected(port) as raw:
        raw.sendall(GET)
        assert raw_answer(raw).code == 200
        assert is_ended(raw)


@pytest.mark.usefixtures("_hurried")
def test_a_client_that_does_not_read_is_cut_off(serve: Serve, port: int) -> None:
    traffic = serve().traffic
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.settimeout(60)
        status = b"GET /openapi.json " + HEAD + b"\r\n"
        raw.sendall(status * 500)
        wait_for(lambda: traffic.dropped["slow_reader"] == 1, "it to be cut off")
        wait_for(lambda: traffic.connections == 0, "its end")


# ---------------------------------------------------------------------- number


@pytest.fixture
def crowd(port: int) -> Iterator[Callable[[int, bytes], list[socket.socket]]]:
    """Opens connections that send something, and stay."""
    with ExitStack() as stack:

        def connect(number: int, sent: bytes) -> list[socket.socket]:
            raws = [stack.enter_context(connected(port)) for _ in range(number)]
            for raw in raws:
                raw.sendall(sent)
            return raws

        yield connect


def test_idle_and_slow_connections_make_room_for_a_newcomer(
    serve: Serve, port: int, crowd: Callable[[int, bytes], list[socket.socket]]
) -> None:
    traffic = serve().traffic
    crowd(100, b"")
    crowd(100, b"GET /health HTTP")
    crowd(100, GET)
    assert ask(port, "GET", "/health").code == 200
    assert traffic.connections <= server.MOST_CONNECTIONS
    assert traffic.dropped["idle"] >= 300 - server.MOST_CONNECTIONS


def test_when_all_are_busy_a_newcomer_is_told_to_come_again(
    serve: Serve,
    port: int,
    socket_path: Path,
    crowd: Callable[[int, bytes], list[socket.socket]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    traffic = serve().traffic
    crowd(8, b"GET /alerts " + HEAD + b"\r\n")  # is never answered
    wait_for(lambda: traffic.connections == 8, "all to be busy")
    refused = ask(port, "GET", "/health")
    assert (refused.code, refused.headers["retry-after"]) == (503, "1")
    assert is_explained(refused)
    crowd(connection._WAITING_ROOM + 5, b"")
    wait_for(lambda: traffic.connections <= 8 + connection._WAITING_ROOM, "those beyond to be cut off")
    assert ApiClient(socket_path).get("/health")["ok"], "the other way in is open"


def test_figures_are_counted_by_route_and_not_by_path(serve: Serve, port: int) -> None:
    face = serve()
    for path in ("/engines/status/BTCUSDT", "/engines/status/ETH-USDT", "/engines/status/DOGE", "/a", "/b"):
        ask(port, "GET", path)
    assert face.traffic.requests == {
        ("/engines/status/{symbol}", 200): 2,
        ("/engines/status/{symbol}", 404): 1,
        ("(none)", 404): 2,
    }
    wait_for(lambda: face.traffic.connections == 0, "all to be gone")
    assert json.loads(json.dumps(face.describe()))["answers"] == {"2xx": 2, "4xx": 3}
