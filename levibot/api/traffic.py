"""What clients do, counted: errors of theirs are shown as figures, not logged line by line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from levibot.api.operations import Document

NO_ROUTE = "(none)"  # one label for all paths that do not exist, or strangers could make labels without end
DropReason = Literal["slow_request", "slow_reader", "idle", "full"]


@dataclass
class Traffic:
    """Counters since the daemon's start, for metrics and status.

    Parameters
    ----------
    requests
        Answers by the route's template, such as ``/engines/status/{symbol}``, and HTTP status.
    dropped
        Connections that were ended because of what their client did, or failed to do, by reason.
    refused_tokens
        Requests with a wrong token.
    connections
        Open connections, of unix socket and TCP port together.
    streams
        Open event streams.
    """

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    refused_tokens: int = 0
    connections: int = 0
    streams: int = 0

    def describe(self) -> Document:
        """The same in brief, for the status document."""
        codes: Counter[str] = Counter()
        for (_, code), count in self.requests.items():
            codes[f"{code // 100}xx"] += count
        return {
            "answers": dict(codes),
            "dropped_connections": sum(self.dropped.values()),
            "refused_tokens": self.refused_tokens,
            "connections": self.connections,
            "streams": self.streams,
        }
