"""A grant opens risk once, for exactly what the supervisor allowed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from levibot.bus.messages import Intent
from levibot.clock import boot_ns
from levibot.execution.grants import GrantBook
from tests.execution.examples import EPOCH, KEY, entry, grant_for

_INTENT = entry("2", granted=False)


def _use(intent: Intent, *, quantity: str = "2", key: bytes = KEY) -> str | None:
    return GrantBook(key, EPOCH).use(intent, Decimal(quantity), boot_ns())


def _with(**changed: Any) -> Intent:
    return msgspec.structs.replace(_INTENT, grant=grant_for(_INTENT, **changed))


def test_a_good_grant_is_taken_once() -> None:
    book, intent = GrantBook(KEY, EPOCH), _with()
    assert book.use(intent, Decimal(2), boot_ns()) is None
    assert book.use(intent, Decimal(2), boot_ns()) == "grant_used: the grant was used before"


@pytest.mark.parametrize(
    ("intent", "why"),
    [
        (_INTENT, "no grant"),
        (_with(key=b"another"), "not the supervisor's"),
        (_with(supervisor_epoch=EPOCH - 1), "epoch"),
        (_with(expires_ns=1), "expired"),
        (_with(side="sell"), "for a sell"),
        (_with(symbol="ETH/USDT"), "for ETH/USDT"),
        (_with(client_id="another"), "order another"),
        (_with(max_quantity=Decimal("1.999")), "at most 1.999"),
    ],
)
def test_any_other_grant_is_refused_with_its_reason(intent: Intent, why: str) -> None:
    assert why in (_use(intent) or "")


@pytest.mark.parametrize(
    "forgery",
    [
        {"max_quantity": Decimal(3)},
        {"expires_ns": 2**62},
        {"side": "sell"},
        {"symbol": "ETH/USDT"},
        {"client_id": "x"},
        {"supervisor_epoch": EPOCH + 1},
        {"request_id": 99},
    ],
)
def test_the_signature_covers_every_field(forgery: dict[str, Any]) -> None:
    signed = grant_for(_INTENT)
    forged = msgspec.structs.replace(_INTENT, grant=msgspec.structs.replace(signed, **forgery))
    assert _use(forged) == "grant_forged: the grant is not the supervisor's"


def test_without_a_key_no_grant_is_good() -> None:
    assert _use(_with(key=b""), key=b"") == "grant_forged: the grant is not the supervisor's"
