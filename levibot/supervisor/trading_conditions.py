"""What is checked of live trading: whether the books and the exchange agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from levibot.bus.messages import LiveTradingReport
from levibot.execution.hindrance import ACCOUNT, REFUSED
from levibot.supervisor.facts import Facts, Finding

_OLD_S = 300.0  # without a whole comparison


def account(facts: Facts, _told: bool) -> Iterable[Finding] | None:
    """The broker cannot open its account."""
    if facts.account is None:
        return None
    if not facts.account:
        return []
    refused = facts.account.startswith(REFUSED)
    reason = facts.account.removeprefix(REFUSED).removeprefix(ACCOUNT)
    return [
        Finding(
            "account",
            "critical" if refused or facts.held else "warning",
            f"the account cannot be opened, and nothing is traded: {reason}",
            "mend what it names; it is tried again by itself" if refused else "it is tried again by itself",
        )
    ]


def account_is_open(facts: Facts, _key: str) -> bool:
    """A broker that tells of its trading has opened it."""
    return facts.account == "" and facts.trading is not None


def is_compared(facts: Facts, key: str) -> bool:
    """The account has been compared a moment ago, and nothing came of it that this key tells of."""
    report = facts.trading
    if report is None or report.reconciled_s is None or report.reconciled_s >= _OLD_S:
        return False
    name, _, item = key.partition(":")
    return item not in {"frozen": report.frozen, "drift": report.drift}.get(name, {})


def _told(
    find: Callable[[Facts, LiveTradingReport], Iterable[Finding]],
) -> Callable[[Facts, bool], Iterable[Finding] | None]:
    """A check of what a live broker tells; of a silent one nothing is known, and on paper nothing is wrong."""

    def check(facts: Facts, _told: bool) -> Iterable[Finding] | None:
        if facts.trading is None:
            return None if facts.unprotected is None else []
        return find(facts, facts.trading)

    return check


def _frozen(facts: Facts, report: LiveTradingReport) -> Iterable[Finding]:
    for symbol, reason in report.frozen.items():
        yield Finding(
            f"frozen:{symbol}",
            "critical" if symbol in facts.held else "warning",
            f"nothing is opened in {symbol}: {reason}",
            f"compare `levibotctl orders` with the exchange's own list; `levibotctl logs broker` tells of"
            f" {symbol}; if what is missing was sold by hand or is lost, `levibotctl settle {symbol}` books that",
        )


def _drift(_facts: Facts, report: LiveTradingReport) -> Iterable[Finding]:
    for asset, text in report.drift.items():
        yield Finding(
            f"drift:{asset}",
            "critical",
            text,
            f"put the missing {asset} back; or, if it was sold by hand or is lost, `levibotctl settle SYMBOL"
            " --reason WHY` books that (docs/live.md); what shares it is opened again by itself then",
        )


def _not_compared(facts: Facts, report: LiveTradingReport) -> Iterable[Finding]:
    if report.reconciled_s is not None and report.reconciled_s < _OLD_S:
        return
    age = "since the start" if report.reconciled_s is None else f"for {report.reconciled_s:.0f} s"
    yield Finding(
        "not_reconciled",
        "critical" if facts.held else "warning",
        f"the books were not compared with the exchange {age}: {report.trouble or 'it goes on'}",
        "see `levibotctl logs broker`; stops that the exchange keeps are not touched by this",
    )


frozen, drift, not_compared = _told(_frozen), _told(_drift), _told(_not_compared)
