"""From a real outbox through channels that work, fail, and come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from levibot.alerting.alert import HOOK, TARGETS, Alert, Notice
from levibot.alerting.dispatcher import Dispatcher
from levibot.alerting.journal import AlertJournal
from levibot.alerting.outbox import Outbox
from levibot.clock import boot_seconds, wall_ms
from tests.full_disk import full_disk

DAY_MS = 86_400_000


class Noting:
    """A channel that keeps what it is given, and fails as it is told."""

    def __init__(self, label: str = "channel") -> None:
        self.label = label
        self.told: list[list[str]] = []
        self.attempts = 0
        self.problem: Callable[[Sequence[Mapping[str, Any]]], str] = lambda _notices: ""

    async def deliver(self, notices: Sequence[Mapping[str, Any]]) -> str:
        self.attempts += 1
        problem = self.problem(notices)
        if not problem:
            self.told.append([notice["key"] for notice in notices])
        return problem


class Office:
    """Supervisor's and notifier's side of one database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = boot_seconds()
        self.wall = wall_ms()
        self.outbox = Outbox(path)
        self.dispatcher = self.restarted()

    def restarted(self) -> Dispatcher:
        """A new process of the notifier."""
        self.outbox = Outbox(self.path)
        self.dispatcher = Dispatcher(self.outbox, lambda: self.now, lambda: self.wall, lambda *_: None)
        return self.dispatcher

    def raise_(self, *keys: str, change: Any = "raised", channels: tuple[str, ...] = (HOOK,)) -> list[str]:
        alerts = [Alert(key, "warning", key, "", self.wall, self.wall) for key in keys]
        found = [Notice(change, alert, "paper-test") for alert in alerts]
        self.post(*found, channels=channels)
        return [notice.id for notice in found]

    def post(self, *found: Notice, channels: tuple[str, ...] = (HOOK,)) -> None:
        journal = AlertJournal(self.path, channels, 30, lambda: self.wall)
        journal.write([notice.alert for notice in found], found)
        journal.close()

    def outcomes(self, notice: str) -> list[tuple[str, str]]:
        journal = AlertJournal(self.path, (), 30, lambda: self.wall)
        found = journal.outcomes(notice)
        journal.close()
        return found

    async def turns(self, count: int = 5) -> None:
        for _ in range(count):
            self.dispatcher.turn()
            for _ in range(20):
                await asyncio.sleep(0)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "alerts.sqlite")


def test_each_notice_goes_to_each_target_once(office: Office) -> None:
    first, second, hook = Noting("one"), Noting("two"), Noting("hook")
    office.raise_("a", "b", channels=(TARGETS, HOOK))
    office.dispatcher.use_hook(hook)
    office.dispatcher.use_targets({"1": first, "2": second}, [])
    asyncio.run(office.turns())
    assert first.told == second.told == hook.told == [["a"], ["b"]]
    office.restarted().use_targets({"1": first, "2": second}, [])
    asyncio.run(office.turns())
    assert first.attempts == 2


def test_what_fails_is_tried_again_later_and_after_a_restart(office: Office) -> None:
    hook = Noting()
    hook.problem = lambda _notices: "answered 500"
    (notice,) = office.raise_("a")
    office.dispatcher.use_hook(hook)
    asyncio.run(office.turns())
    assert hook.attempts == 1
    assert office.outcomes(notice) == [("waiting", "channel: answered 500")]
    office.now += 1.0
    asyncio.run(office.turns())
    assert hook.attempts == 2
    hook.problem = lambda _notices: ""
    office.restarted().use_hook(hook)
    asyncio.run(office.turns())
    assert hook.told == [["a"]]
    assert office.outcomes(notice) == [("sent", "channel: delivered")]


def test_one_that_no_channel_takes_stops_no_other(office: Office) -> None:
    hook = Noting()
    hook.problem = lambda notices: "answered 400" if notices[0]["key"] == "poison" else ""
    office.raise_("poison", "a")
    office.dispatcher.use_hook(hook)
    asyncio.run(office.turns())
    office.now += 1.0
    asyncio.run(office.turns())
    assert hook.told == [["a"]]


def test_the_end_of_an_alert_is_never_told_before_its_beginning(office: Office) -> None:
    hook, told, down = Noting(), [], True
    hook.problem = lambda notices: told.extend(n["change"] for n in notices) or "" if not down else "answered 500"
    alert = Alert("a", "warning", "a", "", office.wall, office.wall)
    office.dispatcher.use_hook(hook)
    office.post(Notice("raised", alert, "paper-test"))
    asyncio.run(office.turns())
    assert hook.attempts == 1
    office.post(Notice("cleared", replace(alert, cleared_ms=office.wall), "paper-test"))
    office.now += 1.0
    down = False
    asyncio.run(office.turns())
    assert told == ["raised", "cleared"]


def test_a_channel_that_breaks_is_tried_again_as_late_as_one_that_fails(office: Office) -> None:
    def breaks(_notices: Sequence[Mapping[str, Any]]) -> str:
        raise ValueError("a text with a secret")

    hook = Noting()
    hook.problem = breaks
    (notice,) = office.raise_("a")
    office.dispatcher.use_hook(hook)
    asyncio.run(office.turns())
    assert hook.attempts == 1
    assert office.outcomes(notice) == [("waiting", "channel: ValueError")]


def test_a_thousand_that_wait_for_a_dead_channel_hide_nothing_from_the_others(office: Office) -> None:
    dead, alive = Noting("dead"), Noting("alive")
    dead.problem = lambda _notices: "not reached"
    office.dispatcher.use_hook(dead)
    office.dispatcher.use_targets({"1": alive}, [])
    office.raise_(*(f"k{number}" for number in range(1200)))
    office.raise_("news", channels=(TARGETS,))
    asyncio.run(office.turns())
    assert alive.told == [["news"]]


def test_after_a_day_it_is_given_up_and_counted(office: Office) -> None:
    hook = Noting()
    hook.problem = lambda _notices: "answered 500"
    (notice,) = office.raise_("a")
    office.dispatcher.use_hook(hook)
    for _ in range(12):
        office.now += 600.0
        asyncio.run(office.turns(1))
    assert office.dispatcher.given_up == 0
    office.wall += DAY_MS
    office.now += 600.0
    asyncio.run(office.turns())
    assert office.dispatcher.given_up == 1
    assert office.outcomes(notice) == [("given_up", "channel: answered 500")]
    attempts = hook.attempts
    office.now += 600.0
    asyncio.run(office.turns())
    assert hook.attempts == attempts


def test_a_storm_is_a_few_messages_and_a_summary(office: Office) -> None:
    hook = Noting()
    office.raise_(*(f"k{number}" for number in range(300)))
    office.dispatcher.use_hook(hook)
    asyncio.run(office.turns(20))
    assert len(hook.told) == 10
    assert [len(keys) for keys in hook.told] == [1] * 9 + [291]
    assert [key for keys in hook.told for key in keys] == [f"k{number}" for number in range(300)]
    office.raise_("more", "and more")
    office.now += 6.1
    asyncio.run(office.turns(20))
    assert hook.told[-1] == ["more", "and more"]


def test_a_test_is_tried_once_and_says_what_is_wrong_with_each_line(office: Office) -> None:
    good, bad = Noting("line 1 (json)"), Noting("line 2 (json)")
    bad.problem = lambda _notices: "answered 403"
    (notice,) = office.raise_("test", change="test", channels=(TARGETS,))
    office.dispatcher.use_targets({"1": good, "2": bad}, ["line 3: not a URL"])
    asyncio.run(office.turns())
    assert sorted(office.outcomes(notice)) == [
        ("given_up", "line 2 (json): answered 403"),
        ("given_up", "line 3: not a URL"),
        ("sent", "line 1 (json): delivered"),
    ]
    assert (good.attempts, bad.attempts) == (1, 1)


def test_while_the_file_cannot_be_used_notices_wait_and_a_test_says_why(office: Office) -> None:
    (notice,) = office.raise_("a", channels=(TARGETS,))
    (test,) = office.raise_("test", change="test", channels=(TARGETS,))
    office.dispatcher.refuse_targets("mode 0644")
    asyncio.run(office.turns())
    assert office.outcomes(notice) == [("waiting", "")]
    assert office.outcomes(test) == [("given_up", "mode 0644")]
    assert office.dispatcher.troubles() == ["mode 0644"]
    target = Noting()
    office.dispatcher.use_targets({"1": target}, [])
    asyncio.run(office.turns())
    assert target.told == [["a"]]


def test_what_was_for_a_target_that_is_gone_is_given_up(office: Office) -> None:
    gone = Noting()
    gone.problem = lambda _notices: "not reached"
    (notice,) = office.raise_("a", channels=(TARGETS,))
    office.dispatcher.use_targets({"1": gone}, [])
    asyncio.run(office.turns())
    office.dispatcher.use_targets({"2": Noting()}, [])
    asyncio.run(office.turns())
    assert office.outcomes(notice) == [("given_up", "no longer configured")]


def test_a_channel_that_fails_for_long_is_trouble_until_it_works(office: Office) -> None:
    hook = Noting("hook")
    hook.problem = lambda _notices: "ended with exit code 1"
    office.raise_("a")
    office.dispatcher.use_hook(hook)
    asyncio.run(office.turns())
    assert office.dispatcher.troubles() == []
    office.now += 30.0
    assert office.dispatcher.troubles() == ["hook: ended with exit code 1, for 30 s"]
    hook.problem = lambda _notices: ""
    asyncio.run(office.turns())
    assert office.dispatcher.troubles() == []


def test_what_a_full_disk_does_not_mark_is_not_sent_twice(office: Office) -> None:
    hook = Noting()
    (notice,) = office.raise_("a")
    office.dispatcher.use_hook(hook)
    assert len(office.outbox.waiting()) == 1  # the disk is full from now on
    with full_disk():
        asyncio.run(office.turns())
        assert hook.told == [["a"]]
        assert office.outbox.refused
    asyncio.run(office.turns())
    assert hook.attempts == 1
    assert office.outcomes(notice) == [("sent", "channel: delivered")]


def test_another_database_in_its_place_is_taken_up(office: Office) -> None:
    hook = Noting()
    office.dispatcher.use_hook(hook)
    assert not office.outbox.changed()
    asyncio.run(office.turns())
    office.raise_("a")
    assert office.outbox.changed()
    asyncio.run(office.turns())
    for file in office.path.parent.glob("alerts.sqlite*"):
        file.rename(file.with_name(f"aside-{file.name}"))
    office.raise_("b")
    assert office.outbox.changed()
    asyncio.run(office.turns())
    assert hook.told == [["a"], ["b"]]
