"""What conditions are checked on, and what a check says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from levibot.alerting.alert import Severity
from levibot.bus.messages import LiveTradingReport


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one moment. Ages and durations are seconds; None: unknown.

    Attributes
    ----------
    market_ages
        Age of the newest price of each symbol whose engine should run.
    market_limits
        Age above which its engine opens nothing.
    market_reasons
        How the feed calls the state of each symbol: ``failed: …`` if it could not be opened, ``halted`` if the
        exchange does not trade it now, ``ended`` if its recording is over.
    market_stale
        For how long the feed has called a market stale.
    live_source
        The feed streams from an exchange, and says itself whether a market is live.
    feed_ended
        A replay is over, so that silence is right.
    engines
        How many of them should run.
    ready
        How many of them are ready.
    waiting
        What each of them waits for that runs and is not ready.
    no_model
        Why each of them whose strategy asks a model has no answer that it may act on.
    pool_trouble
        What keeps the inference pool from answering anybody; empty if nothing does, or if there is none.
    held
        Symbols with an open position.
    unprotected
        Those of them that no stop covers; None: the broker does not tell now.
    trading
        How the books stand to the exchange; None: on paper, or the broker does not tell now.
    account
        Why the broker cannot open its account (`levibot.execution.hindrance`); empty if nothing hinders it, or on
        paper; None: it does not tell now.
    latches
        Stops that hold until they are cleared, with their reasons.
    ledgers_aside
        Damaged ledgers that were set aside and rebuilt, by symbol.
    closing
        What the kill switch wants closed and is still open, by symbol, with what hinders; None: it wants nothing
        closed, or all is.
    risk_state, risk_reason
        Of the portfolio.
    equity_known
        Whether account and prices tell what it is worth.
    disk_free, disk_limit
        Bytes.
    refused_lately
        Writes that the disk refused within the last minute.
    ballast_freed
        Why the room that was kept for exits has been given up; empty if it was not.
    exchange
        Name of the exchange that a live source streams from.
    cool_down
        For how long the exchange wants to be asked nothing; 0: it may be asked; None: the feed does not tell now.
    cool_down_reason
        What the exchange said.
    recorder_dropped
        Messages that were not recorded within the last minute; None: the feed does not tell now.
    recorder_trouble
        What the recorder complains of; empty if of nothing, or if there is none.
    clock_offset
        This clock minus the exchange's; None: unknown, as where the market is artificial.
    kernel_error
        The kernel's own estimate of its clock's error; None if nothing disciplines the clock.
    clock_limit
        Largest offset that is borne.
    altdata_missing
        Sources of alternative data that fail and of which nothing is left that could be used, with the reason;
        None: their process does not tell now.
    notifier_trouble
        What keeps alerts from being told; None: the notifier does not tell now.
    """

    market_ages: Mapping[str, float] = field(default_factory=dict)
    market_limits: Mapping[str, float] = field(default_factory=dict)
    market_reasons: Mapping[str, str] = field(default_factory=dict)
    market_stale: Mapping[str, float] = field(default_factory=dict)
    live_source: bool = False
    feed_ended: bool = False
    engines: int = 0
    ready: int = 0
    waiting: Mapping[str, str] = field(default_factory=dict)
    no_model: Mapping[str, str] = field(default_factory=dict)
    pool_trouble: str = ""
    held: frozenset[str] = frozenset()
    unprotected: tuple[str, ...] | None = ()
    trading: LiveTradingReport | None = None
    account: str | None = ""
    latches: Mapping[str, str] = field(default_factory=dict)
    ledgers_aside: Mapping[str, str] = field(default_factory=dict)
    closing: Mapping[str, str] | None = None
    risk_state: str = "ACTIVE"
    risk_reason: str = ""
    equity_known: bool = True
    disk_free: int | None = None
    disk_limit: float = 0.0
    refused_lately: int = 0
    ballast_freed: str = ""
    exchange: str = ""
    cool_down: float | None = 0.0
    cool_down_reason: str = ""
    recorder_dropped: int | None = 0
    recorder_trouble: str = ""
    clock_offset: float | None = None
    kernel_error: float | None = None
    clock_limit: float = 2.0
    altdata_missing: Mapping[str, str] | None = field(default_factory=dict)
    notifier_trouble: str | None = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's word that something is wrong."""

    key: str
    severity: Severity
    message: str
    remedy: str
    calm: float = 0.0  # seconds until it is over, if its condition's are fewer
