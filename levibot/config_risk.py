"""The section of the configuration that limits the whole portfolio, and the protections below it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from levibot.config_base import Fraction, Seconds, Section

Minutes = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class ProtectionsConfig(Section):
    """Locks after losses, as freqtrade has them; times are event time. 0 or none switches a lock off."""

    cooldown_minutes: Annotated[float, Field(ge=0)] = Field(
        5.0, description="Minutes after a position was stopped out in which its symbol opens none."
    )
    stop_guard_count: Annotated[int, Field(ge=0)] = Field(
        4, description="Positions stopped out within the lookback, over all symbols, that lock all of them."
    )
    stop_guard_lookback_minutes: Minutes = Field(60.0, description="Minutes that the stop-loss guard looks back.")
    stop_guard_lock_minutes: Minutes = Field(60.0, description="Minutes that it locks.")
    max_drawdown: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Fall of equity from its highest within the lookback that locks all symbols."
    )
    drawdown_lookback_minutes: Minutes = Field(1440.0, description="Minutes that the drawdown lock looks back.")
    drawdown_lock_minutes: Minutes = Field(720.0, description="Minutes that it locks.")
    low_profit_trades: Annotated[int, Field(ge=0)] = Field(
        4, description="Closed positions of a symbol within the lookback that are judged together."
    )
    low_profit: float = Field(
        -0.01,
        description="Sum of their returns, as fractions of their cost, below which the symbol is locked.",
    )
    low_profit_lookback_minutes: Minutes = Field(1440.0, description="Minutes that this lock looks back.")
    low_profit_lock_minutes: Minutes = Field(360.0, description="Minutes that it locks.")


class RiskConfig(Section):
    """Limits over the whole portfolio."""

    kelly_fraction: Fraction = Field(0.25, description="Part of the Kelly fraction that is put in.")
    position_cap: Fraction = Field(0.2, description="Largest position, as a fraction of equity.")
    target_volatility: Annotated[float, Field(gt=0)] = Field(
        0.15, description="Volatility a year that positions are sized to."
    )
    use_confidence: bool = Field(
        True, description="Size by the confidence too; it is made of the probability, so the edge counts twice."
    )
    max_positions: Count = Field(5, description="Open positions at one time.")
    gross_exposure: Annotated[float, Field(gt=0, le=10)] = Field(
        1.0, description="Largest sum of all positions, long and short, as a fraction of equity."
    )
    net_exposure: Annotated[float, Field(gt=0, le=10)] = Field(
        1.0, description="Largest difference of long and short positions, as a fraction of equity."
    )
    correlated_exposure: Annotated[float, Field(gt=0, le=10)] = Field(
        0.6, description="Largest sum of positions in markets that move together, as a fraction of equity."
    )
    correlation: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="Correlation of measured returns from which markets count as moving together."
    )
    daily_loss: Fraction = Field(0.03, description="Loss of the UTC day at which trading is HALTED.")
    symbol_daily_loss: Fraction = Field(
        0.015,
        description="Loss of a symbol in the UTC day, as a fraction of equity, that ends its entries.",
    )
    orders_per_minute: Count = Field(60, description="Entries granted a minute, over all symbols.")
    max_order_notional: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Largest cost of one entry, in the quote asset; default: none but the caps above."
    )
    price_collar: Fraction = Field(
        0.02, description="Largest distance of an entry's price from the last trade, as a fraction."
    )
    grant_life: Seconds = Field(2.0, description="Seconds until a grant dies.")
    mark_max_age: Seconds = Field(
        30.0, description="An open position without a price this young: equity unknown, REDUCING."
    )
    protections: ProtectionsConfig = Field(default_factory=ProtectionsConfig)
