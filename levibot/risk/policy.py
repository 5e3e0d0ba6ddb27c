"""The limits over the whole portfolio, as data."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from levibot.config_risk import ProtectionsConfig, RiskConfig


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """Limits in the units that decisions are made in; fractions are of equity.

    Attributes
    ----------
    config
        As the operator wrote it; what is not named below is read there.
    position_cap
        Largest position, open orders and grants included.
    gross_exposure, net_exposure, correlated_exposure
        Largest sum of positions: all, long less short, and in markets that move together.
    max_order_notional
        Largest cost of one entry, in the quote asset; None: no such limit.
    price_collar
        Largest distance of an entry's price from the last trade, as a fraction of it.
    daily_loss, symbol_daily_loss
        Loss of the UTC day, as a fraction of its starting equity, at which the portfolio is HALTED, or the
        symbol opens nothing any more.
    grant_life_ns, mark_max_age_ns
        Nanoseconds of CLOCK_BOOTTIME.
    """

    config: RiskConfig
    position_cap: Decimal
    gross_exposure: Decimal
    net_exposure: Decimal
    correlated_exposure: Decimal
    max_order_notional: Decimal | None
    price_collar: Decimal
    daily_loss: Decimal
    symbol_daily_loss: Decimal
    grant_life_ns: int
    mark_max_age_ns: int

    @classmethod
    def of(cls, config: RiskConfig) -> RiskPolicy:
        """Limits that the configuration sets."""
        notional = config.max_order_notional
        return cls(
            config=config,
            position_cap=_exact(config.position_cap),
            gross_exposure=_exact(config.gross_exposure),
            net_exposure=_exact(config.net_exposure),
            correlated_exposure=_exact(config.correlated_exposure),
            max_order_notional=None if notional is None else _exact(notional),
            price_collar=_exact(config.price_collar),
            daily_loss=_exact(config.daily_loss),
            symbol_daily_loss=_exact(config.symbol_daily_loss),
            grant_life_ns=round(config.grant_life * 1e9),
            mark_max_age_ns=round(config.mark_max_age * 1e9),
        )

    @property
    def max_positions(self) -> int:
        """Open positions at one time."""
        return self.config.max_positions

    @property
    def protections(self) -> ProtectionsConfig:
        """Locks after losses."""
        return self.config.protections

    def summary(self) -> dict[str, Any]:
        """The limits by the names of the configuration; fractions, seconds and minutes."""
        return self.config.model_dump()


def _exact(number: float) -> Decimal:
    return Decimal(str(number))
