"""The limits over the whole portfolio, as data."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from levibot.config_risk import RiskConfig


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """Limits in the units that decisions are made in.

    Attributes
    ----------
    position_cap
        Largest position, open orders and grants included, as a fraction of equity.
    max_positions
        Open positions at one time.
    daily_loss
        Loss of the UTC day, as a fraction of its starting equity, at which trading is HALTED.
    grant_life_ns, mark_max_age_ns
        Nanoseconds of CLOCK_BOOTTIME.
    """

    position_cap: Decimal
    max_positions: int
    daily_loss: Decimal
    grant_life_ns: int
    mark_max_age_ns: int

    @classmethod
    def of(cls, config: RiskConfig) -> RiskPolicy:
        """Limits that the configuration sets."""
        return cls(
            position_cap=Decimal(str(config.position_cap)),
            max_positions=config.max_positions,
            daily_loss=Decimal(str(config.daily_loss)),
            grant_life_ns=round(config.grant_life * 1e9),
            mark_max_age_ns=round(config.mark_max_age * 1e9),
        )

    def summary(self) -> dict[str, float | int]:
        """The limits by the names of the configuration; fractions and seconds."""
        return {
            "position_cap": float(self.position_cap),
            "max_positions": self.max_positions,
            "daily_loss": float(self.daily_loss),
            "grant_life": self.grant_life_ns / 1e9,
            "mark_max_age": self.mark_max_age_ns / 1e9,
        }
