"""`tap` on a real forwarder."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from levibot.bus.codec import BAR, TICK, frame, read_records
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import Bar, Tick
from levibot.bus.sockets import ipc, make_socket
from tests.cli.conftest import Place

Following = Callable[..., subprocess.Popen[str]]

FRAMES = [
    frame(TICK, "ETH/USDT:USDT", Tick("ETH/USDT:USDT", 1, 1, 0, 1000, 1, 1.0, 2.0, 1.5)),
    b"tick.ETH/USDT\0\xc1",
    frame(TICK, "ETH/USDT", Tick("ETH/USDT", 1, 1, 0, 1000, 1, 3.0, 4.0, 3.5)),
    frame(BAR, "ETH/USDT", Bar("ETH/USDT", 1, 1, 60_000, 1.0, 2.0, 0.5, 1.5, 10.0)),
]


@pytest.fixture
def published(served: Place) -> Iterator[Place]:
    """Publishes the same frames again and again, as a subscriber may come at any time."""
    forwarder = Forwarder(ipc(served.run / "market-in.sock"), ipc(served.run / "market-out.sock"))
    enough = threading.Event()

    def publish() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        publisher = make_socket(context, zmq.PUB, connect=ipc(served.run / "market-in.sock"))
        while not enough.wait(0.01):
            for data in FRAMES:
                publisher.send(data)
        publisher.close(0)
        context.term()

    thread = threading.Thread(target=publish)
    thread.start()
    yield served
    enough.set()
    thread.join()
    forwarder.close()


def test_one_symbol_is_tapped_and_not_its_swap(published: Place) -> None:
    done = published.ctl("tap", "tick.ETHUSDT", "-n", "3")
    ticks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ticks) == 3
    assert all(
        tick["topic"] == "tick.ETH/USDT" and tick["type"] == "Tick" and tick["bid"] == 3.0 for tick in ticks
    )
    assert "malformed message 1: " in done.stderr


def test_a_topic_without_symbol_is_all_of_its_kind(published: Place) -> None:
    done = published.ctl("tap", "tick", "-n", "6")
    assert {json.loads(line)["symbol"] for line in done.stdout.splitlines()} == {"ETH/USDT", "ETH/USDT:USDT"}


def test_raw_writes_records(published: Place, tmp_path: Path) -> None:
    path = tmp_path / "tap.msgpack"
    assert published.ctl("tap", "bar.ETH/USDT", "-n", "2", "--raw", str(path)).stdout == ""
    with path.open("rb") as stream:
        records = list(read_records(stream))
    assert len(records) == 2
    assert (records[0]["topic"], records[0]["open_ms"], records[0]["high"]) == ("bar.ETH/USDT", 60_000, 2.0)
    assert records[0]["received_ms"] > 1_700_000_000_000


def test_no_feed_is_no_error(served: Place, following: Following) -> None:
    process = following("tap", "bar.BTC/USDT")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
