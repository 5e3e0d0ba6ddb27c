"""The restart history survives what the supervisor does not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from levibot.config import PolicyConfig
from levibot.errors import DataStoreError, NewerSchemaError
from levibot.supervisor import history as history_module
from levibot.supervisor.history import Clocks, RestartHistory
from levibot.supervisor.recovery import RestartPolicy
from tests.full_disk import full_disk

HOUR = 3600.0
POLICY = RestartPolicy.of(PolicyConfig())
BTC, ETH = "engine-BTC-USDT", "engine-ETH-USDT"


@dataclass
class Machine:
    """A machine whose clocks the test moves."""

    boot: str = "first-boot"
    seconds: float = 10_000.0
    wall_ms: int = 1_700_000_000_000

    def open(self, path: Path, keep: float = HOUR) -> RestartHistory:
        return RestartHistory(path, keep, Clocks(self.boot, lambda: self.seconds, lambda: self.wall_ms))

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall_ms += round(seconds * 1000)

    def reboot(self, away: float) -> None:
        self.boot, self.seconds = f"after-{self.boot}", 20.0
        self.wall_ms += round(away * 1000)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "restarts.jsonl"


def test_a_restarted_supervisor_finds_the_budget_as_it_was(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    for _ in range(4):
        machine.sleep(100)
        history.record(BTC, "killed")
    machine.sleep(50)
    before = history.restarts(BTC, HOUR, machine.seconds)
    after = machine.open(path).restarts(BTC, HOUR, machine.seconds)
    assert after == before == [10_100, 10_200, 10_300, 10_400]
    assert POLICY.budget_left(after, machine.seconds) == 1


def test_a_record_is_on_disk_when_it_returns(path: Path, machine: Machine) -> None:
    machine.open(path).record(BTC, "hung")
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "kind": "restarted",
        "worker": BTC,
        "v": 1,
        "cause": "hung",
        "boot": "first-boot",
        "boot_seconds": 10_000.0,
        "wall_ms": 1_700_000_000_000,
    }


def test_workers_are_kept_apart_and_counted_by_cause(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    history.record(BTC, "killed")
    history.record(BTC, "memory")
    history.record(ETH, "hung")
    for opened in (history, machine.open(path)):
        assert opened.causes(BTC) == {"killed": 2, "memory": 1}
        assert opened.causes(ETH) == {"hung": 1}
        assert opened.causes("feed") == {}
        assert opened.restarts("feed", HOUR, machine.seconds) == []


def test_the_wall_clock_may_jump_within_a_boot(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    for jump in (3_600_000, -7_200_000):
        machine.wall_ms += jump
        assert machine.open(path).restarts(BTC, HOUR, machine.seconds + 60) == [10_000.0]


def test_restarts_before_a_reboot_count_by_the_wall_clock(path: Path, machine: Machine) -> None:
    machine.open(path).record(BTC, "killed")
    machine.reboot(away=600)
    history = machine.open(path)
    assert history.restarts(BTC, HOUR, machine.seconds) == [20.0 - 600.0]
    machine.sleep(2999)
    assert len(history.restarts(BTC, HOUR, machine.seconds)) == 1
    machine.sleep(1)
    assert history.restarts(BTC, HOUR, machine.seconds) == []


def test_a_stamp_from_the_future_counts_as_now(path: Path, machine: Machine) -> None:
    machine.open(path).record(BTC, "killed")
    machine.reboot(away=-86_400)  # the clock of the machine was a day ahead
    history = machine.open(path)
    assert history.restarts(BTC, HOUR, machine.seconds) == [machine.seconds]
    machine.sleep(HOUR)
    assert history.restarts(BTC, HOUR, machine.seconds) == []


def test_a_boot_stamp_from_the_future_counts_as_now(path: Path, machine: Machine) -> None:
    machine.open(path).record(BTC, "killed")
    machine.seconds -= 500
    assert machine.open(path).restarts(BTC, HOUR, machine.seconds) == [machine.seconds]


def test_a_reset_gives_a_fresh_budget_and_keeps_the_counts(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    for worker in (BTC, BTC, ETH):
        history.record(worker, "killed")
    history.clear(BTC)
    history.record(BTC, "hung")
    for opened in (history, machine.open(path)):
        assert opened.restarts(BTC, HOUR, machine.seconds) == [10_000.0]
        assert opened.restarts(ETH, HOUR, machine.seconds) == [10_000.0]
        assert opened.causes(BTC) == {"killed": 2, "hung": 1}


def test_a_reset_is_appended_not_rewritten(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    before = path.read_bytes()
    history.clear(BTC)
    assert path.read_bytes().startswith(before)
    assert json.loads(path.read_bytes()[len(before) :]) == {"kind": "cleared", "worker": BTC, "v": 1}


def test_opening_folds_old_restarts_into_totals(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    for _ in range(20):
        history.record(BTC, "killed")
    machine.sleep(HOUR)
    history.record(BTC, "hung")
    for _ in range(2):
        opened = machine.open(path)
        assert opened.causes(BTC) == {"killed": 20, "hung": 1}
        assert opened.restarts(BTC, HOUR, machine.seconds) == [machine.seconds]
        assert len(path.read_text().splitlines()) == 2


def test_a_long_life_does_not_grow_the_file_without_end(
    path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "_COMPACT_AT", 50)
    for _ in range(10):  # lives of the supervisor
        history = machine.open(path)
        for _ in range(20):
            machine.sleep(360)
            history.record("feed", "killed")
    assert len(path.read_text().splitlines()) < 50 + 12
    assert history.causes("feed") == machine.open(path).causes("feed") == {"killed": 200}
    assert len(history.restarts("feed", HOUR, machine.seconds)) == 10


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_truncated_last_line_is_tolerated(path: Path, machine: Machine, cut: int) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    history.record(ETH, "killed")
    path.write_bytes(path.read_bytes()[:-cut])
    opened = machine.open(path)
    assert opened.corrupt_lines == 0
    assert len(opened.restarts(BTC, HOUR, machine.seconds)) == 1
    assert len(opened.restarts(ETH, HOUR, machine.seconds)) == (1 if cut == 1 else 0)
    opened.record(ETH, "hung")
    again = machine.open(path)
    assert again.corrupt_lines == 0
    assert again.causes(ETH)["hung"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"garbage",
        b"\xff\x00",
        b"{}",
        b'{"kind":"restarted","worker":"feed","v":1}',
        b'{"kind":"moved","worker":"feed","v":1}',
        b'{"kind":"totals","worker":"feed","v":1,"causes":{"killed":"many"}}',
    ],
)
def test_a_corrupt_line_is_counted_skipped_and_kept_for_people(
    path: Path, machine: Machine, damage: bytes
) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    history.record(BTC, "hung")
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, damage, second, b""]))
    opened = machine.open(path)
    assert opened.corrupt_lines == 1
    assert opened.causes(BTC) == {"killed": 1, "hung": 1}
    assert opened.set_aside is not None
    assert damage in opened.set_aside.read_bytes()
    assert machine.open(path).corrupt_lines == 0


def test_a_newer_version_is_refused_and_left_alone(path: Path, machine: Machine) -> None:
    machine.open(path).record(BTC, "killed")
    content = path.read_bytes() + b'{"kind":"moved","worker":"feed","v":2}\n'
    path.write_bytes(content)
    with pytest.raises(NewerSchemaError, match=r"version 2.*upgrade"):
        machine.open(path)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_stops_the_start(path: Path, machine: Machine) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DataStoreError, match="cannot be read"):
        machine.open(path)


def test_a_full_disk_is_counted_and_the_budget_is_spent_all_the_same(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    before = path.read_bytes()
    with full_disk(room=len(before) + 10):
        history.record(BTC, "killed")
        history.record(BTC, "hung")
    assert history.refused == 2
    assert path.read_bytes() == before
    assert len(history.restarts(BTC, HOUR, machine.seconds)) == 3
    history.record(BTC, "memory")
    assert machine.open(path).causes(BTC) == {"killed": 2, "hung": 1, "memory": 1}


def test_a_disk_that_is_full_at_the_start_loses_no_line(path: Path, machine: Machine) -> None:
    history = machine.open(path)
    history.record(BTC, "killed")
    damaged = b"garbage\n" + path.read_bytes() + b'{"kind":"rest'
    path.write_bytes(damaged)
    with full_disk():
        opened = machine.open(path)
    assert (opened.refused, opened.corrupt_lines, opened.set_aside) == (1, 1, None)
    assert path.read_bytes() == damaged
    opened.record(BTC, "hung")
    assert machine.open(path).causes(BTC) == {"killed": 1, "hung": 1}
