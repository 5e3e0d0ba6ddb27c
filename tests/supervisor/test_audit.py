"""The file of what operators did: it only grows, and survives crashes and full disks."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from levibot.api.caller import Caller
from levibot.errors import DataStoreError
from levibot.ml.served import Change, Pruned, append_entries
from levibot.supervisor.audit import AuditTrail
from tests.full_disk import full_disk

ALICE = Caller("unix", "alice", 1000, 4242)


@pytest.fixture
def failures() -> list[DataStoreError]:
    return []


def opened(path: Path, failures: list[DataStoreError]) -> AuditTrail:
    return AuditTrail(path, lambda: 1_700_000_000_000, failures.append)


def told(trail: AuditTrail, count: int = 100) -> list[dict[str, Any]]:
    return trail.newest(trail.path.parent / "models", count)


def actions(trail: AuditTrail, count: int = 100) -> list[str]:
    return [entry["action"] for entry in told(trail, count)]


def test_entries_stay_over_restarts_oldest_first(tmp_path: Path, failures: list[DataStoreError]) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    trail = opened(path, failures)
    assert told(trail) == []
    trail.note(ALICE, "pause", "BTC/USDT", "lunch")
    trail = opened(path, failures)
    trail.note(Caller("tcp", "api-token", address="10.0.0.7"), "stop", "daemon", outcome="refused: busy")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, second = told(opened(path, failures))
    assert first == {
        "at": "2023-11-14T22:13:20.000+00:00",
        "action": "pause",
        "subject": "BTC/USDT",
        "options": {},
        "reason": "lunch",
        "outcome": "done",
        "who": {"name": "alice", "way": "unix", "uid": 1000, "pid": 4242},
    }
    assert second["who"]["address"] == "10.0.0.7"
    assert actions(trail, 1) == ["stop"]


def test_a_line_that_a_crash_cut_short_spoils_no_other(tmp_path: Path, failures: list[DataStoreError]) -> None:
    path = tmp_path / "audit.jsonl"
    opened(path, failures).note(ALICE, "pause", "BTC/USDT")
    path.write_bytes(path.read_bytes() + b'{"at": "2026-01-')
    trail = opened(path, failures)
    trail.note(ALICE, "resume", "BTC/USDT")
    assert actions(trail) == actions(opened(path, failures)) == ["pause", "resume"]


def test_what_a_full_disk_refuses_is_kept_counted_and_written_later(
    tmp_path: Path, failures: list[DataStoreError]
) -> None:
    trail = opened(tmp_path / "audit.jsonl", failures)
    trail.note(ALICE, "pause", "BTC/USDT")
    with full_disk():
        trail.note(ALICE, "kill", "portfolio")
        trail.note(ALICE, "stop", "daemon")
        assert (trail.unwritten, trail.refused, len(failures)) == (2, 2, 2)
        assert actions(trail) == ["pause", "kill", "stop"]
    trail.flush()
    assert trail.unwritten == 0
    assert actions(opened(tmp_path / "audit.jsonl", failures)) == ["pause", "kill", "stop"]


def test_memory_for_what_the_disk_refuses_is_bounded(tmp_path: Path, failures: list[DataStoreError]) -> None:
    trail = opened(tmp_path / "audit.jsonl", failures)
    with full_disk():
        for number in range(1_005):
            trail.note(ALICE, f"pause-{number}", "BTC/USDT")
    assert (trail.unwritten, trail.lost) == (1_000, 5)
    trail.flush()
    assert actions(trail, 1_000)[0] == "pause-5"


def test_only_what_happened_by_itself_is_recorded_of_latches(
    tmp_path: Path, failures: list[DataStoreError]
) -> None:
    trail = opened(tmp_path / "audit.jsonl", failures)
    trail.on_latch("kill_switch_on", "alice (uid 1000)", "too hot")
    trail.on_latch("daily_stop_on", "risk", "equity 9000.00 is -10.00% from the day's start")
    assert [(entry["action"], entry["who"]["name"]) for entry in told(trail)] == [("daily-stop-on", "risk")]


def test_what_was_done_to_models_stands_between_the_rest_in_order_of_time(
    tmp_path: Path, failures: list[DataStoreError]
) -> None:
    trail = opened(tmp_path / "audit.jsonl", failures)
    trail.note(ALICE, "pause", "BTC/USDT")
    now_ms = 1_700_000_000_000
    what = {"version": "2", "previous": "1", "who": "bob", "why": "better"}
    served = Change(at_ms=now_ms - 2, at_utc="", action="promote", **what)
    gone = Pruned(at_ms=now_ms + 1, at_utc="", version="1", who="bob")
    (tmp_path / "models" / "trees").mkdir(parents=True)
    append_entries(tmp_path / "models" / "trees", served, gone)
    (tmp_path / "models" / "trees" / "current").symlink_to("2")
    assert actions(trail) == ["promote", "pause", "prune"]
    assert actions(trail, 2) == ["pause", "prune"]
    first = told(trail)[0]
    assert (first["at"], first["subject"]) == ("2023-11-14T22:13:19.998+00:00", "trees/2")
    assert (first["who"]["name"], first["reason"], first["options"]) == ("bob", "better", {"previous": "1"})


def test_a_line_without_a_time_hides_no_other(tmp_path: Path, failures: list[DataStoreError]) -> None:
    trail = opened(tmp_path / "audit.jsonl", failures)
    trail.note(ALICE, "pause", "BTC/USDT")
    with trail.path.open("a") as file:
        file.write('{"action": "stop"}\n{"action": "stop", "at": 5}\n')
    model = tmp_path / "models" / "trees"
    model.mkdir(parents=True)
    append_entries(model, Pruned(at_ms=10**18, at_utc="", version="1"), Pruned(at_ms=1, at_utc="", version="2"))
    assert actions(trail) == ["prune", "pause"]
    assert told(trail)[0]["subject"] == "trees/2"
