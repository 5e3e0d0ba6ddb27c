"""Alternative data of an asset: sentiment, on-chain figures, funding (PUB → SUB)."""

from __future__ import annotations

from levibot.bus.messages.base import Message


class AltData(Message, frozen=True):
    """One value, published when it was fetched, and again from time to time for who comes later.

    Whoever uses it joins it at `fetched_ms`: what it describes was not known here any earlier.
    """

    asset: str  # base asset, "BTC"
    name: str  # what it is: "sentiment", "funding_rate"
    value: float  # finite
    source: str  # who said so, for people
    observed_ms: int  # of what it describes
    fetched_ms: int  # when it was known here
    expires_ms: int  # from then on it is too old to be used
