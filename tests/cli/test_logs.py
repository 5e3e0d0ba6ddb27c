"""`logs` on files that the real log writer makes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from levibot.cli.log_files import LogFiles
from levibot.observability.logging import DailyFile
from tests.cli.conftest import Place


def line(number: int, **fields: object) -> bytes:
    record = {
        "ts": "2026-01-31T12:34:56.789012Z",
        "level": "info",
        "symbol": "BTC/USDT",
        "event": f"event_{number}",
        **fields,
    }
    return json.dumps(record).encode()


@pytest.fixture
def directory(place: Place) -> Path:
    return place.data / "logs"


@pytest.fixture
def writer(directory: Path) -> DailyFile:
    return DailyFile(directory, "engine-BTC-USDT", 30)


def test_lines_are_made_readable(place: Place, writer: DailyFile) -> None:
    writer.write("20260131", line(1, price=1.5, reason="two words", exception="Traceback\n  oops"))
    writer.write("20260131", line(2, error="oops", traceback="Traceback\n  oops"))
    writer.write("20260131", b'{"half a line')
    writer.close()
    assert place.ctl("logs", "BTC-USDT").stdout == (
        '2026-01-31 12:34:56.789 info     BTC/USDT event_1 price=1.5 reason="two words"\n'
        "    Traceback\n"
        "      oops\n"
        "2026-01-31 12:34:56.789 info     BTC/USDT event_2 error=oops\n"
        "    Traceback\n"
        "      oops\n"
        '{"half a line\n'
    )
    assert place.ctl("logs", "btcusdt", "--json", "-n", "3").stdout.startswith('{"ts": "2026-01-31T12')


def test_a_log_outlives_its_symbol(place: Place, directory: Path) -> None:
    old = DailyFile(directory, "engine-DOGE-USDT_USDT", 30)
    old.write("20260131", line(1))
    old.close()
    assert "event_1" in place.ctl("logs", "DOGE/USDT:USDT").stdout


def test_a_symbol_without_a_log_yet_is_no_error(place: Place, directory: Path) -> None:
    done = place.ctl("logs", "ETH/USDT")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"no lines of ETH/USDT yet; nor any in {directory}\n"
    for worker in ("feed", "engine-BTC-USDT"):
        own = DailyFile(directory, worker, 30)
        own.write("20260131", line(1))
        own.close()
    told = "no lines of ETH/USDT yet; logs that there are: BTC/USDT, feed\n"
    assert place.ctl("logs", "ETH/USDT").stderr == told
    assert place.ctl("logs", "BTC/USDT").stderr == ""


@pytest.mark.parametrize(
    ("written", "worker"),
    [("levi-feed", "feed"), ("levi-infer-0", "inference-0"), ("infer-0", "inference-0"), ("levi-BTC-USDT", "")],
)
def test_the_name_of_a_process_is_taken_too(place: Place, directory: Path, written: str, worker: str) -> None:
    own = DailyFile(directory, worker or "engine-BTC-USDT", 30)
    own.write("20260131", line(1))
    own.close()
    assert "event_1" in place.ctl("logs", written).stdout


def test_whoever_has_a_log_is_listed(place: Place, directory: Path) -> None:
    pool = DailyFile(directory, "inference-1", 30)
    pool.write("20260131", line(1))
    pool.close()
    done = place.ctl("logs", "zzz")
    assert done.returncode == 4
    for named in ("BTC/USDT", "supervisor, feed, broker, notifier, altdata, inference-1"):
        assert named in done.stderr


def test_the_last_lines_reach_back_over_midnight(directory: Path, writer: DailyFile) -> None:
    for number, day in enumerate(["20260130", "20260130", "20260131", "20260131"]):
        writer.write(day, line(number))
    other = DailyFile(directory, "engine-BTC-USDT_USDT", 30)
    other.write("20260131", line(9))
    other.close()
    writer.close()
    files = LogFiles(directory, "engine-BTC-USDT")
    assert files.last(3) == [line(1), line(2), line(3)]
    assert files.last(9) == [line(0), line(1), line(2), line(3)]
    assert files.last(0) == []


@pytest.fixture
def follower(
    place: Place, writer: DailyFile, following: Callable[..., subprocess.Popen[str]]
) -> subprocess.Popen[str]:
    """A running `logs -f` that has shown the line that was there."""
    writer.write("20260130", line(0))
    process = following("logs", "BTC/USDT", "-f", "-n", "1")
    assert "event_0" in next_line(process)
    return process


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_following_goes_on_over_midnight(follower: subprocess.Popen[str], writer: DailyFile) -> None:
    writer.write("20260130", line(1))
    assert "event_1" in next_line(follower)
    writer.write("20260130", line(2))
    writer.write("20260131", line(3))
    writer.write("20260201", line(4))
    assert ["event_2" in next_line(follower), "event_3" in next_line(follower)] == [True, True]
    assert "event_4" in next_line(follower)
    writer.close()


def test_following_goes_on_after_the_folder_was_removed(
    follower: subprocess.Popen[str], writer: DailyFile, directory: Path
) -> None:
    shutil.rmtree(directory)
    writer.write("20260130", line(1))
    assert "event_1" in next_line(follower)
    writer.close()


def test_half_a_line_is_not_shown_before_it_is_whole(
    follower: subprocess.Popen[str], directory: Path, writer: DailyFile
) -> None:
    writer.close()
    whole = line(1) + b"\n"
    with (directory / "engine-BTC-USDT-20260130.jsonl").open("ab", buffering=0) as stream:
        stream.write(whole[:20])
        stream.write(whole[20:] + line(2)[:5])
    assert "event_1" in next_line(follower)


def test_ctrl_c_ends_it_without_traceback(follower: subprocess.Popen[str], writer: DailyFile) -> None:
    follower.send_signal(signal.SIGINT)
    _, errors = follower.communicate(timeout=90)
    assert (follower.returncode, errors.strip()) == (130, "")
    writer.close()
