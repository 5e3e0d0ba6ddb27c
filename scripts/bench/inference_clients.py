"""The clients of many engines in one process, told what to do by JSON lines on its standard input.

Run as ``python -m scripts.bench.inference_clients DEADLINE ENGINES ENDPOINT…``.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from typing import Any

import zmq

from levibot.clock import boot_ns
from levibot.ml.client import Answered, InferenceClient, Missed
from levibot.ml.features import FEATURE_SET, FEATURES
from levibot.strategies.base import Question
from scripts.bench.live import wait_for

_QUESTIONS = 200  # different ones, asked in turn


class Crowd:
    """One `InferenceClient` for each engine, and what became of their questions."""

    def __init__(self, deadline: float, engines: int, endpoints: list[str]) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clients = [
            InferenceClient(context, endpoints, name=f"bench-{number}", deadline=deadline, refuse=self._refuse)
            for number in range(engines)
        ]
        self._poller = zmq.Poller()
        self._owners = {socket: client for client in self._clients for socket in client.sockets}
        for socket in self._owners:
            self._poller.register(socket, zmq.POLLIN)
        draw = random.Random(1)
        self._questions = [
            Question(FEATURE_SET, tuple(draw.gauss(0, 1) for _ in FEATURES)) for _ in range(_QUESTIONS)
        ]
        wait_for(
            lambda: all(socket.getsockopt(zmq.EVENTS) & zmq.POLLOUT for socket in self._owners), "all connections"
        )
        self._clear()

    def paced(self, hz: float, seconds: float, *, together: bool) -> dict[str, Any]:
        """Every engine asks `hz` times a second, all at the same moment or each at its own."""
        self._clear()
        count = len(self._clients)
        period_ns = int(1e9 / hz)
        begin_ns = boot_ns() + period_ns
        next_ns = [begin_ns + (0 if together else number * period_ns // count) for number in range(count)]
        end_ns = begin_ns + int(seconds * 1e9)
        while (now_ns := boot_ns()) < end_ns:
            for number, client in enumerate(self._clients):
                if now_ns >= next_ns[number]:
                    next_ns[number] += period_ns
                    self._ask(client)
            self._turn(min(next_ns))
        return self._finish(seconds)

    def flood(self, window: int, seconds: float) -> dict[str, Any]:
        """Every engine always has `window` questions open."""
        self._clear()
        begin_ns = boot_ns()
        end_ns = begin_ns + int(seconds * 1e9)
        open_questions = dict.fromkeys(self._clients, 0)
        while boot_ns() < end_ns:
            for client in self._clients:
                for _ in range(window - open_questions[client]):
                    self._ask(client)
                open_questions[client] = window
            for client, outcomes in self._turn(end_ns).items():
                open_questions[client] -= outcomes
        answered = len(self._round_trips)
        return {**self._finish(seconds), "answered_per_second": answered / ((boot_ns() - begin_ns) / 1e9)}

    def _ask(self, client: InferenceClient) -> None:
        question = self._questions[self._asked % _QUESTIONS]
        self._asked += 1
        client.ask("S000/USDT", 60_000, question, boot_ns())

    def _turn(self, until_ns: int) -> Counter[InferenceClient]:
        """Wait until something comes or is due; how many questions of each engine have an outcome now."""
        outcomes: Counter[InferenceClient] = Counter()
        wait_ms = max(0, (until_ns - boot_ns()) // 1_000_000)
        for client in dict.fromkeys(self._owners[socket] for socket, _ in self._poller.poll(wait_ms)):
            outcomes[client] += self._take(client.drain(boot_ns()))
        for client in self._clients:
            due_ns, now_ns = client.due_ns, boot_ns()
            if due_ns is not None and now_ns >= due_ns:
                outcomes[client] += self._take([*client.drain(now_ns), *client.expire(now_ns)])
        return outcomes

    def _take(self, outcomes: list[Answered | Missed]) -> int:
        for outcome in outcomes:
            if isinstance(outcome, Answered):
                self._round_trips.append(outcome.round_trip_ns // 1000)
                self._models[outcome.prediction.model] += 1
            else:
                self._missed[outcome.reason] += 1
        return len(outcomes)

    def _finish(self, seconds: float) -> dict[str, Any]:
        while any(client.due_ns is not None for client in self._clients):
            self._turn(boot_ns() + 1_000_000)
        assert len(self._round_trips) + self._missed.total() == self._asked
        return {
            "asked": self._asked,
            "seconds": seconds,
            "round_trips_us": self._round_trips,
            "missed": self._missed,
            "models": self._models,
            "refused": sum(client.refused for client in self._clients) - self._refused_before,
            "elsewhere": sum(client.asked_elsewhere for client in self._clients) - self._elsewhere_before,
        }

    def _clear(self) -> None:
        self._asked = 0
        self._round_trips: list[int] = []
        self._missed: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._refused_before = sum(client.refused for client in self._clients)
        self._elsewhere_before = sum(client.asked_elsewhere for client in self._clients)

    @staticmethod
    def _refuse(problem: str) -> None:
        raise RuntimeError(problem)


def main(deadline: str, engines: str, *endpoints: str) -> None:
    """Do what each line of standard input asks for, and answer with a line."""
    crowd = Crowd(float(deadline), int(engines), list(endpoints))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        kind = order.pop("load")
        print(json.dumps(crowd.paced(**order) if kind == "paced" else crowd.flood(**order)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
