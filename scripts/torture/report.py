"""The tables that a run ends with."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from levibot.bus.messages import OrderEvent
from scripts.torture.audit import Findings
from scripts.torture.run import Kill
from scripts.torture.trap import Step

_RANDOM = "at a random moment"


def show(title: str, kills: Sequence[Kill], findings: Findings, console: Console) -> None:
    """Print kills by victim and by step, recovery times, fills, and what is wrong."""
    table = Table(title=title)
    table.add_column("victim")
    for heading in ("kills", _RANDOM, *(step.words for step in Step), "recovery median s", "worst s"):
        table.add_column(heading, justify="right")
    victims = list(dict.fromkeys(kill.victim for kill in kills))
    for victim in [*sorted(victims), "all together"]:
        own = [kill for kill in kills if victim in (kill.victim, "all together")]
        steps = Counter(kill.step for kill in own)
        seconds = [kill.recovered_s for kill in own]
        counts = (str(steps[step]) for step in (None, *Step))
        table.add_row(victim, str(len(own)), *counts, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
    console.print(table)
    committed = last_commits(kills, findings.events)
    if committed:
        told = ", ".join(f"{name} {count}" for name, count in committed.most_common())
        console.print(f"broker killed right after it had journaled: {told}", highlight=False, soft_wrap=True)
    console.print(
        f"{findings.orders} orders; fills: {findings.exchange} at the exchange, {findings.books} in the broker's "
        f"books, {findings.ledgers} in ledgers; {findings.lost} lost, {findings.doubled} doubled",
        highlight=False,
        soft_wrap=True,
    )
    for violation in findings.violations:
        console.print(f"[red]violation:[/] {violation}", highlight=False, soft_wrap=True)


def last_commits(kills: Iterable[Kill], events: Sequence[OrderEvent]) -> Counter[str]:
    """Kinds of the last event that a broker had in its journal when it died there, by how often."""
    times = [event.recorded_ms for event in events]
    found: Counter[str] = Counter()
    for kill in kills:
        if kill.victim == "broker" and kill.step in (Step.WRITTEN, Step.ON_DISK):
            before = bisect_right(times, kill.wall_ms)
            if before:
                found[type(events[before - 1]).__name__] += 1
    return found
