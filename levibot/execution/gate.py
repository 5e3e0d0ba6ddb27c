"""What the broker says while its books cannot be used, and which requests it does not even look at."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from levibot.bus.messages import (
    AccountRequest,
    BrokerReply,
    BrokerRequest,
    CancelOrder,
    FlattenPositions,
    Intent,
    NotReady,
    OrderEvents,
    ReconcileRequest,
    SettlePosition,
    SetTradingState,
    SubmitOrder,
)
from levibot.errors import CorruptStoreError, DataStoreError, MalformedMessageError
from levibot.execution.broker import unnumbered_denial
from levibot.execution.ids import is_valid
from levibot.symbols import is_canonical


def check_form(request: BrokerRequest) -> BrokerRequest:
    """The request, if all in it has its form and a size that can be reckoned with.

    Raises
    ------
    MalformedMessageError
        If not.
    """
    problem = _problem(request)
    if problem:
        raise MalformedMessageError(f"{type(request).__name__}: {problem}")
    return request


def _problem(request: BrokerRequest) -> str | None:
    match request:
        case SubmitOrder(intent):
            return _of_names(intent.symbol, [intent.client_id]) or _of_amounts(intent)
        case CancelOrder(symbol, client_id):
            return _of_names(symbol, [client_id])
        case ReconcileRequest(symbol=symbol, open_ids=ids, since=since):
            return _of_names(symbol, ids) or _of_sequence(since)
        case AccountRequest(since=since):
            return _of_sequence(since or 0)
        case SetTradingState():
            return None
        case SettlePosition(symbol=symbol, price=price):
            if price is not None and not (_is_reckonable(price) and price >= 0):
                return f"price is {price}; expected 0 or more, at most 28 digits"
            return _of_names(symbol, [])
        case FlattenPositions(symbols=symbols):
            return next(filter(None, (_of_names(symbol, []) for symbol in symbols)), None)


def _of_names(symbol: str, client_ids: list[str]) -> str | None:
    if not is_canonical(symbol):
        return f"{symbol!r:.60} is no symbol; expected BASE/QUOTE"
    for client_id in client_ids:
        if not is_valid(client_id):
            return f"client id {client_id!r:.60}; expected 1 to 32 of A-Z, a-z, 0-9, -"
    return None


def _of_amounts(intent: Intent) -> str | None:
    for name in intent.__struct_fields__:
        amount = getattr(intent, name)
        if isinstance(amount, Decimal) and not _is_reckonable(amount):
            return f"{name} is out of range; expected at most 28 digits, from 1E-18 to 1E+18"
    return None


def _is_reckonable(amount: Decimal) -> bool:
    _, digits, exponent = amount.as_tuple()
    return isinstance(exponent, int) and len(digits) <= 28 and exponent >= -18 and amount.adjusted() <= 18


def _of_sequence(since: int) -> str | None:
    return None if 0 <= since < 2**63 else f"since is {since}; expected a sequence number"


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
                f"broker database is corrupt: {error}. Nothing is traded. Stop LeviBot, then put back a backup"
                " with `levibotctl restore FILE`; or, to begin a new account, move the file (with -wal and -shm)"
                " and the folder ledgers away: what knows more than the broker opens nothing"
            )
        news, self.reason = reason != self.reason, reason
        return news

    def handle(self, sender: bytes, request: BrokerRequest) -> None:
        """Answer without the books."""
        match request:
            case SubmitOrder(intent):
                self._send(sender, OrderEvents([unnumbered_denial(intent, self.reason)]))
            case CancelOrder():
                return
            case _:
                self._send(sender, NotReady(request.request_id, self.reason))
