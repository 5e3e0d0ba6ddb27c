"""A market and the engines in it, which ask for leave as a child process tells them to by JSON lines.

Run as ``python -m scripts.bench.approval_clients ENGINES PUBLISHERS RISK``.
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from typing import Any

import zmq

from levibot.bus.codec import TICK, Decoder, encode, frame
from levibot.bus.messages import Grant, RiskAnswer, RiskRequest, Tick
from levibot.bus.sockets import drain, make_socket
from levibot.clock import boot_ns, wall_ms

_PATIENCE_MS = 2000


def symbol_of(number: int) -> str:
    """Symbol of an engine."""
    return f"S{number:03}/USDT"


class Crowd:
    """One socket for each engine, and one that publishes prices."""

    def __init__(self, engines: int, publishers: str, risk: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._prices = make_socket(context, zmq.PUB, connect=publishers)
        self._sockets = [
            make_socket(context, zmq.DEALER, connect=risk, identity=symbol_of(number).encode())
            for number in range(engines)
        ]
        self._poller = zmq.Poller()
        for socket in self._sockets:
            self._poller.register(socket, zmq.POLLIN)
        self._decode: Decoder[RiskAnswer] = Decoder(RiskAnswer)
        self._tick_seq = self._asked = 0

    def ask(self, turns: int, hz: float, *, together: bool, raw: bool) -> dict[str, Any]:
        """`turns` requests of each engine, `hz` a second, between prices at 30 a second.

        Parameters
        ----------
        turns, hz
            Of each engine.
        together
            All at one moment, instead of each at its own.
        raw
            The other side sends back what it gets: an answer is not decoded.
        """
        count, took_ms, granted = len(self._sockets), [], 0
        step_ns = int(1e9 / hz) if together else int(1e9 / hz / count)
        due_ns = boot_ns()
        for turn in range(turns * (1 if together else count)):
            due_ns += step_ns
            while boot_ns() < due_ns:
                self._publish()
                time.sleep(max(0.0, min(0.033, (due_ns - boot_ns()) / 1e9)))
            asking = range(count) if together else [turn % count]
            sent_ns = {number: self._send(number) for number in asking}
            while sent_ns:
                self._poller.poll(_PATIENCE_MS)
                for number in list(sent_ns):
                    for frames in drain(self._sockets[number]):
                        took_ms.append((boot_ns() - sent_ns.pop(number)) / 1e6)
                        granted += not raw and isinstance(self._decode(frames[-1]), Grant)
                if boot_ns() - due_ns > _PATIENCE_MS * 1_000_000:
                    raise RuntimeError(f"no answer in {_PATIENCE_MS} ms")
        return {"took_ms": took_ms, "granted": granted}

    def publish(self, times: int) -> dict[str, Any]:
        """Prices of all symbols."""
        for _ in range(times):
            self._publish()
        return {}

    def _publish(self) -> None:
        self._tick_seq += 1
        for number in range(len(self._sockets)):
            tick = Tick(symbol_of(number), 1, self._tick_seq, 0, wall_ms(), boot_ns(), 99.99, 100.01, 100.0)
            self._prices.send(frame(TICK, tick.symbol, tick))

    def _send(self, number: int) -> int:
        self._asked += 1
        bet = (0.6, 0.5, 0.5, wall_ms(), 0, 0, 0.02, 0.04)
        request = RiskRequest(
            self._asked, f"levi-bench-{self._asked}-E", symbol_of(number), "buy", Decimal(100), *bet
        )
        sent_ns = boot_ns()
        self._sockets[number].send(encode(request))
        return sent_ns


def main() -> None:
    """Do what each line says."""
    crowd = Crowd(int(sys.argv[1]), *sys.argv[2:])
    for line in sys.stdin:
        order = json.loads(line)
        answer = crowd.publish(**order) if "times" in order else crowd.ask(**order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
