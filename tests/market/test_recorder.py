"""The feed never waits for the disk: what that costs is counted, told, and seen in the replay."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from levibot.market import recorder as recorder_module
from levibot.market.path import Quote, Recovered, Stale
from levibot.market.publisher import Publisher
from levibot.market.recorded import RecordedMarket
from levibot.market.recorder import FeedRecorder
from levibot.market.recording import Market, Opening
from tests.deadline import wait_for
from tests.full_disk import full_disk
from tests.market.recordings import (
    BTC,
    DAY_MS,
    ETH,
    START_MS,
    Studio,
    bar,
    every_kind,
    history,
    minute,
    quote,
    spec,
    studio,
)

OPENING = Opening(START_MS - 1, 20, 120, None)


def told(made: Studio, text: str) -> None:
    wait_for(lambda: text in made.recorder.report().trouble, f"trouble: {text}")


def resumed(made: Studio, index: int) -> None:
    """Publish until that is recorded again."""

    def again() -> bool:
        made.play([quote(minute(index) + 1)])
        return not made.recorder.report().trouble

    wait_for(again, "a recording that goes on")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(recorder_module, "_RETRY_NS", 1_000_000)


def test_files_are_private_named_by_symbol_day_start_and_part_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "recordings" / "feed"
    with studio(folder) as made:
        made.open()
        made.open("ETH/USDT:USDT")
        made.play(every_kind())
    names = sorted(path.name.partition("-2024")[0] for path in folder.iterdir())
    assert names == ["BTC-USDT", "ETH-USDT_USDT"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    report = made.recorder.report()
    assert report.messages == len(made.frames)
    assert report.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert (report.dropped, report.trouble) == (0, "")


def test_a_closed_symbol_ends_its_file_and_comes_back_with_another(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open()
        made.play([(minute(1), bar(0))])
        made.publisher.close(BTC)
        made.open(bars=history(3), event_ms=minute(3))
        made.play([(minute(4), bar(3))])
    assert sorted(path.name[-13:-9] for path in tmp_path.iterdir()) == ["0001", "0002"]
    items = [item for _, item in RecordedMarket(tmp_path, BTC).open(OPENING).stream]
    assert items[:-1] == [
        *(bar(0), Stale(minute(1), "the feed was started again")),
        *(bar(1), bar(2), Recovered(minute(3)), bar(3)),
    ]


def test_a_full_disk_costs_whole_blocks_is_told_and_recording_resumes_by_itself(
    tmp_path: Path, impatient: None
) -> None:
    with studio(tmp_path) as made:
        made.open()
        made.play([(minute(1), bar(0))])
        wait_for(lambda: made.recorder.report().messages == 2, "the first messages")
        (path,) = tmp_path.iterdir()
        size = path.stat().st_size
        with full_disk(room=size + 20):
            made.play([(minute(2), bar(1)), quote(minute(2) + 5)])
            told(made, f"{path}: File too large")
            assert path.stat().st_size == size  # no half a block
            made.play([quote(minute(2) + 6)])
            complaint = made.recorder.complaint()
            assert "messages were not recorded: " in complaint
            assert "File too large" in complaint
            assert made.recorder.complaint() == ""  # not again so soon
        resumed(made, 2)
        made.play([(minute(3), bar(2))])
    report = made.recorder.report()
    assert report.dropped >= 2
    assert report.messages + report.dropped == len(made.frames)
    items = [item for _, item in RecordedMarket(tmp_path, BTC).open(OPENING).stream]
    rest = [item for item in items if not isinstance(item, Quote)]
    assert rest[:-1] == [
        *(bar(0), Stale(minute(1), f"{report.dropped} messages were not recorded")),
        *(bar(1), Recovered(rest[3].event_ms), bar(2)),  # type: ignore[union-attr]
    ]


def test_a_disk_that_takes_nothing_bounds_the_memory_and_stops_nobody(tmp_path: Path) -> None:
    recorder = FeedRecorder(tmp_path, "mexc", "test", 1, limit=20_000, interval=0.01)
    frames: list[bytes] = []
    publisher = Publisher(1, frames.append, lambda: 1, 20, False, recorder)
    for symbol in (BTC, ETH):
        publisher.open(symbol, Market(spec(symbol), history(), [], iter(())), START_MS)
    for number in range(1000):  # its thread does not run yet: the slowest of all disks
        publisher.publish(BTC, START_MS + number, Quote(START_MS + number, 1.0, 2.0, 1.5, 1.0))
    assert len(frames) == 1002
    dropped = recorder.report().dropped
    assert 800 < dropped < 1000
    recorder.start()

    def again() -> bool:
        publisher.publish(BTC, minute(1), Quote(minute(1), 1.0, 2.0, 1.5, 1.0))
        return not recorder.report().trouble and recorder.report().messages > 1000 - dropped + 3

    wait_for(again, "a recording that goes on")
    recorder.close()
    report = recorder.report()
    assert report.messages + report.dropped == len(frames)
    items = [item for _, item in RecordedMarket(tmp_path, BTC).open(OPENING).stream]
    (gap,) = [item for item in items if isinstance(item, Stale)]
    assert gap.reason == f"{report.dropped} messages were not recorded"
    assert items[items.index(gap) + 1] == Recovered(minute(1))


def test_a_removed_folder_is_made_again(tmp_path: Path, impatient: None) -> None:
    folder = tmp_path / "feed"
    with studio(folder) as made:
        made.open()
        wait_for(lambda: made.recorder.report().messages, "the first message")
        shutil.rmtree(folder)
        made.play([quote(minute(0) + 1)])
        told(made, "the file was removed while it was written")
        resumed(made, 1)
    assert RecordedMarket(folder, BTC).open(OPENING).history == history()


def test_a_folder_that_cannot_be_made_is_told_and_tried_again(tmp_path: Path, impatient: None) -> None:
    folder = tmp_path / "feed"
    folder.write_text("in the way")
    with studio(folder) as made:
        made.open()
        made.play([quote(minute(0) + 1)])
        told(made, "File exists")
        folder.unlink()
        resumed(made, 1)
    assert len(list(folder.iterdir())) == 1


def test_the_turn_of_the_day_needs_no_bar_and_ends_the_file_for_good(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open()
        made.play([quote(START_MS + 3 * DAY_MS), quote(START_MS + 3 * DAY_MS + 1)])
        wait_for(lambda: made.recorder.report().messages == 3, "the messages")
        first, second = sorted(tmp_path.iterdir())
        assert (first.name[9:17], second.name[9:17]) == ("20241004", "20241007")
        held = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if open_still(fd)}
        assert str(second) in held
        assert str(first) not in held


def open_still(fd: str) -> bool:
    return Path(f"/proc/self/fd/{fd}").is_symlink()
