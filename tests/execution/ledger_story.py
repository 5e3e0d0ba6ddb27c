"""A ledger, and what a broker would tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from levibot.bus.messages import (
    Fill,
    Intent,
    OrderAccepted,
    OrderEvent,
    OrderFilled,
    OrderSubmitted,
    Position,
    Reconciled,
)
from levibot.execution.ledger import Ledger
from tests.execution.examples import SYMBOL, D


def opened(path: Path) -> Ledger:
    """The ledger at `path`, made if there is none."""
    return Ledger.open(path, SYMBOL, "test")


class Story:
    """Order events as a broker would number them."""

    def __init__(self) -> None:
        self.events: list[OrderEvent] = []

    def add(self, kind: Any, client_id: str, **fields: Any) -> OrderEvent:
        number = len(self.events) + 1
        event: OrderEvent = kind(
            seq=number * 10,
            symbol_seq=number,
            symbol=SYMBOL,
            client_id=client_id,
            event_ms=0,
            recorded_ms=0,
            **fields,
        )
        self.events.append(event)
        return event

    def fill(self, intent: Intent, price: str, fee: str = "0") -> list[OrderEvent]:
        fill = Fill(f"f{len(self.events)}", intent.quantity, D(price), D(fee), "USDT", "taker")
        return [
            self.add(OrderSubmitted, intent.client_id, intent=intent),
            self.add(OrderAccepted, intent.client_id, exchange_id="x"),
            self.add(OrderFilled, intent.client_id, fill=fill),
        ]

    def answer(self, since: int = 0, quantity: str = "0", **changed: Any) -> Reconciled:
        answer = Reconciled(
            request_id=1,
            symbol=SYMBOL,
            symbol_seq=len(self.events),
            events=self.events[since:],
            position=Position(SYMBOL, D(quantity), D(0), D(0)),
            open_orders=[],
            unknown_ids=[],
        )
        return msgspec.structs.replace(answer, **changed)
