"""The feed's words for the state of a symbol's market."""

from __future__ import annotations

OPENING = "opening"
LIVE = "live"
STALE = "stale: "  # and why
ENDED = "ended"  # its recording is over
FAILED = "failed: "  # and why
