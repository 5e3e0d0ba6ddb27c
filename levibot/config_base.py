"""What all sections of the configuration share."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Money = Annotated[Decimal, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class SettingsError(ValueError):
    """Settings that do not go together, which only the whole configuration shows.

    Parameters
    ----------
    location
        Path of the key that must be corrected.
    because_of
        Path of the one that asks for it: the place that is named where the first is not set.
    text
        What was expected.
    """

    def __init__(self, location: tuple[str, ...], because_of: tuple[str, ...], text: str) -> None:
        super().__init__(text)
        self.location = location
        self.because_of = because_of


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
