"""Frames reach exactly those who asked for them, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from levibot.bus.codec import BAR, TICK, FrameDecoder, frame, topic
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import Tick
from levibot.bus.sockets import drain, ipc, make_socket
from tests.deadline import wait_for

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

SYMBOLS = [f"S{number}/USDT" for number in range(15)]
PER_SYMBOL = 200

SUBSCRIBER_THAT_NEVER_READS = """
import sys, zmq
from levibot.bus.sockets import make_socket
socket = make_socket(zmq.Context(), zmq.SUB, connect=sys.argv[1])
socket.subscribe(b"")
print("subscribed", flush=True)
sys.stdin.read()
"""


def tick(symbol: str, seq: int) -> Tick:
    return Tick(symbol, epoch=1, seq=seq, reliable_seq=0, event_ms=0, received_ns=0, bid=1.0, ask=2.0, last=1.5)


def subscribe(context: Context, endpoint: str, *topics: bytes) -> Socket:
    socket = make_socket(context, zmq.SUB, connect=endpoint)
    for prefix in topics:
        socket.subscribe(prefix)
    return socket


def wait_until_connected(publisher: Socket, subscriber: Socket, prefix: bytes, symbol: str) -> None:
    """Publish until the subscription has gone all the way up; frames with seq 0 are only for this."""

    def arrived() -> bool:
        publisher.send(frame(prefix, symbol, tick(symbol, 0)))
        return bool(subscriber.poll(10))

    wait_for(arrived, f"the subscription of {symbol}")


def sequence(socket: Socket, decode: FrameDecoder) -> list[tuple[str, int]]:
    """Symbol and number of what waits, without the frames of `wait_until_connected`."""
    decoded = [decode(frames[0]) for frames in drain(socket, 1_000_000)]
    return [(message.symbol, message.seq) for message in decoded if message.seq]


def test_fifteen_subscribers_get_their_topic_whole_in_order_and_nothing_else(
    context: Context, forwarder: Forwarder, publishers: str, subscribers: str
) -> None:
    publisher = make_socket(context, zmq.PUB, connect=publishers)
    sockets = {symbol: subscribe(context, subscribers, topic(TICK, symbol)) for symbol in SYMBOLS}
    for symbol, socket in sockets.items():
        wait_until_connected(publisher, socket, TICK, symbol)
    for seq in range(1, PER_SYMBOL + 1):
        for symbol in SYMBOLS:
            publisher.send(frame(TICK, symbol, tick(symbol, seq)))
    decode = FrameDecoder()
    for symbol, socket in sockets.items():
        received: list[tuple[str, int]] = []

        def complete(socket: Socket = socket, received: list[tuple[str, int]] = received) -> bool:
            received.extend(sequence(socket, decode))
            return len(received) >= PER_SYMBOL

        wait_for(complete, f"all frames of {symbol}")
        assert received == [(symbol, seq) for seq in range(1, PER_SYMBOL + 1)]


def test_the_separator_keeps_spot_and_swap_apart(
    context: Context, forwarder: Forwarder, publishers: str, subscribers: str
) -> None:
    publisher = make_socket(context, zmq.PUB, connect=publishers)
    spot = subscribe(context, subscribers, topic(TICK, "BTC/USDT"))
    both = subscribe(context, subscribers, topic(TICK, "BTC/USDT"), topic(TICK, "BTC/USDT:USDT"))
    wait_until_connected(publisher, spot, TICK, "BTC/USDT")
    wait_until_connected(publisher, both, TICK, "BTC/USDT:USDT")
    publisher.send(frame(TICK, "BTC/USDT:USDT", tick("BTC/USDT:USDT", 1)))
    publisher.send(frame(TICK, "BTC/USDT", tick("BTC/USDT", 2)))
    decode = FrameDecoder()
    expected = {id(spot): [("BTC/USDT", 2)], id(both): [("BTC/USDT:USDT", 1), ("BTC/USDT", 2)]}
    for socket in (spot, both):
        received: list[tuple[str, int]] = []

        def last_came(socket: Socket = socket, received: list[tuple[str, int]] = received) -> bool:
            received.extend(sequence(socket, decode))
            return ("BTC/USDT", 2) in received

        wait_for(last_came, "the last frame")
        assert received == expected[id(socket)]


def test_topics_of_one_symbol_are_apart(
    context: Context, forwarder: Forwarder, publishers: str, subscribers: str
) -> None:
    publisher = make_socket(context, zmq.PUB, connect=publishers)
    bars = subscribe(context, subscribers, topic(BAR, "BTC/USDT"))
    wait_until_connected(publisher, bars, BAR, "BTC/USDT")
    publisher.send(frame(TICK, "BTC/USDT", tick("BTC/USDT", 1)))
    publisher.send(topic(BAR, "BTC/USDT") + b"last")
    received: list[bytes] = []

    def last_came() -> bool:
        received.extend(frames[0] for frames in drain(bars))
        return received[-1:] == [topic(BAR, "BTC/USDT") + b"last"]

    wait_for(last_came, "the last frame")
    assert all(data.startswith(topic(BAR, "BTC/USDT")) for data in received)


@pytest.mark.parametrize("stopped", [False, True], ids=["never reads", "SIGSTOP"])
def test_a_stuck_subscriber_hurts_neither_the_others_nor_the_end(
    context: Context, run_dir: Path, stopped: bool
) -> None:
    publishers, subscribers = ipc(run_dir / "publishers"), ipc(run_dir / "subscribers")
    forwarder = Forwarder(publishers, subscribers, high_water_mark=100)
    publisher = make_socket(context, zmq.PUB, connect=publishers)
    healthy = subscribe(context, subscribers, topic(TICK, "BTC/USDT"))
    stuck = subprocess.Popen(
        [sys.executable, "-c", SUBSCRIBER_THAT_NEVER_READS, subscribers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert stuck.stdout is not None
        assert stuck.stdout.readline() == b"subscribed\n"
        wait_until_connected(publisher, healthy, TICK, "BTC/USDT")
        if stopped:
            os.kill(stuck.pid, signal.SIGSTOP)
        body = frame(TICK, "BTC/USDT", tick("BTC/USDT", 0)) + bytes(4000)  # enough to fill pipe and queue
        received = 0
        for _ in range(50):
            for _ in range(50):
                publisher.send(body)
            received = 0

            def all_came() -> bool:
                nonlocal received
                received += sum(len(frames[0]) == len(body) for frames in drain(healthy))
                return received >= 50

            wait_for(all_came, "fifty frames at the healthy subscriber")
        assert forwarder.alive
        before = time.monotonic()
        forwarder.close()
        assert time.monotonic() - before < 5.0
        assert not forwarder.alive
    finally:
        stuck.kill()
        stuck.communicate()


def test_close_frees_both_endpoints(context: Context, publishers: str, subscribers: str) -> None:
    for _ in range(3):
        forwarder = Forwarder(publishers, subscribers)
        publisher = make_socket(context, zmq.PUB, connect=publishers)
        subscriber = subscribe(context, subscribers, topic(TICK, "BTC/USDT"))
        wait_until_connected(publisher, subscriber, TICK, "BTC/USDT")
        forwarder.close()
        assert not forwarder.alive
        publisher.close()
        subscriber.close()


def test_peers_come_back_to_a_new_forwarder_by_themselves(
    context: Context, publishers: str, subscribers: str
) -> None:
    first = Forwarder(publishers, subscribers)
    publisher = make_socket(context, zmq.PUB, connect=publishers)
    subscriber = subscribe(context, subscribers, topic(TICK, "BTC/USDT"))
    wait_until_connected(publisher, subscriber, TICK, "BTC/USDT")
    first.close()
    list(drain(subscriber))
    second = Forwarder(publishers, subscribers)
    wait_until_connected(publisher, subscriber, TICK, "BTC/USDT")
    second.close()


def test_after_an_endpoint_that_cannot_be_bound_the_other_can_be_used_again(run_dir: Path) -> None:
    publishers = ipc(run_dir / "publishers")
    with pytest.raises(zmq.ZMQError):
        Forwarder(publishers, ipc(run_dir / "missing" / "subscribers"))
    Forwarder(publishers, ipc(run_dir / "subscribers")).close()


def test_endpoints_are_private(run_dir: Path, forwarder: Forwarder) -> None:
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in run_dir.iterdir()} == {
        "publishers": "0o600",
        "subscribers": "0o600",
    }
