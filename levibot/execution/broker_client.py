"""An engine's side of the order channel: journal, send, apply events, reconcile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    BrokerReply,
    CancelOrder,
    Intent,
    NotReady,
    OrderEvents,
    Reconciled,
    ReconcileRequest,
    SubmitOrder,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.errors import DataStoreError, MalformedMessageError
from levibot.execution.acceptance import AcceptanceTimes
from levibot.execution.ledger import Applied, Ledger, SequenceHoleError
from levibot.execution.ledger_state import ReconcileOutcome

_ASK_AGAIN_NS = 500_000_000  # no answer came
_NOT_READY_NS = 50_000_000  # the broker is there, and will be ready in a moment
_RETRY_STORE_NS = 30_000_000_000
_FAREWELL_MS = 200


@dataclass(frozen=True)
class Recovered:
    """Ledger and broker were brought together."""

    outcome: ReconcileOutcome


class BrokerClient:
    """DEALER to the broker, and the ledger behind it.

    A DEALER does not see its peer go and come back, and what was sent in between is lost. So the client
    asks how things stand from time to time, and at once when an event is missing.

    Parameters
    ----------
    context
        Of this process.
    endpoint
        ROUTER of the broker.
    symbol, name
        Of the engine.
    ledger
        Of the engine; every event goes through it.
    refuse
        Called with what was wrong with a message that could not be read.
    fail
        Called with why the ledger could not take a message in.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        *,
        symbol: str,
        name: str,
        ledger: Ledger,
        refuse: Callable[[str], None],
        fail: Callable[[str], None],
    ) -> None:
        self.received = 0
        self.acceptance = AcceptanceTimes()
        self._symbol = symbol
        self._ledger = ledger
        self._refuse = refuse
        self._fail = fail
        self._decode: Decoder[BrokerReply] = Decoder(BrokerReply)
        self._request_id = 0
        self._caught_up = 0  # events of the answers so far, while there are more
        self._reconciling = True
        self._ask_at_ns = 0
        self._answered_ns = 0
        self.socket = make_socket(context, zmq.DEALER, connect=endpoint, identity=name.encode())

    def submit(self, intent: Intent) -> None:
        """Journal an order, then send it once.

        Raises
        ------
        DataStoreError
            It could not be journaled, and was not sent.
        """
        self.acceptance.sent(intent.client_id, boot_ns())
        self._ledger.journal(intent)
        send(self.socket, encode(SubmitOrder(intent)))

    def cancel(self, client_id: str) -> None:
        """Ask for the cancellation of an order."""
        send(self.socket, encode(CancelOrder(self._symbol, client_id)))

    def reconcile(self) -> None:
        """Ask how things stand at the next turn."""
        if not self._reconciling:
            self._reconciling = True
            self._ask_at_ns = 0

    def ask(self, now_ns: int, check_after_ns: int) -> int:
        """Send a `ReconcileRequest` if one is due; return when to call again.

        Parameters
        ----------
        now_ns
            Time of the call.
        check_after_ns
            How long after the last answer things are looked at again.
        """
        if not self._reconciling:
            due_ns = self._answered_ns + check_after_ns
            if now_ns < due_ns:
                return due_ns
            self._reconciling = True
            self._ask_at_ns = now_ns
        if now_ns >= self._ask_at_ns:
            self._send_request(now_ns)
        return self._ask_at_ns

    def _send_request(self, now_ns: int) -> None:
        self._ask_at_ns = now_ns + _ASK_AGAIN_NS
        self._request_id = now_ns  # an answer to an earlier incarnation can never match
        request = ReconcileRequest(self._request_id, self._symbol, self._ledger.last_seq, self._ledger.open_ids())
        send(self.socket, encode(request))

    def drain(self) -> Iterator[Applied | Recovered]:
        """Events that are new and stored, and reconciliations, in order."""
        for frames in drain(self.socket):
            self.received += 1
            try:
                reply = self._decode(frames[-1])
            except MalformedMessageError as error:
                self._refuse(f"from the broker: {error}")
                continue
            try:
                yield from self._take(reply)
            except SequenceHoleError:
                self.reconcile()
            except (DataStoreError, ValueError) as error:
                self._fail(f"ledger: {error}")
                self._reconcile_later()

    def close(self) -> None:
        """Close the socket; the ledger stays open. A last cancellation gets a moment to leave."""
        self.socket.close(_FAREWELL_MS)

    def _take(self, reply: BrokerReply) -> Iterator[Applied | Recovered]:
        if isinstance(reply, OrderEvents):
            for event in reply.events:
                self.acceptance.heard(event, boot_ns())
            yield from self._ledger.apply(*reply.events)
        elif isinstance(reply, NotReady):
            if reply.request_id == self._request_id:
                self._ask_at_ns = boot_ns() + _NOT_READY_NS
        elif isinstance(reply, Reconciled) and reply.request_id == self._request_id:
            outcome = self._ledger.reconcile(reply)
            self._caught_up += outcome.applied
            if reply.events and not outcome.complete:
                self._send_request(boot_ns())
                return
            outcome = replace(outcome, applied=self._caught_up)
            self._caught_up = 0
            self.acceptance.keep(self._ledger.open_ids())
            self._request_id = 0
            self._reconciling = False
            self._answered_ns = boot_ns()
            yield Recovered(outcome)

    def _reconcile_later(self) -> None:
        """What could not be stored is asked for again, slowly: a full disk stays full for a while."""
        self._reconciling = True
        self._ask_at_ns = boot_ns() + _RETRY_STORE_NS
