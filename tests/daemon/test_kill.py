"""The kill switch on a real daemon: what is cancelled, what stays, and what is closed whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    AccountRequest,
    BrokerReply,
    Grant,
    Intent,
    Message,
    OrderAccepted,
    OrderCancelled,
    OrderEvents,
    RiskAnswer,
    RiskRequest,
    SubmitOrder,
)
from levibot.bus.sockets import drain, ipc, make_socket, send
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest

pytestmark = pytest.mark.unmeasured

BTC, ETH = "BTC/USDT", "ETH/USDT"
SETTINGS: dict[str, Any] = {
    "engine.strategy": f"{FAULTS}:Long",
    'overrides."ETH/USDT".strategy': f"{FAULTS}:Quiet",
    "feed.speed": 1.0,
    "policy.broker.hang_after": 30.0,
}


class Trader:
    """Asks for grants and sends orders, as an engine does, and follows the account."""

    def __init__(self, daemon: DaemonUnderTest, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        run = daemon.data / "run"
        self._daemon = daemon
        self._risk = make_socket(context, zmq.DEALER, connect=ipc(run / "risk.sock"), identity=b"trader")
        self._broker = make_socket(context, zmq.DEALER, connect=ipc(run / "broker.sock"), identity=b"trader")
        self._answers: Decoder[RiskAnswer] = Decoder(RiskAnswer)
        self._replies: Decoder[BrokerReply] = Decoder(BrokerReply)
        self.events: list[Any] = []

    def rest(self, symbol: str, client_id: str, price: Decimal) -> None:
        """Have an entry rest below the market."""
        request = RiskRequest(1, client_id, symbol, "buy", price, 0.9, 1.0, 0.2, 0, stop_loss=0.05)
        answer = self._daemon.wait(lambda: self._ask(request), "a grant", seconds=60)
        fields: dict[str, Any] = {"reduce_only": False, "limit_price": price, "stop_loss": price * Decimal("0.95")}
        intent = Intent(client_id, symbol, "buy", "limit", Decimal("0.1"), "entry", 0, **fields)
        self._tell(AccountRequest(1, 0))
        self._tell(SubmitOrder(msgspec.structs.replace(intent, grant=answer)))
        self._daemon.wait(lambda: self.happened(OrderAccepted, client_id), f"{client_id} to rest: {self.events}")

    def happened(self, kind: type[Any], client_id: str) -> bool:
        """Whether the broker has told such an event of the order."""
        for frames in drain(self._broker):
            reply = self._replies(frames[-1])
            if isinstance(reply, OrderEvents):
                self.events += reply.events
        return any(isinstance(event, kind) and event.client_id == client_id for event in self.events)

    def _ask(self, request: RiskRequest) -> Grant | None:
        send(self._risk, encode(request))
        if not self._risk.poll(60_000):
            return None
        answer = self._answers(self._risk.recv_multipart()[-1])
        return answer if isinstance(answer, Grant) else None

    def _tell(self, message: Message) -> None:
        send(self._broker, encode(message))


@contextmanager
def trader(daemon: DaemonUnderTest) -> Iterator[Trader]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield Trader(daemon, context)
    finally:
        context.destroy(linger=0)


def live(daemon: DaemonUnderTest) -> dict[str, Any]:
    document: dict[str, Any] = daemon.api.get("/live/status")
    return document


def test_kill_on_cancels_what_rests_keeps_stops_and_says_what_remains(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**SETTINGS)
    daemon.start()
    daemon.wait(lambda: live(daemon)["holdings"], "a position", seconds=60)
    with trader(daemon) as operator:
        price = daemon.wait(lambda: daemon.engine(ETH)["price"], "a price")
        operator.rest(ETH, "trader-1", Decimal(str(round(price * 0.985, 2))))
        daemon.api.post("/live/kill", on="true", reason="too hot")
        # The answer waits two seconds for the broker; a slow machine may take longer.
        killed = daemon.wait(lambda: (told := live(daemon))["confirmed"] and told, "the broker to confirm")
        assert (killed["state"], killed["entries_left"]) == ("REDUCING", [])
        daemon.wait(lambda: operator.happened(OrderCancelled, "trader-1"), "the cancellation")
    (holding,) = killed["holdings"]
    assert holding["symbol"] == BTC
    assert "stop" in [order["kind"] for order in holding["protection"]]
    assert not daemon.status()["engines"][0]["paused"]
    metrics = daemon.api.get_bytes("/metrics").decode()
    assert "\nlevi_global_stop 1" in metrics
    daemon.kill()
    daemon.start()
    assert (live(daemon)["reason"], live(daemon)["active"]) == ("too hot", False)
    daemon.wait(lambda: live(daemon)["confirmed"] and live(daemon)["holdings"], "the account")
    removed = daemon.api.post(f"/engines/remove/{BTC}", flatten="true")
    assert "removed" in removed["message"]
    assert live(daemon)["holdings"] == []
    assert live(daemon)["state"] == "REDUCING"


def test_positions_are_closed_though_the_supervisor_is_killed_meanwhile_and_all_is_halted(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon(**SETTINGS)
    daemon.start()
    daemon.wait(lambda: live(daemon)["holdings"], "a position", seconds=60)
    os.kill(daemon.worker("broker")["pid"], signal.SIGSTOP)  # so that nothing is closed yet
    begun = daemon.api.post("/live/kill", on="true", reason="enough", flatten="true")
    assert (begun["confirmed"], begun["flatten"]["done"]) == (False, False)
    assert begun["holdings"]
    daemon.kill()
    daemon.start(ready=False)
    daemon.wait(lambda: live(daemon)["flatten"]["done"], "the positions to be closed", seconds=60)
    done = live(daemon)
    assert (done["state"], done["holdings"], done["reason"]) == ("HALTED", [], "enough")
    daemon.wait_ready()
    assert live(daemon)["holdings"] == [], "the engine wants to be long and may not"
    audit = daemon.api.get("/audit")["entries"]
    told = [(entry["action"], entry["subject"], entry["options"], entry["reason"]) for entry in audit]
    assert ("kill", "portfolio", {"on": "true", "flatten": "true"}, "enough") in told
    assert told[-1] == ("halted", "portfolio", {}, "all is closed")
    released = daemon.api.post("/live/kill", on="false", reason="calm again")
    assert released["active"], released["held_back_by"]
    assert live(daemon)["flatten"] is None
