"""The feed's words for the state of a symbol's market."""

from __future__ import annotations

OPENING = "opening"
LIVE = "live"
STALE = "stale: "  # and why
HALTED = "halted"  # the exchange does not trade it now
ENDED = "ended"  # its recording is over
ENDED_BECAUSE = "market data has ended"  # why it is then stale
FAILED = "failed: "  # and why
AGAIN = "; it is tried again"  # after the reason of a failure that may pass
