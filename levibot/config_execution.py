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
    slippage: Fraction = Field(0.0001, description="Added against every market order, as a fraction.")
    stale_after: Seconds = Field(30.0, description="No entry is filled on a price older than this.")


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
        30.0, description="Seconds that an order whose answer was lost is asked for before its symbol is frozen."
    )
    deadman_grace: Annotated[float, Field(gt=0, le=5)] = Field(
        5.0, description="Seconds that the broker outlives the supervisor at most, to cancel entries."
    )
    cancel_all_after: bool = Field(
        False, description="Also let the exchange cancel ALL orders of the account, stops too, if we fall silent."
    )
