"""Processes at the two ends of the bus, told what to do by JSON lines on their standard input.

Run as ``python -m scripts.bench.bus_peers ROLE ARGUMENT…``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import zmq

from levibot.bus.codec import TICK, FrameDecoder, frame, topic
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import Tick
from levibot.bus.sockets import AsyncReader, make_socket
from levibot.clock import boot_ns

PROBE = 0  # epoch of the frames that only show whether a subscription has arrived
Context = zmq.Context[zmq.Socket[bytes]]


def make_tick(symbol: str, epoch: int, seq: int) -> Tick:
    """A tick that carries the moment at which it was made."""
    return Tick(symbol, epoch, seq, 0, 1_700_000_000_000, boot_ns(), 64_000.1, 64_000.2, 64_000.15, 0.25)


def answer(document: dict[str, Any]) -> None:
    """Say something to the process that runs the benchmark."""
    print(json.dumps(document), flush=True)


def forward(publishers: str, subscribers: str) -> None:
    """Be the supervisor: carry frames until standard input ends."""
    forwarder = Forwarder(publishers, subscribers)
    answer({"ready": True})
    sys.stdin.read()
    forwarder.close()


def publish(endpoint: str, symbols: list[str]) -> None:
    """Be the feed: publish what each line of standard input asks for, round robin over `symbols`."""
    socket = make_socket(zmq.Context(), zmq.PUB, connect=endpoint)
    for line in sys.stdin:
        order = json.loads(line)
        interval = 1e9 / order["rate"] if order["rate"] else 0.0
        started = boot_ns()
        for number in range(order["count"]):
            if interval:
                _wait_until(started + int(number * interval))
            symbol = symbols[number % len(symbols)]
            socket.send(frame(TICK, symbol, make_tick(symbol, order["epoch"], number // len(symbols) + 1)))
        answer({"started_ns": started, "ended_ns": boot_ns()})


def _wait_until(moment_ns: int) -> None:
    while (left := moment_ns - boot_ns()) > 0:
        if left > 1_000_000:
            time.sleep(left / 1e9 - 0.0005)


class Subscriber:
    """Be an engine: read one topic as engines do, and count."""

    def __init__(self, endpoint: str, symbol: str) -> None:
        self._decode = FrameDecoder()
        self._socket = make_socket(zmq.Context(), zmq.SUB, connect=endpoint)
        self._socket.subscribe(topic(TICK, symbol))
        self._epoch = PROBE
        self._received = 0
        self._last_ns = 0
        self._latencies_us: list[int] = []

    async def run(self) -> None:
        """Read until standard input ends; each line there asks for the counts."""
        loop = asyncio.get_running_loop()
        AsyncReader(loop, self._socket, self._on_frames)
        done = asyncio.Event()

        def on_input() -> None:
            line = sys.stdin.readline()
            if not line:
                done.set()
            else:
                self._report(latencies=json.loads(line)["latencies"])

        loop.add_reader(sys.stdin.fileno(), on_input)
        answer({"ready": True})
        await done.wait()

    def _on_frames(self, frames: list[bytes]) -> None:
        tick = self._decode(frames[0])
        assert isinstance(tick, Tick)
        now = boot_ns()
        if tick.epoch != self._epoch:
            self._epoch, self._received, self._latencies_us = tick.epoch, 0, []
        self._received += 1
        self._last_ns = now
        self._latencies_us.append((now - tick.received_ns) // 1000)

    def _report(self, *, latencies: bool) -> None:
        answer(
            {
                "epoch": self._epoch,
                "received": self._received,
                "last_ns": self._last_ns,
                "latencies_us": self._latencies_us if latencies else [],
            }
        )


def receive_bare(endpoint: str, count: int) -> None:
    """One hop with plain pyzmq: receive blocking, decode nothing; the last frames carry when they were sent."""
    socket = make_socket(zmq.Context(), zmq.SUB, connect=endpoint, high_water_mark=0)
    socket.subscribe(b"")
    answer({"ready": True})
    while len(socket.recv()) < 50:  # probes
        pass
    latencies = []
    for _ in range(count - 1):
        data = socket.recv()
        latencies.append((boot_ns() - int.from_bytes(data[-8:], "big")) // 1000)
    answer({"last_ns": boot_ns(), "latencies_us": latencies})


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "forward":
        forward(*arguments)
    elif role == "publish":
        publish(arguments[0], arguments[1:])
    elif role == "subscribe":
        asyncio.run(Subscriber(*arguments).run())
    else:
        receive_bare(arguments[0], int(arguments[1]))
