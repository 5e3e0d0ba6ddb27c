"""Commands and their acknowledgements (DEALER ↔ ROUTER of the supervisor)."""

from __future__ import annotations

from levibot.bus.messages.base import Message


class Hello(Message, frozen=True, tag=True):
    """First message of a worker: it runs, and can be commanded."""

    worker: str
    incarnation: int
    pid: int


class Acknowledged(Message, frozen=True, tag=True):
    command_id: int
    ok: bool
    detail: str = ""


class Crashed(Message, frozen=True, tag=True):
    """Last word of a worker that ends by an error."""

    worker: str
    incarnation: int
    error: str


class Stop(Message, frozen=True, tag=True):
    command_id: int
    reason: str


class Pause(Message, frozen=True, tag=True):
    """Market data flows on, no new risk is opened."""

    command_id: int


class Resume(Message, frozen=True, tag=True):
    command_id: int


class SymbolsChanged(Message, frozen=True, tag=True):
    """To feed and broker: the symbols that are wanted now."""

    command_id: int
    symbols: list[str]


Command = Stop | Pause | Resume | SymbolsChanged
WorkerMessage = Hello | Acknowledged | Crashed
