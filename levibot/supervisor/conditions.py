"""What is checked all the time: a table of small pure checks over facts, and how long each must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from levibot.alerting.alert import Severity

_MB = 1_000_000
_ROOM = 1.2  # times the limit must be free again until a full disk is over
_LIVE = "live"  # the feed's word for a market with which nothing is wrong
_BETWEEN_TICKS = 5.0  # seconds that a market must tick often enough, beyond its limit, until it is alive
_PATIENCE = 45.0  # seconds until what a life before raised is over: at first little is known


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
        How the feed calls the state of each symbol.
    feed_ended
        A replay is over, so that silence is right.
    held
        Symbols with an open position.
    unprotected
        Those of them that no stop covers; None: the broker does not tell now.
    latches
        Stops that hold until they are cleared, with their reasons.
    risk_state, risk_reason
        Of the portfolio.
    equity_known
        Whether account and prices tell what it is worth.
    disk_free, disk_limit
        Bytes.
    refused_lately
        Writes that the disk refused within the last minute.
    clock_offset
        This clock minus the exchange's; None where the market is artificial.
    kernel_error
        The kernel's own estimate of its clock's error; None if nothing disciplines the clock.
    clock_limit
        Largest offset that is borne.
    notifier_trouble
        What keeps alerts from being told; None: the notifier does not tell now.
    """

    market_ages: Mapping[str, float] = field(default_factory=dict)
    market_limits: Mapping[str, float] = field(default_factory=dict)
    market_reasons: Mapping[str, str] = field(default_factory=dict)
    feed_ended: bool = False
    held: frozenset[str] = frozenset()
    unprotected: tuple[str, ...] | None = ()
    latches: Mapping[str, str] = field(default_factory=dict)
    risk_state: str = "ACTIVE"
    risk_reason: str = ""
    equity_known: bool = True
    disk_free: int | None = None
    disk_limit: float = 0.0
    refused_lately: int = 0
    clock_offset: float | None = None
    kernel_error: float | None = None
    clock_limit: float = 2.0
    notifier_trouble: str | None = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's word that something is wrong."""

    key: str
    severity: Severity
    message: str
    remedy: str
    calm: float = 0.0  # seconds until it is over, if its condition's are fewer


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of the table.

    Attributes
    ----------
    name
        First part of its keys.
    after, calm
        Seconds that it must hold until it is told, and be absent until it is over.
    find
        The check: what is wrong, given the facts and whether it is told already; None: that is not known, and
        what was found before neither begins nor ends. A finding whose key is the bare name stands for all
        others of the condition.
    """

    name: str
    after: float
    calm: float
    find: Callable[[Facts, bool], Iterable[Finding] | None]


def _stale_markets(facts: Facts, _told: bool) -> Iterable[Finding]:
    """All silent together are one cause; else each is its own."""
    if facts.feed_ended:
        return
    stale = [s for s, age in facts.market_ages.items() if age > facts.market_limits[s]]
    if stale and len(stale) == len(facts.market_ages) > 1:
        youngest = min(facts.market_ages.values())
        yield Finding(
            "stale_feed",
            "critical" if facts.held else "warning",
            f"no market data of any symbol for {youngest:.0f} s",
            "see `levibotctl status feed` and `levibotctl logs feed`; nothing is opened meanwhile",
            max(facts.market_limits[symbol] for symbol in stale) + _BETWEEN_TICKS,
        )
        return
    for symbol in stale:
        reason = facts.market_reasons.get(symbol, _LIVE)
        why = f": {reason}" if reason != _LIVE else ""  # the feed may not have noticed that nothing comes
        yield Finding(
            f"stale_feed:{symbol}",
            "critical" if symbol in facts.held else "warning",
            f"no market data of {symbol} for {facts.market_ages[symbol]:.0f} s{why}",
            "see `levibotctl logs feed`; this symbol opens nothing meanwhile",
            facts.market_limits[symbol] + _BETWEEN_TICKS,
        )


def _unprotected(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    if facts.unprotected is None:
        return None
    return [
        Finding(
            f"unprotected:{symbol}",
            "critical",
            f"the position in {symbol} is covered by no stop, or by too small a one",
            f"close it (`levibotctl status {symbol}` shows it), or place a stop",
        )
        for symbol in facts.unprotected
    ]


def _kill_switch(facts: Facts, _told: bool) -> Iterable[Finding]:
    if "kill_switch" in facts.latches:
        reason = facts.latches["kill_switch"]
        yield Finding(
            "kill_switch", "warning", f"the kill switch is on: {reason}", "`levibotctl kill off` ends it"
        )


def _daily_stop(facts: Facts, _told: bool) -> Iterable[Finding]:
    if "daily_stop" in facts.latches:
        yield Finding(
            "daily_stop",
            "critical",
            f"trading is stopped for the day: {facts.latches['daily_stop']}",
            "it ends at 00:00 UTC of market time, or by `levibotctl reset-day`; positions keep their stops",
        )


def _reducing(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.risk_state == "REDUCING" and not facts.feed_ended:  # no more prices come: that is no news
        yield Finding(
            "reducing",
            "warning",
            f"positions can only shrink: {facts.risk_reason}",
            "mend what it names; trading goes on by itself then",
        )


def _equity_unknown(facts: Facts, _told: bool) -> Iterable[Finding]:
    if not facts.equity_known and not facts.feed_ended:
        yield Finding(
            "equity_unknown",
            "critical" if facts.held else "warning",
            "the worth of the portfolio is not known: the broker's account or a price is missing",
            "see `levibotctl logs broker` and `levibotctl logs feed`; nothing is opened meanwhile",
        )


def _disk_low(facts: Facts, told: bool) -> Iterable[Finding]:
    free, limit = facts.disk_free, facts.disk_limit
    if free is not None and free < limit * (_ROOM if told else 1.0):
        yield Finding(
            "disk_low",
            "critical" if free < limit / 4 else "warning",
            f"{free / _MB:.0f} MB are free below data_dir, the limit is {limit / _MB:.0f} MB",
            "make room, or lower logging.retention_days and [retention]; a full disk stops new orders",
        )


def _writes_refused(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.refused_lately:
        yield Finding(
            "writes_refused",
            "critical",
            "the disk refuses writes of the supervisor: state is kept in memory until it takes them",
            "make room, or look after the disk and the owner of data_dir; do not restart the daemon before",
        )


def _clock_skew(facts: Facts, _told: bool) -> Iterable[Finding]:
    offset, error = facts.clock_offset, facts.kernel_error
    if offset is not None and abs(offset) > facts.clock_limit:
        way = "ahead of" if offset > 0 else "behind"
        message = f"the clock of this machine is {abs(offset):.1f} s {way} the exchange's"
    elif error is not None and error > facts.clock_limit:
        message = f"the clock of this machine may be {error:.1f} s off, says the kernel"
    else:
        return
    remedy = "set up time synchronisation (chrony or systemd-timesyncd); exchanges refuse orders of wrong clocks"
    yield Finding("clock_skew", "warning", message, remedy)


def _notifier(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    if facts.notifier_trouble is None:
        return None
    if not facts.notifier_trouble:
        return []
    return [
        Finding(
            "notifier",
            "warning",
            f"alerts do not reach everybody: {facts.notifier_trouble}",
            "correct it, then `levibotctl alerts test`",
        )
    ]


CONDITIONS = (
    Condition("stale_feed", after=3.0, calm=5.0, find=_stale_markets),
    Condition("unprotected", after=5.0, calm=2.0, find=_unprotected),
    Condition("kill_switch", after=0.0, calm=0.0, find=_kill_switch),
    Condition("daily_stop", after=0.0, calm=0.0, find=_daily_stop),
    Condition("reducing", after=120.0, calm=5.0, find=_reducing),
    Condition("equity_unknown", after=60.0, calm=5.0, find=_equity_unknown),
    Condition("disk_low", after=0.0, calm=30.0, find=_disk_low),
    Condition("writes_refused", after=0.0, calm=0.0, find=_writes_refused),
    Condition("clock_skew", after=30.0, calm=60.0, find=_clock_skew),
    Condition("notifier", after=5.0, calm=10.0, find=_notifier),
)


@dataclass
class _Track:
    since: float  # it holds, or is absent, without a break
    holds: bool
    told: bool
    calm: float  # seconds until it is over


class Watch:
    """Turns what the checks find from moment to moment into alerts that do not flap.

    Parameters
    ----------
    raise_alert, clear
        As of `Alerts`. An alert that stands is raised again only if it got worse.
    standing
        Keys of the alerts that stand from a life before: they are not told again, and end when they are over.
    conditions
        The table.
    """

    def __init__(
        self,
        raise_alert: Callable[[str, Severity, str, str], None],
        clear: Callable[[str], None],
        standing: Iterable[str],
        conditions: Iterable[Condition] = CONDITIONS,
    ) -> None:
        self._raise = raise_alert
        self._clear = clear
        self._conditions = tuple(conditions)
        self._tracks: dict[str, _Track] = {}
        self._severities: dict[str, Severity] = {}
        self._inherited = {key for key in standing if self.owns(key)}

    def owns(self, key: str) -> bool:
        """Whether an alert of this key is raised and cleared here."""
        name = key.partition(":")[0]
        return any(condition.name == name for condition in self._conditions)

    def look(self, facts: Facts, now: float) -> None:
        """Check everything; `now` is in seconds of CLOCK_BOOTTIME."""
        for condition in self._conditions:
            for key in [key for key in self._inherited if key.partition(":")[0] == condition.name]:
                calm = condition.calm and max(condition.calm, _PATIENCE)
                self._tracks[key] = _Track(now, True, True, calm)
                self._inherited.discard(key)
            told = any(
                track.told for key, track in self._tracks.items() if key.partition(":")[0] == condition.name
            )
            findings = condition.find(facts, told)
            if findings is None:
                continue
            found = {finding.key: finding for finding in findings}
            # While one finding stands for all, none of the others is over.
            keys = [condition.name] if condition.name in found else {*found, *self._keys_of(condition)}
            for key in keys:
                self._follow(condition, key, found.get(key), now)

    def _keys_of(self, condition: Condition) -> list[str]:
        return [key for key in self._tracks if key.partition(":")[0] == condition.name]

    def _follow(self, condition: Condition, key: str, finding: Finding | None, now: float) -> None:
        track = self._tracks.setdefault(key, _Track(now, finding is not None, False, condition.calm))
        if track.holds != (finding is not None):
            track.holds, track.since = finding is not None, now
        lasted = now - track.since
        if finding is not None:
            track.calm = max(track.calm, finding.calm)
        if finding is None:
            if not track.told:
                del self._tracks[key]
            elif lasted >= track.calm:
                del self._tracks[key]
                self._severities.pop(key, None)
                self._clear(key)
        elif (lasted >= condition.after or track.told) and self._severities.get(key) != finding.severity:
            worse = key not in self._severities or finding.severity == "critical"
            track.told = True
            self._severities[key] = finding.severity
            if worse:
                self._raise(key, finding.severity, finding.message, finding.remedy)
