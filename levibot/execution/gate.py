"""What the broker says while its books cannot be used, and which requests it does not even look at."""

from __future__ import annotations

from collections.abc import Callable

from levibot.bus.messages import (
    AccountRequest,
    BrokerReply,
    BrokerRequest,
    CancelOrder,
    NotReady,
    OrderEvents,
    ReconcileRequest,
    SubmitOrder,
)
from levibot.errors import CorruptStoreError, DataStoreError, MalformedMessageError
from levibot.execution.broker import unnumbered_denial
from levibot.execution.ids import is_valid
from levibot.symbols import is_canonical


def check_form(request: BrokerRequest) -> BrokerRequest:
    """The request, if ids and symbols in it have their form.

    Raises
    ------
    MalformedMessageError
        If not.
    """
    match request:
        case SubmitOrder(intent):
            symbol, ids = intent.symbol, [intent.client_id]
        case CancelOrder(symbol, client_id):
            ids = [client_id]
        case ReconcileRequest(symbol=symbol, open_ids=ids):
            pass
        case AccountRequest():
            return request
    if not is_canonical(symbol):
        raise MalformedMessageError(f"{type(request).__name__} of {symbol!r:.60}, which is no symbol")
    for client_id in ids:
        if not is_valid(client_id):
            raise MalformedMessageError(
                f"{type(request).__name__} with client id {client_id!r:.60}; expected 1 to 32 of A-Z, a-z, 0-9, -"
            )
    return request


class ClosedGate:
    """Denies everything while the books are unusable, so that nobody waits in vain.

    Parameters
    ----------
    send
        Sends a reply to an identity.
    """

    def __init__(self, send: Callable[[bytes, BrokerReply], bool]) -> None:
        self._send = send
        self.reason = "the broker is recovering"

    def close(self, error: DataStoreError) -> bool:
        """Close for this reason; tell whether it is news."""
        reason = str(error)
        if isinstance(error, CorruptStoreError):
            reason = (
                f"broker database is corrupt: {error}. Nothing is traded. Put back a copy from a backup, or move"
                " the file (with -wal and -shm) away to begin a new paper account"
            )
        news, self.reason = reason != self.reason, reason
        return news

    def handle(self, sender: bytes, request: BrokerRequest) -> None:
        """Answer without the books."""
        match request:
            case SubmitOrder(intent):
                self._send(sender, OrderEvents([unnumbered_denial(intent, self.reason)]))
            case ReconcileRequest(request_id=request_id) | AccountRequest(request_id=request_id):
                self._send(sender, NotReady(request_id, self.reason))
            case CancelOrder():
                return
