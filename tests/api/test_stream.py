"""Event streams: what listeners are told, and what they cannot do."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from levibot.api import connection, server, stream
from levibot.api.client import ApiClient
from levibot.config import ApiConfig
from tests.api.conftest import Serve
from tests.api.requests import ask, is_ended
from tests.api.small_daemon import SmallDaemon, serving
from tests.deadline import wait_for


class Event(NamedTuple):
    name: str
    number: int
    data: Any


class Listener:
    """One event stream, read line by line."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.request("GET", "/stream/engines")
        self.response = self._connection.getresponse()

    def next(self) -> Event:
        """The next event."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        if "event" not in fields:
            assert fields, "the stream has ended"
            return self.next()
        return Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))

    def close(self) -> None:
        """Go away."""
        self._connection.close()
        self.response.close()


@contextmanager
def listening(port: int) -> Iterator[Listener]:
    listener = Listener(port)
    try:
        yield listener
    finally:
        listener.close()


def test_a_stream_begins_with_the_whole_status_and_goes_on_with_it(serve: Serve, port: int) -> None:
    serve()
    with listening(port) as listener:
        assert listener.response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert listener.response.getheader("cache-control") == "no-store"
        first, second = listener.next(), listener.next()
    assert first.name == second.name == "status"
    assert first.data == ask(port, "GET", "/engines/status").json
    assert second.number > first.number


def test_a_transition_is_told_at_once_and_then_the_status_of_after(
    serve: Serve, daemon: SmallDaemon, port: int, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STATUS_SECONDS", 1000.0)
    serve()
    with listening(port) as one, listening(port) as other:
        numbers = [one.next().number, other.next().number]
        ApiClient(socket_path).post("/engines/stop/BTC/USDT")
        told = [one.next(), one.next()]
        assert [other.next(), other.next()] == told
    state, status = told
    assert (state.name, state.data) == ("state", {"name": "BTC/USDT", "was": "running", "status": "stopped"})
    assert status.name == "status"
    assert status.data["engines"][0]["status"] == "stopped"
    assert max(numbers) < state.number < status.number


def test_all_listeners_share_one_rendering(serve: Serve, port: int) -> None:
    serve()
    with listening(port) as one, listening(port) as other:
        told = [
            {event.number: event.data for event in (hearer.next(), hearer.next(), hearer.next())}
            for hearer in (one, other)
        ]
    common = set(told[0]) & set(told[1])
    assert common
    assert all(told[0][number] == told[1][number] for number in common)


def test_a_listener_that_goes_is_forgotten_and_the_last_ends_the_work(serve: Serve, port: int) -> None:
    face = serve()
    with listening(port) as one, listening(port):
        one.next()
        wait_for(lambda: face.traffic.streams == 2, "two streams")
    wait_for(lambda: face.traffic.streams == 0, "none")
    wait_for(lambda: face._streams._watch is not None and face._streams._watch.done(), "the watching to end")
    with listening(port) as again:
        assert [again.next().name, again.next().name] == ["status", "status"]


def test_one_stream_too_many_is_told_to_come_later(
    serve: Serve, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    serve()
    with listening(port) as listener:
        listener.next()
        refused = ask(port, "GET", "/stream/engines")
        assert (refused.code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json["remedy"]


def test_head_does_not_open_a_stream(serve: Serve, port: int) -> None:
    face = serve()
    answer = ask(port, "HEAD", "/stream/engines")
    assert (answer.code, answer.body) == (200, b"")
    assert face.traffic.streams == 0


def test_a_listener_that_does_not_read_is_cut_off_and_the_others_hear_on(
    serve: Serve, daemon: SmallDaemon, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STATUS_SECONDS", 0.0)
    monkeypatch.setattr(stream, "_LOOK_SECONDS", 0.005)
    monkeypatch.setattr(connection, "STUCK_SECONDS", 0.3)
    monkeypatch.setattr(server, "_SWEEP_TICKS", 1)
    daemon.states = {f"S{number}/USDT": "running" for number in range(200)}
    face = serve()
    with listening(port) as listener, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.settimeout(60)
        deaf.sendall(b"GET /stream/engines HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: face.traffic.streams == 2, "both to listen")

        def cut_off() -> bool:
            listener.next()
            return face.traffic.dropped["slow_reader"] == 1

        wait_for(cut_off, "the deaf one to be cut off")
        wait_for(lambda: face.traffic.streams == 1, "its end")
        assert is_ended(deaf)
        assert listener.next().name == "status"


def test_an_error_while_rendering_ends_no_stream(serve: Serve, daemon: SmallDaemon, port: int) -> None:
    serve()
    with listening(port) as listener:
        listener.next()
        words, daemon.status_words = daemon.status_words, None  # type: ignore[assignment, method-assign]
        wait_for(lambda: daemon.errors, "the error to be reported")
        daemon.status_words = words  # type: ignore[method-assign]
        assert listener.next().name == "status"


def test_open_streams_do_not_hold_up_the_end(daemon: SmallDaemon, port: int, socket_path: Path) -> None:
    with serving(daemon, socket_path, ApiConfig(port=port)):
        listener = Listener(port)
        listener.next()
    while listener.response.readline():  # raises if it was cut off instead of ended
        pass
    listener.close()
