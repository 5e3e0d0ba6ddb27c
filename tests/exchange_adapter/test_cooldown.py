"""The cool-down: obeyed by every process, kept over restarts and reboots, never longer than it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from levibot.errors import NewerSchemaError
from levibot.exchange.cooldown import CoolDown

SECOND = 1_000_000_000


class Clocks:
    def __init__(self) -> None:
        self.boot_ns = 5 * SECOND
        self.wall_ms = 1_700_000_000_000

    def advance(self, seconds: float) -> None:
        self.boot_ns += int(seconds * SECOND)
        self.wall_ms += int(seconds * 1000)

    def cool_down(self, path: Path) -> CoolDown:
        return CoolDown(path, lambda: self.boot_ns, lambda: self.wall_ms)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "exchange-cooldown.json"


def test_it_lasts_as_long_as_the_exchange_said(clocks: Clocks, path: Path) -> None:
    cool_down = clocks.cool_down(path)
    assert cool_down.remaining_s() == 0
    assert cool_down.until_ms is None
    cool_down.begin(7, "429")
    assert cool_down.remaining_s() == 7
    assert cool_down.until_ms == clocks.wall_ms + 7000
    clocks.advance(7)
    assert cool_down.remaining_s() == 0


def test_another_process_obeys_it_as_soon_as_it_is_saved(clocks: Clocks, path: Path) -> None:
    feed, broker = clocks.cool_down(path), clocks.cool_down(path)
    assert broker.remaining_s() == 0
    feed.begin(60, "the exchange answered 418")
    feed.save()
    assert broker.remaining_s() == pytest.approx(60)
    assert broker.reason == "the exchange answered 418"


def test_it_survives_a_reboot(clocks: Clocks, path: Path) -> None:
    before = clocks.cool_down(path)
    before.begin(100, "418")
    before.save()
    clocks.boot_ns, clocks.wall_ms = SECOND, clocks.wall_ms + 30_000
    assert clocks.cool_down(path).remaining_s() == pytest.approx(70)


def test_a_clock_set_back_does_not_make_it_longer(clocks: Clocks, path: Path) -> None:
    before = clocks.cool_down(path)
    before.begin(100, "418")
    before.save()
    clocks.wall_ms -= 86_400_000
    assert clocks.cool_down(path).remaining_s() == pytest.approx(100)


def test_a_shorter_one_ends_no_longer_one_whoever_writes_last(clocks: Clocks, path: Path) -> None:
    feed, broker = clocks.cool_down(path), clocks.cool_down(path)
    feed.begin(60, "long")
    broker.begin(5, "short")
    feed.save()
    broker.save()
    restarted = clocks.cool_down(path)
    assert restarted.remaining_s() == pytest.approx(60)
    assert restarted.reason == "long"


def test_without_a_length_it_doubles_until_a_request_goes_well(clocks: Clocks, path: Path) -> None:
    cool_down = clocks.cool_down(path)
    lengths = []
    for _ in range(8):
        cool_down.begin(None, "429")
        cool_down.begin(None, "429 to what was under way")
        lengths.append(cool_down.remaining_s())
        clocks.advance(lengths[-1])
    assert lengths == [5, 10, 20, 40, 80, 160, 300, 300]
    cool_down.relax()
    cool_down.begin(None, "429")
    assert cool_down.remaining_s() == 5


def test_no_exchange_can_stop_us_for_ever(clocks: Clocks, path: Path) -> None:
    cool_down = clocks.cool_down(path)
    cool_down.begin(1e12, "nonsense")
    assert cool_down.remaining_s() == 3 * 86_400


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "until_ms": "soon"}'])
def test_a_damaged_file_is_set_aside(clocks: Clocks, path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    cool_down = clocks.cool_down(path)
    assert cool_down.remaining_s() == 0
    assert next(name.name for name in path.parent.iterdir()).startswith("exchange-cooldown.json.corrupt-")
    cool_down.begin(5, "429")
    cool_down.save()
    assert json.loads(path.read_text())["reason"] == "429"


def test_a_newer_file_is_left_alone(clocks: Clocks, path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"schema": 99}')
    with pytest.raises(NewerSchemaError):
        clocks.cool_down(path).remaining_s()
