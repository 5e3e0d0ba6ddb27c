"""What gives headlines a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from levibot.altdata.sentiment.headlines import Headline
from levibot.altdata.source import Usage
from levibot.errors import AltDataError


class Scores(NamedTuple):
    """What could be scored, and why the rest could not."""

    found: Mapping[str, float]  # by digest, -1 (bad for the price) to 1 (good for it)
    error: AltDataError | None = None


class Scorer(Protocol):
    """Scores headlines, each by itself. What fails has no score: none is invented."""

    @property
    def name(self) -> str:
        """Of the model and the way it is asked: a score is kept under it."""
        ...

    @property
    def usage(self) -> Usage:
        """What it has cost so far."""
        ...

    async def score(self, headlines: Sequence[Headline], now_ms: int) -> Scores:
        """Score headlines; `now_ms` is the time of the call, Unix ms."""
        ...

    async def close(self) -> None:
        """Close what it holds."""
        ...
