"""Who is told of what happens in a session with an exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from levibot.bus.messages import MarketSpec


def _ignore(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of what happens in a session. All are called from its event loop, and must return at once.

    Parameters
    ----------
    markets_changed
        Specifications that are new or have changed; not called for the first reading.
    connected
        URL of a WebSocket that has been opened.
    disconnected
        URL of a WebSocket that was lost, and why: closed, silent, a frame that could not be read. Also told
        when nobody awaits data of it, which ccxt would let pass: what came meanwhile is missing.
    trouble
        What failed in the background, and how; the session goes on.
    """

    markets_changed: Callable[[Sequence[MarketSpec]], None] = _ignore
    connected: Callable[[str], None] = _ignore
    disconnected: Callable[[str, str], None] = _ignore
    trouble: Callable[[str, Exception], None] = _ignore
