"""Raising, clearing, and what a restart or a disk that refuses leaves of it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from levibot.alerting.alert import HOOK, TARGETS
from levibot.alerting.alerts import Alerts
from levibot.alerting.journal import AlertJournal
from levibot.alerting.outbox import Outbox, Outcome
from levibot.clock import wall_ms
from levibot.errors import NewerSchemaError
from tests.full_disk import full_disk

DAY_MS = 86_400_000


class Clock:
    """Unix ms, as a test wants it."""

    def __init__(self) -> None:
        self.ms = wall_ms()

    def __call__(self) -> int:
        return self.ms


@asynccontextmanager
async def opened(
    path: Path, clock: Callable[[], int] = wall_ms, channels: tuple[str, ...] = (TARGETS, HOOK)
) -> AsyncIterator[Alerts]:
    """Alerts of one life of a daemon, ended cleanly."""
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    alerts = Alerts(log, AlertJournal(path, channels, 30, clock), "paper-test", clock)
    await alerts.load()
    try:
        yield alerts
    finally:
        await alerts.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def run(test: Awaitable[None]) -> None:
    async def main() -> None:
        await test

    asyncio.run(main())


def notices(path: Path) -> list[tuple[str, str]]:
    """Changes and channels that wait in the outbox."""
    outbox = Outbox(path)
    found = [(delivery.body["change"], delivery.channel) for delivery in outbox.waiting()]
    outbox.close()
    return found


def test_one_cause_is_one_alert_told_once_until_it_gets_worse(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"

    async def life() -> None:
        async with opened(path) as alerts:
            for _ in range(50):
                alerts.raise_alert("disk", "warning", "low", "make room")
            alerts.raise_alert("disk", "critical", "nearly full", "make room")
            alerts.raise_alert("disk", "warning", "low", "make room")
            (alert,) = alerts.standing()
            assert (alert.raises, alert.severity) == (52, "critical")
            alerts.clear("disk")
            alerts.clear("disk")
            assert alerts.standing() == []
            assert [alert.cleared_by for alert in alerts.recent()] == ["over"]

    run(life())
    changes = ["raised", "escalated", "cleared"]
    assert notices(path) == [(change, channel) for change in changes for channel in (TARGETS, HOOK)]


def test_without_a_channel_nothing_waits(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"

    async def life() -> None:
        async with opened(path, channels=()) as alerts:
            alerts.raise_alert("disk", "warning", "low", "make room")

    run(life())
    assert notices(path) == []


def test_a_restart_tells_nothing_again_and_clears_what_nobody_owns(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"

    async def lives() -> None:
        async with opened(path) as alerts:
            for key in ("exhausted:engine-BTC-USDT", "registry_damaged", "api_port"):
                alerts.raise_alert(key, "critical", "wrong", "mend it")
        async with opened(path) as alerts:
            assert len(alerts.standing()) == 3
            alerts.raise_alert("api_port", "critical", "still wrong", "mend it")
            alerts.settle(lambda key: key.startswith("exhausted"))
            assert [a.key for a in alerts.standing()] == ["exhausted:engine-BTC-USDT", "api_port"]
            assert [a.cleared_by for a in alerts.recent() if not a.standing] == ["restarted"]

    run(lives())
    changes = [change for change, channel in notices(path) if channel == HOOK]
    assert changes == ["raised", "raised", "raised", "cleared"]


def test_past_alerts_are_kept_for_their_days(tmp_path: Path) -> None:
    path, clock = tmp_path / "alerts.sqlite", Clock()

    async def lives() -> None:
        async with opened(path, clock) as alerts:
            alerts.raise_alert("old", "warning", "", "")
            alerts.clear("old")
            alerts.raise_alert("standing", "warning", "", "")
        outbox = Outbox(path)
        outbox.settle([Outcome(delivery, "sent") for delivery in outbox.waiting()])
        outbox.close()
        clock.ms += 31 * DAY_MS
        async with opened(path, clock) as alerts:
            alerts.raise_alert("new", "warning", "", "")
        async with opened(path, clock) as alerts:
            assert [alert.key for alert in alerts.recent()] == ["new", "standing"]

    run(lives())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM deliveries WHERE state = 'sent'").fetchone() == (0,)
    connection.close()


def test_a_full_disk_keeps_the_alert_and_takes_it_later(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"

    async def life() -> None:
        async with opened(path) as alerts:
            with full_disk():
                alerts.raise_alert("disk", "critical", "full", "make room")
                await until(lambda: alerts.refused)
                assert [alert.key for alert in alerts.standing()] == ["disk"]
            await until(path.exists)

    run(life())
    assert notices(path) == [("raised", TARGETS), ("raised", HOOK)]


def damage(path: Path) -> None:
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    path.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("when", ["at the start", "while it runs"])
def test_a_damaged_database_is_set_aside_and_what_stands_is_kept(tmp_path: Path, when: str) -> None:
    path = tmp_path / "alerts.sqlite"

    async def life() -> None:
        async with opened(path) as alerts:
            alerts.raise_alert("before", "warning", "", "")
            await until(path.exists)
        if when == "at the start":
            damage(path)
        async with opened(path) as alerts:
            if when == "while it runs":
                damage(path)
                alerts.raise_alert("after", "warning", "", "")
            await until(lambda: "alerts_damaged" in [alert.key for alert in alerts.standing()])
        async with opened(path) as alerts:
            keys = {alert.key for alert in alerts.standing()}
            assert keys == {"alerts_damaged"} | ({"before", "after"} if when == "while it runs" else set())

    run(life())
    assert list(tmp_path.glob("alerts.sqlite.corrupt-*"))


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"

    async def life() -> None:
        async with opened(path) as alerts:
            alerts.raise_alert("before", "warning", "", "")

    run(life())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerSchemaError, match="upgrade"):
        run(life())


def test_a_slow_disk_does_not_keep_what_stands_out_of_the_new_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alerts.sqlite"
    monkeypatch.setattr("levibot.alerting.alerts._RETRY", 0.01)
    renew = AlertJournal.renew

    def slow(journal: AlertJournal) -> Path:
        time.sleep(0.2)  # the disk; the timer of the next attempt goes off meanwhile
        return renew(journal)

    monkeypatch.setattr(AlertJournal, "renew", slow)

    async def life() -> None:
        async with opened(path) as alerts:
            alerts.raise_alert("before", "warning", "it stands", "")
            await until(path.exists)
        async with opened(path) as alerts:
            damage(path)
            alerts.raise_alert("after", "warning", "it stands", "")
            await until(lambda: list(tmp_path.glob("alerts.sqlite.corrupt-*")))
            await until(path.exists)
            await until(lambda: len(notices(path)) == 6)  # three alerts, two channels

    run(life())
