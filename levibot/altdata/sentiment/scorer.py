"""What gives headlines a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from levibot.altdata.sentiment.headlines import Headline
from levibot.altdata.source import Usage
from levibot.errors import AltDataError

Keep = Callable[[Mapping[str, float]], None]  # gets scores by digest, -1 (bad for the price) to 1 (good for it)


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

    async def score(self, headlines: Sequence[Headline], now_ms: int, keep: Keep) -> AltDataError | None:
        """Score headlines; tell why some could not be.

        Parameters
        ----------
        headlines
            The most urgent first.
        now_ms
            Time of the call, Unix ms.
        keep
            Gets scores as they come: it may be cancelled at any await, and what was paid for must not be lost.
        """
        ...

    async def close(self) -> None:
        """Close what it holds."""
        ...
