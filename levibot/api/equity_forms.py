"""Forms of what is told of equity. Amounts are exact text, in the quote asset."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class EquityPointForm(BaseModel):
    """The account at one moment."""

    at: float = Field(description="Market time, Unix seconds.")
    equity: str
    cash: str
    funds: str = Field(description="Put in less taken out: equity less this is all that was ever earned.")
    realized_pnl: str = Field(description="After fees and funding.")
    unrealized_pnl: str
    fees: str = Field(description="That the realised profit contains.")
    funding: str


class EquityDayForm(BaseModel):
    """One UTC day; amounts are what changed in it."""

    at: float = Field(description="00:00 UTC, Unix seconds.")
    equity_start: str
    equity_end: str
    pnl: str = Field(description="Without what was put in or taken out.")
    return_ratio: str = Field(description="Time-weighted: deposits and withdrawals do not distort it.")
    realized_pnl: str
    unrealized_pnl: str
    fees: str
    funding: str
    moved: str = Field(description="Deposits less withdrawals.")


class EquitySymbolForm(BaseModel):
    """One symbol, since its first order."""

    symbol: str
    quantity: str
    entry_price: str
    mark: str | None
    realized_pnl: str
    unrealized_pnl: str
    day_pnl: str = Field(description="Since 00:00 UTC.")
    fees: str
    funding: str
    fees_by_asset: dict[str, str]
    positions_opened: int


class FundsMovedForm(BaseModel):
    """Money that came or went without an order."""

    at: float
    asset: str
    amount: str
    kind: Literal["opening", "deposit", "withdrawal", "correction"]
    reference: str


class EquityForm(BaseModel):
    """What the account is worth and what it earned, as `equity.sqlite` holds it."""

    quote: str
    now: EquityPointForm | None = Field(description="The newest point; null before the first.")
    symbols: list[EquitySymbolForm]
    days: list[EquityDayForm]
    points: list[EquityPointForm] = Field(description="The curve, thinned to 1 500 points at most.")
    moves: list[FundsMovedForm]
