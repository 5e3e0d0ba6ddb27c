"""The sections of the configuration that say how orders are carried out: on paper, or with real money."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from levibot.config_base import Fraction, Money, Seconds, Section

CONFIRMATION = "I trade real money and have read docs/live.md"


class PaperConfig(Section):
    """The paper exchange."""

    cash: Money = Field(Decimal(10_000), description="Paper money at the first start, in the quote asset.")
    spread: Fraction = Field(0.0002, description="Assumed spread where the feed has none, as a fraction.")
    slippage: Fraction = Field(
        0.0001, description="Added against market orders where there is no order book, as a fraction."
    )
    impact: Annotated[float, Field(ge=0, le=100)] = Field(
        1.0,
        description="Coefficient of what an order's own size adds where there is no order book; 0: nothing.",
    )
    latency: Annotated[float, Field(ge=0, le=10)] = Field(
        0.05, description="Seconds that an order is on its way; in lockstep none."
    )
    stale_after: Seconds = Field(30.0, description="Nothing is filled on a price older than this.")
    funding_rate: Annotated[float, Field(ge=-0.1, le=0.1)] = Field(
        0.0, description="Rate that swaps pay at 00:00, 08:00 and 16:00 UTC; above 0 longs pay shorts."
    )


class LiveConfig(Section):
    """Real money."""

    confirm: str = Field("", description=f'Nothing is sent unless this says "{CONFIRMATION}".')
    credentials: Literal["environment", "file", "systemd"] = Field(
        "environment",
        description="Where the key is: LEVIBOT_API_KEY and LEVIBOT_API_SECRET, a file, a systemd credential.",
    )
    credentials_file: Path | None = Field(
        None, description='File, mode 0600, with key = "…" and secret = "…"; for credentials = "file".'
    )
    capital: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="Most of the quote asset that is counted as LeviBot's; default: the whole balance."
    )
    allow_emulated_stops: bool = Field(
        False,
        description="Trade where the exchange keeps no stops: the broker watches, and not while it is down.",
    )
    reconcile_interval: Seconds = Field(
        30.0, description="Seconds between two comparisons with the exchange's orders, trades and balances."
    )
    unknown_after: Seconds = Field(
        30.0, description="Seconds that a lost order is asked for before it is believed that it never arrived."
    )
    deadman_grace: Annotated[float, Field(gt=0, le=5)] = Field(
        5.0, description="Seconds that the broker outlives the supervisor at most, to cancel entries."
    )
