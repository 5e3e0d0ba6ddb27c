"""Checks on market data, on the exchange they come from, and on their recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from levibot.alerting.alert import Severity
from levibot.market.states import AGAIN, ENDED, FAILED, HALTED, LIVE, STALE
from levibot.supervisor.facts import Facts, Finding

_BETWEEN_TICKS = 5.0  # seconds that a market must tick often enough, beyond its limit, until it is alive
_RECOVERY = 10.0  # seconds in which a live source has fresh data again after nearly all that can happen
_MEND = "see `levibotctl status feed` and `levibotctl logs feed`"


def stale_markets(facts: Facts, _told: bool) -> Iterable[Finding]:
    """All silent together are one cause; else each is its own.

    What failed or is halted is told as that, and an end is none.
    """
    if facts.feed_ended:
        return
    reasons = facts.market_reasons
    ages = {
        symbol: age
        for symbol, age in facts.market_ages.items()
        if reasons.get(symbol) not in (ENDED, HALTED) and not reasons.get(symbol, "").startswith(FAILED)
    }
    silent = [symbol for symbol, age in ages.items() if age > facts.market_limits[symbol]]
    stale = [s for s in ages if s in silent or facts.market_stale.get(s, 0.0) > _RECOVERY]
    if stale and len(stale) == len(ages) > 1:
        words = [_reason(reasons, symbol) for symbol in stale]
        what = f"no market data of any symbol for {min(ages.values()):.0f} s"
        if len(silent) < len(stale):
            what = "no market data can be trusted"
        yield Finding(
            "stale_feed",
            "critical" if facts.held else "warning",
            what + max(words, key=words.count),
            f"{_MEND}; nothing is opened meanwhile",
            max(_calm(facts, symbol) for symbol in stale),
        )
        return
    for symbol in stale:
        what = f"no market data of {symbol} for {ages[symbol]:.0f} s"
        if symbol not in silent:
            what = f"the market data of {symbol} cannot be trusted"
        yield Finding(
            f"stale_feed:{symbol}",
            "critical" if symbol in facts.held else "warning",
            what + _reason(reasons, symbol),
            f"{_MEND}; this symbol opens nothing meanwhile",
            _calm(facts, symbol),
        )


def _calm(facts: Facts, symbol: str) -> float:
    """What is played back may tick too seldom for its limit; a live source says itself when a market is live."""
    return 0.0 if facts.live_source else facts.market_limits[symbol] + _BETWEEN_TICKS


def _reason(reasons: Mapping[str, str], symbol: str) -> str:
    reason = reasons.get(symbol, LIVE)  # the feed may not have noticed that nothing comes
    return "" if reason == LIVE else f": {reason.removeprefix(STALE)}"


def failed_markets(facts: Facts, _told: bool) -> Iterable[Finding]:
    """Those that could not be opened; where none could, an exchange that is not reached is one cause."""
    failed = _failed(facts)
    severity: Severity = "critical" if facts.held.intersection(failed) else "warning"
    one_cause = all(why.endswith(AGAIN) or _is_about_settings(why) for why in failed.values())
    if len(failed) == len(facts.market_ages) > 1 and one_cause:
        symbol, why = next(iter(failed.items()))
        text = f"no market can be opened: {why.removesuffix(AGAIN)}"
        yield Finding("market_failed", severity, text, _remedy(facts, symbol, why))
        return
    for symbol, why in failed.items():
        yield Finding(
            f"market_failed:{symbol}",
            "critical" if symbol in facts.held else "warning",
            f"the market of {symbol} cannot be opened: {why.removesuffix(AGAIN)}",
            _remedy(facts, symbol, why),
        )


def _failed(facts: Facts) -> dict[str, str]:
    return {
        symbol: state.removeprefix(FAILED)
        for symbol, state in facts.market_reasons.items()
        if state.startswith(FAILED) and symbol in facts.market_ages
    }


def _is_about_settings(why: str) -> bool:
    return why.startswith("[exchange")


def _remedy(facts: Facts, symbol: str, why: str) -> str:
    """What helps against this cause."""
    if why.endswith(AGAIN):
        return (
            "it is tried again by itself; `levibotctl doctor` asks the exchange, `levibotctl logs feed` tells more"
        )
    if _is_about_settings(why):
        return (
            "correct it in the configuration; `levibotctl config check` tries it, `levibotctl upgrade` applies it"
        )
    if facts.live_source:
        return (
            "correct symbols in the configuration and `levibotctl reload`; `levibotctl doctor` names the nearest; "
            "a market that the exchange has again is taken up by itself, and until then its engine waits"
        )
    return (
        f"mend what it names, then `levibotctl remove {symbol}` and `levibotctl add {symbol}`; "
        "until then its engine waits"
    )


def halted_markets(facts: Facts, _told: bool) -> Iterable[Finding]:
    """Those that the exchange does not trade now."""
    for symbol in facts.market_ages:
        if facts.market_reasons.get(symbol) == HALTED:
            held = symbol in facts.held
            yield Finding(
                f"market_halted:{symbol}",
                "critical" if held else "warning",
                f"{facts.exchange or 'the exchange'} does not trade {symbol} now"
                + (": the position in it cannot be closed, and no stop protects it" if held else ""),
                "it goes on by itself when the market is open again; the exchange's announcements tell why, "
                f"`levibotctl remove {symbol}` ends the wait",
            )


def are_live(facts: Facts, key: str) -> bool:
    """Whether a live source says that the markets are live that an alert of this key tells of."""
    symbol = key.partition(":")[2]
    symbols = [symbol] if symbol else list(facts.market_ages)
    states = {facts.market_reasons.get(symbol) for symbol in symbols}
    return facts.live_source and states == {LIVE}


def blindness(facts: Facts) -> str:
    """Why the daemon is of no use as it sees no market, or not one that it has a position in; empty: it sees.

    A symbol without a position may be without data: it opens nothing, and the others go on.
    """
    wanted = [symbol for symbol in facts.market_ages if facts.market_reasons.get(symbol) != ENDED]
    if facts.feed_ended or not wanted:
        return ""
    found = [*stale_markets(facts, False), *failed_markets(facts, False), *halted_markets(facts, False)]
    messages = {finding.key: finding.message for finding in found}
    unseen = {key.partition(":")[2] for key in messages}
    if "" in unseen or unseen.issuperset(wanted):
        return next(iter(messages.values()))
    dark = [message for key, message in messages.items() if key.partition(":")[2] in facts.held]
    return f"{dark[0]}; there is a position" if dark else ""


def cool_down(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    """The exchange has refused to be asked so much."""
    if facts.cool_down is None:
        return None
    if not facts.cool_down:
        return []
    return [
        Finding(
            "cool_down",
            "warning",
            f"{facts.exchange} is asked nothing for another {facts.cool_down:.0f} s: {facts.cool_down_reason}",
            "it ends by itself; if it comes again, lower [exchange] requests_per_minute, or end what else asks "
            "this exchange from the same address",
        )
    ]


def recorder(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    """What is not in the recording that should be."""
    if facts.recorder_dropped is None:
        return None
    if not facts.recorder_dropped and not facts.recorder_trouble:
        return []
    why = f": {facts.recorder_trouble}" if facts.recorder_trouble else ""
    lost = f"; {facts.recorder_dropped} messages were left out within a minute" if facts.recorder_dropped else ""
    return [
        Finding(
            "recorder",
            "warning",
            f"the recording of market data has holes{why}{lost}",
            "make room, or look after the disk; trading does not need the recording",
        )
    ]
