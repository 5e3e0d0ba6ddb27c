"""What is checked all the time: a table of small pure checks over facts, and how long each must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from levibot.market.states import FAILED
from levibot.supervisor import market_conditions as market
from levibot.supervisor import trading_conditions as trading
from levibot.supervisor.facts import Facts, Finding

_MB = 1_000_000
_ROOM = 1.2  # times the limit must be free again until a full disk is over
_SHOWN = 3  # symbols of many


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
    surely_over
        Whether it is known that what a key tells of is over: what a life before raised needs no patience then.
    """

    name: str
    after: float
    calm: float
    find: Callable[[Facts, bool], Iterable[Finding] | None]
    surely_over: Callable[[Facts, str], bool] = lambda _facts, _key: False


def _waiting_engines(facts: Facts, _told: bool) -> Iterable[Finding]:
    """Those whose market failed wait for nothing else, and are told of already."""
    waiting = {
        symbol: what
        for symbol, what in facts.waiting.items()
        if not facts.market_reasons.get(symbol, "").startswith(FAILED)
    }
    if waiting:
        first, what = next(iter(waiting.items()))
        if facts.account:  # whatever they ask for next, this is what keeps them
            what = f"the broker's {facts.account}"
        yield Finding(
            "engine_waiting",
            "critical" if facts.held.intersection(waiting) else "warning",
            f"not ready for a minute: {_some(waiting, facts.engines)}; {first} waits for {what or 'its start'}",
            f"see `levibotctl status {first}` and `levibotctl logs {first}`",
        )


def _all_ready(facts: Facts, _key: str) -> bool:
    return 0 < facts.engines <= facts.ready


def _equity_is_known(facts: Facts, _key: str) -> bool:
    return facts.equity_known


def _no_predictions(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.no_model:
        reasons = list(facts.no_model.values())
        reason, look = facts.pool_trouble, "see `levibotctl logs inference-0`"
        if not reason:  # the pool's own words may end with what to run, which is told once
            reason, _, command = max(reasons, key=reasons.count).partition("; run ")
            look = f"run {command or '`levibotctl train`'}"
        yield Finding(
            "no_predictions",
            "warning",
            f"no prediction for {_some(facts.no_model, facts.engines)}, so nothing is opened: {reason}",
            f"{look}; `levibotctl status` shows the pool and its model",
        )


def _inference(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.pool_trouble:
        yield Finding(
            "inference",
            "warning",
            f"{facts.pool_trouble}: no strategy that asks a model gets an answer",
            "see `levibotctl status inference-0` and `levibotctl logs inference-0`",
        )


def _some(symbols: Iterable[str], engines: int) -> str:
    """``3 of 5 engines (A/B, C/D, …)``."""
    names = list(symbols)
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{len(names)} of {engines} engines ({shown})"


def _unprotected(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    if facts.unprotected is None:
        return None
    return [
        Finding(
            f"unprotected:{symbol}",
            "critical",
            f"the position in {symbol} is covered by no stop, or by too small a one",
            f"`levibotctl logs broker` tells why; `levibotctl close {symbol}` closes it; if it is not at the"
            f" exchange any more, `levibotctl settle {symbol} --reason WHY` books that",
        )
        for symbol in facts.unprotected
    ]


def _ledger_damaged(facts: Facts, _told: bool) -> Iterable[Finding]:
    for symbol, aside in facts.ledgers_aside.items():
        yield Finding(
            f"ledger_damaged:{symbol}",
            "warning",
            f"the ledger of {symbol} was damaged; it is set aside as {aside}, and rebuilt from the broker's books",
            f"look after the disk; nothing is lost. `levibotctl restart {symbol}` ends this alert",
        )


def _kill_switch(facts: Facts, _told: bool) -> Iterable[Finding]:
    if "kill_switch" in facts.latches:
        reason = facts.latches["kill_switch"]
        yield Finding(
            "kill_switch", "warning", f"the kill switch is on: {reason}", "`levibotctl kill off` ends it"
        )


def _closing(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.closing is not None:
        left = "; ".join(f"{symbol}: {why}" for symbol, why in facts.closing.items())
        yield Finding(
            "closing",
            "critical",
            f"positions that the kill switch is to close are still open: {left or 'the broker does not answer'}",
            "it goes on by itself; `levibotctl risk` shows how far it is, `levibotctl kill off` ends it",
        )


def _daily_stop(facts: Facts, _told: bool) -> Iterable[Finding]:
    if "daily_stop" in facts.latches:
        yield Finding(
            "daily_stop",
            "critical",
            f"trading is stopped for the day: {facts.latches['daily_stop']}",
            "it ends at 00:00 UTC of market time, or by `levibotctl risk reset-day`; positions keep their stops",
        )


def _reducing(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.latches:  # the kill switch says so itself
        return
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


def _disk_full(facts: Facts, _told: bool) -> Iterable[Finding]:
    if facts.ballast_freed:
        yield Finding(
            "disk_full",
            "critical",
            f"the disk is full, nothing is opened; what was kept for exits is given up: {facts.ballast_freed}",
            "make room on the disk of data_dir; the rest goes by itself",
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


def _altdata(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    """A source that fails while its last values are good is no trouble yet."""
    if facts.altdata_missing is None:
        return None
    return [
        Finding(
            f"altdata:{source}",
            "warning",
            f"nothing is known of {source} any more, and models do without: {reason}",
            "mend what it names, or disable it under [altdata]; `levibotctl altdata` shows all sources",
        )
        for source, reason in facts.altdata_missing.items()
    ]


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
    Condition("stale_feed", after=3.0, calm=5.0, find=market.stale_markets, surely_over=market.are_live),
    Condition("market_failed", after=3.0, calm=5.0, find=market.failed_markets, surely_over=market.are_live),
    Condition("market_halted", after=3.0, calm=5.0, find=market.halted_markets, surely_over=market.are_live),
    Condition("cool_down", after=0.0, calm=10.0, find=market.cool_down),
    Condition("recorder", after=0.0, calm=60.0, find=market.recorder),
    Condition("engine_waiting", after=60.0, calm=2.0, find=_waiting_engines, surely_over=_all_ready),
    Condition("no_predictions", after=30.0, calm=10.0, find=_no_predictions),
    Condition("inference", after=15.0, calm=5.0, find=_inference),
    Condition("unprotected", after=5.0, calm=2.0, find=_unprotected),
    Condition("account", after=5.0, calm=2.0, find=trading.account, surely_over=trading.account_is_open),
    Condition("frozen", after=2.0, calm=2.0, find=trading.frozen, surely_over=trading.is_compared),
    Condition("drift", after=0.0, calm=2.0, find=trading.drift, surely_over=trading.is_compared),
    Condition("not_reconciled", after=60.0, calm=2.0, find=trading.not_compared, surely_over=trading.is_compared),
    Condition("ledger_damaged", after=0.0, calm=0.0, find=_ledger_damaged),
    Condition("kill_switch", after=0.0, calm=0.0, find=_kill_switch),
    Condition("closing", after=30.0, calm=0.0, find=_closing),
    Condition("daily_stop", after=0.0, calm=0.0, find=_daily_stop),
    Condition("reducing", after=120.0, calm=5.0, find=_reducing),
    Condition("equity_unknown", after=60.0, calm=2.0, find=_equity_unknown, surely_over=_equity_is_known),
    Condition("disk_low", after=0.0, calm=30.0, find=_disk_low),
    Condition("disk_full", after=0.0, calm=0.0, find=_disk_full),
    Condition("writes_refused", after=0.0, calm=0.0, find=_writes_refused),
    Condition("clock_skew", after=30.0, calm=60.0, find=_clock_skew),
    Condition("altdata", after=600.0, calm=5.0, find=_altdata),
    Condition("notifier", after=5.0, calm=10.0, find=_notifier),
)
