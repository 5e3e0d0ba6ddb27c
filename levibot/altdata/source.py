"""What a source of alternative data is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Reading(NamedTuple):
    """One value of one asset, as a source gives it."""

    asset: str  # base asset, "BTC"
    name: str  # what it is: "sentiment", "funding_rate"
    value: float  # finite
    observed_ms: int  # of what it describes, Unix ms


class AltSource(Protocol):
    """Fetches values now and then; one object in the process of alternative data.

    A failure is an error, never a neutral value, and is not kept: the last good values stay, and age.
    """

    @property
    def name(self) -> str:
        """For people, logs and metrics: "coin-metrics"."""
        ...

    @property
    def interval(self) -> float:
        """Seconds between two fetches."""
        ...

    @property
    def max_age(self) -> float:
        """Seconds after a fetch from which its values are too old to be used."""
        ...

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """Values of those of `assets` that it knows.

        Raises
        ------
        AltDataError
            If nothing usable came; the text names the source, what was wrong and the remedy.
        """
        ...

    async def close(self) -> None:
        """Close what it holds."""
        ...
