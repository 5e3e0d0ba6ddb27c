"""Grants: the supervisor signs leave to open risk, the broker checks it at the last gate."""

from __future__ import annotations

import hmac
from decimal import Decimal

import msgspec

from levibot.bus.codec import encode
from levibot.bus.messages import Grant, Intent
from levibot.execution.precision import plain
from levibot.execution.refusals import Refusal


def sign_grant(key: bytes, grant: Grant) -> Grant:
    """The same grant with its HMAC-SHA256 over all its other fields.

    Parameters
    ----------
    key
        Secret of this start of the supervisor.
    grant
        What is granted; its `mac` is ignored.
    """
    return msgspec.structs.replace(grant, mac=_digest(key, grant))


def _digest(key: bytes, grant: Grant) -> bytes:
    return hmac.digest(key, encode(msgspec.structs.replace(grant, mac=b"")), "sha256")


class GrantBook:
    """Checks grants and remembers those that were used.

    Parameters
    ----------
    key
        The supervisor's secret. An empty one refuses every grant.
    supervisor_epoch
        Start of the supervisor whose grants count.
    """

    def __init__(self, key: bytes, supervisor_epoch: int) -> None:
        self._key = key
        self._epoch = supervisor_epoch
        self._used: dict[str, int] = {}  # client id → expiry of its grant, oldest first

    def use(self, intent: Intent, quantity: Decimal, now_ns: int) -> str | None:
        """Use the intent's grant once; None, or why it does not allow this order.

        Parameters
        ----------
        intent
            The order, with its grant.
        quantity
            What would be traded, in the base asset.
        now_ns
            CLOCK_BOOTTIME.
        """
        grant = intent.grant
        if grant is None:
            return Refusal.NO_GRANT.because("no grant: an order that can open a position needs one")
        reason = self._forged(grant) or _mismatch(grant, intent, quantity)
        if reason:
            return reason
        if now_ns > grant.expires_ns:
            return Refusal.GRANT_EXPIRED.because(
                f"the grant expired {(now_ns - grant.expires_ns) / 1e9:.3f} s ago"
            )
        self._expire(now_ns)
        if grant.client_id in self._used:
            return Refusal.GRANT_USED.because("the grant was used before")
        self._used[grant.client_id] = grant.expires_ns
        return None

    def give_back(self, client_id: str) -> None:
        """Undo `use`: the order that used the grant has been rolled back."""
        self._used.pop(client_id, None)

    def _forged(self, grant: Grant) -> str | None:
        if not self._key or not hmac.compare_digest(grant.mac, _digest(self._key, grant)):
            return Refusal.GRANT_FORGED.because("the grant is not the supervisor's")
        if grant.supervisor_epoch != self._epoch:
            return Refusal.GRANT_MISMATCH.because(
                f"the grant is of supervisor epoch {grant.supervisor_epoch}, now is {self._epoch}"
            )
        return None

    def _expire(self, now_ns: int) -> None:
        for client_id in [used for used, expires_ns in self._used.items() if expires_ns < now_ns]:
            del self._used[client_id]


def _mismatch(grant: Grant, intent: Intent, quantity: Decimal) -> str | None:
    if grant.client_id != intent.client_id:
        return Refusal.GRANT_MISMATCH.because(f"the grant is for order {grant.client_id}")
    if grant.symbol != intent.symbol:
        return Refusal.GRANT_MISMATCH.because(f"the grant is for {grant.symbol}")
    if grant.side != intent.side:
        return Refusal.GRANT_MISMATCH.because(f"the grant is for a {grant.side}")
    if quantity > grant.max_quantity:
        return Refusal.GRANT_MISMATCH.because(
            f"the grant allows at most {plain(grant.max_quantity)}, asked was {plain(quantity)}"
        )
    return None
