"""Takes what waits in the outbox through its channels: each at its own pace, none in the way of another."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from levibot.alerting.alert import HOOK, TARGETS
from levibot.alerting.outbox import TARGET, Delivery, Outbox, Outcome
from levibot.alerting.pace import Pace, retry_delay
from levibot.errors import DataStoreError

_TOLD_AFTER = 30.0  # seconds that a channel fails until that is trouble
_FAREWELL = 2.0  # seconds that attempts in flight get at the end


class Channel(Protocol):
    """A way to people."""

    label: str

    async def deliver(self, notices: Sequence[Mapping[str, Any]]) -> str:
        """Tell one notice, or many in one summary; why it failed, or an empty text."""


@dataclass
class _Line:
    channel: Channel
    pace: Pace = field(default_factory=Pace)
    problem: str = ""
    task: asyncio.Task[None] | None = None
    not_before: dict[int, float] = field(default_factory=dict)  # row → when it is tried again


class Dispatcher:
    """Sends, retries, sums up, gives up.

    Parameters
    ----------
    outbox
        What waits, and where outcomes are noted.
    now, wall_ms
        Clocks: seconds for paces and retries, Unix ms for the age of a notice.
    attempted
        Called with a label and what went wrong, or an empty text, after each attempt.
    """

    def __init__(
        self,
        outbox: Outbox,
        now: Callable[[], float],
        wall_ms: Callable[[], int],
        attempted: Callable[[str, str], None],
    ) -> None:
        self.sent = self.failed = self.given_up = self.waiting = 0
        self._outbox = outbox
        self._now = now
        self._wall_ms = wall_ms
        self._attempted = attempted
        self._lines: dict[str, _Line] = {}
        self._targets_trouble: str | None = "no targets_file is configured"
        self._problems: list[str] = []
        self._outbox_trouble = ""

    # ------------------------------------------------------------------ channels

    def use_hook(self, channel: Channel) -> None:
        """Tell notices through this hook."""
        self._lines[HOOK] = _Line(channel)

    def use_targets(self, targets: Mapping[str, Channel], problems: Iterable[str]) -> None:
        """Tell notices to these targets, by digest, from now on; paces of those that stay go on."""
        self._problems = list(problems)
        self._targets_trouble = None if targets else "no target"
        kept = {name: line for name, line in self._lines.items() if not name.startswith(TARGET)}
        for digest, channel in targets.items():
            line = self._lines.get(TARGET + digest) or _Line(channel)
            line.channel = channel
            kept[TARGET + digest] = line
        self._lines = kept

    def refuse_targets(self, trouble: str) -> None:
        """The file cannot be used now: what is for its targets waits."""
        self._problems = [trouble]
        self._targets_trouble = trouble

    @property
    def busy(self) -> bool:
        """Whether `turn` has something to do even if nobody has written into the outbox."""
        return self.waiting > 0 or bool(self._outbox_trouble)

    def troubles(self) -> list[str]:
        """What the operator should know: lines that are wrong, channels that have failed for long."""
        now = self._now()
        failing = [
            f"{line.channel.label}: {line.problem}, for {now - since:.0f} s"
            for line in self._lines.values()
            if (since := line.pace.failing_since) is not None and now - since >= _TOLD_AFTER
        ]
        return [*self._problems, *failing, *filter(None, [self._outbox_trouble])]

    # ------------------------------------------------------------------ sending

    def turn(self) -> None:
        """Begin what is due; call it often, it returns at once."""
        try:
            self._outbox.settle([])  # what could not be noted before
            waiting = self._routed(self._outbox.waiting())
        except DataStoreError as error:
            self._outbox_trouble = str(error)
            return
        self._outbox_trouble = ""
        self.waiting = len(waiting)
        by_channel: defaultdict[str, list[Delivery]] = defaultdict(list)
        for delivery in waiting:
            by_channel[delivery.channel].append(delivery)
        for name, deliveries in by_channel.items():
            line = self._lines.get(name)
            if line is not None and (line.task is None or line.task.done()):
                batches = self._batches(line, deliveries)
                if batches:
                    line.task = asyncio.get_running_loop().create_task(self._work(line, batches))

    async def close(self) -> None:
        """End; attempts in flight get a moment, and are made again by the next process."""
        tasks = [line.task for line in self._lines.values() if line.task is not None and not line.task.done()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_FAREWELL)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._outbox.close()

    def _routed(self, waiting: list[Delivery]) -> list[Delivery]:
        """Give each target its own deliveries; give up what no channel will ever take."""
        if self._targets_trouble is None and any(delivery.channel == TARGETS for delivery in waiting):
            digests = [name.removeprefix(TARGET) for name in self._lines if name.startswith(TARGET)]
            self._outbox.split(digests, self._problems)
            waiting = self._outbox.waiting()
        lost = [delivery for delivery in waiting if self._is_lost(delivery)]
        if lost:
            why = self._targets_trouble or "no longer configured"
            self._settle([Outcome(delivery, "given_up", why) for delivery in lost])
        return [delivery for delivery in waiting if delivery not in lost]

    def _is_lost(self, delivery: Delivery) -> bool:
        if delivery.channel in self._lines:
            return False
        if delivery.channel == HOOK:
            return True
        if self._targets_trouble is None:
            return True
        return delivery.is_test or delivery.is_old(self._wall_ms())

    def _batches(self, line: _Line, deliveries: list[Delivery]) -> list[list[Delivery]]:
        """What is sent now: single notices, and in the last message all the rest, where they are too many."""
        now = self._now()
        tests = [[delivery] for delivery in deliveries if delivery.is_test]
        line.not_before = {d.row: line.not_before[d.row] for d in deliveries if d.row in line.not_before}
        failed = {d.body["id"] for d in deliveries if d.attempts and d.body["change"] != "cleared"}
        due = [
            d
            for d in deliveries
            if not d.is_test
            and line.not_before.get(d.row, now) <= now
            # Who hears of the end first takes what comes after it for news.
            and not (d.body["change"] == "cleared" and d.body["id"] in failed)
        ]
        due.sort(key=lambda delivery: (delivery.attempts, delivery.row))
        allowed = line.pace.allowed(now)
        if not allowed:
            return tests
        singles = due if len(due) <= allowed else due[: allowed - 1]
        rest = due[len(singles) :]
        return [*tests, *([delivery] for delivery in singles), *([rest] if rest else [])]

    async def _work(self, line: _Line, batches: list[list[Delivery]]) -> None:
        for batch in batches:
            if not batch[0].is_test:
                line.pace.spend()
            problem = await _deliver(line.channel, batch)
            self._attempted(line.channel.label, problem)
            if not problem:
                self.sent += 1
                line.pace.succeeded()
                self._settle([Outcome(d, "sent", f"{line.channel.label}: delivered") for d in batch])
                continue
            self.failed += 1
            line.problem = problem
            self._settle([self._failure(d, f"{line.channel.label}: {problem}") for d in batch])
            if not batch[0].is_test:
                now = self._now()
                line.pace.failed(now, random.random())
                for delivery in batch:
                    line.not_before[delivery.row] = now + retry_delay(delivery.attempts + 1, random.random())
                return

    def _failure(self, delivery: Delivery, detail: str) -> Outcome:
        hopeless = delivery.is_hopeless(self._wall_ms())
        return Outcome(delivery, "given_up" if hopeless else None, detail)

    def _settle(self, outcomes: list[Outcome]) -> None:
        self.given_up += sum(outcome.state == "given_up" for outcome in outcomes)
        try:
            self._outbox.settle(outcomes)
        except DataStoreError as error:
            self._outbox_trouble = str(error)


async def _deliver(channel: Channel, batch: Sequence[Delivery]) -> str:
    try:
        return await channel.deliver([delivery.body for delivery in batch])
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is tried again later; its text may hold a URL
        return type(error).__name__
