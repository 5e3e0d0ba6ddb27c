"""Exceptions, grouped by the reaction that they demand of whoever catches them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

RefusalReason = Literal["symbol", "authentication", "funds", "order", "not found", "request"]
AltDataFault = Literal[
    "unreachable", "throttled", "refused", "malformed", "stale", "key", "budget", "missing", "disk"
]


class LeviBotError(Exception):
    """Base of every error that LeviBot raises on purpose; its text names the remedy."""


class StopError(LeviBotError):
    """Going on would be wrong: stop and ask the operator."""


class RetryError(LeviBotError):
    """The same call may succeed at once or soon."""


class BackOffError(LeviBotError):
    """The other side asked for patience: wait, then try again."""


class GiveUpError(LeviBotError):
    """This item can never succeed: drop it, count it, go on with the rest."""


class ConfigError(StopError):
    """The configuration is wrong; the text names file, key and the nearest valid name."""


class UnknownSymbolError(GiveUpError):
    """The symbol is not among those configured, or not written in a known form."""


class MalformedMessageError(GiveUpError):
    """A message from the bus does not decode; it is counted and skipped."""


class MarketDataError(GiveUpError):
    """A candle or frame file holds a bad row; the text names file and line."""


class StrategyError(GiveUpError):
    """A strategy raised, or returned something that is no signal."""


class TrainingError(GiveUpError):
    """There is too little, or nothing, to learn from in these data."""


class ModelError(GiveUpError):
    """A stored model cannot be used: go on with the one before, or without.

    Parameters
    ----------
    path
        The file or folder concerned.
    reason
        What was found, what was expected, and the remedy.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DataStoreError(StopError):
    """Base of the errors about files that hold state.

    Parameters
    ----------
    path
        The file concerned.
    reason
        What was found, and the remedy.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class CorruptStoreError(DataStoreError):
    """The content is damaged: set the file aside and recover."""


class NewerSchemaError(DataStoreError):
    """A newer LeviBot wrote the file: upgrade; never set it aside."""


class LockedStoreError(DataStoreError):
    """Another process holds the file."""


class FullDiskError(DataStoreError):
    """The disk refused a write; what was on disk before is whole."""


class AlreadyRunningError(StopError):
    """Another supervisor holds the data directory."""


class ExchangeUnavailableError(RetryError):
    """The exchange cannot be reached, is in trouble, or did not answer in time."""


class MalformedAnswerError(RetryError):
    """An answer that is not what was asked for: whether the request was carried out is unknown."""


class ExchangeClockError(RetryError):
    """The exchange refused a request for its time stamp; the difference of the clocks is measured anew."""


class AltDataError(RetryError):
    """A source of alternative data gave nothing usable; the last good values stay, and age.

    Parameters
    ----------
    text
        The source, what was wrong and the remedy; no secret.
    kind
        Under which it is counted.
    wait_s
        Seconds for which the source must not be asked, as far as it said so.
    """

    def __init__(self, text: str, kind: AltDataFault = "malformed", wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.kind = kind
        self.wait_s = wait_s


class CoolDownError(BackOffError):
    """The exchange has been asked too much: nothing is sent to it for a while.

    Parameters
    ----------
    reason
        What the exchange said.
    wait_s
        Seconds until it may be asked again.
    """

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(f"{reason}; nothing is sent for {wait_s:.0f} s")
        self.wait_s = wait_s


class BudgetError(BackOffError):
    """This process has used up its share of the exchange's rate limit for now."""


class ExchangeRefusedError(GiveUpError):
    """The exchange definitely did not do what was asked, and will not.

    Parameters
    ----------
    reason
        Which kind of refusal.
    text
        What the exchange said.
    """

    def __init__(self, reason: RefusalReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class OrderGoneError(GiveUpError):
    """The exchange says that it has no such open order: filled, cancelled, or never arrived; ask which."""


class UnfitKeyError(StopError):
    """The key of the account must not be used, or cannot: it may withdraw, may not trade, or is wrong."""


class LaunchError(RetryError):
    """A worker process could not be started in time."""
