"""What the table of conditions finds of given facts."""

from __future__ import annotations

from levibot.supervisor.conditions import CONDITIONS
from levibot.supervisor.facts import Facts, Finding

MARKETS = {"BTC/USDT": 30.0, "ETH/USDT": 30.0}


def found(facts: Facts, told: bool = False) -> dict[str, str]:
    """Severity of each finding, by its key."""
    return {finding.key: finding.severity for row in CONDITIONS for finding in row.find(facts, told) or ()}


def only(facts: Facts) -> Finding:
    """The one finding."""
    (finding,) = (finding for row in CONDITIONS for finding in row.find(facts, False) or ())
    return finding
