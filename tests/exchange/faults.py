"""What goes wrong, as data: where, which occurrence, what, for how long."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

FaultKind = Literal[
    # requests
    "delay",
    "hang",
    "reset",
    "lost_answer",
    "status",
    "html",
    "truncated",
    "bad_json",
    "null_rows",
    "no_such_order",
    "repeated",
    # connections and subscriptions
    "refuse",
    "accept_then_drop",
    "refuse_subscription",
    "ignore_subscription",
    "no_pong",
    # frames
    "silent",
    "drop_frame",
    "duplicate",
    "reorder",
    "malformed",
    "close",
    "drop",
    "crossed_book",
    # the market and its clock, while they last
    "clock_skew",
    "halted",
    "delisted",
]


def matches(pattern: str, text: str) -> bool:
    """Shell wildcards; brackets mean themselves, since no target needs them."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


@dataclass
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    kind
        What happens.
    on
        Where, with wildcards: ``GET /api/v3/klines``, ``DIAL /ws``, ``SUBSCRIBE btcusdt@trade``,
        ``STREAM *@depth*``, ``PING``. `refuse`, `clock_skew`, `halted` and `delisted` ignore it.
    symbol
        Only where this symbol is concerned, as ``BTC/USDT``.
    skip, every, times
        Let the first `skip` matches pass, then strike each `every`-th, at most `times` times.
    seconds
        Ends this many seconds after it was armed.
    only_open
        Strikes only connections that were open when it was armed, so that a reconnect heals.
    status, retry_after, delay_ms, skew_ms
        Parameters of their kinds. A `delay` holds up an answer, a dial or a frame; what comes behind a held
        frame overtakes it unless it is held up as well. `no_such_order` is the answer of a part of the exchange
        that has not heard of an order yet; of a `repeated` request, which comes twice, the second answer arrives.
    """

    kind: FaultKind
    on: str = "*"
    symbol: str | None = None
    skip: int = 0
    every: int = 1
    times: int | None = None
    seconds: float | None = None
    only_open: bool = False
    status: int = 503
    retry_after: int | None = None
    delay_ms: int = 1000
    skew_ms: int = 0
    id: int = 0
    seen: int = 0
    struck: int = 0
    armed_ns: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"{self.kind!r} is no fault; use one of {', '.join(get_args(FaultKind))}")
        if self.every < 1:
            raise ValueError("every must be at least 1")

    @property
    def active(self) -> bool:
        if self.times is not None and self.struck >= self.times:
            return False
        return self.seconds is None or time.monotonic_ns() - self.armed_ns < self.seconds * 1e9

    def strikes(self) -> bool:
        """Count a match, and say whether the fault strikes this time."""
        self.seen += 1
        if self.seen <= self.skip or (self.seen - self.skip - 1) % self.every:
            return False
        self.struck += 1
        return True


class Faults:
    """The armed faults; they may change at any time."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._ids = itertools.count(1)
        self.armed: list[Fault] = []
        for fault in faults:
            self.arm(fault)

    def arm(self, fault: Fault) -> Fault:
        fault.id = next(self._ids)
        fault.armed_ns = time.monotonic_ns()
        self.armed.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        self.armed = [fault for fault in self.armed if fault_id is not None and fault.id != fault_id]

    def strike(
        self,
        kinds: Iterable[FaultKind],
        target: str,
        symbol: str | None = None,
        opened_ns: int | None = None,
    ) -> Fault | None:
        """The first armed fault of these kinds that strikes here."""
        for fault in self.armed:
            if fault.kind not in kinds or not fault.active or not matches(fault.on, target):
                continue
            if fault.symbol is not None and fault.symbol != symbol:
                continue
            if fault.only_open and (opened_ns is None or opened_ns > fault.armed_ns):
                continue
            if fault.strikes():
                return fault
        return None

    def lasting(self, kind: FaultKind, symbol: str | None = None) -> Fault | None:
        """A fault that is a state of affairs rather than an event."""
        for fault in self.armed:
            if fault.kind == kind and fault.active and fault.symbol in (None, symbol):
                return fault
        return None


def from_mappings(entries: Iterable[dict[str, Any]]) -> list[Fault]:
    """Faults out of JSON or TOML."""
    return [Fault(**entry) for entry in entries]
