"""What a source of alternative data is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from levibot.errors import AltDataError

LONGEST_WAIT_S = 86_400.0  # for which a source is left in peace, whatever time it names


class Reading(NamedTuple):
    """One value of one asset, as a source gives it."""

    asset: str  # base asset, "BTC"; "" for the whole market
    name: str  # what it is: "sentiment", "funding_rate"
    value: float  # finite
    observed_ms: int  # of what it describes, Unix ms


@dataclass(slots=True)
class Usage:
    """What a source has cost since its process began."""

    requests: int = 0  # that were sent
    throttled: int = 0  # times that a rate limit, the provider's or our own, held it up


class PartialFetchError(AltDataError):
    """A part of what was asked for did not come: it counts as a failure, and what came is used.

    Parameters
    ----------
    cause
        The failure of the part.
    readings
        What came nevertheless.
    """

    def __init__(self, cause: AltDataError, readings: Sequence[Reading]) -> None:
        super().__init__(str(cause), cause.kind, cause.wait_s)
        self.readings = list(readings)


class AltSource(Protocol):
    """Fetches values now and then; one object in the process of alternative data.

    A failure is an error, never a neutral value, and is not kept: the last good values stay, and age.
    """

    @property
    def name(self) -> str:
        """For people, logs and metrics, and the name of a folder: "coin-metrics"."""
        ...

    @property
    def interval(self) -> float:
        """Seconds between two fetches."""
        ...

    @property
    def max_age(self) -> float:
        """Seconds from which its values are too old to be used: after their fetch, and after what they tell of."""
        ...

    @property
    def usage(self) -> Usage:
        """What it has cost so far."""
        ...

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """Values of those of `assets` that it knows.

        It may be cancelled at any await, when it takes too long or the process ends.

        Raises
        ------
        AltDataError
            If nothing usable came; the text names the source, what was wrong and the remedy.
        PartialFetchError
            If a part of it did not come.
        """
        ...

    async def close(self) -> None:
        """Close what it holds."""
        ...


async def fetch_parts(parts: Iterable[Callable[[], Awaitable[list[Reading]]]]) -> list[Reading]:
    """Readings of several requests to one provider, one after another; one that fails does not lose the others'.

    Raises
    ------
    AltDataError
        If every part failed: the first failure. After one that asks for patience nothing more is asked.
    PartialFetchError
        If one failed.
    """
    readings: list[Reading] = []
    failure: AltDataError | None = None
    for part in parts:
        try:
            readings += await part()
        except AltDataError as error:
            failure = failure or error
            if error.wait_s:
                break
    if failure is not None:
        raise PartialFetchError(failure, readings) if readings else failure
    return readings


class LackingSource:
    """Stands in for a source that cannot be made: it fails by name, and the others work.

    Parameters
    ----------
    name, interval, max_age
        Of the source.
    reason
        What it lacks, and the remedy.
    """

    def __init__(self, name: str, interval: float, max_age: float, reason: str) -> None:
        self.name, self.interval, self.max_age = name, interval, max_age
        self.usage = Usage()
        self._reason = reason

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """It cannot."""
        raise AltDataError(f"{self.name}: {self._reason}", "missing")

    async def close(self) -> None:
        """It holds nothing."""
